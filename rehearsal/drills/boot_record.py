"""What a machine of the color without users told of its boot, and what it wrote down itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ami.boot.messages import Kind
from rehearsal.drills.drill import DrillError
from rehearsal.drills.fixture import IDLE, Delivery, Scene
from rehearsal.drills.notification import Notice

NOTICED_DEADLINE_S, CLEARED_DEADLINE_S = 90.0, 60.0
FACTS = ("kind", "step", "error", "instance", "release", "color", "stack", "step_seconds", "lines")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Of the step that failed, in seconds since the epoch."""

    began: float
    failed: float


def first_notice(scene: Scene, version: str, kind: Kind) -> Notice:
    """The first of this kind that names this release."""
    return scene.hear(
        lambda one: (one.facts.get("release"), one.facts.get("kind")) == (version, kind),
        of=version,
        deadline=NOTICED_DEADLINE_S,
    )


def heard_of(scene: Scene, version: str, since: float) -> bool:
    """Whether people were told anything of this release since this moment (epoch seconds)."""
    return any(one.facts.get("release") == version for one in scene.notices(since))


def record_of(scene: Scene, instance: str) -> dict[str, Any]:
    """The machine's status file once its boot is over, also of a machine that is gone since."""
    record: dict[str, Any] = {}

    def reason() -> str | None:
        scene.cloud.boots()  # has the emulator look at those that are present
        rows = [*scene.cloud.state()["gone"], *scene.cloud.machines()]
        record.update(next((row["boot"] for row in rows if row["instance"] == instance), {}))
        return None if record.get("finished") else f"{instance} has left no record of a finished boot"

    scene.until(reason, what="the machine's own record", deadline=CLEARED_DEADLINE_S)
    return record


def seconds_of(moment: str) -> float:
    """From the status file's ISO 8601 to seconds since the epoch."""
    return datetime.fromisoformat(moment).timestamp()


def timing_of(scene: Scene, facts: dict[str, Any]) -> Timing:
    """Of a boot's facts, by the machine's own record."""
    record = record_of(scene, facts["instance"])
    failed = seconds_of(record["finished"])
    return Timing(began=failed - float(record["steps"][facts["step"]]), failed=failed)


def require_facts(facts: dict[str, Any], *, step: str, words: str) -> None:
    """All that a person needs is in a boot's facts."""
    if missing := [name for name in FACTS if not facts.get(name)]:
        raise DrillError(f"the notification lacks {', '.join(missing)}")
    if facts["step"] != step or words not in facts["error"]:
        raise DrillError(f"told was {facts['step']}: {facts['error']}; expected {step}: …{words}…")
    if step not in facts["step_seconds"]:
        raise DrillError(f"the seconds {facts['step_seconds']} leave out the step {step}")


def require_no_secret(scene: Scene, notice: Notice) -> None:
    """By the values that this run drew, not by what looks like a secret."""
    database = scene.stage.database
    secrets = {"the database's URL": database.url, "the database's password": database.password}
    if seen := [name for name, value in secrets.items() if value in notice.subject + notice.message]:
        raise DrillError(f"the notification shows {', '.join(seen)}")


def cleared_away(scene: Scene, delivery: Delivery) -> float:
    """When the delivery had said no, and nothing of it cost money any more."""

    def reason() -> str | None:
        if not delivery.ended():
            return "the delivery still waits"
        left = [row["instance"] for row in scene.machines(IDLE)]
        return f"machines are left: {', '.join(left)}" if left else None

    at = scene.until(reason, what="the end of the delivery", deadline=CLEARED_DEADLINE_S)
    if delivery.answer().exit_code == 0:
        raise DrillError("the delivery of a release that can't boot said that all is well")
    return at
