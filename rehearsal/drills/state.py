"""State backend faults: Pulumi can't be used, and users are on a release that they must leave."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ami.boot.messages import Kind
from rehearsal.drills import releases
from rehearsal.drills.drill import Drill, DrillError, Outcome
from rehearsal.drills.fixture import IDLE, SERVING, Scene
from rehearsal.drills.live_traffic import BOOT_DEADLINE_S, on_green

LEFT_WITHIN_S = 2.0  # from the command's start to the last answer of the release that users leave
ANSWERS_S = 1.0  # for answers that were under way
BAD_SHARE = 0.05  # of all requests: the release fails one in ten while users are on it
REASON = "one request in ten fails"


def backend_unreachable(scene: Scene) -> Outcome:
    version = releases.unsteady(scene)
    with on_green(scene, version):
        scene.stage.script("cutover", IDLE, "--bake", "0")
        began = time.time()
        with _without_pulumi(scene):
            if not scene.stage.script("rollback", may_fail=True).exit_code:
                raise DrillError("a rollback by Pulumi went through: its backend was reached")
            detected = time.time()
            answer = scene.stage.script("rollback", "--direct", "--reason", REASON)
        last = _last_answer(scene, version, since=detected)
        if (left := last - detected) > LEFT_WITHIN_S:
            raise DrillError(f"users had left {version} after {left:.1f} s, allowed are {LEFT_WITHIN_S:g}")
        _require_reconciled(scene)
    return Outcome(
        detected_by="rollback: Pulumi fails",
        detected_seconds=detected - began,
        recovered_seconds=last - began,
        notified=any(one.facts.get("kind") == Kind.DIRECT_ROLLBACK for one in scene.notices(began)),
        note=f"all users were on {SERVING} {left:.2f} s after the start of `rollback --direct` (the weights after "
        f"{answer.json['moved_seconds']} s); `up --refresh` changed no weight",
    )


@contextmanager
def _without_pulumi(scene: Scene) -> Iterator[None]:
    """For scripts: no CLI on the PATH, and a backend that is not there."""
    nowhere = scene.stage.folder / "nowhere"
    before = dict(scene.stage.environment)
    scene.stage.environment |= {
        "PATH": str(nowhere),
        "PULUMI_BACKEND_URL": f"file://{nowhere}",
    }
    try:
        yield
    finally:
        scene.stage.environment.clear()
        scene.stage.environment.update(before)


def _last_answer(scene: Scene, version: str, *, since: float) -> float:
    """When (epoch seconds) this release answered for the last time."""
    time.sleep(ANSWERS_S)
    answered = [one.answered for one in scene.users.log().requests if one.release == version]
    last = max(answered, default=0.0)
    if last < since:
        raise DrillError(f"users had left {version} before the direct rollback: nothing was played")
    return last


def _require_reconciled(scene: Scene) -> None:
    """Status names the rollback until an `up` with a refresh, which changes no weight; then it names none."""
    weights = scene.fleet().weights
    if weights[IDLE] or not weights[SERVING]:
        raise DrillError(f"users go to {weights} after the direct rollback")
    told = str(scene.stage.script("status").json["unreconciled"])
    if REASON not in told:
        raise DrillError(f"status does not tell of the direct rollback: {told}")
    scene.stage.stack.up(refresh=True)
    if (now := scene.fleet().weights) != weights:
        raise DrillError(f"`up --refresh` moved users from {weights} to {now}")
    if told := scene.stage.script("status").json["unreconciled"]:
        raise DrillError(f"the state is not reconciled: {told}")


DRILLS = (
    Drill(
        fault="state backend unreachable during a rollback",
        play=backend_unreachable,
        deadline=BOOT_DEADLINE_S + 120.0,
        bad_share=BAD_SHARE,
    ),
)
