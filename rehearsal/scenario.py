"""The story that a rehearsal plays: from nothing to two releases, one bad one, the way back, and nothing again."""

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

from rehearsal.environment import NETWORK, Stage
from rehearsal.host.sandbox import wait_until
from rehearsal.load.users import Users
from rehearsal.report.journal import Cutover, Journal, Step
from rehearsal.vpn import host
from rehearsal.vpn import in_rehearsal as vpn
from scripts.stacks import changed_resources
from scripts.sync_config import SyncArgs, sync_config

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "examples" / "hello"
MACHINES = 2
APP_PORT = 8080
BAD_DATABASE_HOST = "192.0.2.1"  # TEST-NET-1 (RFC 5737): nobody answers there
NEW_GREETING = "Bonjour"
HELLO_DEADLINE_S = 180.0
SETTLE_DEADLINE_S = 60.0
HELLOS_IN_A_ROW = 20
STEADY_SECONDS = 5.0
OLDER_CONFIG = "the config of this checkout is older than the last change of stack"
JUDGE_SECONDS = "6"  # a release that is bad stays bad; a deep check alone takes 2


class StoryError(Exception):
    """The story went another way than it must; the message says where."""


@dataclass
class Story:
    """One performance. `play` runs the steps in order and stops at the first that fails."""

    stage: Stage
    journal: Journal
    ami: str = ""
    first_resource: float = 0.0
    users: Users | None = None
    first_settings: str = ""
    settings_with_v2: str = ""
    """The stack's file as it was made, and as it was before users came to v2."""

    def steps(self) -> list[tuple[str, Callable[[Step], None]]]:
        """The table of contents."""
        return [
            ("bake the machine image with Packer", self.bake),
            ("bring the Pulumi CLI and create the stack", self.create_stack),
            ("preview everything from nothing", self.preview),
            ("provision everything from nothing", self.provision),
            ("publish release v1", self.publish_v1),
            ("deliver v1 to fresh machines: first hello", self.deliver_v1),
            ("users arrive", self.users_arrive),
            ("up again without a change: no write call", self.unchanged),
            ("publish v2 and deliver it to green", self.deliver_v2),
            ("judge green through the preview header", self.judge_green),
            ("an office reaches a machine through the VPN, also when a tunnel fails", self.reach_by_vpn),
            ("cut over to green", self.cut_over_to_green),
            ("roll back to blue at once", self.roll_back),
            ("forward again to green", self.cut_over_to_green),
            ("checkouts that don't know the stack are refused", self.refuse_old_config),
            ("publish v3 with a wrong database address, deliver it to blue", self.deliver_v3),
            ("judge v3: bad, and no user sees it", self.judge_v3),
            ("a bare flip to v3 is refused by the gate", self.bare_flip),
            ("deliver v1 to blue again, cut over to it", self.back_to_v1),
            ("change a parameter, restart one machine: the new value is served", self.change_parameter),
            ("retire green", self.retire),
            ("users leave", self.users_leave),
            ("destroy: nothing is left", self.destroy),
        ]

    def play(self) -> None:
        """Also a story that breaks off leaves an account of its users and machines."""
        try:
            for name, action in self.steps():
                with self.journal.step(name) as step:
                    action(step)
        except BaseException as error:
            with suppress(Exception):  # what broke the story off is what a person must read
                self._account()
            if isinstance(error, Exception) and (fallen := self.stage.fallen()):
                raise StoryError(f"{'; '.join(fallen)}; then: {error}") from error
            raise

    def _account(self) -> None:
        """What the users met, and how each machine booted."""
        if self.users and not self.journal.load:
            self.journal.load = self.users.leave()
        self.journal.boots = self.stage.cloud.boots()

    def bake(self, step: Step) -> None:
        baked = self.stage.bake()
        self.ami = baked.ami_id
        step.note = f"{baked.ami_id}, {'from the cache' if baked.cached else 'made anew'}"
        self.journal.facts["bake"] = {"cached": baked.cached, "seconds": round(baked.seconds, 3)}

    def create_stack(self, step: Step) -> None:
        cli = self.stage.create_stack()
        self.first_settings = self.stage.settings.read_text()
        self.journal.facts["cli"] = {"version": cli.version, "origin": cli.origin}
        step.note = f"{cli.version}, {cli.origin}; provider: {self.stage.options.provider}"

    def preview(self, step: Step) -> None:
        started = time.monotonic()
        changes = self.stage.stack.preview().change_summary
        seconds = time.monotonic() - started
        self.journal.facts["preview"] = {"seconds": round(seconds, 3)}
        step.note = f"{seconds:.1f} s, {sum(count for kind, count in changes.items() if kind != 'read')} resources"

    def provision(self, step: Step) -> None:
        self.first_resource = time.monotonic()
        result = self.stage.up()
        seconds = time.monotonic() - self.first_resource
        self.journal.resources = changed_resources(result)
        self.journal.facts["up"] = {"seconds": round(seconds, 3)}
        step.note = f"{seconds:.1f} s, {self.journal.resources} resources"
        for name, value in self.stage.parameters().items():
            self.stage.put_parameter(name, value)

    def publish_v1(self, step: Step) -> None:
        self._publish(step, "v1", SAMPLE)

    def deliver_v1(self, step: Step) -> None:
        self._deliver("v1")
        answer = self._first_hello()
        self.journal.hello_seconds = time.monotonic() - self.first_resource
        step.note = f"{answer.headers['X-Release']} after {self.journal.hello_seconds:.1f} s"

    def users_arrive(self, step: Step) -> None:
        self._many_hellos()
        self.users = Users.arrive(self.stage.ground, self.stage.url, self.stage.options.rate)
        self._steady()
        step.note = f"{self.stage.options.rate} requests a second, whatever the answers"

    def unchanged(self, step: Step) -> None:
        writes = self.stage.cloud.write_calls()
        started = time.monotonic()
        result = self.stage.up()
        seconds, made = time.monotonic() - started, self.stage.cloud.write_calls() - writes
        self.journal.facts["unchanged"] = {"seconds": round(seconds, 3), "write_calls": made}
        step.note = f"{seconds:.1f} s, {made} write calls"
        changes = result.summary.resource_changes
        _require(
            not changed_resources(result), f"an unchanged program must change nothing, but Pulumi reports {changes}"
        )
        _require(made == 0, f"an unchanged program must make no write call, but the emulator saw {made}")

    def deliver_v2(self, step: Step) -> None:
        self._publish(step, "v2", SAMPLE)
        self._deliver("v2")
        self.settings_with_v2 = self.stage.settings.read_text()

    def judge_green(self, step: Step) -> None:
        answer = self.stage.script("smoke_test", "--color", "green")
        step.note = f"{len(answer.json['checks'])} checks passed"

    def reach_by_vpn(self, step: Step) -> None:
        """Left out, as a gap, where the machine can't play it."""
        if reason := host.reason_against():
            self.journal.gaps.append({"service": "ec2", "action": "VPN", "reason": f"not played: {reason}"})
            step.note = f"not played: {reason}"
            return
        stage, release = self.stage, "v1"
        place = vpn.MachinePlace.find(stage.docker, stage.machine_of(release), NETWORK)
        result = vpn.play(stage.ground, place, stage.docker.bridge, port=APP_PORT, release=release)
        self.journal.facts["vpn"] = result.as_json()
        self.journal.gaps += vpn.gaps(result)
        _require(result.ok, "; ".join(result.problems))
        step.note = f"{place.address} answers, {result.failover_seconds:.1f} s to fail over, 0 packets in clear"

    def cut_over_to_green(self, step: Step) -> None:
        self._switch(step, "cutover", "blue v1", "green v2", "green")

    def roll_back(self, step: Step) -> None:
        self._switch(step, "rollback", "green v2", "blue v1")

    def refuse_old_config(self, step: Step) -> None:
        """A fresh clone and a stale one, until they recall what the stack has; then a mistyped value."""
        writes, failed = self.stage.cloud.write_calls(), self._users.failed()
        fresh = self.stage.checkout("fresh", self.first_settings)
        stale = self.stage.checkout("stale", self.settings_with_v2)
        seconds = [self._refused(stack, OLDER_CONFIG) for stack in (fresh, stale)]
        for stack in (fresh, stale):
            sync_config(stack, SyncArgs())
        changed = changed_resources(fresh.up())
        stale.set_config("bluegreen:canaryPercent", auto.ConfigValue("200"))
        seconds.append(self._refused(stale, "canaryPercent: 200: allowed is"))
        made, cost = self.stage.cloud.write_calls() - writes, self._users.failed() - failed
        self.journal.facts["old_config"] = {
            "refused_seconds": seconds,
            "changed_resources_once_recalled": changed,
            "write_calls": made,
            "failed": cost,
        }
        _require(
            (changed, made, cost) == (0, 0, 0), f"{changed} resources changed, {made} write calls, {cost} failures"
        )
        step.note = (
            f"{len(seconds)} refused in {max(seconds):.1f} s or less; recalled, nothing to change; 0 write calls"
        )

    def deliver_v3(self, step: Step) -> None:
        self._publish(step, "v3", self._release_with_wrong_database())
        self._deliver("v3")

    def judge_v3(self, step: Step) -> None:
        answer = self.stage.script("smoke_test", "--color", "blue", "--deadline", JUDGE_SECONDS, may_fail=True)
        failed = [check["name"] for check in answer.json["checks"] if not check["ok"]]
        _require(answer.exit_code != 0 and bool(failed), "v3 can't reach its database, and the smoke test passed it")
        step.note = f"exit code {answer.exit_code}, failed: {', '.join(failed)}"
        self._no_user_saw("v3")

    def bare_flip(self, step: Step) -> None:
        stack = self.stage.stack
        stack.set_config("bluegreen:activeColor", auto.ConfigValue("blue"))
        try:
            self.stage.up()
        except auto.CommandError as error:
            step.note = _gate_sentence(str(error))
        else:
            raise StoryError("a bare flip to a release that fails its checks went through")
        finally:
            stack.set_config("bluegreen:activeColor", auto.ConfigValue("green"))
        self._no_user_saw("v3")

    def back_to_v1(self, step: Step) -> None:
        self._deliver("v1")
        self._switch(step, "cutover", "green v2", "blue v1", "blue")

    def change_parameter(self, step: Step) -> None:
        self.stage.put_parameter("GREETING", NEW_GREETING)
        failed = self._users.failed()
        answer = self.stage.script("restart", "--color", "blue", "--count", "1")
        greetings = {self._greeting() for _ in range(4 * MACHINES)}
        _require(NEW_GREETING in greetings, f"no machine greets with {NEW_GREETING!r}; seen: {sorted(greetings)}")
        cost = self._users.failed() - failed
        _require(cost == 0, f"the restart cost {cost} requests")
        step.note = f"{answer.json['restarted'][0]['instance']} greets with {NEW_GREETING!r}; 0 requests failed"

    def retire(self, step: Step) -> None:
        self.stage.script("retire")
        self._wait_for_machines(MACHINES)
        step.note = f"{MACHINES} machines left, all blue"

    def users_leave(self, step: Step) -> None:
        self._steady()
        self._account()
        load = self.journal.load
        step.note = f"{load['requests']:,} requests, {load['failed']} failed"
        if load["failed"]:
            raise StoryError(_failures(load))

    def destroy(self, step: Step) -> None:
        self.stage.destroy()
        self._wait_for_machines(0)
        left = self.stage.left_in_emulator()
        _require(not left, f"the emulator still holds {left}")
        step.note = "no resource in the emulator, no machine"

    def _refused(self, stack: auto.Stack, why: str) -> float:
        """Seconds until a bare `pulumi up` said so."""
        started = time.monotonic()
        try:
            stack.up()
        except auto.CommandError as error:
            _require(why in str(error), f"`pulumi up` must be refused with {why!r}, but: {error}")
        else:
            raise StoryError(f"`pulumi up` must be refused with {why!r}, and went through")
        return round(time.monotonic() - started, 3)

    def _publish(self, step: Step, version: str, folder: Path) -> None:
        answer = self.stage.script("publish_release", str(folder), "--version", version, "--kind", "source")
        step.note = f"sha256 {answer.json['sha256'][:12]}…, {answer.json['size']:,} bytes"

    def _deliver(self, version: str) -> None:
        self.stage.script("deploy", version, "--ami", self.ami)

    def _switch(self, step: Step, script: str, source: str, target: str, *args: str) -> None:
        started, began = self.journal.now(), time.time()
        answer = self.stage.script(script, *args)
        command = time.time() - began
        self._steady()
        log = self._users.log()
        window = log.between(began, began + command + STEADY_SECONDS)
        last = log.last_answer(source.split()[1], after=began)
        _require(last is not None, f"no answer of {source} was seen before the switch to {target}")
        cutover = Cutover(
            source=source,
            target=target,
            seconds=(last or began) - began,
            changed_resources=answer.json["changed_resources"],
            requests=window.requests,
            failed=window.failed,
            command_seconds=command,
            up_seconds=_up_seconds(answer.json["stages"]),
            started=started,
        )
        self.journal.cutovers.append(cutover)
        changed = f"{cutover.changed_resources} resource changed"
        step.note = f"{cutover.seconds:.2f} s, {changed}, {window.failed} of {window.requests:,} requests failed"

    @property
    def _users(self) -> Users:
        if self.users is None:
            raise StoryError("no users have arrived yet")
        return self.users

    def _steady(self) -> None:
        """Lets users go on for a while, so that what a switch broke would show."""
        time.sleep(STEADY_SECONDS)

    def _no_user_saw(self, release: str) -> None:
        seen = {name for name in self._users.seen() if name.endswith(f" {release}")}
        _require(not seen, f"users were answered by {sorted(seen)}")

    def _release_with_wrong_database(self) -> Path:
        folder = self.stage.folder / "hello-v3"
        shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "tests"))
        dockerfile = folder / "Dockerfile"
        text = dockerfile.read_text()
        wrong = text.replace('DATABASE_HOST=""', f'DATABASE_HOST="{BAD_DATABASE_HOST}"')
        _require(wrong != text, f"{dockerfile} has no DATABASE_HOST to set wrongly")
        dockerfile.write_text(wrong)
        return folder

    def _first_hello(self) -> requests.Response:
        deadline = time.monotonic() + HELLO_DEADLINE_S
        last = "nothing was asked yet"
        while time.monotonic() < deadline:
            try:
                answer = requests.get(self.stage.url, timeout=5)
            except requests.RequestException as error:
                last = str(error)
            else:
                if answer.status_code == 200:
                    return answer
                last = f"status {answer.status_code}"
            time.sleep(0.05)
        raise StoryError(f"no hello from {self.stage.url} within {HELLO_DEADLINE_S:.0f} s; last: {last}")

    def _many_hellos(self) -> None:
        """A load balancer takes a moment to use a new rule everywhere: one hello isn't yet a site that is up."""
        wait_until(self._lacking_hellos, what=f"{HELLOS_IN_A_ROW} hellos in a row", deadline=SETTLE_DEADLINE_S)

    def _lacking_hellos(self) -> str | None:
        for number in range(HELLOS_IN_A_ROW):
            status = requests.get(self.stage.url, timeout=5).status_code
            if status != 200:
                return f"status {status} after {number} of them"
        return None

    def _greeting(self) -> str:
        body: Mapping[str, Any] = requests.get(self.stage.url, headers={"Accept": "application/json"}, timeout=5).json()
        return str(body["greeting"])

    def _wait_for_machines(self, expected: int) -> None:
        deadline = time.monotonic() + SETTLE_DEADLINE_S
        while (count := len(self.stage.machines())) != expected:
            if time.monotonic() > deadline:
                raise StoryError(f"{count} machines run {SETTLE_DEADLINE_S:.0f} s later; expected {expected}")
            time.sleep(0.2)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise StoryError(otherwise)


def _failures(load: Mapping[str, Any]) -> str:
    """What failed, when, and how busy the machine is, which alone may be the cause."""
    first = load["failures"][0]
    began = datetime.fromtimestamp(first["time"], UTC)
    busy = f"load average {os.getloadavg()[2]:.1f} on {os.cpu_count()} processors"
    return (
        f"{load['failed']:,} of {load['requests']:,} requests failed, the first at {began:%H:%M:%S} UTC "
        f"({first['error']}); p99 latency {load['p99_ms']:g} ms; {busy}"
    )


def _up_seconds(stages: Sequence[Mapping[str, Any]]) -> float:
    """Of the stage in which users are moved: the update with both gates."""
    return float(next(one["seconds"] for one in stages if one["name"].startswith("production traffic shift")))


def _gate_sentence(text: str) -> str:
    """The line of Pulumi's output in which a hook says why it refused."""
    return next((line.strip() for line in text.splitlines() if 'hook "gate-' in line), text.strip()[-200:])
