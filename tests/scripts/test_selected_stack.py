"""Which stack a command means: the one that is named, else the one that Pulumi has selected, and never a usual one."""

from __future__ import annotations

import hashlib
import importlib
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from botocore.exceptions import NoCredentialsError, NoRegionError
from pulumi.automation import StackNotFoundError
from pulumi.automation._cmd import CommandResult
from pulumi.automation.errors import CommandError
from typer.testing import CliRunner, Result

from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import Exit, ScriptError, UsageError
from scripts.cli.interrupts import SIGNALS
from scripts.rollout import direct_rollback
from scripts.stack import automation
from scripts.stack.automation import NO_CLI, NO_STACK, open_stack, selected_stack, selected_stack_on_disk
from tests.scripts.world import STACK

BACKEND = "s3://state?region=eu-central-1"
COMMANDS: dict[str, tuple[str, ...]] = {
    "canary": ("5",),
    "cutover": ("green",),
    "deploy": ("v2",),
    "preview": (),
    "publish_release": (".",),
    "release": (".", "--version", "v2"),
    "restart": (),
    "retire": (),
    "rollback": (),
    "smoke_test": (),
    "status": (),
    "sync_config": (),
    "up": (),
    "vpn_config": (),
}
# Without Pulumi but for the selected stack's name, if none is given: theirs is found in AWS.
BY_NAME: dict[str, tuple[str, ...]] = {"logs": (), "shell": ("--json",)}
OPENED = "the stack {} was asked for"


def told(*, stack_name: str, work_dir: str) -> None:
    raise UsageError(OPENED.format(stack_name))


