"""Operator drills: a cutover script that is killed midway, and two concurrent cutovers."""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.colors import Color
from rehearsal.drills import releases
from rehearsal.drills.drill import Drill, DrillError, DrillOutcome
from rehearsal.drills.fixture import IDLE, LIVE, Fixture
from rehearsal.drills.live_traffic import BOOT_DEADLINE_S, deployed_to_green
from rehearsal.host import processes
from rehearsal.host.sandbox import Process, wait_until
from scripts.cli.exits import Exit
from scripts.stack.automation import changed_resources

CUTOVER_DEADLINE_S = 90.0
BAKE_S = "10"  # long enough for the second cutover to start while the first is running


@dataclass(frozen=True, kw_only=True)
class OperatorCutover:
    """An operator's cutover in the background of the drill."""

    name: str
    process: Process
    output: Path

    def result(self) -> dict[str, Any]:
        """Wait for its exit; its JSON output and `exit_code`."""
        code = self.process.popen.wait(timeout=CUTOVER_DEADLINE_S)
        text = self.output.read_text()
        output: dict[str, Any] = json.JSONDecoder().raw_decode(text, text.index("{\n"))[0] if "{\n" in text else {}
        return {"error": text[-300:], **output, "exit_code": code}


def start_cutover(fixture: Fixture, name: str, color: Color, *, bake: str) -> OperatorCutover:
    output = fixture.environment.folder / f"cutover-{name}-{time.time_ns()}.log"
    argv = [
        sys.executable,
        "-m",
        "scripts.cutover",
        color,
        "--bake",
        bake,
        "--stack",
        fixture.environment.options.stack,
        "--json",
    ]
    variables = {**fixture.environment.variables, "GITHUB_ACTOR": name}
    process = fixture.environment.sandbox.start(
        f"cutover-{name}", argv, variables, output, cwd=fixture.environment.project
    )
    return OperatorCutover(name=name, process=process, output=output)


def script_killed(fixture: Fixture) -> DrillOutcome:
    """SIGKILL as soon as the load balancer has the new weights, while the engine still writes its state."""
    version = releases.good_release(fixture)
    with deployed_to_green(fixture, version):
        ann = start_cutover(fixture, "ann", IDLE, bake="0")
        _wait_for_weights(fixture, ann)
        for member in processes.session_of(ann.process.identity):
            processes.send(member, signal.SIGKILL)
        began = time.time()
        if (code := ann.process.popen.wait(timeout=10)) != -signal.SIGKILL:
            raise DrillError(f"the cutover exited with {code} before it could be killed: the fault had no effect")
        refused = fixture.environment.run_script("cutover", LIVE, may_fail=True)
        _require_refusal(refused.json, "ann", "that process is gone")
        detected = time.time()
        # The kill leaves two locks, the script's and Pulumi's; --resume releases both, as their holders are gone.
        fixture.environment.run_script("cutover", IDLE, "--resume", "--bake", "0")
        fixture.environment.run_script("smoke_test", "--release", version)
        _require_no_drift(fixture)
        recovered = time.time()
    return DrillOutcome(
        detected_by="next command: the lock",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=any(
            str(message.facts.get("lock_broken")).startswith("ann on ") for message in fixture.notifications(began)
        ),
        note="traffic stayed on the new release, and `cutover --resume` finished; `pulumi up` then changes nothing",
    )


def _wait_for_weights(fixture: Fixture, cutover: OperatorCutover) -> None:
    elb, fleet = fixture.environment.client("elbv2"), fixture.fleet()
    target = fleet.colors[IDLE].target_group_arn

    def reason() -> str | None:
        rule = elb.describe_rules(RuleArns=[fleet.live_rule_arn])["Rules"][0]
        groups = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
        shifted = any(group["TargetGroupArn"] == target and group["Weight"] for group in groups)
        return None if shifted else "no new weights"

    wait_until(reason, what="the new weights", deadline=CUTOVER_DEADLINE_S, process=cutover.process)


def _require_refusal(result: dict[str, Any], holder: str, message: str) -> None:
    error = str(result.get("error"))
    if result.get("exit_code") != Exit.LOCKED or f"locked by {holder} on " not in error or message not in error:
        raise DrillError(f"not refused with the lock holder's name: exit code {result.get('exit_code')}, {error}")


def _require_no_drift(fixture: Fixture) -> None:
    """Require that program, state and AWS agree: another `pulumi up` changes nothing. Raises DrillError."""
    if count := changed_resources(fixture.environment.up()):
        raise DrillError(f"an unchanged program changes {count} resources")


def concurrent_cutovers(fixture: Fixture) -> DrillOutcome:
    with deployed_to_green(fixture, releases.good_release(fixture)):
        began = time.time()
        cutovers = [start_cutover(fixture, name, IDLE, bake=BAKE_S) for name in ("ann", "ben")]
        ended: dict[str, float] = {}

        def reason() -> str | None:
            for cutover in cutovers:
                if cutover.process.ended():
                    ended.setdefault(cutover.name, time.time())
            return None if len(ended) == len(cutovers) else "a cutover is still running"

        fixture.wait_until(reason, what="both cutovers to end", deadline=CUTOVER_DEADLINE_S)
        results = {cutover.name: cutover.result() for cutover in cutovers}
        first = next((name for name, result in results.items() if result["exit_code"] == Exit.OK), None)
        if first is None:
            raise DrillError(f"no cutover succeeded: {[result['error'] for result in results.values()]}")
        second = "ben" if first == "ann" else "ann"
        _require_refusal(results[second], first, "wait for it to end")
    notified = any(message.facts.get("who") == first for message in fixture.notifications(began))
    return DrillOutcome(
        detected_by="lock in S3",
        detected_seconds=ended[second] - began,
        recovered_seconds=ended[first] - began,
        notified=notified,
        note=f"the cutover of {first} succeeded; {second} was refused with the name of {first}",
    )


DRILLS = (
    Drill(
        fault="cutover script killed before the smoke test",
        inject=script_killed,
        deadline=BOOT_DEADLINE_S + CUTOVER_DEADLINE_S,
    ),
    Drill(fault="two concurrent cutovers", inject=concurrent_cutovers, deadline=BOOT_DEADLINE_S + CUTOVER_DEADLINE_S),
)
