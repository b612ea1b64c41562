"""Boots that must succeed despite a fault; the smoke test detects what it breaks before the release is live."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ami.boot.container import LOGGED_START_SECONDS
from rehearsal.drills import outages, releases
from rehearsal.drills.boot_record import record_of, seconds_of, was_notified
from rehearsal.drills.drill import Drill, DrillError, DrillOutcome
from rehearsal.drills.fixture import IDLE, Fixture
from rehearsal.host import processes
from rehearsal.host.database import DatabaseServer

SMOKE_TEST = ("--color", IDLE, "--deadline", "6")  # retries do not help a bad release; a deep check alone takes 2 s
HEALTHY_DEADLINE_S, BOOTING_DEADLINE_S, AGENT_DEADLINE_S = 40.0, 60.0, 30.0
LINES_DEADLINE_S = 60.0  # Docker retries after up to half a minute
DATABASE, DEEP = "DATABASE_URL", "database"
LOGS_HANG_S = 2 * LOGGED_START_SECONDS  # a boot that waits for one response exceeds the limit on any host


def booted(fixture: Fixture, version: str, *args: str) -> float:
    """Deploy a release whose instance must boot; the start of the boot (epoch seconds)."""
    result = fixture.deploy(version, *args)
    if result.exit_code:
        raise DrillError(f"the deploy of {version} exited with code {result.exit_code}: {result.reason}")
    return min(seconds_of(record_of(fixture, row["instance"])["started"]) for row in fixture.instances(IDLE))


def smoke_test_fails(fixture: Fixture) -> float:
    """Time (epoch seconds) at which the smoke test had failed for the database."""
    result = fixture.environment.run_script("smoke_test", *SMOKE_TEST, may_fail=True)
    failed = [check["name"] for check in result.json.get("checks", []) if not check["ok"]]
    if result.exit_code == 0 or DEEP not in failed:
        raise DrillError(f"the smoke test exited with code {result.exit_code}, failed checks: {failed}")
    return time.time()


def smoke_test_passes(fixture: Fixture) -> float:
    result = fixture.environment.run_script(
        "smoke_test", "--color", IDLE, "--deadline", str(HEALTHY_DEADLINE_S), may_fail=True
    )
    if result.exit_code:
        raise DrillError(f"the fault has been removed, but the smoke test still fails: {result.reason}")
    return time.time()


def no_database(fixture: Fixture) -> DrillOutcome:
    """The release's own database does not answer while its instance boots; the live release's is not affected."""
    environment = fixture.environment
    database = DatabaseServer.start(environment.sandbox, host=environment.sandbox.gateway)
    try:
        with paused(database):
            environment.put_parameter(DATABASE, database.url)
            version = releases.good_release(fixture)
            began = booted(fixture, version)
            detected = smoke_test_fails(fixture)
        recovered = smoke_test_passes(fixture)
    finally:
        database.stop()
    return DrillOutcome(
        detected_by="smoke test",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=was_notified(fixture, version, began),
        note="the instance booted and failed the smoke test; it passed without a restart once the database answered",
    )


@contextmanager
def paused(database: DatabaseServer) -> Iterator[None]:
    """A database that accepts connections and does not answer: the outage that makes clients wait longest."""
    members = processes.session_of(database.process.identity)
    for member in members:
        processes.send(member, signal.SIGSTOP)
    try:
        yield
    finally:
        for member in members:
            processes.send(member, signal.SIGCONT)


def parameter_missing(fixture: Fixture) -> DrillOutcome:
    environment = fixture.environment
    environment.client("ssm").delete_parameter(Name=environment.parameter_path(DATABASE))
    version = releases.needs_database(fixture)
    began = booted(fixture, version)
    detected = smoke_test_fails(fixture)
    environment.put_parameter(DATABASE, environment.database.url)
    environment.run_script("restart", "--color", IDLE)
    recovered = smoke_test_passes(fixture)
    return DrillOutcome(
        detected_by="smoke test",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=was_notified(fixture, version, began),
        note="the same instance passed after a restart, once the parameter existed",
    )


def agent_dead(fixture: Fixture) -> DrillOutcome:
    """The agent exits at once and the log service does not answer; neither may delay the boot.

    Recovered when the app's first lines are in its log group.
    """
    fixture.cloud.set_fault("logs", "slow", seconds=LOGS_HANG_S, color=IDLE)
    version = releases.good_release(fixture)
    began = booted(fixture, version, "--ami", releases.dead_agent(fixture))
    instance = str(fixture.instances(IDLE)[0]["instance"])
    detected = fixture.wait_until(
        lambda: _agent_not_failed(fixture, instance), what="systemd to see the agent fail", deadline=AGENT_DEADLINE_S
    )
    seconds = _start_seconds(fixture, instance)
    if seconds >= LOGGED_START_SECONDS:
        raise DrillError(f"the app took {seconds:.1f} s to start: it waited for the log service")
    if not (unanswered := sum(fault["requests"] for fault in fixture.cloud.faults())):
        raise DrillError("the log service got no request: the fault had no effect")
    fixture.cloud.clear_faults()
    recovered = fixture.wait_until(
        lambda: _start_line_missing(fixture, version, instance), what="the app's lines", deadline=LINES_DEADLINE_S
    )
    return DrillOutcome(
        detected_by="systemd: bluegreen-logs failed",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=was_notified(fixture, version, began),
        note=f"the app started in {seconds:.1f} s, while {unanswered} requests to the log service were not answered",
    )


def _start_line_missing(fixture: Fixture, version: str, instance: str) -> str | None:
    """Why the app's start is not in its log group, or None."""
    lines = outages.app_lines(fixture, IDLE, version, instance)
    return None if any("start release=" in line for line in lines) else f"{len(lines)} lines, but no start line"


