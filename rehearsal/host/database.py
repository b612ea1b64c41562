"""A real PostgreSQL with one empty database listens on an address and port of the run's own, and goes with it."""

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

from rehearsal.host.sandbox import SERVING, Ground, Process

OLDEST = 15
# Where Debian, Ubuntu and Red Hat keep what is not meant for everybody's PATH.
FOLDERS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin")
# Who may own a data folder when the run is root's: PostgreSQL refuses root, and any user without rights will do.
UNPRIVILEGED = ("postgres", "nobody")
# The data lives as long as the rehearsal: nothing needs to outlive a crash, and an fsync costs a disk's time each.
THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB"}


class DatabaseError(Exception):
    """PostgreSQL is missing, refused to start, or refused a statement."""


@dataclass(frozen=True, kw_only=True)
class Programs:
    """One installation's programs, and how to run them as somebody PostgreSQL accepts."""

    folder: Path
    version: int
    as_user: tuple[str, ...]

    def argv(self, program: str, *arguments: str) -> list[str]:
        return [*self.as_user, str(self.folder / program), *arguments]


@dataclass(frozen=True, kw_only=True)
class Database:
    """A running server; `url` is what an app's DATABASE_URL holds."""

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
    def start(cls, ground: Ground, *, host: str, name: str = "hello", deadline: float = 60.0) -> Database:
        """Make a cluster in the run's folder and serve it at this address, which must be up."""
        programs = find()
        port = ground.port(host)
        home = _home(ground, programs, f"postgresql-{port}")
        password = secrets.token_hex(16)
        _initialize(programs, home, user=name, password=password)
        argv = _server(programs, home / "data", host=host, port=port)
        process = ground.start("postgresql", argv, {"LC_ALL": "C"}, cwd=home, grace=5.0, nice=SERVING)
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
        ground.wait_ready(process, database.objection, what="PostgreSQL", deadline=deadline)
        database.query(f'CREATE DATABASE "{name}"', on="postgres")
        return database

    def query(self, statement: str, *, on: str = "") -> str:
        """Rows as psql prints them: unaligned, without headers."""
        done = self._psql(statement, on=on or self.name)
        if done.returncode != 0:
            raise DatabaseError(f"{statement}: {done.stderr.strip()}")
        return done.stdout.strip()

    def objection(self) -> str | None:
        """Why it does not answer a query yet, or None."""
        done = self._psql("SELECT 1", on="postgres")
        return None if done.returncode == 0 else done.stderr.strip()

    def stop(self) -> None:
        """End it now; as at a crash, connected apps lose their connections."""
        self.process.stop()

    def _psql(self, statement: str, *, on: str) -> subprocess.CompletedProcess[str]:
        reach = ["--host", self.host, "--port", str(self.port), "--username", self.user, "--dbname", on]
        quiet = ["--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]
        return subprocess.run(
            [str(self.programs.folder / "psql"), *reach, *quiet, "--command", statement],
            env={**_neutral(), "PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "5"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


def _neutral() -> dict[str, str]:
    """The caller's environment without the PG… variables of databases of his own; messages untranslated."""
    return {**{key: value for key, value in os.environ.items() if not key.startswith("PG")}, "LC_ALL": "C"}


def find(*, root: Path = Path("/")) -> Programs:
    """The newest installed PostgreSQL that is new enough."""
    folders = [path for pattern in FOLDERS for path in root.glob(pattern)]
    if (on_path := shutil.which("postgres")) is not None and root == Path("/"):
        folders.append(Path(on_path).resolve().parent)
    found = [(version, folder) for folder in folders if (version := _version(folder)) is not None]
    if not found:
        raise DatabaseError("PostgreSQL is not installed: `apt-get install postgresql`")
    version, folder = max(found)
    if version < OLDEST:
        raise DatabaseError(f"PostgreSQL {version} in {folder} is too old: {OLDEST} or newer is needed")
    return Programs(folder=folder, version=version, as_user=tuple(_as_user()))


def _version(folder: Path) -> int | None:
    """None when the folder lacks a program that a server needs."""
    if not all((folder / program).exists() for program in ("postgres", "initdb", "psql")):
        return None
    answer = subprocess.run([str(folder / "postgres"), "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"\b(\d+)", answer)
    return int(match[1]) if match else None


def _as_user() -> Sequence[str]:
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        raise DatabaseError("PostgreSQL refuses to run as root, and setpriv (util-linux) is missing to become another")
    return ("setpriv", "--reuid", str(_owner().pw_uid), "--regid", str(_owner().pw_gid), "--clear-groups", "--")


def _owner() -> pwd.struct_passwd:
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise DatabaseError(f"PostgreSQL refuses to run as root, and there is none of the users {', '.join(UNPRIVILEGED)}")


def _home(ground: Ground, programs: Programs, name: str) -> Path:
    """A folder that PostgreSQL's user owns, and can get to: the way there may lead through somebody's closed folder."""
    home = ground.temporary(name)
    if programs.as_user:
        owner = _owner()
        os.chown(home, owner.pw_uid, owner.pw_gid)
        test = subprocess.run([*programs.as_user, "test", "-x", str(home)], check=False)
        if test.returncode != 0:
            home = ground.sockets / name  # below the system's own temporary folder, open to all
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
    plain = ["--no-locale", "--encoding", "UTF8", "--no-sync", "--no-instructions"]
    done = subprocess.run(
        programs.argv("initdb", "--pgdata", str(home / "data"), *options, *plain),
        cwd=home,
        env=_neutral(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    secret.unlink()
    if done.returncode != 0:
        raise DatabaseError(f"initdb: exit {done.returncode}: {done.stderr.strip()}")
    # scram for everybody who can reach the address: machines come and go, and the address is the run's own.
    with (home / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 scram-sha-256\n")


def _server(programs: Programs, data: Path, *, host: str, port: int) -> list[str]:
    # No Unix socket: its default folder belongs to the distribution's own PostgreSQL.
    settings = {"listen_addresses": host, "port": str(port), "unix_socket_directories": "", "max_connections": "200"}
    chosen = {**settings, **THROWAWAY}
    options = [option for key, value in chosen.items() for option in ("-c", f"{key}={value}")]
    return programs.argv("postgres", "-D", str(data), *options)
