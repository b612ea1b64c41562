"""Boot failures of idle instances: their notification, and the boot record on the instance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ami.boot.messages import Kind
from rehearsal.drills.drill import DrillError
from rehearsal.drills.fixture import IDLE, DeployProcess, Fixture
from rehearsal.drills.notification import Notification

NOTIFICATION_DEADLINE_S, CLEANUP_DEADLINE_S = 90.0, 60.0
FACTS = ("kind", "step", "error", "instance", "release", "color", "stack", "step_seconds", "lines")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Start and failure of the failed boot step, in seconds since the epoch."""

    began: float
    failed: float


def first_notification(fixture: Fixture, version: str, kind: Kind) -> Notification:
    """The first of this kind that names this release."""
    return fixture.wait_for_notification(
        lambda notification: (notification.facts.get("release"), notification.facts.get("kind")) == (version, kind),
        subject=version,
        deadline=NOTIFICATION_DEADLINE_S,
    )


def was_notified(fixture: Fixture, version: str, since: float) -> bool:
    """Whether the alerts topic got a message about this release since then (epoch seconds)."""
    return any(notification.facts.get("release") == version for notification in fixture.notifications(since))


def record_of(fixture: Fixture, instance: str) -> dict[str, Any]:
    """The instance's status file after its boot has finished, also of a terminated instance."""
    record: dict[str, Any] = {}

    def reason() -> str | None:
        fixture.cloud.boots()  # makes the emulator read the running instances' records
        rows = [*fixture.cloud.state()["terminated"], *fixture.cloud.instances()]
        record.update(next((row["boot"] for row in rows if row["instance"] == instance), {}))
        return None if record.get("finished") else f"{instance} has no record of a finished boot"

    fixture.wait_until(reason, what="the instance's boot record", deadline=CLEANUP_DEADLINE_S)
    return record


def seconds_of(moment: str) -> float:
    """Seconds since the epoch of an ISO 8601 time."""
    return datetime.fromisoformat(moment).timestamp()


def timing_of(fixture: Fixture, facts: dict[str, Any]) -> Timing:
    """Timing of the failed step in `facts`, from the instance's boot record."""
    record = record_of(fixture, facts["instance"])
    failed = seconds_of(record["finished"])
    return Timing(began=failed - float(record["steps"][facts["step"]]), failed=failed)


def require_facts(facts: dict[str, Any], *, step: str, message: str) -> None:
    """Require a complete notification of a failure in `step`, with `message` in its error. Raises DrillError."""
    if missing := [name for name in FACTS if not facts.get(name)]:
        raise DrillError(f"the notification lacks {', '.join(missing)}")
    if facts["step"] != step or message not in facts["error"]:
        raise DrillError(f"the notification says {facts['step']}: {facts['error']}; expected {step}: …{message}…")
    if step not in facts["step_seconds"]:
        raise DrillError(f"the timings {facts['step_seconds']} lack the step {step}")


def require_no_secret(fixture: Fixture, notification: Notification) -> None:
    """Require that the notification contains no secret value of this run. Raises DrillError."""
    database = fixture.environment.database
    secrets = {"the database's URL": database.url, "the database's password": database.password}
    if leaked := [name for name, value in secrets.items() if value in notification.subject + notification.message]:
        raise DrillError(f"the notification contains {', '.join(leaked)}")


def wait_cleaned_up(fixture: Fixture, deploy: DeployProcess) -> float:
    """Time (epoch seconds) at which the deploy had failed and its instances were gone."""

    def reason() -> str | None:
        if not deploy.ended():
            return "the deploy is still running"
        remaining = [row["instance"] for row in fixture.instances(IDLE)]
        return f"instances remain: {', '.join(remaining)}" if remaining else None

    at = fixture.wait_until(reason, what="the end of the deploy", deadline=CLEANUP_DEADLINE_S)
    if deploy.result().exit_code == 0:
        raise DrillError("the deploy of a release that can't boot succeeded")
    return at
