"""`bluegreen release`: the whole way, where it stops at each step, and that the printed command goes on from there."""

from __future__ import annotations

import importlib
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fleet.colors import Color
from scripts.bluegreen import ENTRIES
from scripts.cli.exits import Exit
from scripts.cli.interrupts import SIGNALS
from scripts.stack.automation import ROOT
from scripts.stack.history import read
from scripts.stack.lock import locked
from tests.scripts.world import BUCKET, OPEN, STACK, App, World, WorldStack, select_world, two_colors

VERSION = "v4"


@pytest.fixture
def stack(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorldStack]:
    import signal

    monkeypatch.setattr("pulumi.automation.select_stack", select_world)
    monkeypatch.chdir(ROOT)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    world.apps[VERSION] = App()
    OPEN[STACK] = two_colors(world)
    yield OPEN[STACK]
    OPEN.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my app").mkdir()
    (tmp_path / "my app" / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path / "my app"


def run(name: str, *words: str) -> Result:
    return CliRunner().invoke(importlib.import_module(ENTRIES[name].module).cli, list(words))


def type_printed(line: str) -> Result:
    """What was printed, as a person types it in the checkout."""
    program, name, *words = shlex.split(line)
    assert program == "./bluegreen"
    return run(name, *words)


@pytest.fixture
def release(stack: WorldStack, folder: Path) -> Callable[..., Result]:
    def start(*words: str) -> Result:
        return run("release", str(folder), "--version", VERSION, *words)

    return start


def told(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def next_of(result: Result) -> str:
    """The last line for a person."""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("next:  ")
    return last.removeprefix("next:  ")


def test_the_whole_way(release: Callable[..., Result], world: World) -> None:
    done = told(release("--json", "--reason", "a test"))
    assert (done["ok"], done["version"], done["color"]) == (True, VERSION, "green")
    assert done["url"] == f"s3://{BUCKET}/releases/{VERSION}/bundle.tar.gz"
    assert (done["deploy"]["kind"], done["cutover"]["kind"], done["cutover"]["reason"]) == (
        "deploy",
        "cutover",
        "a test",
    )
    assert [stage["name"].partition(":")[0].split()[0] for stage in done["stages"]] == [
        *("pack", "store"),
        *("reconcile", "scale", "wait"),
        *("reconcile", "scale", "test", "production", "smoke"),
    ]
    assert list(done["cutover"]["figures"]["stages"]) == [
        *("reconcile", "scale up", "test traffic", "production traffic shift", "smoke test")
    ]
    assert (world.served(), world.weights()) == (VERSION, {Color.BLUE: 0, Color.GREEN: 100})
    assert [(one.kind, one.outcome) for one in read(world.s3, BUCKET, STACK)] == [("cutover", "ok"), ("deploy", "ok")]


def test_a_person_reads_one_sentence_at_the_end(release: Callable[..., Result]) -> None:
    result = release()
    assert result.exit_code == Exit.OK
    assert result.stdout.splitlines() == ["release v4 is live on green; blue stays ready for a rollback"]
    assert "next:" not in result.stderr


def test_a_release_that_is_live_is_left_alone(release: Callable[..., Result], world: World) -> None:
    """Deployed once more it would take the place of the one to roll back to."""
    assert release().exit_code == Exit.OK
    world.calls.clear()
    result = release()
    assert (result.exit_code, result.stdout) == (
        Exit.OK,
        "release v4 is live on green already; nothing was changed\n",
    )
    assert world.calls == []
    assert world.release_of(Color.BLUE) == "v1"


def test_the_first_release_of_a_stack_is_live_once_it_is_deployed(release: Callable[..., Result], world: World) -> None:
    world.elbv2.delete_rule(RuleArn=world.live)
    world.live = ""
    OPEN[STACK] = WorldStack(world, {"blue": {"amiId": world.ami}})
    for group in list(world.running):
        world.stop_group(group)
    result = release()
    assert (result.exit_code, result.stdout) == (Exit.OK, "release v4 is live on blue, the first one of the stack\n")
    assert world.served() == VERSION
    assert world.requests[-1] == "public blue /health?deep=1"


# -- where it stops --------------------------------------------------------------------------------------------------


def test_other_bytes_under_the_version_stop_it_before_anything(
    release: Callable[..., Result], world: World, folder: Path
) -> None:
    assert run("publish", str(folder), "--version", VERSION).exit_code == Exit.OK
    world.calls.clear()
    (folder / "Dockerfile").write_text("FROM other\n")
    refused = release("--migration", "additive", "--ami", world.ami)
    assert refused.exit_code == Exit.REFUSED
    assert "a version is written once: choose a new one" in refused.stderr
    again = f"./bluegreen release '{folder}' --version v4 --migration additive --ami {world.ami} --stack dev"
    assert next_of(refused) == again
    assert world.calls == []
    (folder / "Dockerfile").write_text("FROM scratch\n")
    gone_on = type_printed(again.replace(" --migration additive", ""))
    assert (gone_on.exit_code, world.served()) == (Exit.OK, VERSION)


def test_instances_that_fail_to_launch_stop_it_before_the_cutover(release: Callable[..., Result], world: World) -> None:
    world.never_boots.add(VERSION)
    failed = release("--json")
    assert failed.exit_code == Exit.FAILED
    assert told(failed)["error"].startswith("release v4 did not become healthy on green: 3 instances failed to launch")
    assert told(failed)["next"] == "./bluegreen deploy v4 --stack dev"
    assert (world.served(), world.weights()) == ("v1", {Color.BLUE: 100, Color.GREEN: 0})

    world.never_boots.clear()
    world.ill.clear()
    for group in [name for name, (_, version) in world.running.items() if version == VERSION]:
        world.autoscaling.resume_processes(AutoScalingGroupName=group)
    deployed = type_printed(told(failed)["next"])
    assert deployed.exit_code == Exit.OK, deployed.stderr
    cutover = deployed.stdout.splitlines()[-1].removeprefix("then:").strip()
    assert (type_printed(cutover).exit_code, world.served()) == (Exit.OK, VERSION)


def test_a_release_that_fails_its_checks_stops_it_with_the_traffic_where_it_was(
    release: Callable[..., Result], world: World
) -> None:
    world.apps[VERSION].database = "timeout"
    refused = release()
    assert refused.exit_code == Exit.REFUSED
    assert world.served() == "v1"
    assert next_of(refused) == "./bluegreen cutover green --release v4 --if-needed --stack dev"
    world.apps[VERSION].database = "ok"
    assert (type_printed(next_of(refused)).exit_code, world.served()) == (Exit.OK, VERSION)


def test_a_lock_stops_it_and_the_same_step_goes_on(release: Callable[..., Result], world: World) -> None:
    with locked(world.s3, BUCKET, STACK, "restart"):
        held = release("--ami", world.ami)
    assert held.exit_code == Exit.LOCKED
    assert next_of(held) == f"./bluegreen deploy v4 --ami {world.ami} --stack dev"
    assert type_printed(next_of(held)).exit_code == Exit.OK


def test_a_release_that_was_rolled_back_is_not_gone_on_with_but_looked_at(
    release: Callable[..., Result], stack: WorldStack, world: World
) -> None:
    stack.checks_after, world.apps[VERSION].fails_with_users = False, True
    back = release()
    assert (back.exit_code, world.served()) == (Exit.ROLLED_BACK, "v1")
    assert next_of(back) == "./bluegreen logs --color green --since 30m --stack dev"
    assert type_printed(next_of(back)).exit_code == Exit.USAGE  # this world has no log groups


def test_a_rollback_that_failed_names_its_own_command_alone(
    release: Callable[..., Result], stack: WorldStack, world: World
) -> None:
    stack.checks_after, world.apps[VERSION].fails_with_users = False, True

    def ill_when_green_has_traffic() -> None:
        if world.weights()[Color.GREEN] == 100:
            world.ill.update(one["instance"] for one in world.machines_of(Color.BLUE))

    stack.before_up = ill_when_green_has_traffic
    stuck = release()
    assert stuck.exit_code == Exit.ROLLBACK_FAILED
    assert "Act now: " in stuck.stderr.splitlines()[-1]
    assert "next:" not in stuck.stderr


def test_ctrl_c_in_the_bake_leaves_the_release_live(
    release: Callable[..., Result], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scripts.cutover.bake", interrupt)
    ended = release("--bake", "60")
    assert (ended.exit_code, world.served()) == (Exit.INTERRUPTED, VERSION)
    assert ended.stderr.splitlines()[-2] == "interrupted; traffic is on green, and config says so"
    world.calls.clear()
    assert type_printed(next_of(ended)).exit_code == Exit.OK
    assert "up" not in world.calls


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--version", "a/b"], "VERSION 'a/b'"),
        (["--version", "v9", "--ami", "ami-12"], "--ami ami-12"),
        (["--bake", "-1"], "--bake"),
    ],
)
def test_arguments_are_checked_before_anything_is_packed(folder: Path, words: list[str], named: str) -> None:
    refused = run("release", str(folder), *words)
    assert refused.exit_code == Exit.USAGE
    assert named in refused.stderr
    assert "pack" not in refused.stderr
