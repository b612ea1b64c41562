from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from rehearsal.host.database import DatabaseError, DatabaseServer, find
from rehearsal.host.sandbox import Sandbox
from tests.examples.hello_process import Hello, running

Freeze = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox.open(runs=tmp_path_factory.mktemp("runs"), with_network=False) as opened:
        yield opened


@pytest.fixture(scope="session")
def database(sandbox: Sandbox) -> DatabaseServer:
    """A real PostgreSQL."""
    try:
        find()
    except DatabaseError as error:
        pytest.skip(str(error))
    return DatabaseServer.start(sandbox, host="127.0.0.1")


@pytest.fixture
def hello(sandbox: Sandbox, tmp_path: Path) -> Iterator[Callable[..., Hello]]:
    """Starts apps that are stopped with the test."""
    with ExitStack() as apps:
        yield lambda **environment: apps.enter_context(running(sandbox, tmp_path, **environment))


@pytest.fixture
def frozen(database: DatabaseServer) -> Freeze:
    """Freezes the database: it accepts connections and never answers, the worst kind of outage."""

    @contextmanager
    def freeze() -> Iterator[None]:
        server = psutil.Process(database.process.pid)
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    return freeze


@pytest.fixture
def silent_database() -> Iterator[tuple[str, socket.socket]]:
    """A DATABASE_URL, and its listener, which never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield f"postgresql://hello:secret@127.0.0.1:{listener.getsockname()[1]}/hello", listener
