"""README commands for AWS, executed as printed: from a fresh clone to the second release and back.

Differences from AWS, and from the printed commands:

- AWS is the emulator (AWS_ENDPOINT_URL). Instances have no containers, and a stub responds for them and for the load
  balancer; so `httpPort` is set, once in each clone. That is the only added command.
- `packer` is a stub (packer_stub.py) that accepts the printed commands and registers an image.
- Placeholders have the values of VALUES.
- Pulumi's confirmations are skipped (PULUMI_SKIP_CONFIRMATIONS), and the bake takes two seconds instead of a minute
  (BLUEGREEN_BAKE_SECONDS).
- `.venv` is this checkout's, with its installed packages.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from rehearsal.cli import CONSENT
from rehearsal.cli.command import CliCommandError, run
from rehearsal.cli.location import caches, own_cache
from rehearsal.workspace import ROOT, Workspace
from tests.ci.conftest import Repository, make_repository
from tests.rehearsal.cloud.fleet import Running
from tests.rehearsal.pulumi.load_balancer_stub import LoadBalancerStub

from . import packer_stub
from .account_inventory import AccountInventory

LOG = logging.getLogger(__name__)
LIMIT_S = 1500  # with AWS's own plugin
INSTALL_LIMIT_S = 300.0
AWS_CLI = "awscli-1.46.3"
README = (ROOT / "README.md").read_text()
WAY, END = "The real thing on AWS", "Take a stack down"
# Values for the README's placeholders.
VALUES = {
    "postgresql://…": "postgresql://app@database.example.org/app",
    "NAME": "dev",
    "prod": "dev",
}
PLACEHOLDER = re.compile(r"\S*…\S*|<[^>]*>|\b[A-Z]{3,}\b|\bami-[0-9a-f]{8,}\b|\bprod\b")
NO_PLACEHOLDERS = {"HEAD"}
# Keys that `pulumi stack init` and deployments write into a stack's file.
SECRETS = {"secretsprovider", "encryptedkey"}
OWN_KEYS = {f"bluegreen:{key}" for key in ("activeColor", "blue", "green", "revision")}
PERSON = {"GIT_CONFIG_GLOBAL": os.devnull} | {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"))
}

pytestmark = [pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(LIMIT_S)]


@dataclass(frozen=True, kw_only=True)
class Block:
    """Commands of one code block, with the number of its step."""

    step: str
    commands: tuple[str, ...]


def code_blocks(text: str) -> list[Block]:
    """Shell code blocks of a text, in order; those before the first step have none."""
    found, step, lines = list[Block](), "", None
    for line in text.splitlines():
        if lines is None:
            if number := re.match(r"(\d+)\. \*\*", line):
                step = number[1]
            elif line.strip() == "```sh":
                lines = list[str]()
        elif line.strip() == "```":
            found.append(Block(step=step, commands=tuple(commands(lines))))
            lines = None
        else:
            lines.append(line.strip())
    return found


def commands(lines: list[str]) -> list[str]:
    """One command a line, with values for placeholders and without comments; a trailing backslash joins lines."""
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    bare = [re.sub(r"(^|\s+)#.*", "", line) for line in joined]
    return [fill_placeholders(line) for line in bare if line]


def fill_placeholders(command: str) -> str:
    """Raises KeyError for a placeholder that has no value."""
    return PLACEHOLDER.sub(lambda found: found[0] if found[0] in NO_PLACEHOLDERS else VALUES[found[0]], command)


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def inline(sentence: str) -> list[str]:
    """Commands in the README's line with this text."""
    (line,) = (line for line in README.splitlines() if sentence in line)
    return [fill_placeholders(code) for code in re.findall(r"`([^`]+)`", line) if " " in code]


