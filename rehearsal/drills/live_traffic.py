"""Faults that meet machines and their database while users are served."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pulumi.automation as auto

from ami.boot.messages import Kind
from checks.colors import Color
from rehearsal.drills import outages, releases
from rehearsal.drills.boot_record import heard_of
from rehearsal.drills.direct_probe import Knocks
from rehearsal.drills.drill import Drill, DrillError, Outcome
from rehearsal.drills.fixture import IDLE, MACHINES, RELEASE, SERVING, Scene
from rehearsal.drills.notification import Notice
from rehearsal.load.request_log import RequestLog
from rehearsal.scenario import APP_PORT

NOTICED_DEADLINE_S, BOOT_DEADLINE_S = 40.0, 120.0
# A group lets a new machine be ill for a minute before it replaces it, and its successor has to boot.
WHOLE_DEADLINE_S = 130.0
# Docker is back in a second or two, on a busy machine later; it sends lines away every 5 s.
DAEMON_DEADLINE_S, LINES_DEADLINE_S = 30.0, 20.0
MINUTE_S = 60
CHECKS_S = 12.0  # two health checks of 5 s, and a little: what a machine would be taken out for shows by then
# Auto Scaling's event comes when the machine is gone: where it was still draining, after its hook's 60 s.
NEWS_DEADLINE_S = 75.0
JUDGE_S = "4"  # what is bad stays bad; a deep check alone takes 2 s


@contextmanager
def on_green(scene: Scene, version: str) -> Iterator[None]:
    """Delivered there to as many machines as serve."""
    _set_least(scene, MACHINES)
    try:
        answer = scene.delivered(version, deadline=BOOT_DEADLINE_S)
        if answer.exit_code:
            raise DrillError(f"the delivery of {version} ended with exit code {answer.exit_code}: {answer.reason}")
        time.sleep(max(0.0, next_minute(scene.users.log(), IDLE) - time.time()))
        yield
    finally:
        _set_least(scene, 1)


def next_minute(log: RequestLog, color: Color) -> float:
    """When (epoch seconds) the minute is over in which this color answered last; 0 where it never did.

    The balancer counts by the minute and the color: what the release before answered would be laid at this one's door.
    On AWS no machine boots within that time.
    """
    last = max((one.answered for one in log.requests if one.color == color), default=None)
    return 0.0 if last is None else (last // MINUTE_S + 1) * MINUTE_S


def _set_least(scene: Scene, machines: int) -> None:
    scene.stage.stack.set_config(f"bluegreen:{IDLE}.minSize", auto.ConfigValue(str(machines)), path=True)


def machine_killed(scene: Scene) -> Outcome:
    return _lost(scene, [scene.machines(SERVING)[0]["instance"]], note="one of two machines, by SIGKILL to all of it")


def zone_gone(scene: Scene) -> Outcome:
    """Of the color that serves, half of the machines; groups can launch nothing there meanwhile."""
    zone = str(scene.machines(SERVING)[0]["zone"])
    lost = [row["instance"] for row in scene.machines(SERVING) if row["zone"] == zone]
    if len(lost) == MACHINES:
        raise DrillError(f"all {MACHINES} machines are in {zone}: nobody would be left to serve")
    scene.cloud.set_zones_gone(zone)
    try:
        outcome = _lost(scene, lost, note=f"{zone} with {len(lost)} of {MACHINES} machines")
        elsewhere = {row["zone"] for row in scene.machines(SERVING) if row["lifecycle"] == "InService"}
    finally:
        scene.cloud.set_zones_gone()
    if zone in elsewhere:
        raise DrillError(f"a machine serves in {zone}, which is gone")
    return outcome


def _lost(scene: Scene, lost: list[str], *, note: str) -> Outcome:
    began = time.time()
    outages.kill_machines(scene, lost)
    detected = scene.until(
        lambda: outages.unnoticed(scene, SERVING, lost), what="the balancer to notice", deadline=NOTICED_DEADLINE_S
    )
    recovered = scene.until(
        lambda: outages.doubt(scene, SERVING, lost), what="as many machines as before", deadline=WHOLE_DEADLINE_S
    )
    outages.bury(scene, lost)
    scene.until(lambda: _untold(scene, lost, began), what="people to be told", deadline=NEWS_DEADLINE_S)
    return Outcome(
        detected_by="balancer's health check",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=_untold(scene, lost, began) is None,
        note=note,
    )


def _untold(scene: Scene, lost: list[str], since: float) -> str | None:
    """Which machines people heard of, when it is not just these."""
    facts = [one.facts for one in scene.notices(since)]
    named = [str(one["instance"]) for one in facts if one.get("kind") == Kind.INSTANCE_LOST]
    return None if sorted(named) == sorted(lost) else f"lost were {', '.join(lost)}, told {', '.join(named) or 'none'}"


def docker_killed(scene: Scene) -> Outcome:
    """The daemon comes back to an app that has gone on all the while, and takes up its lines again."""
    row = scene.machines(SERVING)[0]
    machine = str(row["instance"])
    app, starts = outages.app_start(scene, machine), outages.docker_starts(scene, machine)

    def down() -> str | None:
        return None if outages.docker_starts(scene, machine) > starts else "systemd has not started Docker again"

    def doubt() -> str | None:
        """The same machine, the same process in it, a daemon that knows it, and the balancer content with both."""
        found = outages.app_start(scene, machine)
        return outages.doubt(scene, SERVING, []) if found == app else f"the app began {found or 'nowhere'}, not {app}"

    with Knocks(str(row["address"]), APP_PORT) as knocks:
        began = time.time()
        outages.kill_docker(scene, machine)
        detected = scene.until(down, what="systemd to notice", deadline=NOTICED_DEADLINE_S)
        recovered = scene.until(doubt, what="Docker to know its app again", deadline=DAEMON_DEADLINE_S)
        told = told_of(scene, machine, Kind.DOCKER_FAILED, since=began)
        _require_lines(scene, machine)
        time.sleep(max(0.0, began + CHECKS_S - time.time()))
    if "the app ran on" not in told.facts["error"]:
        raise DrillError(f"people were told of {machine}: {told.facts['error']}")
    if reason := doubt():
        raise DrillError(f"{CHECKS_S:g} s after the daemon was killed: {reason}")
    if knocks.errors:
        raise DrillError(f"{len(knocks.errors)} of {knocks.asked} requests to {machine} failed, {knocks.errors[0]}")
    return Outcome(
        detected_by="systemd: docker.service",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=True,
        note=f"{machine} stayed, its app ran on and took all {knocks.asked} requests to its own address; lines arrive; "
        f"told after {told.at - began:.1f} s: {told.facts['error']}",
    )


def told_of(scene: Scene, machine: str, kind: Kind, *, since: float) -> Notice:
    """What this machine's watch told people first."""
    return scene.hear(
        lambda one: (one.facts.get("instance"), one.facts.get("kind")) == (machine, kind),
        of=f"{kind} on {machine}",
        since=since,
        deadline=NOTICED_DEADLINE_S,
    )


