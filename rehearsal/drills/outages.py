"""Outages to inject (killed instance, killed Docker daemon, unresponsive database) and recovery checks."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fleet.colors import Color
from rehearsal.drills.fixture import INSTANCES, Fixture
from rehearsal.host import processes
from rehearsal.host.database import DatabaseServer
from rehearsal.host.docker_engine import DockerError
from rehearsal.host.processes import PARENT, ProcessIdentity

TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
WAITING = "Terminating:Wait"


def kill_instances(fixture: Fixture, instances: Sequence[str]) -> None:
    """Kill instances as a power failure would, without a shutdown."""
    fixture.environment.docker.run("kill", *(fixture.container(instance) for instance in instances))


def kill_docker(fixture: Fixture, instance: str) -> None:
    """Kill the Docker daemon and its port proxies, not the containers."""
    fixture.exec_on(instance, "systemctl", "kill", "--signal=KILL", "docker.service")


def docker_starts(fixture: Fixture, instance: str) -> int:
    """How often systemd has restarted the daemon."""
    return int(fixture.exec_on(instance, "systemctl", "show", "--property=NRestarts", "--value", "docker.service"))


def app_start(fixture: Fixture, instance: str) -> str:
    """Start time and pid of the app's process; empty when it, Docker or the instance is down."""
    template = "{{if .State.Running}}{{.State.StartedAt}} {{.State.Pid}}{{end}}"
    try:
        return fixture.exec_on(instance, "docker", "inspect", "--format", template, "app")
    except (LookupError, DockerError):
        return ""


def write_app_line(fixture: Fixture, instance: str, line: str) -> None:
    """Write a line to the app's standard output, which Docker ships to the log group."""
    fixture.exec_on(instance, "docker", "exec", "app", "sh", "-c", f"echo {line} >/proc/1/fd/1")


def app_lines(fixture: Fixture, color: Color, release: str, instance: str) -> list[str]:
    """Lines of this instance's app in its log group; empty while its log stream does not exist."""
    logs = fixture.environment.client("logs")
    stream = {
        "logGroupName": f"/bluegreen/{fixture.environment.options.stack}/app",
        "logStreamName": f"{color}/{release}/{instance}/app",
    }
    try:
        events = logs.get_log_events(**stream, startFromHead=True)
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [str(event["message"]) for event in events["events"]]


def not_recovered_reason(fixture: Fixture, color: Color, lost: Sequence[str]) -> str | None:
    """Why this color has not replaced the lost instances yet, or None."""
    healthy = fixture.fleet().colors[color].healthy
    in_service = [row["instance"] for row in fixture.instances(color) if row["lifecycle"] == "InService"]
    if healthy < INSTANCES or set(in_service) & set(lost):
        return f"{healthy} instances of {color} are healthy, in service are {', '.join(in_service) or 'none'}"
    return None


def undetected(fixture: Fixture, color: Color, lost: Sequence[str]) -> str | None:
    """Which of these instances still get traffic, or None."""
    healthy = [row["instance"] for row in fixture.instances(color) if row["instance"] in lost and _gets_traffic(row)]
    return f"{', '.join(healthy)} are still healthy for the load balancer" if healthy else None


def _gets_traffic(row: dict[str, Any]) -> bool:
    return row["lifecycle"] == "InService" and "healthy" in row["targets"].values()


def complete_termination(fixture: Fixture, lost: Sequence[str]) -> None:
    """Complete the termination hook of killed instances, for which AWS would wait until the hook's timeout."""
    scaling = fixture.environment.client("autoscaling")
    for row in fixture.cloud.instances():
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
def unresponsive(database: DatabaseServer) -> Iterator[None]:
    """Pause the database: it accepts connections and does not answer, on open connections (one process each) either."""
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


def children(pid: int) -> list[ProcessIdentity]:
    """Direct child processes, also those in their own session, as PostgreSQL's are."""
    pids = [child for child, fields in processes.all_processes() if int(fields[PARENT]) == pid]
    identities = [processes.identify(child) for child in pids]
    return [identity for identity in identities if identity is not None]