@pytest.fixture(autouse=True)
def _pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No stack is named and none is selected; which one is opened is told as an error."""
    for name in ("BLUEGREEN_STACK", "PULUMI_STACK", "PULUMI_BACKEND_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("pulumi.automation.select_stack", told)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A `pulumi` that answers so."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def answer(script: str) -> None:
        (folder / "pulumi").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\npwd >> {tmp_path}/asked\n{script}\n')
        (folder / "pulumi").chmod(0o755)

    return answer


def run(name: str, *words: str) -> Result:
    return CliRunner().invoke(importlib.import_module(f"scripts.{name}").cli, [*(COMMANDS | BY_NAME)[name], *words])


NONE_SELECTED = (
    "echo 'error: no stack selected; please use `pulumi stack select` or `pulumi stack init` to choose one' >&2; exit 1"
)


@pytest.mark.parametrize("name", COMMANDS | BY_NAME)
def test_without_a_stack_a_command_is_misused_and_one_sentence_names_both_ways(
    says: Callable[[str], None], name: str
) -> None:
    says(NONE_SELECTED)
    result = run(name)
    assert result.exit_code == Exit.USAGE
    told = (
        json.loads(result.stdout)["error"] if "--json" in (COMMANDS | BY_NAME)[name] else result.stderr.splitlines()[-1]
    )
    assert told == NO_STACK
    assert NO_STACK == (
        "no stack is named, and none is selected: select one with `pulumi stack select NAME`, or name it with "
        "--stack NAME (or BLUEGREEN_STACK)"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_the_selected_stack_is_taken_and_a_named_one_comes_first(
    says: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    says("echo prod")
    assert run(name).stderr.splitlines()[-1] == OPENED.format("prod")
    monkeypatch.setenv("BLUEGREEN_STACK", "playground")
    assert run(name).stderr.splitlines()[-1] == OPENED.format("playground")
    assert run(name, "--stack", STACK).stderr.splitlines()[-1] == OPENED.format(STACK)


def test_every_command_that_takes_a_stack_is_tried_here() -> None:
    modules = [path.stem for path in (automation.ROOT / "scripts").glob("*.py") if "\ncli = " in path.read_text()]
    commands = {name: typer.main.get_command(importlib.import_module(f"scripts.{name}").cli) for name in modules}
    taking = {name for name, command in commands.items() if any(each.name == "stack" for each in command.params)}
    assert taking - {"doctor"} == set(COMMANDS | BY_NAME)  # a missing stack is one of its findings


def test_pulumi_is_asked_in_the_project_s_folder(says: Callable[[str], None], tmp_path: Path) -> None:
    says("echo prod")
    assert selected_stack() == "prod"
    assert (tmp_path / "asked").read_text().splitlines() == [
        "stack --show-name --non-interactive",
        str(automation.ROOT.resolve()),
    ]


def test_what_keeps_pulumi_from_answering_is_told(says: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    says("echo 'error: read \".pulumi/meta.yaml\": connection refused' >&2; exit 255")
    with pytest.raises(ScriptError) as broken:
        open_stack("")
    assert str(broken.value) == (
        'Pulumi does not say which stack is selected: read ".pulumi/meta.yaml": connection refused'
    )
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError) as missing:
        open_stack("")
    assert str(missing.value) == NO_CLI


NOT_LOGGED_IN = "Pulumi is not logged in to where the state lies: `pulumi login s3://BUCKET` first"
NO_CREDENTIALS = (
    "there are no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
    "`aws sts get-caller-identity` says whose are in use"
)
NO_REGION = "there is no AWS region: set AWS_REGION to that of the stack and its state"
NO_ACCESS = [
    ("PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions", NOT_LOGGED_IN),
    (
        'read ".pulumi/meta.yaml": blob (key ".pulumi/meta.yaml") (code=Unknown): operation error S3: GetObject, get '
        "identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found, operation error "
        "ec2imds: GetMetadata, request canceled, context deadline exceeded",
        NO_CREDENTIALS,
    ),
    (
        'read ".pulumi/meta.yaml": blob (key ".pulumi/meta.yaml") (code=Unknown): operation error S3: GetObject, '
        "resolve endpoint: endpoint rule error, Invalid region: region was not a valid DNS name.",
        NO_REGION,
    ),
]


@pytest.mark.parametrize(("error", "told"), NO_ACCESS)
@pytest.mark.parametrize("name", ["up", "cutover"])
def test_whoever_is_not_logged_in_reads_one_sentence_with_the_way_out(
    says: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, name: str, error: str, told: str
) -> None:
    says(f"echo 'error: {error}' >&2; exit 255")
    result = run(name)
    assert (result.exit_code, result.stderr.splitlines()) == (
        Exit.FAILED,
        [f"Pulumi does not say which stack is selected: {told}"],
    )

    def refuse(*, stack_name: str, work_dir: str) -> None:
        raise CommandError(CommandResult(stdout="", stderr=f"error: {error}", code=255))

    monkeypatch.setattr("pulumi.automation.select_stack", refuse)
    named = run(name, "--stack", STACK)
    assert (named.exit_code, named.stderr.splitlines()) == (Exit.FAILED, [told])


def test_missing_credentials_of_boto3_read_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), exit_codes(Display()):
        raise NoCredentialsError
    assert capsys.readouterr().err.splitlines() == [NO_CREDENTIALS]
    with pytest.raises(typer.Exit), exit_codes(Display()):
        raise NoRegionError
    assert capsys.readouterr().err.splitlines() == [NO_REGION]


def test_for_a_stack_that_does_not_exist_the_list_comes_first_and_nobody_is_told_to_make_a_typo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*, stack_name: str, work_dir: str) -> None:
        raise StackNotFoundError(CommandResult(stdout="", stderr="no stack named 'prdo' found", code=255))

    monkeypatch.setattr("pulumi.automation.select_stack", refuse)
    with pytest.raises(UsageError) as refused:
        open_stack("prdo")
    assert str(refused.value) == (
        "there is no stack prdo: `pulumi stack ls` lists those that exist; README.md says how one is created"
    )


# -- without Pulumi ------------------------------------------------------------------------------------------------


def keep(home: Path, backends: dict[str, str], current: str = BACKEND) -> None:
    """As the CLI writes them."""
    project = automation.ROOT.resolve() / "Pulumi.yaml"
    digest = hashlib.sha1(str(project).encode(), usedforsecurity=False).hexdigest()
    (home / "workspaces").mkdir(parents=True, exist_ok=True)
    kept = {"stacks": {backend: f"organization/bluegreen/{name}" for backend, name in backends.items()}}
    (home / "workspaces" / f"bluegreen-{digest}-workspace.json").write_text(json.dumps(kept))
    (home / "credentials.json").write_text(json.dumps({"current": current, "accessTokens": {current: ""}}))


def test_where_pulumi_is_broken_its_own_file_tells_the_selected_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path / "home", {BACKEND: "prod", "file://~": "dev"})
    assert selected_stack_on_disk() == "prod"
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file://~")
    assert selected_stack_on_disk() == "dev"
    monkeypatch.setenv("PULUMI_STACK", "other")
    assert selected_stack_on_disk() == "other"
    monkeypatch.delenv("PULUMI_STACK")
    monkeypatch.delenv("PULUMI_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "home").rename(tmp_path / ".pulumi")
    assert selected_stack_on_disk() == "dev"


@pytest.mark.parametrize("damage", ["none", "garbage", "list", "other backend", "no credentials"])
def test_where_that_file_does_not_tell_the_stack_must_be_named(tmp_path: Path, damage: str) -> None:
    home = tmp_path / "home"
    if damage != "none":
        keep(home, {"file://~": "dev"} if damage == "other backend" else {BACKEND: "dev"})
        [file] = (home / "workspaces").iterdir()
        if damage in ("garbage", "list"):
            file.write_text("{" if damage == "garbage" else "[]")
        if damage == "no credentials":
            (home / "credentials.json").unlink()
    with pytest.raises(UsageError) as refused:
        selected_stack_on_disk()
    assert str(refused.value) == (
        "which stack is selected is not known without Pulumi: name it with --stack NAME (or BLUEGREEN_STACK)"
    )


def test_a_direct_rollback_takes_the_selected_stack_without_pulumi(
    says: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says("exit 1")
    asked: list[str] = []

    def roll_back(stack: str, *_: object) -> None:
        asked.append(stack)
        raise UsageError("seen")

    monkeypatch.setattr(direct_rollback, "roll_back", roll_back)
    result = run("rollback", "--direct")
    assert (result.exit_code, "name it with --stack NAME" in result.stderr) == (Exit.USAGE, True)
    keep(tmp_path / "home", {BACKEND: "prod"})
    assert run("rollback", "--direct").exit_code == Exit.USAGE
    assert run("rollback", "--direct", "--stack", "dev").exit_code == Exit.USAGE
    assert asked == ["prod", "dev"]
    assert not (tmp_path / "asked").exists()
