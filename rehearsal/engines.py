"""Which engine plays a rehearsal: Pulumi's own where its CLI and plugins can be had, else the embedded one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

OLDEST = (3, 238, 0)  # before, an error in an after-hook did not fail the deployment
INSTALL_HINT = "https://www.pulumi.com/docs/install/"
VERSION_LIMIT_S = 60.0
DOWNLOAD_LIMIT_S = 600.0  # the AWS plugin has some 200 MB
GAP = {
    "service": "pulumi-docker",
    "action": "base image",
    "reason": "its plugin can't be had here: no base image is mirrored, and releases are published as built images",
}

Tell = Callable[[str], None]


class Wanted(StrEnum):
    """What a person may ask for."""

    AUTO = "auto"
    PULUMI = "pulumi"
    EMBEDDED = "embedded"


class EngineMissingError(Exception):
    """The engine that was asked for can't be had; the message says what to install."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """`opener` is what BLUEGREEN_STACKS names; without `mirrors_images` a stack can have no base image."""

    name: str
    opener: str
    why: str
    mirrors_images: bool = True


EMBEDDED = Engine(name=Wanted.EMBEDDED.value, opener="rehearsal.engine:open_stack", why="as asked for")


def choose(wanted: Wanted, tell: Tell) -> Engine:
    """The engine to play with; EngineMissingError when it is Pulumi's own that is wanted and can't be had."""
    if wanted is Wanted.EMBEDDED:
        return EMBEDDED
    try:
        return _pulumi(tell)
    except EngineMissingError as error:
        if wanted is Wanted.PULUMI:
            raise
        return Engine(name=EMBEDDED.name, opener=EMBEDDED.opener, why=str(error))


def _pulumi(tell: Tell) -> Engine:
    program = _program()
    found = _checked_version(program)
    if not _beside(program, "pulumi-language-python"):
        raise EngineMissingError(
            f"pulumi-language-python is neither on the PATH nor beside {program}: install the whole CLI, {INSTALL_HINT}"
        )
    if problem := _plugin_problem("aws", tell):
        raise EngineMissingError(problem)
    return Engine(
        name=Wanted.PULUMI.value,
        opener="rehearsal.pulumi_engine:open_stack",
        why=f"pulumi {found} is on the PATH",
        mirrors_images=_plugin_problem("docker", tell) is None,
    )


def _program() -> str:
    program = shutil.which("pulumi")
    if program is None:
        oldest = ".".join(map(str, OLDEST[:2]))
        raise EngineMissingError(f"pulumi is not on the PATH: install the CLI, {oldest} or later, {INSTALL_HINT}")
    return program


def _checked_version(program: str) -> str:
    text = _run(program, "version", limit=VERSION_LIMIT_S).stdout.strip()
    match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)\S*", text)
    if match is None:
        raise EngineMissingError(
            f"{program} version says {text!r}: expected a version such as v3.238.0, {INSTALL_HINT}"
        )
    if tuple(map(int, match.groups())) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise EngineMissingError(f"{program} is {text}: {oldest} or later is needed, {INSTALL_HINT}")
    return text


def _beside(program: str, other: str) -> bool:
    return shutil.which(other) is not None or (Path(program).resolve().parent / other).exists()


def _plugin_problem(name: str, tell: Tell) -> str | None:
    """None when the plugin is on the PATH, installed, or could be installed now: as `pulumi up` itself would do."""
    if shutil.which(f"pulumi-resource-{name}"):
        return None
    wanted = version(f"pulumi-{name}")
    listed = json.loads(_run("pulumi", "plugin", "ls", "--json", limit=VERSION_LIMIT_S).stdout or "[]")
    if any(each["name"] == name and each.get("version") == wanted for each in listed):
        return None
    tell(f"installing the Pulumi plugin {name} {wanted}")
    done = _run("pulumi", "plugin", "install", "resource", name, wanted, limit=DOWNLOAD_LIMIT_S)
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines() or ["it gave no reason"]
    return (
        f"the Pulumi plugin {name} {wanted} can't be had: `pulumi plugin install resource {name} {wanted}`: {said[-1]}"
    )


def _run(*argv: str, limit: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EngineMissingError(f"`{' '.join(argv)}` did not end within {limit:.0f} s") from error
