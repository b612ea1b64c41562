"""What a command asks of config: checked before it is written, put back exactly when the stack did not change by it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pulumi.automation import ConfigValue
from pulumi.automation._cmd import CommandResult
from pulumi.automation.errors import CommandError, ConcurrentUpdateError
from typer.testing import CliRunner

from fleet.colors import Color
from scripts import deploy
from scripts.canary import CanaryArgs, set_weight
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import Exit, RefusedError, UsageError
from scripts.cli.interrupts import SIGNALS
from scripts.cutover import CutoverArgs, cut_over
from scripts.deploy import DeployArgs
from scripts.retire import RetireArgs, retire
from scripts.stack import config_change, config_file, lock
from scripts.stack.config_change import apply, changed_nothing, problem, save
from tests.scripts.world import BUCKET, OPEN, REGION, STACK, World, WorldStack, select_world, two_colors

OUTPUT = Path(__file__).parent.parent / "engine_output"
QUIET = Display(as_json=True)
LOCKED = (
    "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the "
    "lock file with `pulumi cancel`.\n  s3://state/.pulumi/locks/organization/bluegreen/dev/1f.json?region=x: created "
    "by ada@laptop (pid 4711) at 2026-11-29T05:00:00Z"
)
FILE = """# ours
config:
  aws:region: eu-central-1   # here
  bluegreen:blue:
    amiId: ami-0123456789abcdef0
    release: 7