def _require_lines(scene: Scene, machine: str) -> None:
    """What the app says from now on reaches its log group."""
    line = f"drill-{time.time_ns()}"
    outages.let_app_say(scene, machine, line)

    def reason() -> str | None:
        lines = outages.app_lines(scene, SERVING, RELEASE, machine)
        return None if line in lines else f"of {len(lines)} lines of {machine} the last is {lines[-1:]}"

    scene.until(reason, what="the app's new line in its log group", deadline=LINES_DEADLINE_S)


def database_down(scene: Scene) -> Outcome:
    """The release answers without its database what it can; the balancer asks nothing that needs one."""
    version = releases.degrading(scene)
    with on_green(scene, version):
        scene.stage.script("cutover", IDLE)
        fleet = {row["instance"] for row in scene.machines(IDLE)}
        began = time.time()
        with outages.silent(scene.stage.database):
            detected = _judged(scene, good=False)
            time.sleep(max(0.0, began + CHECKS_S - time.time()))
            _require_whole(scene, fleet)
        recovered = _judged(scene, good=True)
        _require_whole(scene, fleet)
    return Outcome(
        detected_by="deep smoke test",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=heard_of(scene, version, began),
        note=f"{len(fleet)} machines stayed healthy for {CHECKS_S:g} s without a database: none was replaced",
    )


def _judged(scene: Scene, *, good: bool) -> float:
    """When the public side's deep smoke test had said so."""
    deadline = "40" if good else JUDGE_S
    answer = scene.stage.script("smoke_test", "--deadline", deadline, may_fail=True)
    failed = [check["name"] for check in answer.json.get("checks", []) if not check["ok"]]
    if good != (answer.exit_code == 0) or (not good and "database" not in failed):
        raise DrillError(f"the smoke test ended with exit code {answer.exit_code}, failed checks: {failed}")
    return time.time()


def _require_whole(scene: Scene, fleet: set[str]) -> None:
    """The same machines, each a healthy target."""
    rows = scene.machines(IDLE)
    ill = [row["instance"] for row in rows if set(row["targets"].values()) != {"healthy"}]
    if {row["instance"] for row in rows} != fleet or ill:
        raise DrillError(f"the outage reached the fleet: {sorted(fleet)} were there, ill are {ill}")


DRILLS = (
    # First: machines that replaced others may all be in one zone.
    Drill(fault="a whole zone gone", play=zone_gone, deadline=290.0),
    Drill(fault="machine killed under load", play=machine_killed, deadline=290.0),
    Drill(
        fault="machine's Docker killed under load",
        play=docker_killed,
        deadline=120.0,
        recovered_within=DAEMON_DEADLINE_S,
    ),
    Drill(fault="database down after cutover", play=database_down, deadline=200.0, notifies=False),
)
