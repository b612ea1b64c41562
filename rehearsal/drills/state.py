"""State backend drills: Pulumi is unavailable while a bad release is live."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ami.boot.messages import Kind
from rehearsal.drills import releases
from rehearsal.drills.drill import Drill, DrillError, DrillOutcome
from rehearsal.drills.fixture import IDLE, LIVE, Fixture
from rehearsal.drills.live_traffic import BOOT_DEADLINE_S, deployed_to_green

MAX_ROLLBACK_S = 2.0  # from the command's start to the last response of the bad release
IN_FLIGHT_S = 1.0  # for responses in flight
MAX_ERROR_RATE = 0.05  # of all requests: the release fails one in ten while it is live
REASON = "one request in ten fails"


def backend_unreachable(fixture: Fixture) -> DrillOutcome:
    version = releases.unsteady(fixture)
    with deployed_to_green(fixture, version):
        fixture.environment.run_script("cutover", IDLE, "--bake", "0")
        began = time.time()
        with _without_pulumi(fixture):
            if not fixture.environment.run_script("rollback", may_fail=True).exit_code:
                raise DrillError("a rollback by Pulumi succeeded: its backend was reachable")
            detected = time.time()
            result = fixture.environment.run_script("rollback", "--direct", "--reason", REASON)
        last = _last_response(fixture, version, since=detected)
        if (duration := last - detected) > MAX_ROLLBACK_S:
            raise DrillError(f"{version} responded for {duration:.1f} s more, allowed are {MAX_ROLLBACK_S:g}")
        _require_reconciled(fixture)
    return DrillOutcome(
        detected_by="rollback: Pulumi fails",
        detected_seconds=detected - began,
        recovered_seconds=last - began,
        notified=any(message.facts.get("kind") == Kind.DIRECT_ROLLBACK for message in fixture.notifications(began)),
        note=f"all traffic was on {LIVE} {duration:.2f} s after the start of `rollback --direct` (the weights after "
        f"{result.json['moved_seconds']} s); `up --refresh` changed no weight",
    )


@contextmanager
def _without_pulumi(fixture: Fixture) -> Iterator[None]:
    """No CLI on the PATH of scripts, and a backend that does not exist."""
    missing = fixture.environment.folder / "nowhere"
    before = dict(fixture.environment.variables)
    fixture.environment.variables |= {
        "PATH": str(missing),
        "PULUMI_BACKEND_URL": f"file://{missing}",
    }
    try:
        yield
    finally:
        fixture.environment.variables.clear()
        fixture.environment.variables.update(before)


def _last_response(fixture: Fixture, version: str, *, since: float) -> float:
    """Time (epoch seconds) of this release's last response."""
    time.sleep(IN_FLIGHT_S)
    requests = fixture.load.log().requests
    last = max((request.responded_at for request in requests if request.release == version), default=0.0)
    if last < since:
        raise DrillError(f"{version} got no traffic before the direct rollback: the fault had no effect")
    return last


def _require_reconciled(fixture: Fixture) -> None:
    """Require that status reports the rollback until an `up` with a refresh, which changes no weight."""
    weights = fixture.fleet().weights
    if weights[IDLE] or not weights[LIVE]:
        raise DrillError(f"the weights are {weights} after the direct rollback")
    unreconciled = str(fixture.environment.run_script("status").json["unreconciled"])
    if REASON not in unreconciled:
        raise DrillError(f"status does not report the direct rollback: {unreconciled}")
    fixture.environment.stack.up(refresh=True)
    if (now := fixture.fleet().weights) != weights:
        raise DrillError(f"`up --refresh` changed the weights from {weights} to {now}")
    if remaining := fixture.environment.run_script("status").json["unreconciled"]:
        raise DrillError(f"the state is not reconciled: {remaining}")


DRILLS = (
    Drill(
        fault="state backend unreachable during a rollback",
        inject=backend_unreachable,
        deadline=BOOT_DEADLINE_S + 120.0,
        max_error_rate=MAX_ERROR_RATE,
    ),
)
