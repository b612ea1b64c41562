"""Faults of those who change a stack: a script that is killed on its way, and two people at once."""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checks.colors import Color
from rehearsal.drills import releases
from rehearsal.drills.drill import Drill, DrillError, Outcome
from rehearsal.drills.fixture import IDLE, ROOT, SERVING, Scene
from rehearsal.drills.live_traffic import BOOT_DEADLINE_S, on_green
from rehearsal.host import processes
from rehearsal.host.sandbox import Process, wait_until
from scripts.exits import Exit
from scripts.stacks import changed_resources

SWITCH_DEADLINE_S = 90.0
BAKE_S = "10"  # long enough that the second one comes while the first is at work


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody's cutover, running beside the drill."""

    name: str
    process: Process
    output: Path

    def answer(self) -> dict[str, Any]:
        """What it printed at its end; `exit_code` is 0 when it went through."""
        code = self.process.popen.wait(timeout=SWITCH_DEADLINE_S)
        text = self.output.read_text()
        found: dict[str, Any] = json.JSONDecoder().raw_decode(text, text.index("{\n"))[0] if "{\n" in text else {}
        return {"error": text[-300:], **found, "exit_code": code}


def starts(scene: Scene, name: str, color: Color, *, bake: str) -> Person:
    output = scene.stage.folder / f"cutover-{name}-{time.time_ns()}.log"
    argv = [
        sys.executable,
        "-m",
        "scripts.cutover",
        color,
        "--bake",
        bake,
        "--stack",
        scene.stage.options.stack,
        "--json",
    ]
    environment = {**scene.stage.environment, "GITHUB_ACTOR": name}
    process = scene.stage.ground.start(f"cutover-{name}", argv, environment, output, cwd=ROOT)
    return Person(name=name, process=process, output=output)


def script_killed(scene: Scene) -> Outcome:
    """SIGKILL as soon as the balancer has the new weights: the engine is still writing down what it did."""
    version = releases.sound(scene)
    with on_green(scene, version):
        ann = starts(scene, "ann", IDLE, bake="0")
        _wait_for_flip(scene, ann)
        for member in processes.session_of(ann.process.identity):
            processes.send(member, signal.SIGKILL)
        began = time.time()
        if (code := ann.process.popen.wait(timeout=10)) != -signal.SIGKILL:
            raise DrillError(f"the cutover ended with {code} before it could be killed: nothing was played")
        _require_refusal(scene.stage.script("cutover", SERVING, may_fail=True).json, "ann", "that process is gone")
        detected = time.time()
        scene.stage.script("smoke_test", "--release", version)
        scene.stage.script("rollback", "--break-lock")
        _require_agreement(scene)
        recovered = time.time()
    return Outcome(
        detected_by="next command: the lock",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=any(str(one.facts.get("lock_broken")).startswith("ann on ") for one in scene.notices(began)),
        note="users stayed on the new release, and were back on the old one by one command; an up changes nothing",
    )


def _wait_for_flip(scene: Scene, person: Person) -> None:
    elb, fleet = scene.stage.client("elbv2"), scene.fleet()
    target = fleet.sides[IDLE].target_group_arn

    def reason() -> str | None:
        rule = elb.describe_rules(RuleArns=[fleet.live_rule_arn])["Rules"][0]
        groups = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
        return None if any(one["TargetGroupArn"] == target and one["Weight"] for one in groups) else "not flipped"

    wait_until(reason, what="the flip", deadline=SWITCH_DEADLINE_S, process=person.process)


def _require_refusal(answer: dict[str, Any], holder: str, words: str) -> None:
    told = str(answer.get("error"))
    if answer.get("exit_code") != Exit.LOCKED or f"locked by {holder} on " not in told or words not in told:
        raise DrillError(f"not refused with the holder's name: exit code {answer.get('exit_code')}, {told}")


def _require_agreement(scene: Scene) -> None:
    """Program, state and AWS say the same: one more run has nothing to do."""
    if count := changed_resources(scene.stage.up()):
        raise DrillError(f"an unchanged program changes {count} resources")


def two_people(scene: Scene) -> Outcome:
    with on_green(scene, releases.sound(scene)):
        began = time.time()
        people = [starts(scene, name, IDLE, bake=BAKE_S) for name in ("ann", "ben")]
        ended: dict[str, float] = {}

        def reason() -> str | None:
            ended.update({one.name: time.time() for one in people if one.process.ended() and one.name not in ended})
            return None if len(ended) == len(people) else "somebody is still at it"

        scene.until(reason, what="both to end", deadline=SWITCH_DEADLINE_S)
        answers = {one.name: one.answer() for one in people}
        first = next((name for name, answer in answers.items() if answer["exit_code"] == Exit.OK), None)
        if first is None:
            raise DrillError(f"nobody went through: {[answer['error'] for answer in answers.values()]}")
        second = "ben" if first == "ann" else "ann"
        _require_refusal(answers[second], first, "wait for it to end")
    told = [one for one in scene.notices(began) if one.facts.get("who") == first]
    return Outcome(
        detected_by="lock in S3",
        detected_seconds=ended[second] - began,
        recovered_seconds=ended[first] - began,
        notified=bool(told),
        note=f"{second} was told of {first}; {first} went through",
    )


DRILLS = (
    Drill(
        fault="cutover script killed between flip and smoke",
        play=script_killed,
        deadline=BOOT_DEADLINE_S + SWITCH_DEADLINE_S,
    ),
    Drill(fault="two people cutting over at once", play=two_people, deadline=BOOT_DEADLINE_S + SWITCH_DEADLINE_S),
)
