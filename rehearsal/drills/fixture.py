"""The scene of all drills: v1 serves on blue, users come all the while, and what a drill needs to disturb them."""

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

from checks.colors import Color
from checks.fleet import Fleet, describe
from checks.waiting import wait_until
from rehearsal.cloud.client import CloudClient
from rehearsal.drills.notification import Notice
from rehearsal.environment import REGION, Answer, Options, Stage, built
from rehearsal.host import processes
from rehearsal.host.sandbox import Process
from rehearsal.load.users import Users

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "examples" / "hello"
RELEASE = "v1"
SERVING, IDLE = Color.BLUE, Color.GREEN
MACHINES = 2
TRIES = 3  # as users' browsers do: what went down with a machine that was killed is asked for again, and counted
RATE = 100  # requests a second: enough to see what fails, while the same few processors build and boot
# A minute for the boot itself: enough for several beside each other on two cores, short enough to wait for one that
# comes to nothing.
BOOT_TIMEOUT_S = 80
CALM_DEADLINE_S = 120.0
GRACE_S = 10.0  # for a script that is told to end
# A delivery gives up for good at the first machine that does.
BOUND = ("--max-failed-launches", "1")


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A `deploy` that runs beside the drill."""

    process: Process
    output: Path

    def ended(self) -> bool:
        return self.process.ended() is not None

    def answer(self) -> Answer:
        """Only once it has ended."""
        text = self.output.read_text()
        return Answer(exit_code=int(self.process.popen.wait()), json=_last_document(text), stderr=text)


@dataclass(kw_only=True)
class Scene:
    """Made by `set_up`. Colors, times (seconds since the epoch) and machines are the emulator's own."""

    stage: Stage
    ami: str
    image: str
    users: Users
    deliveries: list[Delivery] = field(default_factory=list)
    versions: int = 0
    session: Any = field(default_factory=lambda: boto3.Session(region_name=REGION))

    @property
    def cloud(self) -> CloudClient:
        return self.stage.cloud

    def fleet(self) -> Fleet:
        return describe(self.stage.options.stack, self.session)

    def version(self, name: str) -> str:
        """A version that was never published before."""
        self.versions += 1
        return f"{name}-{self.versions}"

    def variant(self, name: str, change: Callable[[Path], None] | None = None) -> Path:
        """A copy of the sample's folder, changed."""
        folder = self.stage.folder / f"hello-{name}"
        shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "tests"))
        if change:
            change(folder)
        return folder

    def publish(self, name: str, change: Callable[[Path], None] | None = None) -> str:
        """The sample, changed, as a new release; its version."""
        version = self.version(name)
        folder = self.variant(version, change)
        self.stage.script("publish_release", str(folder), "--version", version, "--kind", "source")
        return version

    def deliver(self, version: str, *args: str) -> Delivery:
        """Start delivering to the color without users, one machine of it, and go on."""
        log = self.stage.folder / f"deliver-{version}.log"
        argv = [sys.executable, "-m", "scripts.deploy", version, "--ami", self.ami, *BOUND, *args]
        argv += ["--stack", self.stage.options.stack, "--json"]
        ground = self.stage.ground
        process = ground.start(f"deliver-{version}", argv, self.stage.environment, log, cwd=self.stage.project, nice=10)
        delivery = Delivery(process=process, output=log)
        self.deliveries.append(delivery)
        return delivery

    def delivered(self, version: str, *args: str, deadline: float = 90.0) -> Answer:
        """Deliver, and wait until it has ended, in whatever way."""
        delivery = self.deliver(version, *args)
        self.until(
            lambda: None if delivery.ended() else f"{delivery.process.name} still runs",
            what=f"the end of the delivery of {version}",
            deadline=deadline,
        )
        return delivery.answer()

    def until(self, reason: Callable[[], str | None], *, what: str, deadline: float) -> float:
        """Ask until there is no objection left; the time (epoch seconds) at which that was."""
        wait_until(reason, what=what, deadline_s=deadline)
        return time.time()

    def notices(self, since: float) -> list[Notice]:
        """What people were told since this moment."""
        told = self.cloud.notices(datetime.fromtimestamp(since, UTC))
        return [Notice(at=one.time.timestamp(), subject=one.subject, message=one.message) for one in told]

    def hear(self, fits: Callable[[Notice], bool], *, of: str, deadline: float, since: float = 0.0) -> Notice:
        """Wait for the first message of this kind; `of` says in words what people are to hear of."""
        found: list[Notice] = []

        def reason() -> str | None:
            found[:] = [one for one in self.notices(since) if fits(one)]
            return None if found else f"nobody was told of {of}"

        self.until(reason, what="a notification", deadline=deadline)
        return found[0]

    def machines(self, color: Color) -> list[dict[str, Any]]:
        """Those present, as `rehearsal.cloud.instance_rows` tells them."""
        return [row for row in self.cloud.machines() if row["color"] == color]

    def gone(self, color: Color, since: float) -> list[dict[str, Any]]:
        """Those that ended, though they began after this moment; in the same form."""
        rows = self.cloud.state()["gone"]
        return [row for row in rows if row["color"] == color and row["moves"][0]["at"] >= since]

    def container(self, instance: str) -> str:
        """The id of the container that is this machine."""
        found = self.stage.docker.run("ps", "--quiet", "--filter", f"name={instance}")
        if not found:
            raise LookupError(f"machine {instance} has no running container")
        return found

    def inside(self, instance: str, *argv: str) -> str:
        """What a command says that is run on the machine."""
        return self.stage.docker.run("exec", self.container(instance), *argv)

    def calm(self) -> None:
        """Back to the beginning: v1 alone serves on blue, all healthy, nothing disturbed, nobody at work."""
        self._end_deliveries()
        self._restore()
        if self.fleet().serving is not SERVING:
            self.stage.script("cutover", SERVING, "--break-lock")
        if self._idle_is_used():
            self.stage.script("retire", "--color", IDLE, "--break-lock")
        self.until(self.unrest, what="the scene to be calm", deadline=CALM_DEADLINE_S)

    def unrest(self) -> str | None:
        """What is not yet as at the beginning."""
        if fallen := self.stage.fallen():
            return "; ".join(fallen)
        fleet = self.fleet()
        serving = fleet.sides[SERVING]
        if fleet.weights[SERVING] == 0 or fleet.weights[IDLE]:
            return f"users go to {fleet.weights}"
        if serving.release != RELEASE or serving.healthy < MACHINES:
            return f"{SERVING} has {serving.healthy} healthy machines of {serving.release}"
        machines = self.cloud.machines()
        if len(machines) != MACHINES or any(row["lifecycle"] != "InService" for row in machines):
            return f"machines: {[(row['color'], row['instance'], row['lifecycle']) for row in machines]}"
        return None

    def _end_deliveries(self) -> None:
        """One whose drill is over is of no use any more; calm() clears up behind it."""
        for delivery in self.deliveries:
            if not delivery.ended():
                processes.end(processes.session_of(delivery.process.identity), grace=GRACE_S)
        self.deliveries.clear()

    def _restore(self) -> None:
        self.cloud.clear_faults()
        for name, value in self.stage.parameters().items():
            self.stage.put_parameter(name, value)

    def _idle_is_used(self) -> bool:
        config = self.stage.stack.get_all_config()[f"bluegreen:{IDLE}"]
        return self.fleet().sides[IDLE].is_on or bool(json.loads(config.value or "{}").get("release"))


