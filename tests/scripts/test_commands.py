"""The commands as a shell sees them: options, exit codes, one JSON document on stdout."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fleet.colors import Color
from fleet.smoke_test import PathCheck
from scripts.cli.display import update_error
from scripts.cli.exits import Exit, UsageError
from scripts.cli.interrupts import SIGNALS
from scripts.smoke_test import read_paths
from scripts.stack import automation
from scripts.stack.history import read
from scripts.stack.lock import locked
from tests.scripts.world import BUCKET, OPEN, STACK, World, WorldStack, select_world, two_colors

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    *("publish_release", "deploy", "smoke_test", "cutover", "rollback", "retire", "restart", "status"),
    *("preview", "up", "sync_config", "canary", "release", "logs", "shell", "doctor"),
]


@pytest.fixture
def stack(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorldStack]:
    monkeypatch.setattr("pulumi.automation.select_stack", select_world)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    OPEN[STACK] = two_colors(world)
    yield OPEN[STACK]
    OPEN.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def run(stack: WorldStack) -> Callable[..., Result]:
    def invoke(name: str, *words: str) -> Result:
        return CliRunner().invoke(importlib.import_module(f"scripts.{name}").cli, list(words))

    return invoke


def answer(result: Result) -> dict[str, Any]:
    """The one JSON document: nothing else may be on stdout."""
    told: dict[str, Any] = json.loads(result.stdout)
    return told


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_the_options_and_says_what_the_command_does(name: str) -> None:
    helped = CliRunner().invoke(importlib.import_module(f"scripts.{name}").cli, ["--help"])
    assert helped.exit_code == Exit.OK
    assert "--json" in helped.stdout
    assert "--stack" in helped.stdout


def test_the_first_deploy_says_that_users_have_it_and_suggests_no_cutover(
    run: Callable[..., Result], world: World
) -> None:
    world.elbv2.delete_rule(RuleArn=world.live)
    world.live = ""
    OPEN[STACK] = WorldStack(world, {"blue": {"amiId": world.ami}})
    for group in list(world.running):
        world.stop_group(group)
    done = run("deploy", "v1")
    assert done.exit_code == Exit.OK
    assert done.stdout.splitlines()[1:] == [
        f"it is live (100 % of the traffic): {world.url}",
        "check it:  ./bluegreen smoke-test --stack dev",
    ]
    assert run("smoke_test", "--stack", "dev").exit_code == Exit.OK


def test_a_later_deploy_suggests_the_cutover(run: Callable[..., Result]) -> None:
    done = run("deploy", "v3")
    assert done.stdout.splitlines()[1:] == [
        "check it:  ./bluegreen smoke-test --color green --stack dev",
        "then:      ./bluegreen cutover green --stack dev",
    ]
    assert run("cutover", "green", "--bake", "0").exit_code == Exit.OK


def test_a_cutover_that_is_not_needed_does_nothing_when_that_is_fine(run: Callable[..., Result], world: World) -> None:
    refused = run("cutover", "blue")
    assert (refused.exit_code, "blue has all traffic already" in refused.stderr) == (Exit.REFUSED, True)
    fine = run("cutover", "blue", "--if-needed", "--release", "v1", "--json")
    assert (fine.exit_code, answer(fine)) == (Exit.OK, {"ok": True, "changed_resources": 0})
    assert "up" not in world.calls
    assert answer(run("cutover", "green", "--if-needed", "--json"))["target"]["release"] == "v2"


@pytest.mark.parametrize("color", ["blue", "green"])
def test_a_color_that_holds_another_release_than_meant_gets_no_users(
    run: Callable[..., Result], world: World, color: str
) -> None:
    refused = run("cutover", color, "--if-needed", "--release", "v9")
    assert refused.exit_code == Exit.REFUSED
    assert f"{color} holds release v{1 if color == 'blue' else 2}, not v9" in refused.stderr
    assert "up" not in world.calls


def test_a_cutover_and_the_way_back(run: Callable[..., Result], world: World) -> None:
    there = run("cutover", "green", "--json")
    assert there.exit_code == Exit.OK
    told = answer(there)
    assert (told["ok"], told["changed_resources"]) == (True, 1)
    assert (told["source"]["release"], told["target"]["release"]) == ("v1", "v2")
    assert [stage["name"].split(":")[0] for stage in told["stages"]] == [
        "reconcile",
        "scale up",
        "test traffic",
        "production traffic shift",
        "smoke test",
    ]
    back = run("rollback", "--json")
    assert answer(back)["target"] | {"asg": ""} == {
        "color": "blue",
        "release": "v1",
        "ami": world.ami,
        "asg": "",
        "target_group": world.groups[Color.BLUE],
    }
    assert world.served() == "v1"


def test_a_person_reads_stages_and_a_sentence(run: Callable[..., Result]) -> None:
    result = run("cutover", "green")
    assert "green v2 has all traffic, blue v1 stays ready for a rollback" in result.stdout
    assert "ok  test traffic: check green through the preview" in result.stderr


def test_each_way_to_end_has_its_code(run: Callable[..., Result], stack: WorldStack, world: World) -> None:
    assert run("cutover", "red").exit_code == Exit.USAGE
    assert run("cutover", "blue", "--json").exit_code == Exit.REFUSED
    with locked(world.s3, BUCKET, STACK, "deploy"):
        held = run("cutover", "green", "--json")
    assert held.exit_code == Exit.LOCKED
    assert answer(held)["ok"] is False
    assert "the stack is locked by" in answer(held)["error"]
    stack.checks_after, world.apps["v2"].fails_with_users = False, True
    turned = run("cutover", "green", "--smoke-deadline", "0.2", "--json")
    assert turned.exit_code == Exit.ROLLED_BACK
    assert answer(turned)["error"].startswith("traffic is back on blue")


def test_deploy_then_retire(run: Callable[..., Result], world: World) -> None:
    deployed = run("deploy", "v3", "--json")
    assert deployed.exit_code == Exit.OK
    assert answer(deployed)["target"]["release"] == "v3"
    assert world.release_of(Color.GREEN) == "v3"
    retired = run("retire", "--json")
    assert answer(retired)["source"]["release"] == "v3"
    assert world.machines_of(Color.GREEN) == []


def test_restart_tells_which_machines(run: Callable[..., Result], world: World) -> None:
    restarted = answer(run("restart", "--color", "blue", "--count", "1", "--json"))["restarted"]
    assert [one["instance"] for one in restarted] == world.rebooted


def test_status_as_json(run: Callable[..., Result]) -> None:
    assert answer(run("status", "--json"))["colors"]["blue"]["release"] == "v1"


def test_publish_tells_url_and_checksum(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    published = run("publish_release", str(tmp_path), "--version", "v4", "--migration", "breaking", "--json")
    told = answer(published)
    assert told["url"] == f"s3://{BUCKET}/releases/v4/bundle.tar.gz"
    assert (told["migration"], told["already_published"], len(told["sha256"])) == ("breaking", False, 64)
    assert answer(run("publish_release", str(tmp_path), "--version", "v4", "--migration", "breaking", "--json"))[
        "already_published"
    ]
    assert run("publish_release", str(tmp_path), "--version", "v4", "--json").exit_code == Exit.REFUSED


def test_smoke_of_a_color_and_of_the_public_side(run: Callable[..., Result], world: World) -> None:
    green = run("smoke_test", "--color", "green", "--json", "--require", "database")
    assert green.exit_code == Exit.OK
    assert {check["name"]: check["ok"] for check in answer(green)["checks"]} == {
        "health": True,
        "database": True,
        "release": True,
        "color": True,
    }
    assert world.requests == ["preview green /health?deep=1"]
    world.apps["v1"].database = "timeout"
    public = run("smoke_test", "--deadline", "0.1", "--json")
    assert public.exit_code == Exit.FAILED
    assert answer(public)["ok"] is False
    table = run("smoke_test", "--deadline", "0.1")
    assert table.exit_code == Exit.FAILED
    assert "timeout" in table.stdout


def test_a_smoke_test_needs_no_stack(world: World, stack: WorldStack, tmp_path: Path) -> None:
    paths = tmp_path / "paths"
    paths.write_text("# a comment\n\n/\n/nowhere 404\n/ 200 Bonjour\n")
    words = ["--url", world.url, "--release", "v1", "--deadline", "0.1", "--paths", str(paths), "--json"]
    file = ROOT / "scripts" / "smoke_test.py"
    ran = subprocess.run([sys.executable, str(file), *words], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == Exit.FAILED, ran.stderr
    assert [(check["name"], check["ok"]) for check in json.loads(ran.stdout)["checks"]] == [
        ("health", True),
        ("database", True),
        ("release", True),
        ("/", True),
        ("/nowhere", True),
        ("/", False),
    ]
    assert os.access(file, os.X_OK)


@pytest.mark.parametrize("line", ["nothing", "/ ok", "/ 99", "/ 2000"])
def test_a_paths_file_says_which_line_is_wrong(tmp_path: Path, line: str) -> None:
    file = tmp_path / "paths"
    file.write_text(f"/fine\n{line}\n")
    with pytest.raises(UsageError, match=r"paths:2: .*must read `/path`, `/path 200` or `/path 200 some text`"):
        read_paths(file)


def test_a_paths_file_reads_status_and_text(tmp_path: Path) -> None:
    file = tmp_path / "paths"
    file.write_text("/a\n/b 404\n/c 200 Hello there\n")
    assert read_paths(file) == (
        PathCheck(path="/a"),
        PathCheck(path="/b", status=404),
        PathCheck(path="/c", contains="Hello there"),
    )


def test_a_stack_without_outputs_must_be_made_first() -> None:
    class Empty:
        name = "dev"

        def outputs(self) -> dict[str, Any]:
            return {}

        get_all_config = outputs

    with pytest.raises(UsageError, match="stack dev has no outputs yet: run `pulumi up --stack dev` first"):
        automation.read_facts(Empty())  # type: ignore[arg-type]


def test_of_a_failed_update_only_what_went_wrong_is_told() -> None:
    text = """code: 255
 stdout: Updating (dev):
 Diagnostics:
  aws:lb:ListenerRule (web-live):
    error: before hook "gate-before-users" failed: green is off
  pulumi:pulumi:Stack (bluegreen-dev):
    Traceback (most recent call last):
    KeyboardInterrupt
