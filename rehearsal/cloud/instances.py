"""Machines: containers of the machine image with systemd, each at the private address of its instance."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from rehearsal.cloud.container_exits import Endings

LABEL = "bluegreen.machines"
STATUS_FILE = "/var/lib/bluegreen/status.json"
COMMAND_SECONDS = 60
REBOOT_SECONDS = 10  # systemd in a container halts in well under a second; a stuck unit is killed after this
JOURNAL_LINES = CONSOLE_LINES = 2000
# A machine that powers itself off ends so: the kernel interrupts its first process. One that is killed from outside
# ends with 137, and EC2 hears nothing of it.
POWERED_OFF = (0, 130)
AT_A_TIME = 4  # docker commands in parallel: more only queue up in the daemon

# What systemd and an inner dockerd need, on cgroup v1, without CAP_SYS_RESOURCE, which some hosts can't grant.
MACHINE_FLAGS = (
    *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "systempaths=unconfined", "--device-cgroup-rule", "a *:* rwm", "--cgroupns", "host"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"),  # noqa: S108 - inside the machine
    *("--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"),
    *("--volume", "/var/lib/docker"),  # a volume of the machine's own: overlay on overlay fails
    *("--stop-signal", "SIGRTMIN+3"),  # systemd's signal for a clean halt
    "--tty",  # its console, for systemd and for units that write there
)


class Phase(StrEnum):
    """How far a machine is, as the controller sees it."""

    ABSENT = "absent"
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"  # it powered itself off
    REMOVING = "removing"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine to run."""

    instance: str
    address: str
    image: str


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A file of this machine that is to be seen, read only, inside every rehearsed one."""

    source: Path
    target: str


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where machines run. `prefix` names this cloud's machines, and only they are ever touched."""

    docker_host: str
    network: str
    prefix: str
    mounts: Sequence[Mount]
    evidence: Path


class Machines(Protocol):
    """What is asked of machines; all calls return at once, but for `console`, which waits for Docker."""

    def phase(self, instance: str) -> Phase: ...

    def start(self, machine: Machine) -> None: ...

    def remove(self, instance: str) -> None: ...

    def reboot(self, instance: str) -> None: ...

    def instances(self) -> set[str]: ...

    def status(self, instance: str) -> Mapping[str, Any]: ...

    def console(self, instance: str) -> str: ...

    def look(self, instance: str) -> None: ...

    def look_now(self) -> None: ...

    def close(self) -> None: ...


def run_command(ground: Ground, machine: Machine) -> list[str]:
    name = f"{ground.prefix}-{machine.instance}"
    mounts = [f"type=bind,src={mount.source},dst={mount.target},readonly" for mount in ground.mounts]
    return [
        *("docker", "run", "--detach", "--name", name, "--label", f"{LABEL}={ground.prefix}"),
        *("--network", ground.network, "--ip", machine.address),
        *("--hostname", f"ip-{machine.address.replace('.', '-')}"),
        *MACHINE_FLAGS,
        *(part for mount in mounts for part in ("--mount", mount)),
        machine.image,
    ]


