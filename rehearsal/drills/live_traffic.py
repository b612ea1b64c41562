"""Drills under live traffic: lost instances and zones, a killed Docker daemon, a database outage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pulumi.automation as auto

from ami.boot.messages import Kind
from fleet.colors import Color
from rehearsal.drills import outages, releases
from rehearsal.drills.boot_record import was_notified
from rehearsal.drills.direct_probe import DirectProbe
from rehearsal.drills.drill import Drill, DrillError, DrillOutcome
from rehearsal.drills.fixture import IDLE, INSTANCES, LIVE, RELEASE, Fixture
from rehearsal.drills.notification import Notification
from rehearsal.load.request_log import RequestLog
from rehearsal.scenario import APP_PORT

DETECTION_DEADLINE_S, BOOT_DEADLINE_S = 40.0, 120.0
# An Auto Scaling group replaces an unhealthy new instance after a minute, and the replacement has to boot.
RECOVERY_DEADLINE_S = 130.0
# Docker restarts within a second or two, later on a busy host; it ships log lines every 5 s.
DAEMON_DEADLINE_S, LINES_DEADLINE_S = 30.0, 20.0
MINUTE_S = 60
CHECKS_S = 12.0  # two health checks of 5 s and a margin: an unhealthy instance would be out of service by then
# Auto Scaling's event comes after the termination: while the instance drains, after its hook's 60 s.
EVENT_DEADLINE_S = 75.0
SMOKE_TEST_S = "4"  # retries do not help a bad release; a deep check alone takes 2 s


@contextmanager
def deployed_to_green(fixture: Fixture, version: str) -> Iterator[None]:
    """Deploy a release to green, with as many instances as the live color, for the duration of the block."""
    _set_min_size(fixture, INSTANCES)
    try:
        result = fixture.deploy(version, deadline=BOOT_DEADLINE_S)
        if result.exit_code:
            raise DrillError(f"the deploy of {version} exited with code {result.exit_code}: {result.reason}")
        time.sleep(max(0.0, next_minute(fixture.load.log(), IDLE) - time.time()))
        yield
    finally:
        _set_min_size(fixture, 1)


def next_minute(log: RequestLog, color: Color) -> float:
    """End (epoch seconds) of the minute of this color's last response; 0 without one.

    The load balancer's metrics are per minute and color: responses of the previous release would count for this one.
    On AWS no instance boots within that time.
    """
    last = max((request.responded_at for request in log.requests if request.color == color), default=None)
    return 0.0 if last is None else (last // MINUTE_S + 1) * MINUTE_S


def _set_min_size(fixture: Fixture, instances: int) -> None:
    fixture.environment.stack.set_config(f"bluegreen:{IDLE}.minSize", auto.ConfigValue(str(instances)), path=True)


def instance_killed(fixture: Fixture) -> DrillOutcome:
    return _lose_instances(fixture, [fixture.instances(LIVE)[0]["instance"]], note="one of two instances, by SIGKILL")


def zone_lost(fixture: Fixture) -> DrillOutcome:
    """Half of the live instances; no instance can be launched in the zone meanwhile."""
    zone = str(fixture.instances(LIVE)[0]["zone"])
    lost = [row["instance"] for row in fixture.instances(LIVE) if row["zone"] == zone]
    if len(lost) == INSTANCES:
        raise DrillError(f"all {INSTANCES} instances are in {zone}: none would be left")
    fixture.cloud.set_failed_zones(zone)
    try:
        outcome = _lose_instances(fixture, lost, note=f"{zone} with {len(lost)} of {INSTANCES} instances")
        zones = {row["zone"] for row in fixture.instances(LIVE) if row["lifecycle"] == "InService"}
    finally:
        fixture.cloud.set_failed_zones()
    if zone in zones:
        raise DrillError(f"an instance is in service in {zone}, which is down")
    return outcome


def _lose_instances(fixture: Fixture, lost: list[str], *, note: str) -> DrillOutcome:
    began = time.time()
    outages.kill_instances(fixture, lost)
    detected = fixture.wait_until(
        lambda: outages.undetected(fixture, LIVE, lost),
        what="the load balancer to detect it",
        deadline=DETECTION_DEADLINE_S,
    )
    recovered = fixture.wait_until(
        lambda: outages.not_recovered_reason(fixture, LIVE, lost), what="the replacements", deadline=RECOVERY_DEADLINE_S
    )
    outages.complete_termination(fixture, lost)
    fixture.wait_until(lambda: _unreported(fixture, lost, began), what="the notification", deadline=EVENT_DEADLINE_S)
    return DrillOutcome(
        detected_by="load balancer's health check",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=_unreported(fixture, lost, began) is None,
        note=note,
    )


def _unreported(fixture: Fixture, lost: list[str], since: float) -> str | None:
    """Difference between the lost instances and those in the notifications, or None."""
    messages = [notification.facts for notification in fixture.notifications(since)]
    named = [str(facts["instance"]) for facts in messages if facts.get("kind") == Kind.INSTANCE_LOST]
    return None if sorted(named) == sorted(lost) else f"lost: {', '.join(lost)}; reported: {', '.join(named) or 'none'}"


def docker_killed(fixture: Fixture) -> DrillOutcome:
    """The restarted daemon finds the app still running, and ships its log lines again."""
    row = fixture.instances(LIVE)[0]
    instance = str(row["instance"])
    app, starts = outages.app_start(fixture, instance), outages.docker_starts(fixture, instance)

    def not_restarted() -> str | None:
        return None if outages.docker_starts(fixture, instance) > starts else "systemd has not restarted Docker"

    def not_recovered_reason() -> str | None:
        """Same instance, same app process, known to the daemon, healthy for the load balancer."""
        current = outages.app_start(fixture, instance)
        if current != app:
            return f"the app runs as {current or 'nothing'}, not {app}"
        return outages.not_recovered_reason(fixture, LIVE, [])

    with DirectProbe(str(row["address"]), APP_PORT) as probe:
        began = time.time()
        outages.kill_docker(fixture, instance)
        detected = fixture.wait_until(not_restarted, what="systemd to restart Docker", deadline=DETECTION_DEADLINE_S)
        recovered = fixture.wait_until(
            not_recovered_reason, what="Docker to manage the app again", deadline=DAEMON_DEADLINE_S
        )
        notification = crash_notification(fixture, instance, kind=Kind.DOCKER_FAILED, since=began)
        _require_lines(fixture, instance)
        time.sleep(max(0.0, began + CHECKS_S - time.time()))
    if "the app kept running" not in notification.facts["error"]:
        raise DrillError(f"the notification about {instance} says: {notification.facts['error']}")
    if reason := not_recovered_reason():
        raise DrillError(f"{CHECKS_S:g} s after the daemon was killed: {reason}")
    if probe.errors:
        raise DrillError(f"{len(probe.errors)} of {probe.requests} requests to {instance} failed, {probe.errors[0]}")
    return DrillOutcome(
        detected_by="systemd: docker.service",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=True,
        note=f"{instance} stayed in service, its app kept running and answered all {probe.requests} direct requests; "
        f"log lines arrive; notified after {notification.at - began:.1f} s: {notification.facts['error']}",
    )


def crash_notification(fixture: Fixture, instance: str, *, kind: Kind, since: float) -> Notification:
    """First notification of this kind about this instance."""
    return fixture.wait_for_notification(
        lambda message: (message.facts.get("instance"), message.facts.get("kind")) == (instance, kind),
        subject=f"{kind} on {instance}",
        since=since,
        deadline=DETECTION_DEADLINE_S,
    )


def _require_lines(fixture: Fixture, instance: str) -> None:
    """Require that a new line of the app reaches its log group."""
    line = f"drill-{time.time_ns()}"
    outages.write_app_line(fixture, instance, line)

    def reason() -> str | None:
        lines = outages.app_lines(fixture, LIVE, RELEASE, instance)
        return None if line in lines else f"of {len(lines)} lines of {instance} the last is {lines[-1:]}"

    fixture.wait_until(reason, what="the app's new line in its log group", deadline=LINES_DEADLINE_S)


def database_down(fixture: Fixture) -> DrillOutcome:
    """The release serves without its database what it can; the load balancer's health check needs no database."""
    version = releases.degrading(fixture)
    with deployed_to_green(fixture, version):
        fixture.environment.run_script("cutover", IDLE)
        fleet = {row["instance"] for row in fixture.instances(IDLE)}
        began = time.time()
        with outages.unresponsive(fixture.environment.database):
            detected = _smoke_test(fixture, good=False)
            time.sleep(max(0.0, began + CHECKS_S - time.time()))
            _require_same_instances(fixture, fleet)
        recovered = _smoke_test(fixture, good=True)
        _require_same_instances(fixture, fleet)
    return DrillOutcome(
        detected_by="deep smoke test",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=was_notified(fixture, version, began),
        note=f"{len(fleet)} instances stayed healthy for {CHECKS_S:g} s without a database: none was replaced",
    )


