"""Boots that must succeed in spite of their fault; what the fault breaks is found before any user meets it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ami.boot.container import LOGGED_START_SECONDS
from rehearsal.drills import outages, releases
from rehearsal.drills.boot_record import heard_of, record_of, seconds_of
from rehearsal.drills.drill import Drill, DrillError, Outcome
from rehearsal.drills.fixture import IDLE, Scene
from rehearsal.host import processes
from rehearsal.host.database import Database

JUDGE = ("--color", IDLE, "--deadline", "6")  # what is bad stays bad; a deep check alone takes 2 s
WELL_DEADLINE_S, BOOTING_DEADLINE_S, AGENT_DEADLINE_S = 40.0, 60.0, 30.0
LINES_DEADLINE_S = 60.0  # Docker asks again after up to half a minute
DATABASE, DEEP = "DATABASE_URL", "database"
LOGS_HANG_S = 2 * LOGGED_START_SECONDS  # whoever waited for one answer would show it on any machine, however busy


def booted(scene: Scene, version: str, *args: str) -> float:
    """Deliver a release whose machine must boot; when (epoch seconds) that boot began."""
    answer = scene.delivered(version, *args)
    if answer.exit_code:
        raise DrillError(f"the delivery of {version} ended with exit code {answer.exit_code}: {answer.reason}")
    return min(seconds_of(record_of(scene, row["instance"])["started"]) for row in scene.machines(IDLE))


def judged_bad(scene: Scene) -> float:
    """When the smoke test had refused the release for its database."""
    answer = scene.stage.script("smoke_test", *JUDGE, may_fail=True)
    failed = [check["name"] for check in answer.json.get("checks", []) if not check["ok"]]
    if answer.exit_code == 0 or DEEP not in failed:
        raise DrillError(f"the smoke test ended with exit code {answer.exit_code}, failed checks: {failed}")
    return time.time()


def judged_good(scene: Scene) -> float:
    answer = scene.stage.script("smoke_test", "--color", IDLE, "--deadline", str(WELL_DEADLINE_S), may_fail=True)
    if answer.exit_code:
        raise DrillError(f"the fault is over, and the smoke test still fails: {answer.reason}")
    return time.time()


def no_database(scene: Scene) -> Outcome:
    """The release's own database does not answer while its machine boots; the one of those who serve is untouched."""
    stage = scene.stage
    database = Database.start(stage.ground, host=stage.ground.gateway)
    try:
        with frozen(database):
            stage.put_parameter(DATABASE, database.url)
            version = releases.sound(scene)
            began = booted(scene, version)
            detected = judged_bad(scene)
        recovered = judged_good(scene)
    finally:
        database.stop()
    return Outcome(
        detected_by="smoke test",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=heard_of(scene, version, began),
        note="the machine booted, was judged bad, and good again without a restart once the database answered",
    )


@contextmanager
def frozen(database: Database) -> Iterator[None]:
    """It takes connections and says nothing: the outage that makes callers wait longest."""
    members = processes.session_of(database.process.identity)
    for member in members:
        processes.send(member, signal.SIGSTOP)
    try:
        yield
    finally:
        for member in members:
            processes.send(member, signal.SIGCONT)


def parameter_missing(scene: Scene) -> Outcome:
    stage = scene.stage
    stage.client("ssm").delete_parameter(Name=stage.parameter_path(DATABASE))
    version = releases.needs_database(scene)
    began = booted(scene, version)
    detected = judged_bad(scene)
    stage.put_parameter(DATABASE, stage.database.url)
    stage.script("restart", "--color", IDLE)
    recovered = judged_good(scene)
    return Outcome(
        detected_by="smoke test",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=heard_of(scene, version, began),
        note="a restart after the parameter was there made the same machine good",
    )


