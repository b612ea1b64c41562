"""PostgreSQL server of a run: one empty database on a claimed port, removed at the end of the run."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rehearsal.host.sandbox import SERVING_NICE, Process, Sandbox

MIN_VERSION = 15
# Where Debian, Ubuntu and Red Hat install PostgreSQL's programs, off the PATH.
FOLDERS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin")
# Owners of the data folder when the run is root's: PostgreSQL refuses root, and any unprivileged user will do.
UNPRIVILEGED = ("postgres", "nobody")
# The data is discarded after the rehearsal: crash safety is not needed, and fsync is slow.
DURABILITY_OFF = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB"}


class DatabaseError(Exception):
    """PostgreSQL is missing, refused to start, or refused a statement."""


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Programs of one PostgreSQL installation; `as_user`: the command that drops root's privileges."""

    folder: Path
    version: int
    as_user: tuple[str, ...]

    def argv(self, program: str, *arguments: str) -> list[str]:
        return [*self.as_user, str(self.folder / program), *arguments]


@dataclass(frozen=True, kw_only=True)
class DatabaseServer:
    """A running server; `url` is for an app's DATABASE_URL."""

    host: str
    port: int
    name: str
    user: str
    password: str
    programs: Programs
    data: Path
    process: Process

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{self.name}"

    @classmethod
    def start(cls, sandbox: Sandbox, *, host: str, name: str = "hello", deadline: float = 60.0) -> DatabaseServer:
        """Create a cluster in the run's folder and serve it at this address, which must be up."""
        programs = find()
        port = sandbox.port(host)
        home = _home(sandbox, programs, f"postgresql-{port}")
        password = secrets.token_hex(16)
        _initialize(programs, home, user=name, password=password)
        argv = _server(programs, home / "data", host=host, port=port)
        process = sandbox.start("postgresql", argv, {"LC_ALL": "C"}, cwd=home, grace=5.0, nice=SERVING_NICE)
        database = cls(
            host=host,
            port=port,
            name=name,
            user=name,
            password=password,
            programs=programs,
            data=home / "data",
            process=process,
        )
        sandbox.wait_ready(process, database.not_ready_reason, what="PostgreSQL", deadline=deadline)
        database.query(f'CREATE DATABASE "{name}"', on="postgres")
        return database

    def query(self, statement: str, *, on: str = "") -> str:
        """Rows as psql prints them: unaligned, without headers."""
        done = self._psql(statement, on=on or self.name)
        if done.returncode != 0:
            raise DatabaseError(f"{statement}: {done.stderr.strip()}")
        return done.stdout.strip()

    def not_ready_reason(self) -> str | None:
        """Why it does not answer queries yet, or None."""
        done = self._psql("SELECT 1", on="postgres")
        return None if done.returncode == 0 else done.stderr.strip()

    def stop(self) -> None:
        """Stop the server; connected apps lose their connections."""
        self.process.stop()

    def _psql(self, statement: str, *, on: str) -> subprocess.CompletedProcess[str]:
        reach = ["--host", self.host, "--port", str(self.port), "--username", self.user, "--dbname", on]
        quiet = ["--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]
        return subprocess.run(
            [str(self.programs.folder / "psql"), *reach, *quiet, "--command", statement],
            env={**_clean_environment(), "PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "5"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


def _clean_environment() -> dict[str, str]:
    """The caller's environment without PG… variables and translations."""
    return {**{key: value for key, value in os.environ.items() if not key.startswith("PG")}, "LC_ALL": "C"}


def find(*, root: Path = Path("/")) -> Programs:
    """The newest installed PostgreSQL. Raises DatabaseError when it is missing or too old."""
    folders = [path for pattern in FOLDERS for path in root.glob(pattern)]
    if (on_path := shutil.which("postgres")) is not None and root == Path("/"):
        folders.append(Path(on_path).resolve().parent)
    found = [(version, folder) for folder in folders if (version := _version(folder)) is not None]
    if not found:
        raise DatabaseError("PostgreSQL is not installed: `apt-get install postgresql`")
    version, folder = max(found)
    if version < MIN_VERSION:
        raise DatabaseError(f"PostgreSQL {version} in {folder} is too old: {MIN_VERSION} or newer is needed")
    return Programs(folder=folder, version=version, as_user=tuple(_as_user()))


def _version(folder: Path) -> int | None:
    """Major version, or None when the folder lacks a required program."""
    if not all((folder / program).exists() for program in ("postgres", "initdb", "psql")):
        return None
    answer = subprocess.run([str(folder / "postgres"), "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"\b(\d+)", answer)
    return int(match[1]) if match else None


def _as_user() -> Sequence[str]:
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        raise DatabaseError(
            "PostgreSQL refuses to run as root, and setpriv (util-linux), which switches to another user, is missing"
        )
    return ("setpriv", "--reuid", str(_owner().pw_uid), "--regid", str(_owner().pw_gid), "--clear-groups", "--")


def _owner() -> pwd.struct_passwd:
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise DatabaseError(f"PostgreSQL refuses to run as root, and none of these users exists: {', '.join(UNPRIVILEGED)}")


def _home(sandbox: Sandbox, programs: Programs, name: str) -> Path:
    """A folder that PostgreSQL's user owns and can reach: a parent folder may be closed to other users."""
    home = sandbox.temporary(name)
    if programs.as_user:
        owner = _owner()
        os.chown(home, owner.pw_uid, owner.pw_gid)
        test = subprocess.run([*programs.as_user, "test", "-x", str(home)], check=False)
        if test.returncode != 0:
            home = sandbox.sockets / name  # below the system's temporary folder, which is open to all
            home.mkdir()
            os.chown(home, owner.pw_uid, owner.pw_gid)
    home.chmod(0o700)
    return home


def _initialize(programs: Programs, home: Path, *, user: str, password: str) -> None:
    secret = home / "password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    if programs.as_user:
        os.chown(secret, home.stat().st_uid, home.stat().st_gid)
    options = ["--username", user, "--pwfile", str(secret), "--auth", "scram-sha-256"]
    fixed = ["--no-locale", "--encoding", "UTF8", "--no-sync", "--no-instructions"]
    done = subprocess.run(
        programs.argv("initdb", "--pgdata", str(home / "data"), *options, *fixed),
        cwd=home,
        env=_clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    secret.unlink()
    if done.returncode != 0:
        raise DatabaseError(f"initdb: exit {done.returncode}: {done.stderr.strip()}")
    # scram for every client that can reach the address: instances come and go, and the address is the run's own.
    with (home / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 scram-sha-256\n")


def _server(programs: Programs, data: Path, *, host: str, port: int) -> list[str]:
    # No Unix socket: its default folder belongs to the distribution's PostgreSQL.
    settings = {"listen_addresses": host, "port": str(port), "unix_socket_directories": "", "max_connections": "200"}
    all_settings = {**settings, **DURABILITY_OFF}
    options = [option for key, value in all_settings.items() for option in ("-c", f"{key}={value}")]
    return programs.argv("postgres", "-D", str(data), *options)
