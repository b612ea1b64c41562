"""Interrupted updates: by Ctrl-C, by the end of the emulator, by invalid config. The next one converges."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pulumi.automation as auto
import pytest

from rehearsal.cloud.client import CloudClient
from rehearsal.workspace import Workspace
from tests.rehearsal.cloud.fleet import DNS_NAME, Running, start

from .conftest import OpenStack
from .test_stack_lifecycle import changed_counts

pytestmark = pytest.mark.engine
UP = ("pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", "dev")
DEADLINE_S = 120


def interrupted(stack: auto.Stack, interrupt: Callable[[subprocess.Popen[str]], None], *, after: int) -> str:
    """Output of an `up` that is interrupted after this many resources were created."""
    process = subprocess.Popen(
        UP, cwd=stack.workspace.work_dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if " created (" in line:
            after -= 1
            if after == 0:
                interrupt(process)
    assert process.wait(DEADLINE_S) != 0, "".join(lines)
    return "".join(lines)


def test_after_ctrl_c_the_next_update_continues(stack: OpenStack, calls: CloudClient) -> None:
    dev = stack("dev")
    output = interrupted(dev, lambda process: os.killpg(process.pid, signal.SIGINT), after=10)
    assert "created" in output
    deployment = dev.export_stack().deployment
    assert deployment is not None
    assert deployment.get("pending_operations") in (None, [])
    assert set(changed_counts(dev.up().summary.resource_changes)) <= {"create", "update"}
    assert changed_counts(dev.up().summary.resource_changes) == {}
    dev.destroy()


@contextmanager
def emulator(folder: Path) -> Iterator[tuple[Running, Callable[[], None]]]:
    """A separate emulator, and a function that kills it."""
    folder.mkdir()
    known = {name: os.environ[name] for name in ("PATH", "HOME")}
    process, found = start(folder, "--listen", "127.0.0.1", "--dns-name", DNS_NAME, environment=known)
    try:
        yield found, process.kill
    finally:
        process.kill()
        process.wait()


def test_an_emulator_that_is_killed_is_reported_and_the_state_stays_usable(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with emulator(tmp_path / "first") as (first, end):
        monkeypatch.setenv("AWS_ENDPOINT_URL", first.aws)
        dev = workspace.create_stack("dev")
        output = interrupted(dev, lambda _: end(), after=10)
    errors = {line.partition("error: ")[2].strip() for line in output.splitlines() if "error: " in line}
    assert f"AWS does not answer at {first.aws}" in " ".join(errors), output
    assert "Traceback" not in output
    deployment = dev.export_stack().deployment
    assert deployment is not None
    assert len(deployment["resources"]) > 10

    with emulator(tmp_path / "second") as (second, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", second.aws)
        dev.refresh(clear_pending_creates=True)  # a new emulator is empty: the first one's resources don't exist
        assert set(changed_counts(dev.up().summary.resource_changes)) <= {"create", "update"}
        dev.destroy()


def test_all_invalid_config_is_reported_before_any_resource(stack: OpenStack, calls: CloudClient) -> None:
    dev = stack("dev")
    before = calls.write_calls()
    dev.set_config("activeColor", auto.ConfigValue("pink"))
    dev.set_config("canaryPercent", auto.ConfigValue("101"))
    with pytest.raises(auto.CommandError) as caught:
        dev.up()
    assert "activeColor: pink" in str(caught.value)
    assert "canaryPercent: 101" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert calls.write_calls() == before


def test_an_unknown_property_is_named(workspace: Workspace, cloud: Running) -> None:
    program = workspace.project / "__main__.py"
    program.unlink()
    program.write_text(
        "import pulumi, pulumi_aws as aws\n"
        "aws.lb.TargetGroup('t', port=80, protocol='HTTP', vpc_id='vpc-1', health_check={'pathh': '/'})\n"
    )
    dev = workspace.create_stack("dev")
    with pytest.raises(auto.CommandError, match=r"healthCheck\.pathh"):
        dev.up()