encryptionsalt: v1:abc
"""


def failed(stdout: str = "", stderr: str = "") -> CommandError:
    return CommandError(CommandResult(stdout=stdout, stderr=stderr, code=255))


def locked() -> ConcurrentUpdateError:
    return ConcurrentUpdateError(CommandResult(stdout="", stderr=LOCKED, code=255))


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    OPEN.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


# -- what is put back, and when ------------------------------------------------------------------------------------


class FileStack:
    """Its config is a file, as that of every real stack."""

    name = STACK

    def __init__(self, file: Path) -> None:
        self.file = file

    def set_config(self, key: str, value: ConfigValue, *, path: bool = False) -> None:
        with self.file.open("a") as file:
            file.write(f"  {key}: {value.value}\n")


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(config_change, "ROOT", tmp_path)
    made = FileStack(tmp_path / "Pulumi.dev.yaml")
    made.file.write_text(FILE)
    return made


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


UNKNOWN = "Updating (dev):\n  live updating\n"
CREATED = "Updating (dev):\n\nResources:\n    + 2 created\n    104 unchanged\n    1 errored\n\nDuration: 9s\n"
WITHOUT_EFFECT = [
    locked(),
    failed(stderr="error: validating stack config: Stack 'dev' with configuration key 'zones' must be of type 'array'"),
    failed((OUTPUT / "config_refusal.txt").read_text()),
    failed((OUTPUT / "gate_refusal.txt").read_text()),
]
WITH_EFFECT = [failed(CREATED), failed(UNKNOWN), OSError("the disk is full")]


@pytest.mark.parametrize("error", WITHOUT_EFFECT)
def test_config_is_what_it_was_when_an_update_changed_nothing(stack: Any, error: CommandError) -> None:
    assert changed_nothing(error)
    with pytest.raises((CommandError, RefusedError)):
        apply(stack, {"activeColor": "green", "green.release": "v2"}, raising(error))
    assert stack.file.read_text() == FILE


@pytest.mark.parametrize("error", WITH_EFFECT)
def test_config_stays_as_asked_for_when_an_update_changed_something_or_may_have(stack: Any, error: Exception) -> None:
    assert not changed_nothing(error)
    with pytest.raises(type(error)):
        apply(stack, {"activeColor": "green"}, raising(error))
    assert stack.file.read_text() == f"{FILE}  bluegreen:activeColor: green\n"


def test_a_gate_that_said_no_before_anything_changed_is_a_refusal(stack: Any) -> None:
    gate = failed((OUTPUT / "gate_refusal.txt").read_text())
    with pytest.raises(RefusedError, match=r"^before hook .gate-before-users. failed: green is not"):
        apply(stack, {"activeColor": "green"}, raising(gate))


def test_an_interrupt_before_the_update_began_puts_config_back_and_one_during_it_does_not(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        apply(stack, {"activeColor": "green"}, lambda: signal.raise_signal(signal.SIGINT))
    assert stack.file.read_text() == f"{FILE}  bluegreen:activeColor: green\n"
    stack.file.write_text(FILE)
    write = stack.set_config

    def interrupted(key: str, value: ConfigValue, *, path: bool = False) -> None:
        write(key, value, path=path)
        raise KeyboardInterrupt

    monkeypatch.setattr(stack, "set_config", interrupted)
    with pytest.raises(KeyboardInterrupt):
        apply(stack, {"activeColor": "green", "canaryPercent": "0"}, raising(AssertionError("no update may begin")))
    assert stack.file.read_text() == FILE


def test_a_file_that_was_not_there_is_gone_again(stack: Any) -> None:
    stack.file.unlink()
    put_back = save(stack)
    stack.file.write_text("config:\n")
    put_back()
    assert not stack.file.exists()


def test_the_file_is_put_back_to_the_byte_and_one_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_bytes(b"config:\r\n  a: b # \xc3\xa4\r\n")
    file.chmod(0o640)
    put_back = config_file.saved(file)
    put_back()
    file.write_text("config: {}\n")
    put_back()
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"config:\r\n  a: b # \xc3\xa4\r\n", 0o640)
    file.unlink()
    with pytest.raises(config_file.StackFileError, match=r"Pulumi\.dev\.yaml is gone"):
        put_back()


# -- the program's own check ---------------------------------------------------------------------------------------

GOOD = {"aws:region": REGION, "bluegreen:activeColor": "blue", "bluegreen:blue": '{"amiId": "ami-0123456789abcdef0"}'}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, ""),
        ({"canaryPercent": "0", "green.amiId": "ami-0123456789abcdef0"}, ""),
        (
            {"green.amiId": "ami-12", "canaryPercent": "200"},
            "The stack's config can't be used:\n"
            "  canaryPercent: 200: allowed is a whole number from 0 to 99\n"
            "  green.amiId: ami-12: allowed is an image id, such as ami-0123456789abcdef0, or empty",
        ),
    ],
)
def test_what_the_program_would_refuse_is_known_before_it_is_written(values: dict[str, str], told: str) -> None:
    assert problem("organization/bluegreen/dev", GOOD, values) == told


def test_the_checkout_s_own_bad_values_count_too() -> None:
    bad = {**GOOD, "bluegreen:alertWebhooks": '["garbage"]', "aws:defaultTags": '{"tags": {"a b": "c"}}'}
    assert [line.split(":")[0].strip() for line in problem("dev", bad | {"blugreen:x": ""}).splitlines()[1:]] == [
        "alertWebhooks",
        "aws",
        "blugreen",
    ]


# -- the commands --------------------------------------------------------------------------------------------------


def changes(stack: WorldStack) -> list[tuple[str, Callable[[], Any]]]:
    return [
        ("deploy", lambda: deploy.deploy(stack, DeployArgs(version="v3", deadline_s=0.3), QUIET)),
        ("retire", lambda: retire(stack, RetireArgs(deadline_s=0.3), QUIET)),
        ("canary", lambda: set_weight(stack, CanaryArgs(percent=5), QUIET)),
        ("cutover", lambda: cut_over(stack, CutoverArgs(), QUIET)),
    ]


@pytest.mark.parametrize("which", range(4))
def test_pulumis_lock_leaves_config_as_it_was_and_has_its_own_exit_code(
    world: World, which: int, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = two_colors(world)
    del stack.config["activeColor"]
    before = json.loads(json.dumps(stack.config))
    stack.before_up = raising(locked())
    _, run = changes(stack)[which]

    def command() -> None:
        with exit_codes(Display()):
            run()

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == Exit.LOCKED
    told = capsys.readouterr().err.splitlines()[-1]
    assert "since an update by ada@laptop (pid 4711) at 2026-11-29T05:00:00Z" in told
    assert "`pulumi cancel --stack dev` and the same command again" in told
    assert stack.config == before
    assert "config put back" in world.calls


@pytest.mark.parametrize("which", range(4))
def test_a_bad_value_of_the_checkout_stops_a_command_before_it_writes(world: World, which: int) -> None:
    stack = two_colors(world)
    stack.config["alertWebhooks"] = ["garbage"]
    world.calls.clear()
    with pytest.raises(UsageError, match=r"The stack's config can't be used:\n  alertWebhooks: \(hidden\): allowed is"):
        changes(stack)[which][1]()
    assert [call for call in world.calls if call.startswith(("config", "up"))] == []
    assert lock.holder(world.s3, BUCKET, STACK) is None


def test_a_gate_s_no_leaves_neither_color_nor_share_that_were_not_there_before(world: World) -> None:
    stack = two_colors(world)
    del stack.config["activeColor"]
    before = json.loads(json.dumps(stack.config))
    world.apps["v2"].database = "down"
    with pytest.raises(RefusedError, match="green keeps its 0 %: before hook"):
        set_weight(stack, CanaryArgs(percent=5), QUIET)
    assert stack.config == before
    world.apps["v2"].database = "ok"

    def breaks() -> None:
        world.apps["v2"].database = "down"

    stack.before_up = breaks
    with pytest.raises(RefusedError, match="traffic stays on blue: before hook"):
        cut_over(stack, CutoverArgs(), QUIET)
    assert stack.config == before


def test_a_refused_deploy_notifies_nobody_and_asks_no_machine(world: World) -> None:
    stack = two_colors(world)
    before = json.loads(json.dumps(stack.config))
    stack.before_up = raising(failed((OUTPUT / "gate_refusal.txt").read_text()))
    with pytest.raises(RefusedError):
        deploy.deploy(stack, DeployArgs(version="v3", deadline_s=0.3), QUIET)
    assert (stack.config, world.heard()) == (before, [])


def test_a_deploy_whose_machines_do_not_boot_keeps_what_was_asked_for(world: World) -> None:
    stack = two_colors(world)
    world.never_boots.add("v3")
    with pytest.raises(Exception, match="release v3 did not become healthy on green"):
        deploy.deploy(stack, DeployArgs(version="v3", deadline_s=0.3), QUIET)
    assert stack.config[Color.GREEN]["release"] == "v3"


# -- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["v2", "--ami", "ami-12"], "--ami ami-12: allowed is an image id, such as ami-0123456789abcdef0, or newest"),
        (
            ["v 2"],
            "VERSION 'v 2': allowed is a release's name, letters, digits and . _ -, beginning with a letter or digit, "
            "at most 40",
        ),
    ],
)
def test_an_argument_that_is_not_allowed_is_refused_before_a_stack_is_read(words: list[str], told: str) -> None:
    result = CliRunner().invoke(deploy.cli, words)
    assert (result.exit_code, result.stderr.splitlines()) == (Exit.USAGE, [told])


@pytest.mark.parametrize(
    "words", [["v2", "--color", "red"], ["v2", "--max-failed-launches", "0"], ["v2", "--deadline", "x"]]
)
def test_options_with_bounds_are_refused_before_a_stack_is_read(words: list[str]) -> None:
    result = CliRunner().invoke(deploy.cli, words)
    assert result.exit_code == Exit.USAGE
    assert "Invalid value for '--" in result.stderr


def test_an_image_that_the_account_does_not_have_is_refused_and_config_untouched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulumi.automation.select_stack", select_world)
    OPEN[STACK] = two_colors(world)
    result = CliRunner().invoke(deploy.cli, ["v3", "--ami", "ami-0123456789abcdef0"])
    assert result.exit_code == Exit.USAGE
    assert result.stderr.splitlines()[-1] == (
        "--ami ami-0123456789abcdef0: eu-central-1 has no such image for this account; allowed is one that it has, "
        "or newest"
    )
    assert [call for call in world.calls if call.startswith(("config", "up"))] == []
