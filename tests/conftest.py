"""What tests of several folders use."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.declared import Declaration
from tests.declared import declare as run_declare

# Files of a minute or more, the longest first: begun last, one would be waited for when all else is done.
LONG = (
    *("ci/test_delivery", "test_playground", "test_rehearsal", "rehearsal/pulumi/test_stack_lifecycle"),
    *("rehearsal/images/test_instance_image", "rehearsal/pulumi/test_killed", "rehearsal/pulumi/test_settings_change"),
    *("ami/test_watch", "rehearsal/vpn/test_scenario", "ami/test_failure_notifications", "ci/test_pull_request"),
    *("rehearsal/pulumi/test_vpn", "rehearsal/cloud/test_instances", "rehearsal/pulumi/test_interrupted"),
    *("rehearsal/pulumi/test_bootstrap", "ami/test_boot", "rehearsal/pulumi/test_readme"),
)
# What `-m "not slow"` leaves out: they, whatever needs more than this process, and tests of the tools of tests.
SLOW_KINDS = ("engine", "docker", "network", "packer", "rehearsal", "drills")
SLOW = (
    *("rehearsal/cli/", "rehearsal/cloud/", "rehearsal/provider/", "examples/test_hello"),
    *("ami/test_report", "ami/test_crash_reporter", "ami/test_drain", "ami/test_alarm", "ami/test_parameters"),
    *("scripts/test_agreement", "scripts/test_direct_rollback", "scripts/test_watch"),
    *("rehearsal/load_balancer/test_emulator", "rehearsal/load/test_generator", "rehearsal/host/test_database"),
)
TESTS = Path(__file__).resolve().parent


def pytest_itemcollected(item: pytest.Item) -> None:
    place = str(item.path.relative_to(TESTS))
    if place.startswith((*LONG, *SLOW)) or any(item.get_closest_marker(kind) for kind in SLOW_KINDS):
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {TESTS / f"{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))


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