class Shell:
    """A bash session in a folder, as in a terminal: variables persist across commands."""

    def __init__(self, folder: Path, output: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.output = folder, output
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-u", "-o", "pipefail"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def type(self, *commands: str) -> str:
        """Output of the commands, which must all succeed."""
        output = ""
        for command in commands:
            code, text = self._type(command)
            assert code == "0", f"{command}\nended with exit code {code or 'none, and the shell with it'}:\n{text}"
            output += text
        return output

    def refused(self, command: str) -> str:
        code, output = self._type(command)
        assert code not in ("", "0"), f"{command}\nended with exit code {code}:\n{output}"
        return output

    def _type(self, command: str) -> tuple[str, str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        started = time.monotonic()
        output = shlex.quote(str(self.output))
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"eval {shlex.quote(command)} </dev/null >{output} 2>&1; echo $?\n")
            self.process.stdin.flush()
        code = self.process.stdout.readline().strip()
        LOG.info("%.1f s: %s", time.monotonic() - started, command)
        return code, self.output.read_text()

    def close(self) -> None:
        """Kill what still runs in the session, when a test was aborted."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="session")
def aws_cli() -> Path:
    """Folder of PyPI's AWS CLI, installed once per host: it needs another botocore."""
    if found := [cache / AWS_CLI for cache in caches(os.environ) if (cache / AWS_CLI).is_dir()]:
        return found[0]
    if os.environ.get(CONSENT) == "0":
        pytest.skip(f"{AWS_CLI} was not installed yet, and {CONSENT}=0 forbids it")
    cache = own_cache(os.environ)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="awscli-work-", dir=cache, ignore_cleanup_errors=True) as work:
        folder = Path(work, "new")
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        try:
            requirement = AWS_CLI.replace("-", "==", 1)
            run(*pip, "--target", folder, requirement, environment=os.environ, timeout=INSTALL_LIMIT_S)
        except CliCommandError as error:
            pytest.skip(f"{AWS_CLI} can't be installed from PyPI: it {error}")
        with suppress(OSError):  # another run was faster
            folder.rename(cache / AWS_CLI)
    return cache / AWS_CLI


