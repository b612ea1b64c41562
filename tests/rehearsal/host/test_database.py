from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.host import processes
from rehearsal.host.database import DatabaseError, DatabaseServer, Programs, find
from rehearsal.host.sandbox import Sandbox


def installed() -> Programs | None:
    try:
        return find()
    except DatabaseError:
        return None


needs_postgresql = pytest.mark.skipif(installed() is None, reason="PostgreSQL is not installed")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox.open(runs=tmp_path_factory.mktemp("runs"), with_network=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def database(sandbox: Sandbox) -> DatabaseServer:
    return DatabaseServer.start(sandbox, host="127.0.0.1")


@needs_postgresql
def test_the_url_opens_a_database_that_stores_data(database: DatabaseServer) -> None:
    database.query("CREATE TABLE visits (number int)")
    database.query("INSERT INTO visits VALUES (41), (42)")
    assert database.query("SELECT max(number) FROM visits") == "42"
    assert database.query("SELECT current_database()") == "hello"
    assert database.url == f"postgresql://hello:{database.password}@127.0.0.1:{database.port}/hello"


@needs_postgresql
def test_a_wrong_password_is_refused_and_the_right_one_never_travels(database: DatabaseServer) -> None:
    from dataclasses import replace

    with pytest.raises(DatabaseError, match="password authentication failed"):
        replace(database, password="guess").query("SELECT 1")
    stored = database.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'hello'")
    assert stored.startswith("SCRAM-SHA-256$")


@needs_postgresql
def test_a_failing_statement_is_named(database: DatabaseServer) -> None:
    with pytest.raises(DatabaseError, match=r'SELECT \* FROM nowhere: ERROR:  relation "nowhere" does not exist'):
        database.query("SELECT * FROM nowhere")


@needs_postgresql
def test_it_listens_on_its_address_only_and_on_no_unix_socket(database: DatabaseServer) -> None:
    assert database.query("SHOW listen_addresses") == "127.0.0.1"
    assert database.query("SHOW unix_socket_directories") == ""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", database.port), timeout=2)


@needs_postgresql
def test_it_never_runs_as_root(database: DatabaseServer) -> None:
    owners = {Path(f"/proc/{one.pid}").stat().st_uid for one in processes.session_of(database.process.identity)}
    assert owners
    assert 0 not in owners
    assert database.data.stat().st_mode & 0o077 == 0


@needs_postgresql
def test_closing_the_sandbox_stops_it_and_removes_its_data(tmp_path: Path) -> None:
    with Sandbox.open(runs=tmp_path, with_network=False) as sandbox:
        database = DatabaseServer.start(sandbox, host="127.0.0.1")
        workers = processes.session_of(database.process.identity)
    assert not any(processes.alive(one) for one in workers)
    assert not database.data.exists()
    assert database.not_ready_reason() is not None


@needs_postgresql
def test_stopping_it_is_seen_by_the_next_query(sandbox: Sandbox) -> None:
    database = DatabaseServer.start(sandbox, host="127.0.0.1")
    database.stop()
    with pytest.raises(DatabaseError, match="Connection refused"):
        database.query("SELECT 1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to switch to another user")
@needs_postgresql
def test_an_inaccessible_parent_folder_is_no_obstacle(tmp_path: Path) -> None:
    """A checkout below a home folder of mode 0700, which the postgres user can't access."""
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    with Sandbox.open(runs=closed, with_network=False) as sandbox:
        assert DatabaseServer.start(sandbox, host="127.0.0.1").query("SELECT 1") == "1"


def fake_installation(root: Path, version: str) -> None:
    folder = root / "usr/lib/postgresql" / version.split(".")[0] / "bin"
    folder.mkdir(parents=True)
    for program in ("postgres", "initdb", "psql"):
        (folder / program).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (folder / program).chmod(0o755)


def test_the_newest_of_several_installations_is_used(tmp_path: Path) -> None:
    for version in ("9.6", "15.18", "17.2"):
        fake_installation(tmp_path, version)
    assert find(root=tmp_path).version == 17


def test_an_old_installation_is_refused_by_version(tmp_path: Path) -> None:
    fake_installation(tmp_path, "13.4")
    with pytest.raises(DatabaseError, match=r"PostgreSQL 13 in .*/13/bin is too old: 15 or newer is needed"):
        find(root=tmp_path)


def test_no_installation_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="apt-get install postgresql"):
        find(root=tmp_path)
