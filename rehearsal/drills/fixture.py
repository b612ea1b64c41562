"""Fixture of the drills: v1 live on blue under load, with helpers to deploy, inspect and reset."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pulumi.automation as auto

from fleet.colors import Color
from fleet.state import Fleet, describe
from fleet.waiting import wait_until
from rehearsal.cloud.client import CloudClient
from rehearsal.drills.notification import Notification
from rehearsal.environment import REGION, Environment, EnvironmentOptions, ScriptResult, start_environment
from rehearsal.host import processes
from rehearsal.host.sandbox import Process
from rehearsal.load.load import Load

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "examples" / "hello"
RELEASE = "v1"
LIVE, IDLE = Color.BLUE, Color.GREEN
INSTANCES = 2
MAX_TRIES = 3  # as browsers do: a request that is lost with its instance is retried, and counted
RATE = 100  # requests per second: enough to detect failures, on processors that also build and boot
# Enough for several concurrent boots on two cores, short enough to wait for one that fails.
BOOT_TIMEOUT_S = 80
RESET_DEADLINE_S = 120.0
GRACE_S = 10.0  # between SIGTERM and SIGKILL of a script
# A deploy aborts after the first failed launch.
ABORT_OPTIONS = ("--max-failed-launches", "1")


@dataclass(frozen=True, kw_only=True)
class DeployProcess:
    """A `deploy` that runs in the background of a drill."""

    process: Process
    output: Path

    def ended(self) -> bool:
        return self.process.ended() is not None

    def result(self) -> ScriptResult:
        """Waits for its exit."""
        text = self.output.read_text()
        return ScriptResult(exit_code=int(self.process.popen.wait()), json=_last_json(text), stderr=text)


@dataclass(kw_only=True)
class Fixture:
    """A stack with release v1 live on blue, and its load; created by `start_fixture`.

    Times are seconds since the epoch.
    """

    environment: Environment
    ami: str
    image: str
    load: Load
    deploys: list[DeployProcess] = field(default_factory=list)
    versions: int = 0
    session: Any = field(default_factory=lambda: boto3.Session(region_name=REGION))

    @property
    def cloud(self) -> CloudClient:
        return self.environment.cloud

    def fleet(self) -> Fleet:
        return describe(self.environment.options.stack, self.session)

    def version(self, name: str) -> str:
        """A version that has not been published yet."""
        self.versions += 1
        return f"{name}-{self.versions}"

    def variant(self, name: str, change: Callable[[Path], None] | None = None) -> Path:
        """A copy of the sample's folder with a change."""
        folder = self.environment.folder / f"hello-{name}"
        shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "tests"))
        if change:
            change(folder)
        return folder

    def publish(self, name: str, change: Callable[[Path], None] | None = None) -> str:
        """Publish the sample with a change as a new release; its version."""
        version = self.version(name)
        folder = self.variant(version, change)
        self.environment.run_script("publish_release", str(folder), "--version", version, "--kind", "source")
        return version

    def start_deploy(self, version: str, *args: str) -> DeployProcess:
        """Start a deploy of one instance to the idle color in the background."""
        log = self.environment.folder / f"deploy-{version}.log"
        argv = [sys.executable, "-m", "scripts.deploy", version, "--ami", self.ami, *ABORT_OPTIONS, *args]
        argv += ["--stack", self.environment.options.stack, "--json"]
        sandbox = self.environment.sandbox
        process = sandbox.start(
            f"deploy-{version}", argv, self.environment.variables, log, cwd=self.environment.project, nice=10
        )
        deploy = DeployProcess(process=process, output=log)
        self.deploys.append(deploy)
        return deploy

    def deploy(self, version: str, *args: str, deadline: float = 90.0) -> ScriptResult:
        """Deploy and wait for the exit, successful or not."""
        deploy = self.start_deploy(version, *args)
        self.wait_until(
            lambda: None if deploy.ended() else f"{deploy.process.name} is still running",
            what=f"the end of the deploy of {version}",
            deadline=deadline,
        )
        return deploy.result()

    def wait_until(self, reason: Callable[[], str | None], *, what: str, deadline: float) -> float:
        """Poll until `reason` returns None; the time (epoch seconds) at which it did."""
        wait_until(reason, what=what, deadline_s=deadline)
        return time.time()

    def notifications(self, since: float) -> list[Notification]:
        """Messages of the alerts topic since then."""
        messages = self.cloud.sns_messages(datetime.fromtimestamp(since, UTC))
        return [
            Notification(at=message.time.timestamp(), subject=message.subject, message=message.message)
            for message in messages
        ]

    def wait_for_notification(
        self, matches: Callable[[Notification], bool], *, subject: str, deadline: float, since: float = 0.0
    ) -> Notification:
        """The first matching message; `subject` describes it in the error on timeout."""
        found: list[Notification] = []

        def reason() -> str | None:
            found[:] = [notification for notification in self.notifications(since) if matches(notification)]
            return None if found else f"no notification of {subject}"

        self.wait_until(reason, what="a notification", deadline=deadline)
        return found[0]

    def instances(self, color: Color) -> list[dict[str, Any]]:
        """Existing instances, in the form of `rehearsal.cloud.instance_rows`."""
        return [row for row in self.cloud.instances() if row["color"] == color]

    def container(self, instance: str) -> str:
        """Container id of a running instance. Raises LookupError."""
        container = self.environment.docker.run("ps", "--quiet", "--filter", f"name={instance}")
        if not container:
            raise LookupError(f"instance {instance} has no running container")
        return container

    def exec_on(self, instance: str, *argv: str) -> str:
        """Output of a command that is executed on the instance."""
        return self.environment.docker.run("exec", self.container(instance), *argv)

    def reset(self) -> None:
        """Back to v1 live on blue with healthy instances, green off, no faults and no running deploy."""
        self._end_deploys()
        self._restore()
        if self.fleet().serving is not LIVE:
            self.environment.run_script("cutover", LIVE, "--break-lock")
        if self._idle_in_use():
            self.environment.run_script("retire", "--color", IDLE, "--break-lock")
        self.wait_until(self.not_idle_reason, what="the fixture to be reset", deadline=RESET_DEADLINE_S)

    def not_idle_reason(self) -> str | None:
        """Why the fixture is not in its initial state yet, or None."""
        if exited := self.environment.exited_processes():
            return "; ".join(exited)
        fleet = self.fleet()
        live = fleet.colors[LIVE]
        if fleet.weights[LIVE] == 0 or fleet.weights[IDLE]:
            return f"the traffic weights are {fleet.weights}"
        if live.release != RELEASE or live.healthy < INSTANCES:
            return f"{LIVE} has {live.healthy} healthy instances of {live.release}"
        rows = self.cloud.instances()
        if len(rows) != INSTANCES or any(row["lifecycle"] != "InService" for row in rows):
            return f"instances: {[(row['color'], row['instance'], row['lifecycle']) for row in rows]}"
        return None

    def _end_deploys(self) -> None:
        """Stop deploys of a finished drill; reset() cleans up after them."""
        for deploy in self.deploys:
            if not deploy.ended():
                processes.end(processes.session_of(deploy.process.identity), grace=GRACE_S)
        self.deploys.clear()

    def _restore(self) -> None:
        self.cloud.clear_faults()
        for name, value in self.environment.parameters().items():
            self.environment.put_parameter(name, value)

    def _idle_in_use(self) -> bool:
        config = self.environment.stack.get_all_config()[f"bluegreen:{IDLE}"]
        return self.fleet().colors[IDLE].is_on or bool(json.loads(config.value or "{}").get("release"))