def _smoke_test(fixture: Fixture, *, good: bool) -> float:
    """Time (epoch seconds) at which the public endpoint's deep smoke test had passed, or failed."""
    deadline = "40" if good else SMOKE_TEST_S
    result = fixture.environment.run_script("smoke_test", "--deadline", deadline, may_fail=True)
    failed = [check["name"] for check in result.json.get("checks", []) if not check["ok"]]
    if good != (result.exit_code == 0) or (not good and "database" not in failed):
        raise DrillError(f"the smoke test exited with code {result.exit_code}, failed checks: {failed}")
    return time.time()


def _require_same_instances(fixture: Fixture, fleet: set[str]) -> None:
    """Require the same instances as before, each a healthy target. Raises DrillError."""
    rows = fixture.instances(IDLE)
    unhealthy = [row["instance"] for row in rows if set(row["targets"].values()) != {"healthy"}]
    if {row["instance"] for row in rows} != fleet or unhealthy:
        raise DrillError(f"the outage affected the instances: {sorted(fleet)} before, unhealthy now: {unhealthy}")


DRILLS = (
    # First: replacements of lost instances may all be in one zone.
    Drill(fault="availability zone lost", inject=zone_lost, deadline=290.0),
    Drill(fault="instance killed under load", inject=instance_killed, deadline=290.0),
    Drill(
        fault="Docker daemon killed under load",
        inject=docker_killed,
        deadline=120.0,
        max_recovery_seconds=DAEMON_DEADLINE_S,
    ),
    Drill(fault="database down after cutover", inject=database_down, deadline=200.0, must_notify=False),
)
