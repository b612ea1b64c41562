"""EC2 instances as containers with systemd, each at the private address of its instance."""

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

from rehearsal.cloud.container_exits import ContainerExitListener

LABEL = "bluegreen.instances"
STATUS_FILE = "/var/lib/bluegreen/status.json"
COMMAND_SECONDS = 60
REBOOT_SECONDS = 10  # systemd in a container halts in well under a second; a stuck unit is killed after this
JOURNAL_LINES = CONSOLE_LINES = 2000
# Of an instance that powers itself off: the kernel interrupts its first process. One that is killed from outside exits
# with 137, which EC2 does not notice.
POWER_OFF_EXIT_CODES = (0, 130)
MAX_COMMANDS = 4  # docker commands in parallel: more only queue up in the daemon

# What systemd and an inner dockerd need, on cgroup v1, without CAP_SYS_RESOURCE, which some hosts can't grant.
INSTANCE_FLAGS = (
    *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "systempaths=unconfined", "--device-cgroup-rule", "a *:* rwm", "--cgroupns", "host"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"),  # noqa: S108 - inside the instance
    *("--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"),
    *("--volume", "/var/lib/docker"),  # a volume per instance: overlay on overlay fails
    *("--stop-signal", "SIGRTMIN+3"),  # systemd's signal for a clean halt
    "--tty",  # its console, for systemd and for units that write there
)


class InstancePhase(StrEnum):
    """State of an instance's container."""

    ABSENT = "absent"
    STARTING = "starting"
    RUNNING = "running"
    POWERED_OFF = "powered-off"  # by the instance itself
    REMOVING = "removing"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class InstanceSpec:
    """One instance to start."""

    instance_id: str
    address: str
    image: str


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A file of this host, mounted read-only into every instance."""

    source: Path
    target: str


@dataclass(frozen=True, kw_only=True)
class InstanceHost:
    """Where instances run. `prefix` begins the names of this emulator's containers; no others are ever touched."""

    docker_host: str
    network: str
    prefix: str
    mounts: Sequence[Mount]
    evidence: Path


class Instances(Protocol):
    """Instances by id. All calls return at once, except `console` and `refresh_all_boot_records`, which wait."""

    def phase(self, instance_id: str) -> InstancePhase: ...

    def start(self, spec: InstanceSpec) -> None: ...

    def remove(self, instance_id: str) -> None: ...

    def reboot(self, instance_id: str) -> None: ...

    def ids(self) -> set[str]: ...

    def boot_record(self, instance_id: str) -> Mapping[str, Any]: ...

    def console(self, instance_id: str) -> str: ...

    def refresh_boot_record(self, instance_id: str) -> None: ...

    def refresh_all_boot_records(self) -> None: ...

    def close(self) -> None: ...


def run_command(host: InstanceHost, spec: InstanceSpec) -> list[str]:
    name = f"{host.prefix}-{spec.instance_id}"
    mounts = [f"type=bind,src={mount.source},dst={mount.target},readonly" for mount in host.mounts]
    return [
        *("docker", "run", "--detach", "--name", name, "--label", f"{LABEL}={host.prefix}"),
        *("--network", host.network, "--ip", spec.address),
        *("--hostname", f"ip-{spec.address.replace('.', '-')}"),
        *INSTANCE_FLAGS,
        *(part for mount in mounts for part in ("--mount", mount)),
        spec.image,
    ]