@contextmanager
def start_fixture(options: EnvironmentOptions, notify: Callable[[str], None]) -> Iterator[Fixture]:
    """The fixture for the duration of the block; `notify` gets progress messages."""
    notify("start the environment: Docker, network, registry, database, AWS emulator")
    with start_environment(options, notify) as environment:
        yield _provision(environment, notify)


def _provision(environment: Environment, notify: Callable[[str], None]) -> Fixture:
    notify("bake the instance image")
    image = environment.bake()
    environment.create_stack()
    notify("provision the stack and deploy v1 to blue")
    _configure(environment)
    environment.up()
    for name, value in environment.parameters().items():
        environment.put_parameter(name, value)
    environment.run_script("publish_release", str(SAMPLE), "--version", RELEASE)
    environment.run_script("deploy", RELEASE, "--ami", image.ami_id)
    load = Load.start(environment.sandbox, environment.url, environment.options.rate, tries=MAX_TRIES)
    return Fixture(environment=environment, ami=image.ami_id, image=image.image, load=load)


def _configure(environment: Environment) -> None:
    overrides = {"bootTimeout": BOOT_TIMEOUT_S, f"{IDLE}.minSize": 1}
    for key, value in overrides.items():
        environment.stack.set_config(f"bluegreen:{key}", auto.ConfigValue(str(value)), path=True)


def _last_json(text: str) -> dict[str, Any]:
    """The JSON object at the end of a log of stdout and stderr."""
    start = text.rfind("\n{\n")
    try:
        document = json.loads(text[start + 1 :])
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
