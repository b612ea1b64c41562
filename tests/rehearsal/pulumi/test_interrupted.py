"""Updates that end early: by Ctrl-C, without the emulator, or before they begin. The next one converges."""

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
from .test_life import touched

pytestmark = pytest.mark.engine
UP = ("pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", "dev")
DEADLINE_S = 120


def interrupted(stack: auto.Stack, act: Callable[[subprocess.Popen[str]], None], *, after: int) -> str:
    """Output of an `up` that `act` happens to after so many resources were created."""
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
                act(process)
    assert process.wait(DEADLINE_S) != 0, "".join(lines)
    return "".join(lines)


def test_ctrl_c_leaves_a_state_that_the_next_update_goes_on_from(stack: OpenStack, calls: CloudClient) -> None:
    dev = stack("dev")
    said = interrupted(dev, lambda process: os.killpg(process.pid, signal.SIGINT), after=10)
    assert "created" in said
    deployment = dev.export_stack().deployment
    assert deployment is not None
    assert deployment.get("pending_operations") in (None, [])
    assert set(touched(dev.up().summary.resource_changes)) <= {"create", "update"}
    assert touched(dev.up().summary.resource_changes) == {}
    dev.destroy()


@contextmanager
def emulator(folder: Path) -> Iterator[tuple[Running, Callable[[], None]]]:
    """One of the test's own, and what ends it early."""
    folder.mkdir()
    known = {name: os.environ[name] for name in ("PATH", "HOME")}
    process, found = start(folder, "--listen", "127.0.0.1", "--dns-name", DNS_NAME, environment=known)
    try:
        yield found, process.kill
    finally:
        process.kill()
        process.wait()


def test_an_emulator_that_ends_is_named_and_the_state_stays_usable(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with emulator(tmp_path / "first") as (first, end):
        monkeypatch.setenv("AWS_ENDPOINT_URL", first.aws)
        dev = workspace.create_stack("dev")
        said = interrupted(dev, lambda _: end(), after=10)
    errors = {line.partition("error: ")[2].strip() for line in said.splitlines() if "error: " in line}
    assert f"AWS does not answer at {first.aws}" in " ".join(errors), said
    assert "Traceback" not in said
    deployment = dev.export_stack().deployment
    assert deployment is not None
    assert len(deployment["resources"]) > 10

    with emulator(tmp_path / "second") as (second, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", second.aws)
        dev.refresh(clear_pending_creates=True)  # a new emulator is empty: what the first one had is gone
        assert set(touched(dev.up().summary.resource_changes)) <= {"create", "update"}
        dev.destroy()


def test_bad_config_is_told_whole_before_any_resource(stack: OpenStack, calls: CloudClient) -> None:
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


def test_a_property_that_the_provider_does_not_know_is_named(workspace: Workspace, cloud: Running) -> None:
    program = workspace.project / "__main__.py"
    program.unlink()
    program.write_text(
        "import pulumi, pulumi_aws as aws\n"
        "aws.lb.TargetGroup('t', port=80, protocol='HTTP', vpc_id='vpc-1', health_check={'pathh': '/'})\n"
    )
    dev = workspace.create_stack("dev")
    with pytest.raises(auto.CommandError, match=r"healthCheck\.pathh"):
        dev.up()