@contextmanager
def set_up(options: Options, tell: Callable[[str], None]) -> Iterator[Scene]:
    """The scene for as long as the block runs; `tell` hears what is being done."""
    tell("set the stage: Docker, network, registry, database, AWS")
    with built(options, tell) as stage:
        yield _furnished(stage, tell)


def _furnished(stage: Stage, tell: Callable[[str], None]) -> Scene:
    tell("make the machine image")
    baked = stage.bake()
    stage.create_stack()
    tell("provision everything, deliver v1 to blue")
    _configure(stage)
    stage.up()
    for name, value in stage.parameters().items():
        stage.put_parameter(name, value)
    stage.script("publish_release", str(SAMPLE), "--version", RELEASE)
    stage.script("deploy", RELEASE, "--ami", baked.ami_id)
    users = Users.arrive(stage.ground, stage.url, stage.options.rate, tries=TRIES)
    return Scene(stage=stage, ami=baked.ami_id, image=baked.image, users=users)


def _configure(stage: Stage) -> None:
    own = {"bootTimeout": BOOT_TIMEOUT_S, f"{IDLE}.minSize": 1}
    for key, value in own.items():
        stage.stack.set_config(f"bluegreen:{key}", auto.ConfigValue(str(value)), path=True)


def _last_document(text: str) -> dict[str, Any]:
    """The JSON at the end of a log in which stdout and stderr stand together."""
    start = text.rfind("\n{\n")
    try:
        found = json.loads(text[start + 1 :])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
