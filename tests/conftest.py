"""What tests of several folders use."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.declared import Declaration
from tests.declared import declare as run_declare


def pytest_configure() -> None:
    # A shell starts its background commands with Ctrl-C ignored, and a test that waits for its effect would hang.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(name="declare")
def _declare() -> Callable[..., Declaration]:
    """Runs a program against the SDK's mock monitor and tells what it registered."""
    return run_declare


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection and no process: what declares resources only tells the engine about them."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"neither connections nor processes are allowed here, but: {args[1:] or args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
