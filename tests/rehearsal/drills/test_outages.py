"""A paused database does not answer on any connection, and continues afterwards."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from rehearsal.drills.outages import children, unresponsive
from rehearsal.host import processes
from rehearsal.host.database import DatabaseError, DatabaseServer, find
from rehearsal.host.processes import STATE
from rehearsal.host.sandbox import Sandbox, wait_until


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    try:
        programs = find()
    except DatabaseError as error:
        pytest.skip(str(error))
    assert programs.version
    with Sandbox.open(runs=tmp_path_factory.mktemp("runs"), with_network=False) as sandbox:
        yield DatabaseServer.start(sandbox, host="127.0.0.1")


def test_every_process_is_paused_and_continues(database: DatabaseServer) -> None:
    postmaster = database.process.pid
    before = {one.pid for one in children(postmaster)}
    assert len(before) >= 3  # checkpointer, writers and the like, each in a session of its own
    assert len(processes.session_of(database.process.identity)) == 1
    with unresponsive(database):
        wait_until(lambda: None if found(postmaster, *before) == {"T"} else "not all stopped", what="it", deadline=5)
    wait_until(lambda: "one is stopped" if "T" in found(postmaster, *before) else None, what="it", deadline=5)
    assert database.query("SELECT 1") == "1"


def test_it_continues_also_when_the_block_fails(database: DatabaseServer) -> None:
    with pytest.raises(ValueError, match="odd"), unresponsive(database):
        raise ValueError("odd")
    assert database.query("SELECT 2") == "2"


def test_children_are_the_direct_ones() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert child.pid in {one.pid for one in children(os.getpid())}
            assert children(child.pid) == []
        finally:
            child.kill()


def found(*pids: int) -> set[str]:
    """The kernel's letters for the states of those that are left; T is stopped. A signal takes a moment to show."""
    return {fields[STATE] for pid, fields in processes.all_processes() if pid in pids}