"""
    assert update_error(text) == 'before hook "gate-before-users" failed: green is off'
    twice = "stderr: aws:lb:ListenerRule (live): error: green is off\n error: green is off"
    assert update_error(twice) == "green is off"
    assert update_error("something else") == "something else"
    raised = "error: Program failed with an unhandled exception:\n  Traceback (most recent call last):\n  KeyError: 'x'"
    assert update_error(raised) == "KeyError: 'x'"
    assert update_error("error: update failed") == "update failed"


def test_a_missing_pulumi_cli_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"pulumi is not on the PATH; install the Pulumi CLI, 3\.238 or later"):
        automation.open_stack("dev")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cutover", ["green", "--bake"]),
        ("cutover", ["green", "--smoke-deadline"]),
        ("rollback", ["--smoke-deadline"]),
        ("canary", ["5", "--bake"]),
        ("deploy", ["v2", "--deadline"]),
        ("retire", ["--deadline"]),
        ("smoke_test", ["--deadline"]),
    ],
)
@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "1e9", "soon"])
def test_seconds_are_a_number_that_ends(run: Callable[..., Result], name: str, words: list[str], seconds: str) -> None:
    result = run(name, *words, seconds)
    assert result.exit_code == Exit.USAGE
    assert f"Invalid value for '{words[-1]}'" in result.stderr


def test_a_bake_of_the_environment_is_checked_too_and_none_is_the_usual_one(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLUEGREEN_BAKE_SECONDS", "a minute")
    result = run("cutover", "green")
    assert result.exit_code == Exit.USAGE
    assert "Invalid value for '--bake' (env var: 'BLUEGREEN_BAKE_SECONDS')" in result.stderr
    # As a workflow gives a variable that is not set.
    monkeypatch.setenv("BLUEGREEN_BAKE_SECONDS", "")
    monkeypatch.setattr("scripts.cutover.bake", lambda *given: seen.append(given[2]))
    seen: list[float] = []
    assert run("cutover", "green").exit_code == Exit.OK
    assert seen == [60]


def test_a_reason_of_any_kind_is_told_in_one_line(run: Callable[..., Result], world: World) -> None:
    reason = "Ümläut 🚀\n| <b>x</b> \x1b[2J\udcff\rok=false " + "x" * 10_000
    result = run("cutover", "green", "--json", "--reason", reason)
    assert result.exit_code == Exit.OK
    told = answer(result)["reason"]
    assert told.startswith("Ümläut 🚀 | <b>x</b> [2J ok=false xxx")
    assert (len(told), told[-1]) == (500, "…")
    assert read(world.s3, BUCKET, STACK)[0].reason == told
    [(_, content)] = world.heard()
    assert content["reason"] == told
    assert run("status").exit_code == Exit.OK
