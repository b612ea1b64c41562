"""What takes a machine, its Docker, a zone or the database away from one moment to the next, and brings it back."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from checks.colors import Color
from rehearsal.drills.fixture import MACHINES, Scene
from rehearsal.host import processes
from rehearsal.host.database import Database
from rehearsal.host.docker_engine import DockerError
from rehearsal.host.processes import PARENT, Identity

TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
WAITING = "Terminating:Wait"


def kill_machines(scene: Scene, instances: Sequence[str]) -> None:
    """As at a power cut: nothing on them hears of it."""
    scene.stage.docker.run("kill", *(scene.container(instance) for instance in instances))


def kill_docker(scene: Scene, instance: str) -> None:
    """The daemon with all that it runs for its containers' ports, not the containers themselves."""
    scene.inside(instance, "systemctl", "kill", "--signal=KILL", "docker.service")


def docker_starts(scene: Scene, instance: str) -> int:
    """How often systemd had to start the daemon again."""
    return int(scene.inside(instance, "systemctl", "show", "--property=NRestarts", "--value", "docker.service"))


def app_start(scene: Scene, instance: str) -> str:
    """When the app's process began, as Docker tells it; empty where it ended, or Docker or the machine is gone."""
    told = "{{if .State.Running}}{{.State.StartedAt}} {{.State.Pid}}{{end}}"
    try:
        return scene.inside(instance, "docker", "inspect", "--format", told, "app")
    except (LookupError, DockerError):
        return ""


def let_app_say(scene: Scene, instance: str, line: str) -> None:
    """On its own standard output, which Docker sends away."""
    scene.inside(instance, "docker", "exec", "app", "sh", "-c", f"echo {line} >/proc/1/fd/1")


def app_lines(scene: Scene, color: Color, release: str, instance: str) -> list[str]:
    """What has come to the log group of what this machine's app said; none while it has no stream there."""
    logs = scene.stage.client("logs")
    place = {
        "logGroupName": f"/bluegreen/{scene.stage.options.stack}/app",
        "logStreamName": f"{color}/{release}/{instance}/app",
    }
    try:
        found = logs.get_log_events(**place, startFromHead=True)
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [str(event["message"]) for event in found["events"]]


def doubt(scene: Scene, color: Color, lost: Sequence[str]) -> str | None:
    """Why this color is not what it was before these machines were lost, or None."""
    healthy = scene.fleet().sides[color].healthy
    serving = [row["instance"] for row in scene.machines(color) if row["lifecycle"] == "InService"]
    if healthy < MACHINES or set(serving) & set(lost):
        return f"{healthy} machines of {color} are healthy, in service are {', '.join(serving) or 'none'}"
    return None


def unnoticed(scene: Scene, color: Color, lost: Sequence[str]) -> str | None:
    """To which of these machines the balancer still sends users, or None."""
    used = [row["instance"] for row in scene.machines(color) if row["instance"] in lost and _takes_users(row)]
    return f"the balancer takes {', '.join(used)} for healthy" if used else None


def _takes_users(row: dict[str, Any]) -> bool:
    return row["lifecycle"] == "InService" and "healthy" in row["targets"].values()


def bury(scene: Scene, lost: Sequence[str]) -> None:
    """Ends the wait for the last words of machines that can't say them: AWS waits for the hook's whole time."""
    scaling = scene.stage.client("autoscaling")
    for row in scene.cloud.machines():
        if row["instance"] not in lost or row["lifecycle"] != WAITING:
            continue
        hooks = scaling.describe_lifecycle_hooks(AutoScalingGroupName=row["group"])["LifecycleHooks"]
        name = next(hook["LifecycleHookName"] for hook in hooks if hook["LifecycleTransition"] == TERMINATING)
        scaling.complete_lifecycle_action(
            AutoScalingGroupName=row["group"],
            LifecycleHookName=name,
            InstanceId=row["instance"],
            LifecycleActionResult="CONTINUE",
        )


@contextmanager
def silent(database: Database) -> Iterator[None]:
    """It takes connections and says nothing, also on those that it has: each of them is a process of its own."""
    postmaster = database.process.identity
    processes.send(postmaster, signal.SIGSTOP)
    members = [postmaster, *children(postmaster.pid)]
    try:
        for member in members:
            processes.send(member, signal.SIGSTOP)
        yield
    finally:
        for member in members:
            processes.send(member, signal.SIGCONT)


def children(pid: int) -> list[Identity]:
    """Also those that made a session of their own, as PostgreSQL's do."""
    found = [processes.identify(one) for one, fields in processes.everyone() if int(fields[PARENT]) == pid]
    return [identity for identity in found if identity is not None]