class ContainerMachines:
    """Machines as containers of one Docker daemon, worked on in threads of their own."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._phases: dict[str, Phase] = {}
        self._statuses: dict[str, dict[str, Any]] = {}
        self._rebooting: set[str] = set()
        self._lock = threading.Lock()
        self._hands = ThreadPoolExecutor(AT_A_TIME, "machines")
        ground.evidence.mkdir(parents=True, exist_ok=True)
        self._endings = Endings(ground.docker_host, f"{LABEL}={ground.prefix}", self._hear_of_end)

    def phase(self, instance: str) -> Phase:
        with self._lock:
            return self._phases.get(instance, Phase.ABSENT)

    def instances(self) -> set[str]:
        with self._lock:
            return set(self._phases)

    def status(self, instance: str) -> Mapping[str, Any]:
        """The boot's own record, as last looked at; it outlives the machine."""
        with self._lock:
            return self._statuses.get(instance, {})

    def console(self, instance: str) -> str:
        """What the machine wrote to its console so far; it outlives the machine."""
        kept = self._ground.evidence / f"{instance}.console"
        return kept.read_text() if kept.exists() else self._shown(instance)

    def start(self, machine: Machine) -> None:
        self._set(machine.instance, Phase.STARTING)
        self._submit(self._start, machine)

    def remove(self, instance: str) -> None:
        self._set(instance, Phase.REMOVING)
        self._submit(self._remove, instance)

    def reboot(self, instance: str) -> None:
        self._submit(self._reboot, instance)

    def look(self, instance: str) -> None:
        self._submit(self._look, instance)

    def look_now(self) -> None:
        for done in [self._hands.submit(self._guarded, self._look, instance) for instance in self.instances()]:
            done.result()

    def close(self) -> None:
        """Removes every machine of this cloud, also those that another thread is just starting."""
        self._endings.close()
        self._hands.shutdown(wait=True, cancel_futures=True)
        listed = self._docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={self._ground.prefix}")
        if names := listed.stdout.split():
            self._docker("rm", "--force", "--volumes", *names)

    def _start(self, machine: Machine) -> None:
        done = self._run(run_command(self._ground, machine))
        if done.returncode:
            self._note(machine.instance, f"start failed: {done.stderr.strip()}")
            self._docker("rm", "--force", "--volumes", self._name(machine.instance))
        self._move(machine.instance, (Phase.STARTING,), Phase.FAILED if done.returncode else Phase.RUNNING)

    def _reboot(self, instance: str) -> None:
        with self._lock:
            self._rebooting.add(instance)
        try:
            done = self._docker("restart", "--time", str(REBOOT_SECONDS), self._name(instance))
        finally:
            with self._lock:
                self._rebooting.discard(instance)
        if done.returncode:
            self._note(instance, f"reboot failed: {done.stderr.strip()}")

    def _hear_of_end(self, name: str, code: int) -> None:
        if code in POWERED_OFF:
            self._submit(self._see_end, name.removeprefix(f"{self._ground.prefix}-"))

    def _see_end(self, instance: str) -> None:
        """What ends and is there again, or soon will be, was rebooted."""
        with self._lock:
            if instance in self._rebooting:
                return
        done = self._docker("inspect", "--format", "{{.State.Status}}", self._name(instance))
        if done.stdout.strip() == "exited":
            self._look_at_ended(instance)
            self._move(instance, (Phase.STARTING, Phase.RUNNING), Phase.ENDED)

    def _look_at_ended(self, instance: str) -> None:
        """Nothing can be run in it any more; its disk is still there."""
        copy = self._ground.evidence / f"{instance}.status.json"
        if self._docker("cp", f"{self._name(instance)}:{STATUS_FILE}", str(copy)).returncode == 0:
            with self._lock:
                self._statuses[instance] = _parsed(copy.read_text())

    def _remove(self, instance: str) -> None:
        self._look(instance)
        journal = self._docker("exec", self._name(instance), "journalctl", "--no-pager", "--lines", str(JOURNAL_LINES))
        if journal.returncode == 0:
            (self._ground.evidence / f"{instance}.journal").write_text(journal.stdout)
        (self._ground.evidence / f"{instance}.console").write_text(self._shown(instance))
        self._docker("rm", "--force", "--volumes", self._name(instance))
        with self._lock:
            self._phases.pop(instance, None)

    def _shown(self, instance: str) -> str:
        return self._docker("logs", "--tail", str(CONSOLE_LINES), self._name(instance)).stdout

    def _look(self, instance: str) -> None:
        done = self._docker("exec", self._name(instance), "cat", STATUS_FILE)
        if done.returncode == 0 and (status := _parsed(done.stdout)):
            with self._lock:
                self._statuses[instance] = status

    def _set(self, instance: str, phase: Phase) -> None:
        with self._lock:
            self._phases[instance] = phase

    def _move(self, instance: str, before: Collection[Phase], to: Phase) -> None:
        """Only out of these phases: the machine may have ended, or be on its way out, since."""
        with self._lock:
            if self._phases.get(instance) in before:
                self._phases[instance] = to

    def _submit(self, work: Callable[[Any], None], argument: object) -> None:
        self._hands.submit(self._guarded, work, argument)

    def _guarded(self, work: Callable[[Any], None], argument: object) -> None:
        """A daemon that hangs or is gone must show in the evidence, not vanish in a thread."""
        try:
            work(argument)
        except (OSError, subprocess.SubprocessError) as error:
            instance = argument.instance if isinstance(argument, Machine) else str(argument)
            self._note(instance, f"{work.__name__.strip('_')} failed: {error}")
            self._set(instance, Phase.FAILED)

    def _note(self, instance: str, line: str) -> None:
        with (self._ground.evidence / f"{instance}.errors").open("a") as errors:
            errors.write(f"{line}\n")

    def _name(self, instance: str) -> str:
        return f"{self._ground.prefix}-{instance}"

    def _docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(["docker", *arguments])

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        command = [command[0], "--host", self._ground.docker_host, *command[1:]]
        return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)


def _parsed(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        return {}  # caught while it was being written: the next look finds it whole
    return parsed if isinstance(parsed, dict) else {}


class NamesOnly:
    """Machines that exist in name only, for work on the account without a Docker daemon: they run at once."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def phase(self, instance: str) -> Phase:
        return Phase.RUNNING if instance in self._names else Phase.ABSENT

    def instances(self) -> set[str]:
        return set(self._names)

    def status(self, instance: str) -> Mapping[str, Any]:
        return {}

    def start(self, machine: Machine) -> None:
        self._names.add(machine.instance)

    def remove(self, instance: str) -> None:
        self._names.discard(instance)

    def reboot(self, instance: str) -> None:
        """Nothing runs that could be started anew."""

    def console(self, instance: str) -> str:
        return ""

    def look(self, instance: str) -> None:
        """There is nothing to see."""

    def look_now(self) -> None:
        """There is nothing to see."""

    def close(self) -> None:
        self._names.clear()