def agent_dead(scene: Scene) -> Outcome:
    """The agent ends at once and the log service does not answer; neither may hold up the boot.

    It is over when the app's first lines are where people look for them.
    """
    scene.cloud.set_fault("logs", "slow", seconds=LOGS_HANG_S, color=IDLE)
    version = releases.sound(scene)
    began = booted(scene, version, "--ami", releases.dead_agent(scene))
    machine = str(scene.machines(IDLE)[0]["instance"])
    detected = scene.until(
        lambda: _agent_runs(scene, machine), what="systemd to see the agent fail", deadline=AGENT_DEADLINE_S
    )
    seconds = _start_seconds(scene, machine)
    if seconds >= LOGGED_START_SECONDS:
        raise DrillError(f"the app's start took {seconds:.1f} s: it waited for its logs")
    if not (unanswered := sum(fault["requests"] for fault in scene.cloud.faults())):
        raise DrillError("the log service was not asked for anything: nothing was played")
    scene.cloud.clear_faults()
    recovered = scene.until(
        lambda: _silence(scene, version, machine), what="the app's lines", deadline=LINES_DEADLINE_S
    )
    return Outcome(
        detected_by="systemd: bluegreen-logs failed",
        detected_seconds=detected - began,
        recovered_seconds=recovered - began,
        notified=heard_of(scene, version, began),
        note=f"the app started in {seconds:.1f} s, while {unanswered} requests for logs were left without an answer",
    )


def _silence(scene: Scene, version: str, machine: str) -> str | None:
    """Why the app's start is not in its log group, or None."""
    lines = outages.app_lines(scene, IDLE, version, machine)
    return None if any("start release=" in line for line in lines) else f"{len(lines)} lines came, and not the start"


def _agent_runs(scene: Scene, machine: str) -> str | None:
    state = scene.inside(machine, "systemctl", "show", "--property", "Result", "--value", "bluegreen-logs")
    return None if state == "exit-code" else f"the unit's result is {state}"


def _start_seconds(scene: Scene, machine: str) -> float:
    """From `docker run`, which opens the log, to the health answer."""
    steps = record_of(scene, machine)["steps"]
    return float(steps["run"] + steps["ready"])


def rebooted(scene: Scene) -> Outcome:
    """The machine is rebooted by AWS's own call while it makes the image."""
    version = releases.sound(scene)
    delivery = scene.deliver(version)
    machine = _making_image(scene)
    began = time.time()
    scene.stage.client("ec2").reboot_instances(InstanceIds=[machine])
    recovered = scene.until(
        lambda: None if delivery.ended() else "the delivery still waits",
        what="the end of the delivery",
        deadline=BOOTING_DEADLINE_S,
    )
    if (answer := delivery.answer()).exit_code:
        raise DrillError(f"the delivery ended with exit code {answer.exit_code}: {answer.reason}")
    record = record_of(scene, machine)
    if (again := seconds_of(record["started"])) < began:
        raise DrillError(f"{machine} was not rebooted: its boot began {began - again:.1f} s before")
    return Outcome(
        detected_by="next boot of the same machine",
        detected_seconds=again - began,
        recovered_seconds=recovered - began,
        notified=heard_of(scene, version, began),
        note=f"{machine} began anew and served",
    )


def _making_image(scene: Scene) -> str:
    """The machine that is at the step image of its boot."""
    found: list[str] = []

    def reason() -> str | None:
        scene.cloud.boots()
        found[:] = [row["instance"] for row in scene.machines(IDLE) if row["boot"].get("step") == "image"]
        return None if found else "no machine makes its image yet"

    scene.until(reason, what="a machine in the middle of its boot", deadline=BOOTING_DEADLINE_S)
    return found[0]


DRILLS = (
    Drill(fault="database down at boot", play=no_database, notifies=False),
    Drill(fault="log agent dead", play=agent_dead, notifies=False),
    Drill(fault="SSM parameter missing", play=parameter_missing, notifies=False),
    Drill(fault="reboot during a boot", play=rebooted, notifies=False),
)