class ContainerInstances:
    """Instances as containers of one Docker daemon; commands run in a thread pool."""

    def __init__(self, host: InstanceHost) -> None:
        self._host = host
        self._phases: dict[str, InstancePhase] = {}
        self._boot_records: dict[str, dict[str, Any]] = {}
        self._rebooting: set[str] = set()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(MAX_COMMANDS, "instances")
        host.evidence.mkdir(parents=True, exist_ok=True)
        self._exits = ContainerExitListener(host.docker_host, f"{LABEL}={host.prefix}", self._on_exit)

    def phase(self, instance_id: str) -> InstancePhase:
        with self._lock:
            return self._phases.get(instance_id, InstancePhase.ABSENT)

    def ids(self) -> set[str]:
        with self._lock:
            return set(self._phases)

    def boot_record(self, instance_id: str) -> Mapping[str, Any]:
        """The boot's own record as of the last refresh, also of a terminated instance."""
        with self._lock:
            return self._boot_records.get(instance_id, {})

    def console(self, instance_id: str) -> str:
        """Console output so far, also of a terminated instance."""
        saved = self._host.evidence / f"{instance_id}.console"
        return saved.read_text() if saved.exists() else self._container_log(instance_id)

    def start(self, spec: InstanceSpec) -> None:
        self._set(spec.instance_id, InstancePhase.STARTING)
        self._submit(self._start, spec)

    def remove(self, instance_id: str) -> None:
        self._set(instance_id, InstancePhase.REMOVING)
        self._submit(self._remove, instance_id)

    def reboot(self, instance_id: str) -> None:
        self._submit(self._reboot, instance_id)

    def refresh_boot_record(self, instance_id: str) -> None:
        self._submit(self._read_boot_record, instance_id)

    def refresh_all_boot_records(self) -> None:
        for done in [self._pool.submit(self._log_failure, self._read_boot_record, id) for id in self.ids()]:
            done.result()

    def close(self) -> None:
        """Removes every instance of this emulator, also those that another thread is just starting."""
        self._exits.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        listed = self._docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={self._host.prefix}")
        if names := listed.stdout.split():
            self._docker("rm", "--force", "--volumes", *names)

    def _start(self, spec: InstanceSpec) -> None:
        done = self._run(run_command(self._host, spec))
        if done.returncode:
            self._log_error(spec.instance_id, f"start failed: {done.stderr.strip()}")
            self._docker("rm", "--force", "--volumes", self._name(spec.instance_id))
        outcome = InstancePhase.FAILED if done.returncode else InstancePhase.RUNNING
        self._move(spec.instance_id, (InstancePhase.STARTING,), outcome)

    def _reboot(self, instance_id: str) -> None:
        with self._lock:
            self._rebooting.add(instance_id)
        try:
            done = self._docker("restart", "--time", str(REBOOT_SECONDS), self._name(instance_id))
        finally:
            with self._lock:
                self._rebooting.discard(instance_id)
        if done.returncode:
            self._log_error(instance_id, f"reboot failed: {done.stderr.strip()}")

    def _on_exit(self, name: str, code: int) -> None:
        if code in POWER_OFF_EXIT_CODES:
            self._submit(self._note_power_off, name.removeprefix(f"{self._host.prefix}-"))

    def _note_power_off(self, instance_id: str) -> None:
        """A container that exits and runs again, or soon will, was rebooted."""
        with self._lock:
            if instance_id in self._rebooting:
                return
        done = self._docker("inspect", "--format", "{{.State.Status}}", self._name(instance_id))
        if done.stdout.strip() == "exited":
            self._copy_boot_record(instance_id)
            self._move(instance_id, (InstancePhase.STARTING, InstancePhase.RUNNING), InstancePhase.POWERED_OFF)

    def _copy_boot_record(self, instance_id: str) -> None:
        """Of an exited container: nothing can be executed in it any more, but its disk is still there."""
        copy = self._host.evidence / f"{instance_id}.status.json"
        if self._docker("cp", f"{self._name(instance_id)}:{STATUS_FILE}", str(copy)).returncode == 0:
            with self._lock:
                self._boot_records[instance_id] = _parsed(copy.read_text())

    def _remove(self, instance_id: str) -> None:
        self._read_boot_record(instance_id)
        name = self._name(instance_id)
        journal = self._docker("exec", name, "journalctl", "--no-pager", "--lines", str(JOURNAL_LINES))
        if journal.returncode == 0:
            (self._host.evidence / f"{instance_id}.journal").write_text(journal.stdout)
        (self._host.evidence / f"{instance_id}.console").write_text(self._container_log(instance_id))
        self._docker("rm", "--force", "--volumes", name)
        with self._lock:
            self._phases.pop(instance_id, None)

    def _container_log(self, instance_id: str) -> str:
        return self._docker("logs", "--tail", str(CONSOLE_LINES), self._name(instance_id)).stdout

    def _read_boot_record(self, instance_id: str) -> None:
        done = self._docker("exec", self._name(instance_id), "cat", STATUS_FILE)
        if done.returncode == 0 and (record := _parsed(done.stdout)):
            with self._lock:
                self._boot_records[instance_id] = record

    def _set(self, instance_id: str, phase: InstancePhase) -> None:
        with self._lock:
            self._phases[instance_id] = phase

    def _move(self, instance_id: str, before: Collection[InstancePhase], to: InstancePhase) -> None:
        """Only out of these phases: the instance may have powered off, or be in removal, since."""
        with self._lock:
            if self._phases.get(instance_id) in before:
                self._phases[instance_id] = to

    def _submit(self, work: Callable[[Any], None], argument: object) -> None:
        self._pool.submit(self._log_failure, work, argument)

    def _log_failure(self, work: Callable[[Any], None], argument: object) -> None:
        """A daemon that hangs or is gone must show in the evidence, not vanish in a thread."""
        try:
            work(argument)
        except (OSError, subprocess.SubprocessError) as error:
            instance_id = argument.instance_id if isinstance(argument, InstanceSpec) else str(argument)
            self._log_error(instance_id, f"{work.__name__.strip('_')} failed: {error}")
            self._set(instance_id, InstancePhase.FAILED)

    def _log_error(self, instance_id: str, line: str) -> None:
        with (self._host.evidence / f"{instance_id}.errors").open("a") as errors:
            errors.write(f"{line}\n")

    def _name(self, instance_id: str) -> str:
        return f"{self._host.prefix}-{instance_id}"

    def _docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(["docker", *arguments])

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        command = [command[0], "--host", self._host.docker_host, *command[1:]]
        return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)


def _parsed(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        return {}  # read while it was being written: the next refresh reads all of it
    return parsed if isinstance(parsed, dict) else {}


class NullInstances:
    """Instances without containers, for tests of the account alone: they count as running at once."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def phase(self, instance_id: str) -> InstancePhase:
        return InstancePhase.RUNNING if instance_id in self._ids else InstancePhase.ABSENT

    def ids(self) -> set[str]:
        return set(self._ids)

    def boot_record(self, instance_id: str) -> Mapping[str, Any]:
        return {}

    def start(self, spec: InstanceSpec) -> None:
        self._ids.add(spec.instance_id)

    def remove(self, instance_id: str) -> None:
        self._ids.discard(instance_id)

    def reboot(self, instance_id: str) -> None:
        """Nothing runs that could be rebooted."""

    def console(self, instance_id: str) -> str:
        return ""

    def refresh_boot_record(self, instance_id: str) -> None:
        """Nothing boots."""

    def refresh_all_boot_records(self) -> None:
        """Nothing boots."""

    def close(self) -> None:
        self._ids.clear()
