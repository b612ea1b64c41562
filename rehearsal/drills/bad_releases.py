"""Drills with releases that fail only under traffic: automatic rollback after a bake, and a memory leak."""

from __future__ import annotations

import time

from ami.boot import messages
from rehearsal.drills import releases
from rehearsal.drills.drill import Drill, DrillError, DrillOutcome
from rehearsal.drills.failing_boots import MAX_NOTIFICATION_DELAY_S
from rehearsal.drills.fixture import IDLE, Fixture
from rehearsal.drills.live_traffic import RECOVERY_DEADLINE_S, crash_notification, deployed_to_green
from rehearsal.drills.notification import Notification
from scripts.cli.exits import Exit

CANARY_PERCENT, CANARY_BAKE, BAKE = "5", "40", "40"
MAX_CANARY_ERROR_RATE = 0.01  # of all requests, while the canary gets 5 %
MAX_ROLLBACK_S = 20.0
# The app alone takes some 60 MB, and leaks some 6 MB a second here: its cutover is over before it is killed.
MEMORY_LIMIT = "176m"
SIGKILL_EXIT_CODE = "137"


def unsteady_release(fixture: Fixture) -> DrillOutcome:
    """First as a canary, then live: in both cases it is rolled back automatically."""
    version = releases.unsteady(fixture)
    with deployed_to_green(fixture, version):
        started = time.time()
        _require_rollback(fixture, "canary", CANARY_PERCENT, "--bake", CANARY_BAKE)
        canary = fixture.load.log().between(started, time.time())
        if canary.failed > MAX_CANARY_ERROR_RATE * canary.requests:
            raise DrillError(
                f"with {CANARY_PERCENT} % of traffic, {canary.failed} of {canary.requests} requests failed"
            )
        cutover = time.time()
        _require_rollback(fixture, "cutover", IDLE, "--bake", BAKE)
        canary_errors = f"{canary.failed} of {canary.requests} with {CANARY_PERCENT} % of the traffic"
        return _outcome(fixture, version, cutover, canary_errors)


def _require_rollback(fixture: Fixture, script: str, *args: str) -> None:
    result = fixture.environment.run_script(script, *args, may_fail=True)
    if result.exit_code != Exit.ROLLED_BACK:
        raise DrillError(f"{script} exited with code {result.exit_code}, not {Exit.ROLLED_BACK}: {result.reason}")


def _outcome(fixture: Fixture, version: str, cutover: float, canary_errors: str) -> DrillOutcome:
    """By the request log: from the release's first failed response to its last response of any kind."""
    log = fixture.load.log()
    own = [request for request in log.requests if request.release == version and request.due >= cutover]
    failed = [request for request in own if request.error]
    if not failed:
        raise DrillError(f"no response of {version} failed: the fault had no effect")
    first, last = min(request.responded_at for request in failed), max(request.responded_at for request in own)
    notifications = [
        message
        for message in fixture.notifications(cutover)
        if message.facts.get("outcome") == messages.Outcome.ROLLED_BACK
    ]
    if not notifications:
        raise DrillError(f"no notification of the rollback of {version}")
    return DrillOutcome(
        detected_by="cutover's bake",
        detected_seconds=max(0.0, rejected_at(notifications[0]) - first),
        recovered_seconds=last - first,
        notified=True,
        note=f"failed: {canary_errors}; {len(failed)} with all of it. {notifications[0].facts.get('reason', '')}",
    )


def rejected_at(notification: Notification) -> float:
    """Time (epoch seconds) at which the bake rejected the release; its stage includes the rollback."""
    figures = notification.facts.get("figures", {})
    stage = figures.get("stages", {}).get("bake", 0.0)
    return notification.at - max(0.0, float(stage) - float(figures.get("bake_seconds", stage)))


def leaking_release(fixture: Fixture) -> DrillOutcome:
    """One instance runs out of memory before the other: the kernel kills the app, and Docker restarts it.

    The fault starts with the cutover.
    """
    with deployed_to_green(fixture, releases.leaking(fixture)):
        instance = str(fixture.instances(IDLE)[0]["instance"])
        fixture.exec_on(instance, "docker", "update", "--memory", MEMORY_LIMIT, "--memory-swap", MEMORY_LIMIT, "app")
        fixture.environment.run_script("cutover", IDLE)
        since = time.time()
        killed = _kill_time(fixture, instance, since)
        recovered = fixture.wait_until(
            lambda: None if _restarts(fixture, instance) else "Docker has not restarted the app",
            what="the app's restart",
            deadline=RECOVERY_DEADLINE_S,
        )
        notification = crash_notification(fixture, instance, kind=messages.Kind.APP_EXITED, since=since)
        delay = notification.at - killed
        if delay > MAX_NOTIFICATION_DELAY_S or str(notification.facts["exit_code"]) != SIGKILL_EXIT_CODE:
            allowed = f"allowed are {MAX_NOTIFICATION_DELAY_S:g}"
            raise DrillError(f"notified {delay:.1f} s after the kill, {allowed}: {notification.facts['error']}")
        fixture.environment.run_script("rollback")
    return DrillOutcome(
        detected_by="Docker: the app exited with 137",
        detected_seconds=killed - since,
        recovered_seconds=recovered - since,
        notified=True,
        note=f"restarted by Docker {recovered - killed:.1f} s after the kill at {MEMORY_LIMIT}, then rolled back; "
        f"notified {delay:.1f} s after it: {notification.facts['error'][:160]}",
    )


def _restarts(fixture: Fixture, instance: str) -> int:
    return int(fixture.exec_on(instance, "docker", "inspect", "--format", "{{.RestartCount}}", "app"))


def _kill_time(fixture: Fixture, instance: str, since: float) -> float:
    """Time (epoch seconds) at which the kernel killed the app, by Docker's events."""
    times: list[float] = []

    def reason() -> str | None:
        window = ("--since", str(int(since)), "--until", str(int(time.time()) + 1))
        template = '{{.TimeNano}} {{index .Actor.Attributes "exitCode"}}'
        lines = fixture.exec_on(instance, "docker", "events", *window, "--filter", "event=die", "--format", template)
        times[:] = [int(line.split()[0]) / 1e9 for line in lines.splitlines() if line.split()[-1] == SIGKILL_EXIT_CODE]
        return None if times else "the app is still running"

    fixture.wait_until(reason, what="the out-of-memory kill of the app", deadline=RECOVERY_DEADLINE_S)
    return times[0]


DRILLS = (
    Drill(
        fault="release that answers 500 to one request in ten only under load",
        inject=unsteady_release,
        deadline=240.0,
        max_error_rate=0.05,
        max_recovery_seconds=MAX_ROLLBACK_S,
    ),
    Drill(fault="release that leaks memory until killed", inject=leaking_release, deadline=240.0),
)
