"""HAProxy process control: seamless reloads, and commands on the runtime socket."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from rehearsal.host import processes
from rehearsal.host.processes import ProcessIdentity
from rehearsal.load_balancer.haproxy_config import Configuration

START_TIMEOUT = 15.0


class HAProxyError(Exception):
    """HAProxy is missing, refused its configuration, or refused a command."""


class HAProxy:
    """HAProxy in a folder. A new configuration starts a new process, which takes the listening sockets over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._program = _find()
        self._number = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._draining: list[subprocess.Popen[bytes]] = []
        # Socket paths are limited to 107 bytes: an open folder handle keeps them short.
        self._handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        self._stop_predecessor()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.running else None

    @property
    def next_socket(self) -> str:
        """Name of the runtime socket for the next configuration."""
        return f"admin-{self._number + 1}.sock"

    def load(self, configuration: Configuration) -> None:
        """Switch to this configuration; on failure the old process continues with the old one."""
        main = self.folder / f"haproxy-{self._number + 1}.cfg"
        for name, content in configuration.files.items():
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(content)
        main.write_text(configuration.main)
        state = self.command("show servers state") if self.running else ""
        (self.folder / "servers.state").write_text(state)
        argv = [self._program, "-db", "-f", main.name, *self._takeover()]
        log = self.folder / "haproxy.log"
        with log.open("ab") as output:
            fresh = subprocess.Popen(
                argv, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self._wait_ready(fresh, log)
        if self._process is not None:
            self._draining.append(self._process)
        self._process, self._number = fresh, self._number + 1
        self._write_pid_file(fresh)

    def command(self, text: str) -> str:
        """Output of a runtime command; several joined with `;` are executed atomically."""
        try:
            return self._query(self._number, text)
        except OSError as error:
            raise HAProxyError(f"HAProxy's runtime socket: {error.strerror or error}") from error

    def execute(self, text: str) -> None:
        """Run a command; raises HAProxyError when it prints more than a confirmation."""
        output = self.command(text).strip()
        lines = [line for line in output.splitlines() if line and not line.startswith(("New server", "Server deleted"))]
        if lines:
            raise HAProxyError(f"{text}: {' '.join(lines)}")

    def set_map(self, name: str, content: str) -> None:
        """Replace a map's content atomically."""
        version = self.command(f"prepare map {name}").strip().rpartition(" ")[2]
        if not version.isdigit():
            raise HAProxyError(f"prepare map {name}: {version}")
        if content:
            self.execute(f"add map @{version} {name} <<\n{content}")
        self.execute(f"commit map @{version} {name}")
        # A new process reads the file.
        (self.folder / name).write_text(content)

    def servers(self) -> dict[tuple[str, str], Mapping[str, str]]:
        """Statistics by (backend, server)."""
        rows = csv.DictReader(self.command("show stat -1 4 -1").lstrip("# ").splitlines())
        return {(row["pxname"], row["svname"]): row for row in rows if row.get("svname")}

    def draining_pids(self) -> set[int]:
        """Replaced processes that still finish requests."""
        self._draining = [process for process in self._draining if process.poll() is None]
        return {process.pid for process in self._draining}

    def stop(self) -> None:
        running = [process for process in [self._process, *self._draining] if process is not None]
        identities = [one for process in running if (one := processes.identify(process.pid)) is not None]
        processes.end(identities, grace=1.0)
        for process in running:
            process.wait(timeout=10)
        self._process, self._draining = None, []
        for path in self.folder.glob("admin-*.sock"):
            path.unlink()

    def close(self) -> None:
        self.stop()
        os.close(self._handle)

    def _takeover(self) -> list[str]:
        if not self.running or self._process is None:
            return []
        return ["-x", f"admin-{self._number}.sock", "-sf", str(self._process.pid)]

    def _query(self, number: int, text: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(f"/proc/self/fd/{self._handle}/admin-{number}.sock")
            connection.sendall(text.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            return _read_all(connection).decode()

    def _wait_ready(self, fresh: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            if fresh.poll() is not None:
                raise HAProxyError(f"HAProxy ended with exit code {fresh.returncode}: {_tail(log)}")
            # A response, not only a connection: the socket exists before the ports are bound.
            with contextlib.suppress(OSError):
                if self._query(self._number + 1, "show version").strip():
                    return
            if time.monotonic() > deadline:
                fresh.kill()
                raise HAProxyError(f"HAProxy does not answer on its runtime socket within {START_TIMEOUT:g} s")
            time.sleep(0.01)

    def _write_pid_file(self, process: subprocess.Popen[bytes]) -> None:
        identity = processes.identify(process.pid)
        if identity is not None:
            (self.folder / "haproxy.json").write_text(json.dumps({"pid": identity.pid, "started": identity.started}))

    def _stop_predecessor(self) -> None:
        """Stop the HAProxy of a killed owner of this folder, which still holds the ports."""
        try:
            known = ProcessIdentity(**json.loads((self.folder / "haproxy.json").read_text()))
        except FileNotFoundError:
            return
        processes.end([known] if processes.alive(known) else [], grace=1.0)
        for path in self.folder.glob("admin-*.sock"):
            path.unlink()


def _find() -> str:
    program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise HAProxyError("HAProxy is not installed: `apt-get install haproxy`")
    return program


def _read_all(connection: socket.socket) -> bytes:
    chunks = []
    while chunk := connection.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


def _tail(log: Path) -> str:
    alerts = [line for line in log.read_text(errors="replace").splitlines() if "ALERT" in line or "WARNING" in line]
    return " ".join(alerts[-6:])
