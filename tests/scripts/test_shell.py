"""`bluegreen shell`: which instance it takes, what it runs, and what it says where something is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fleet.colors import Color
from scripts import shell
from scripts.cli.exits import Exit
from tests.scripts.world import REGION, STACK, World, two_colors


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the PATH: what `aws` was called with lies in `called`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    add(folder, "aws", f'echo "$@" > {tmp_path}/called')
    add(folder, "session-manager-plugin", "exit 0")
    return folder


def add(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def run(*words: str) -> Result:
    return CliRunner().invoke(shell.cli, ["--stack", STACK, *words])


def instances(world: World, color: Color) -> list[str]:
    return [each["instance"] for each in world.machines_of(color)]


def test_the_live_color_s_first_healthy_instance_is_taken(world: World, tools: Path) -> None:
    two_colors(world)
    first, second = instances(world, Color.BLUE)
    world.ill.add(first)
    result = run()
    assert (result.exit_code, result.stderr) == (Exit.OK, f"{second} of blue, release v1\n")
    assert (tools.parent / "called").read_text() == f"ssm start-session --target {second} --region {REGION}\n"


def test_color_and_instance_choose(world: World, tools: Path) -> None:
    two_colors(world)
    blue, green = instances(world, Color.BLUE), instances(world, Color.GREEN)
    assert run("--color", "green").exit_code == Exit.OK
    assert (tools.parent / "called").read_text().split()[3] == green[0]
    assert run("--instance", blue[1]).exit_code == Exit.OK
    assert (tools.parent / "called").read_text().split()[3] == blue[1]
    unknown = run("--instance", blue[1], "--color", "green")
    assert unknown.exit_code == Exit.USAGE
    assert unknown.stderr == f"--instance {blue[1]}: green has no such instance, it has {', '.join(green)}\n"
    nowhere = run("--instance", "i-0")
    assert f"--instance i-0: stack {STACK} has no such instance, it has " in nowhere.stderr


def test_json_tells_the_command_and_opens_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    two_colors(world)
    monkeypatch.setenv("PATH", "")
    result = run("--json")
    [first, _] = instances(world, Color.BLUE)
    assert (result.exit_code, json.loads(result.stdout)) == (
        Exit.OK,
        {
            "ok": True,
            "stack": STACK,
            "instance": first,
            "color": "blue",
            "release": "v1",
            "healthy": True,
            "command": ["aws", "ssm", "start-session", "--target", first, "--region", REGION],
        },
    )


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("aws", "the AWS CLI is not on the PATH; install version 2: https://docs.aws.amazon.com/"),
        (
            "session-manager-plugin",
            "the AWS CLI's Session Manager plugin is not on the PATH; install it: https://docs.",
        ),
    ],
)
def test_a_missing_tool_is_one_sentence(tools: Path, missing: str, told: str) -> None:
    (tools / missing).unlink()
    result = run()
    assert result.exit_code == Exit.USAGE
    assert result.stderr.startswith(told)
    assert len(result.stderr.splitlines()) == 1


def test_a_session_that_fails_is_a_failure(world: World, tools: Path) -> None:
    two_colors(world)
    add(tools, "aws", "echo TargetNotConnected >&2; exit 254")
    result = run()
    [first, _] = instances(world, Color.BLUE)
    assert result.exit_code == Exit.FAILED
    assert result.stderr.splitlines()[-1] == (
        f"`aws ssm start-session --target {first} --region {REGION}` ended with exit code 254"
    )


def test_where_nothing_is_live_a_color_must_be_named_and_have_instances(world: World, tools: Path) -> None:
    result = run()
    assert (result.exit_code, result.stderr) == (
        Exit.USAGE,
        f"no release is live on stack {STACK}: name a color with --color, or an --instance\n",
    )
    assert run("--color", "green").stderr == "green has no instances\n"
