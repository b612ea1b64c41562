"""Rehearsal scenario: an empty account, two releases, cutovers and rollback, a bad release, destroy."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pulumi.automation as auto
import requests

from rehearsal.environment import NETWORK, Environment
from rehearsal.host.sandbox import wait_until
from rehearsal.load.load import Load
from rehearsal.report.journal import CutoverRecord, Journal, StepRecord
from rehearsal.vpn import host
from rehearsal.vpn import in_rehearsal as vpn
from scripts.stack.automation import changed_resources
from scripts.sync_config import SyncArgs, sync_config

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "examples" / "hello"
INSTANCES = 2
APP_PORT = 8080
BAD_DATABASE_HOST = "192.0.2.1"  # TEST-NET-1 (RFC 5737): unreachable
NEW_GREETING = "Bonjour"
RESPONSE_DEADLINE_S = 180.0
SETTLE_DEADLINE_S = 60.0
RESPONSES_IN_A_ROW = 20
STEADY_SECONDS = 5.0
OLDER_CONFIG = "the config of this checkout is older than the last change of stack"
SMOKE_TEST_SECONDS = "6"  # retries do not help a bad release; a deep check alone takes 2


class ScenarioError(Exception):
    """A step had an unexpected result; the message names it."""


@dataclass
class Scenario:
    """One run of the scenario: `run` executes the steps in order and stops at the first failure.

    `first_settings`: the stack's file as created; `settings_with_v2`: as it was before v2 was live.
    """

    environment: Environment
    journal: Journal
    ami: str = ""
    first_resource: float = 0.0
    load: Load | None = None
    first_settings: str = ""
    settings_with_v2: str = ""

    def steps(self) -> list[tuple[str, Callable[[StepRecord], None]]]:
        return [
            ("bake the instance image with Packer", self.bake),
            ("install the Pulumi CLI and create the stack", self.create_stack),
            ("preview the stack in an empty account", self.preview),
            ("provision the stack in an empty account", self.provision),
            ("publish release v1", self.publish_v1),
            ("deploy v1 to new instances: first response", self.deploy_v1),
            ("start the load", self.start_load),
            ("pulumi up without a change: no write call", self.unchanged),
            ("publish v2 and deploy it to green", self.deploy_v2),
            ("smoke-test green through the preview header", self.smoke_test_green),
            ("reach an instance through the VPN, with a tunnel failover", self.reach_by_vpn),
            ("cut over to green", self.cut_over_to_green),
            ("roll back to blue", self.roll_back),
            ("cut over to green again", self.cut_over_to_green),
            ("refuse updates from checkouts with outdated config", self.refuse_old_config),
            ("publish v3 with a wrong database address and deploy it to blue", self.deploy_v3),
            ("smoke-test v3: it fails, and v3 gets no traffic", self.smoke_test_v3),
            ("pulumi up with v3 as the live release: the gate refuses", self.bare_cutover),
            ("deploy v1 to blue again and cut over to it", self.back_to_v1),
            ("change a parameter and restart one instance: it serves the new value", self.change_parameter),
            ("retire green", self.retire),
            ("stop the load", self.stop_load),
            ("destroy the stack: no resource is left", self.destroy),
        ]

    def run(self) -> None:
        """The journal gets load and boots also when a step fails. Raises ScenarioError and what the steps raise."""
        try:
            for name, action in self.steps():
                with self.journal.step(name) as step:
                    action(step)
        except BaseException as error:
            with suppress(Exception):  # the error that stopped the scenario is the one to report
                self._record_load_and_boots()
            if isinstance(error, Exception) and (exited := self.environment.exited_processes()):
                raise ScenarioError(f"{'; '.join(exited)}; then: {error}") from error
            raise

    def _record_load_and_boots(self) -> None:
        if self.load and not self.journal.load:
            self.journal.load = self.load.stop()
        self.journal.boots = self.environment.cloud.boots()

    def bake(self, step: StepRecord) -> None:
        result = self.environment.bake()
        self.ami = result.ami_id
        step.note = f"{result.ami_id}, {'from the cache' if result.cached else 'rebuilt'}"
        self.journal.extra["bake"] = {"cached": result.cached, "seconds": round(result.seconds, 3)}

    def create_stack(self, step: StepRecord) -> None:
        cli = self.environment.create_stack()
        self.first_settings = self.environment.settings.read_text()
        self.journal.extra["cli"] = {"version": cli.version, "origin": cli.origin}
        step.note = f"{cli.version}, {cli.origin}; provider: {self.environment.options.provider}"

    def preview(self, step: StepRecord) -> None:
        started = time.monotonic()
        changes = self.environment.stack.preview().change_summary
        seconds = time.monotonic() - started
        self.journal.extra["preview"] = {"seconds": round(seconds, 3)}
        step.note = f"{seconds:.1f} s, {sum(count for kind, count in changes.items() if kind != 'read')} resources"

    def provision(self, step: StepRecord) -> None:
        self.first_resource = time.monotonic()
        result = self.environment.up()
        seconds = time.monotonic() - self.first_resource
        self.journal.resources = changed_resources(result)
        self.journal.extra["up"] = {"seconds": round(seconds, 3)}
        step.note = f"{seconds:.1f} s, {self.journal.resources} resources"
        for name, value in self.environment.parameters().items():
            self.environment.put_parameter(name, value)

    def publish_v1(self, step: StepRecord) -> None:
        self._publish(step, "v1", SAMPLE)

    def deploy_v1(self, step: StepRecord) -> None:
        self._deploy("v1")
        response = self._first_response()
        self.journal.hello_seconds = time.monotonic() - self.first_resource
        step.note = f"{response.headers['X-Release']} after {self.journal.hello_seconds:.1f} s"

    def start_load(self, step: StepRecord) -> None:
        self._wait_until_steady()
        self.load = Load.start(self.environment.sandbox, self.environment.url, self.environment.options.rate)
        self._keep_load_running()
        step.note = f"{self.environment.options.rate} requests per second, open loop"

    def unchanged(self, step: StepRecord) -> None:
        writes = self.environment.cloud.write_calls()
        started = time.monotonic()
        result = self.environment.up()
        seconds, calls = time.monotonic() - started, self.environment.cloud.write_calls() - writes
        self.journal.extra["unchanged"] = {"seconds": round(seconds, 3), "write_calls": calls}
        step.note = f"{seconds:.1f} s, {calls} write calls"
        changes = result.summary.resource_changes
        _require(
            not changed_resources(result), f"an unchanged program must change nothing, but Pulumi reports {changes}"
        )
        _require(calls == 0, f"an unchanged program must make no write call, but the emulator counted {calls}")

    def deploy_v2(self, step: StepRecord) -> None:
        self._publish(step, "v2", SAMPLE)
        self._deploy("v2")
        self.settings_with_v2 = self.environment.settings.read_text()

    def smoke_test_green(self, step: StepRecord) -> None:
        result = self.environment.run_script("smoke_test", "--color", "green")
        step.note = f"{len(result.json['checks'])} checks passed"

    def reach_by_vpn(self, step: StepRecord) -> None:
        """Skipped, with an entry among the gaps, where the host does not support it."""
        if reason := host.unsupported_reason():
            self.journal.gaps.append({"service": "ec2", "action": "VPN", "reason": f"skipped: {reason}"})
            step.note = f"skipped: {reason}"
            return
        environment, release = self.environment, "v1"
        instance = vpn.InstanceAddress.find(environment.docker, environment.instance_container(release), NETWORK)
        result = vpn.run(environment.sandbox, instance, environment.docker.bridge, port=APP_PORT, release=release)
        self.journal.extra["vpn"] = result.as_json()
        self.journal.gaps += vpn.gaps(result)
        _require(result.ok, "; ".join(result.problems))
        step.note = f"{instance.address} answers, failover in {result.failover_seconds:.1f} s, 0 packets in cleartext"

    def cut_over_to_green(self, step: StepRecord) -> None:
        self._switch(step, "cutover", "blue v1", "green v2", "green")

    def roll_back(self, step: StepRecord) -> None:
        self._switch(step, "rollback", "green v2", "blue v1")

    def refuse_old_config(self, step: StepRecord) -> None:
        """A fresh clone and a stale one, until their config is synced; then a value out of range."""
        writes, failed = self.environment.cloud.write_calls(), self._running_load.failed()
        fresh = self.environment.checkout("fresh", self.first_settings)
        stale = self.environment.checkout("stale", self.settings_with_v2)
        seconds = [self._refused(stack, OLDER_CONFIG) for stack in (fresh, stale)]
        for stack in (fresh, stale):
            sync_config(stack, SyncArgs())
        changed = changed_resources(fresh.up())
        stale.set_config("bluegreen:canaryPercent", auto.ConfigValue("200"))
        seconds.append(self._refused(stale, "canaryPercent: 200: allowed is"))
        calls, failures = self.environment.cloud.write_calls() - writes, self._running_load.failed() - failed
        self.journal.extra["old_config"] = {
            "refused_seconds": seconds,
            "changed_resources_after_sync": changed,
            "write_calls": calls,
            "failed": failures,
        }
        _require(
            (changed, calls, failures) == (0, 0, 0),
            f"{changed} resources changed, {calls} write calls, {failures} failures",
        )
        step.note = (
            f"{len(seconds)} refused within {max(seconds):.1f} s; no change after the config was synced; 0 write calls"
        )

    def deploy_v3(self, step: StepRecord) -> None:
        self._publish(step, "v3", self._release_with_wrong_database())
        self._deploy("v3")

    def smoke_test_v3(self, step: StepRecord) -> None:
        result = self.environment.run_script(
            "smoke_test", "--color", "blue", "--deadline", SMOKE_TEST_SECONDS, may_fail=True
        )
        failed = [check["name"] for check in result.json["checks"] if not check["ok"]]
        _require(result.exit_code != 0 and bool(failed), "v3 can't reach its database, but the smoke test passed")
        step.note = f"exit code {result.exit_code}, failed: {', '.join(failed)}"
        self._require_no_traffic("v3")

    def bare_cutover(self, step: StepRecord) -> None:
        stack = self.environment.stack
        stack.set_config("bluegreen:activeColor", auto.ConfigValue("blue"))
        try:
            self.environment.up()
        except auto.CommandError as error:
            step.note = _gate_sentence(str(error))
        else:
            raise ScenarioError("`pulumi up` made a release live that fails its checks")
        finally:
            stack.set_config("bluegreen:activeColor", auto.ConfigValue("green"))
        self._require_no_traffic("v3")

    def back_to_v1(self, step: StepRecord) -> None:
        self._deploy("v1")
        self._switch(step, "cutover", "green v2", "blue v1", "blue")

    def change_parameter(self, step: StepRecord) -> None:
        self.environment.put_parameter("GREETING", NEW_GREETING)
        failed = self._running_load.failed()
        result = self.environment.run_script("restart", "--color", "blue", "--count", "1")
        greetings = {self._greeting() for _ in range(4 * INSTANCES)}
        _require(NEW_GREETING in greetings, f"no instance serves {NEW_GREETING!r}; served: {sorted(greetings)}")
        failures = self._running_load.failed() - failed
        _require(failures == 0, f"{failures} requests failed during the restart")
        step.note = f"{result.json['restarted'][0]['instance']} serves {NEW_GREETING!r}; 0 requests failed"

    def retire(self, step: StepRecord) -> None:
        self.environment.run_script("retire")
        self._wait_for_instances(INSTANCES)
        step.note = f"{INSTANCES} instances left, all blue"

    def stop_load(self, step: StepRecord) -> None:
        self._keep_load_running()
        self._record_load_and_boots()
        load = self.journal.load
        step.note = f"{load['requests']:,} requests, {load['failed']} failed"
        if load["failed"]:
            raise ScenarioError(_failures(load))

    def destroy(self, step: StepRecord) -> None:
        self.environment.destroy()
        self._wait_for_instances(0)
        leftovers = self.environment.leftovers()
        _require(not leftovers, f"the emulator still has {leftovers}")
        step.note = "no resource in the emulator, no instance"

    def _refused(self, stack: auto.Stack, message: str) -> float:
        """Seconds until a bare `pulumi up` failed with this message."""
        started = time.monotonic()
        try:
            stack.up()
        except auto.CommandError as error:
            _require(message in str(error), f"`pulumi up` must fail with {message!r}, but: {error}")
        else:
            raise ScenarioError(f"`pulumi up` must fail with {message!r}, but succeeded")
        return round(time.monotonic() - started, 3)

    def _publish(self, step: StepRecord, version: str, folder: Path) -> None:
        result = self.environment.run_script("publish_release", str(folder), "--version", version, "--kind", "source")
        step.note = f"sha256 {result.json['sha256'][:12]}…, {result.json['size']:,} bytes"

    def _deploy(self, version: str) -> None:
        self.environment.run_script("deploy", version, "--ami", self.ami)

    def _switch(self, step: StepRecord, script: str, source: str, target: str, *args: str) -> None:
        started, began = self.journal.now(), time.time()
        result = self.environment.run_script(script, *args)
        command = time.time() - began
        self._keep_load_running()
        log = self._running_load.log()
        window = log.between(began, began + command + STEADY_SECONDS)
        last = log.last_response(source.split()[1], after=began)
        _require(last is not None, f"no response of {source} before the cutover to {target}")
        cutover = CutoverRecord(
            source=source,
            target=target,
            seconds=(last or began) - began,
            changed_resources=result.json["changed_resources"],
            requests=window.requests,
            failed=window.failed,
            command_seconds=command,
            up_seconds=_up_seconds(result.json["stages"]),
            started=started,
        )
        self.journal.cutovers.append(cutover)
        changed = f"{cutover.changed_resources} resource changed"
        step.note = f"{cutover.seconds:.2f} s, {changed}, {window.failed} of {window.requests:,} requests failed"

    @property
    def _running_load(self) -> Load:
        if self.load is None:
            raise ScenarioError("the load has not been started")
        return self.load

    def _keep_load_running(self) -> None:
        """Give failures caused by a change time to show."""
        time.sleep(STEADY_SECONDS)

    def _require_no_traffic(self, release: str) -> None:
        responded = {name for name in self._running_load.releases() if name.endswith(f" {release}")}
        _require(not responded, f"traffic reached {sorted(responded)}")

    def _release_with_wrong_database(self) -> Path:
        folder = self.environment.folder / "hello-v3"
        shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "tests"))
        dockerfile = folder / "Dockerfile"
        text = dockerfile.read_text()
        wrong = text.replace('DATABASE_HOST=""', f'DATABASE_HOST="{BAD_DATABASE_HOST}"')
        _require(wrong != text, f"{dockerfile} has no DATABASE_HOST to replace")
        dockerfile.write_text(wrong)
        return folder

    def _first_response(self) -> requests.Response:
        deadline = time.monotonic() + RESPONSE_DEADLINE_S
        last = "no request sent yet"
        while time.monotonic() < deadline:
            try:
                response = requests.get(self.environment.url, timeout=5)
            except requests.RequestException as error:
                last = str(error)
            else:
                if response.status_code == 200:
                    return response
                last = f"status {response.status_code}"
            time.sleep(0.05)
        raise ScenarioError(
            f"no status 200 from {self.environment.url} within {RESPONSE_DEADLINE_S:.0f} s; last: {last}"
        )

    def _wait_until_steady(self) -> None:
        """A load balancer takes a moment to apply a new rule everywhere: a single 200 does not prove that it did."""
        wait_until(
            self._unsteady_reason, what=f"{RESPONSES_IN_A_ROW} times status 200 in a row", deadline=SETTLE_DEADLINE_S
        )

    def _unsteady_reason(self) -> str | None:
        for number in range(RESPONSES_IN_A_ROW):
            status = requests.get(self.environment.url, timeout=5).status_code
            if status != 200:
                return f"status {status} after {number} responses"
        return None

    def _greeting(self) -> str:
        headers = {"Accept": "application/json"}
        body: Mapping[str, Any] = requests.get(self.environment.url, headers=headers, timeout=5).json()
        return str(body["greeting"])

    def _wait_for_instances(self, expected: int) -> None:
        deadline = time.monotonic() + SETTLE_DEADLINE_S
        while (count := len(self.environment.instance_containers())) != expected:
            if time.monotonic() > deadline:
                raise ScenarioError(f"{count} instances run after {SETTLE_DEADLINE_S:.0f} s; expected {expected}")
            time.sleep(0.2)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ScenarioError(message)


def _failures(load: Mapping[str, Any]) -> str:
    """Failed requests, the first error, and the host's load average, which may be the cause."""
    first = load["failures"][0]
    began = datetime.fromtimestamp(first["time"], UTC)
    busy = f"load average {os.getloadavg()[2]:.1f} on {os.cpu_count()} processors"
    return (
        f"{load['failed']:,} of {load['requests']:,} requests failed, the first at {began:%H:%M:%S} UTC "
        f"({first['error']}); p99 latency {load['p99_ms']:g} ms; {busy}"
    )


def _up_seconds(stages: Sequence[Mapping[str, Any]]) -> float:
    """Duration of the deployment stage that shifts traffic: the update with both gates."""
    return float(next(stage["seconds"] for stage in stages if stage["name"].startswith("production traffic shift")))


def _gate_sentence(text: str) -> str:
    """The line of Pulumi's output with the gate's error."""
    return next((line.strip() for line in text.splitlines() if 'hook "gate-' in line), text.strip()[-200:])