@pytest.fixture
def programs(aws_cli: Path, tmp_path: Path) -> Path:
    """Programs that a reader has on the PATH besides Pulumi."""
    folder = tmp_path / "bin"
    folder.mkdir()
    python = shlex.quote(sys.executable)
    for name, line in {
        "aws": f"PYTHONPATH={shlex.quote(str(aws_cli))} exec {python} -P -m awscli",
        "packer": f"exec {python} {shlex.quote(packer_stub.__file__)}",
    }.items():
        (folder / name).write_text(f'#!/bin/sh\n{line} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path / "repository", ROOT)


Terminal = Callable[[str, Path], Shell]


@pytest.fixture
def terminal(workspace: Workspace, programs: Path, tmp_path: Path) -> Iterator[Terminal]:
    """Opens a shell in a fresh clone of a folder, without Pulumi login and AWS settings of the user."""
    login = ("PULUMI_BACKEND_URL", *(name for name in os.environ if name.startswith("PULUMI_CONFIG")))
    environment = {name: value for name, value in os.environ.items() if name not in login} | PERSON
    environment |= {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_SKIP_CONFIRMATIONS": "true",
        "BLUEGREEN_BAKE_SECONDS": "2",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    opened = list[Shell]()

    def open_shell(name: str, source: Path) -> Shell:
        clone = tmp_path / name
        Repository(folder=source, project=ROOT).check_out(clone)
        os.utime(clone / "requirements-dev.txt", (1e9, 1e9))  # older than .venv/ready
        opened.append(Shell(clone, tmp_path / f"{name}.log", environment))
        return opened[-1]

    yield open_shell
    for shell in opened:
        shell.close()


@dataclass(frozen=True, kw_only=True)
class Traffic:
    url: str

    def served(self) -> set[tuple[str, str]]:
        """Colors and releases of twenty responses; none may fail."""
        answers = [requests.get(self.url, timeout=10) for _ in range(20)]
        assert {answer.status_code for answer in answers} == {200}
        return {(answer.headers["X-Color"], answer.headers["X-Release"]) for answer in answers}


def settings(text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A stack's file without its config, and its config; Pulumi converts numbers and booleans to text."""
    found: dict[str, Any] = yaml.safe_load(text)
    config = found.pop("config")
    return found, {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}


def test_a_placeholder_without_a_value_is_an_error() -> None:
    assert (
        fill_placeholders('packer build "$(git rev-parse HEAD)" --name NAME')
        == 'packer build "$(git rev-parse HEAD)" --name dev'
    )
    for command in (
        "curl https://…/",
        "./bluegreen cutover COLOR",
        "deploy <version>",
        "deploy --ami ami-0123456789abcdef0",
    ):
        with pytest.raises(KeyError):
            fill_placeholders(command)


def test_the_readmes_commands_for_aws(
    terminal: Terminal,
    repository: Repository,
    workspace: Workspace,
    cloud: Running,
    load_balancer: LoadBalancerStub,
    record_property: Callable[[str, object], None],
) -> None:
    record_property("packer", "a stub that registers an image")
    blocks = code_blocks(section(WAY))
    steps = {block.step: block.commands for block in blocks}
    assert len(steps) == len(blocks), "a step prints more than one block"
    inventory = AccountInventory(cloud.client)
    config = workspace.provider_config(cloud.aws) | {"bluegreen:httpPort": str(load_balancer.port)}
    own = shlex.join(["pulumi", "config", "set-all", "--path", *(f"--plaintext={k}={v}" for k, v in config.items())])

    person = terminal("first", repository.folder)
    person.type(*steps.pop("1"), own)
    for number in "23456":
        person.type(*steps.pop(number))
    traffic = Traffic(url=f"http://127.0.0.1:{load_balancer.port}/")
    assert traffic.served() == {("blue", "v1")}
    person.type(*steps.pop("7"))
    assert traffic.served() == {("green", "v2")}
    person.type(*steps.pop("8"))
    assert traffic.served() == {("blue", "v1")}
    person.type(*steps.pop(""))  # a cutover with plain Pulumi
    assert traffic.served() == {("green", "v2")}
    changed_files(person.folder, repository.folder, config)

    second_clone(terminal("second", person.folder), own)
    assert traffic.served() == {("green", "v2")}

    person.type(*steps.pop("9"))
    assert load_balancer.instance_ids("blue") == []
    assert traffic.served() == {("green", "v2")}
    assert steps == {}, "printed, and not run here"
    (last,) = code_blocks(section(END))
    person.type(*last.commands)
    assert inventory.by_type() == {
        "aws:s3/bucket:Bucket": ["acme-pulumi-state"],
        "aws:ssm/parameter:Parameter": ["/bluegreen/dev/app/DATABASE_URL"],
    }


def changed_files(clone: Path, first: Path, added: Mapping[str, str]) -> None:
    """Only the stack's file has changed: in the commit its secrets key, since then the keys of deployments."""

    def git(*args: str) -> str:
        return subprocess.run(["git", "-C", str(clone), *args], capture_output=True, text=True, check=True).stdout

    assert git("status", "--porcelain", "--", ".", ":!.venv") == " M Pulumi.dev.yaml\n"  # the link is not ignored
    _, before = settings((first / "Pulumi.dev.yaml").read_text())
    key, committed = settings(git("show", "HEAD:Pulumi.dev.yaml"))
    assert (set(key), committed) == (SECRETS, before)
    found, config = settings((clone / "Pulumi.dev.yaml").read_text())
    assert found == key
    changed = {name for name in config.keys() | before.keys() if config.get(name) != before.get(name)}
    assert changed - {name.partition("[")[0] for name in added} == OWN_KEYS


def second_clone(person: Shell, own: str) -> None:
    """A second clone, whose config has no releases until it is brought up to date."""
    select, sync = inline("in a fresh checkout, `pulumi stack select NAME`")
    person.type(select, own)
    output = person.refused("pulumi up")
    assert (
        "the config of this checkout is older than the last change of stack dev: green v2 has 100 % of the traffic"
        in output
    )
    person.type(sync)
    assert re.search(r"^Resources:\n +\d+ unchanged$", person.type("pulumi up"), re.MULTILINE)