def _agent_not_failed(fixture: Fixture, instance: str) -> str | None:
    state = fixture.exec_on(instance, "systemctl", "show", "--property", "Result", "--value", "bluegreen-logs")
    return None if state == "exit-code" else f"the unit's result is {state}"


def _start_seconds(fixture: Fixture, instance: str) -> float:
    """From `docker run`, which opens the log, to the first healthy response."""
    steps = record_of(fixture, instance)["steps"]
    return float(steps["run"] + steps["ready"])


def rebooted(fixture: Fixture) -> DrillOutcome:
    """The instance is rebooted through EC2's API while it builds the image."""
    version = releases.good_release(fixture)
    deploy = fixture.start_deploy(version)
    instance = _building_instance(fixture)
    began = time.time()
    fixture.environment.client("ec2").reboot_instances(InstanceIds=[instance])
    recovered = fixture.wait_until(
        lambda: None if deploy.ended() else "the deploy is still running",
        what="the end of the deploy",
        deadline=BOOTING_DEADLINE_S,
    )
    if (result := deploy.result()).exit_code:
        raise DrillError(f"the deploy exited with code {result.exit_code}: {result.reason}")
    record = record_of(fixture, instance)
    if (again := seconds_of(record["started"])) < began:
        raise DrillError(f"{instance} was not rebooted: its boot began {began - again:.1f} s before")
    return DrillOutcome(
        detected_by="next boot of the same instance",
        detected_seconds=again - began,
        recovered_seconds=recovered - began,
        notified=was_notified(fixture, version, began),
        note=f"{instance} booted again and became healthy",
    )


def _building_instance(fixture: Fixture) -> str:
    """The instance that is in boot step `image`."""
    found: list[str] = []

    def reason() -> str | None:
        fixture.cloud.boots()
        found[:] = [row["instance"] for row in fixture.instances(IDLE) if row["boot"].get("step") == "image"]
        return None if found else "no instance builds its image yet"

    fixture.wait_until(reason, what="an instance in the middle of its boot", deadline=BOOTING_DEADLINE_S)
    return found[0]


DRILLS = (
    Drill(fault="database down at boot", inject=no_database, must_notify=False),
    Drill(fault="log agent down", inject=agent_dead, must_notify=False),
    Drill(fault="SSM parameter missing", inject=parameter_missing, must_notify=False),
    Drill(fault="reboot during a boot", inject=rebooted, must_notify=False),
)
