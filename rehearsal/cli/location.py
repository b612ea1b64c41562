"""Locations of a Pulumi CLI: on the PATH, or in a cache folder where an earlier run put it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from rehearsal.cli.command import CliCommandError, run

VERSION = "v3.274.1"  # to install or build
MIN_VERSION = (3, 238, 0)  # before, an error in an after-hook did not fail the deployment
VERSION_TIMEOUT_S = 30.0
LANGUAGE_HOST = "pulumi-language-python"
SYSTEM_CACHE = Path("/var/cache/bluegreen")
CACHE = "BLUEGREEN_CACHE"


class Origin(StrEnum):
    """Where the CLI comes from."""

    PATH = "on the PATH"
    INSTALLED = "installed by Pulumi's installer"
    BUILT = "built from its Go module"


class UnusableError(Exception):
    """A CLI that can't be used; the message completes "it …"."""


@dataclass(frozen=True, kw_only=True)
class PulumiCli:
    """A CLI that runs Python programs with `folders` first on the PATH."""

    program: Path
    version: str
    origin: Origin
    folders: tuple[Path, ...] = ()


def on_path(program: Path, environment: Mapping[str, str]) -> PulumiCli:
    """The user's own CLI. Raises UnusableError when it is too old, broken, or lacks a Python language host."""
    version = _version(program, environment)
    match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)\S*", version)
    if match is None:
        raise UnusableError(f"prints {version[:80]!r} as its version")
    if tuple(map(int, match.groups())) < MIN_VERSION:
        raise UnusableError(f"is {version}")
    in_its_folder = program.resolve().parent / LANGUAGE_HOST
    if not shutil.which(LANGUAGE_HOST, path=environment.get("PATH", "")) and not in_its_folder.exists():
        raise UnusableError(f"has no {LANGUAGE_HOST} in its folder or on the PATH")
    return PulumiCli(program=program, version=version, origin=Origin.PATH)


def cached(cache: Path, origin: Origin, environment: Mapping[str, str]) -> PulumiCli:
    """The CLI that an earlier run put into the cache folder; UnusableError when a part of it is missing or broken."""
    folder = cached_folder(cache, origin) / "bin"
    version = _version(folder / "pulumi", environment)
    if version != VERSION:
        raise UnusableError(f"prints {version[:80]!r} as its version")
    for name in (LANGUAGE_HOST, f"{LANGUAGE_HOST}-exec"):
        if not (folder / name).is_file() or not (folder / name).stat().st_size:
            raise UnusableError(f"has no {name}")
    folders: tuple[Path, ...] = (folder,)
    if origin is Origin.BUILT:  # its language host is this clone's, and runs programs with this Python
        folders += (Path(__file__).parent, Path(sys.executable).parent)
    return PulumiCli(program=folder / "pulumi", version=version, origin=origin, folders=folders)


def _version(program: Path, environment: Mapping[str, str]) -> str:
    # Even this command writes a log into Pulumi's home.
    with TemporaryDirectory(prefix="pulumi-home-", ignore_cleanup_errors=True) as home:
        quiet = {**environment, "PULUMI_HOME": home, "PULUMI_SKIP_UPDATE_CHECK": "true"}
        try:
            return run(program, "version", environment=quiet, timeout=VERSION_TIMEOUT_S).strip()
        except CliCommandError as error:
            raise UnusableError(str(error)) from error


def cached_folder(cache: Path, origin: Origin) -> Path:
    return cache / f"pulumi-{VERSION}-{origin.name.lower()}"


def own_cache(environment: Mapping[str, str]) -> Path:
    """The cache folder that this user can write to."""
    if chosen := environment.get(CACHE):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return SYSTEM_CACHE
    home = Path(environment.get("HOME") or Path.home())
    return Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "bluegreen"


def caches(environment: Mapping[str, str]) -> list[Path]:
    """Cache folders to read from: the user's own, and root's for all users."""
    own = own_cache(environment)
    return [own] if environment.get(CACHE) or own == SYSTEM_CACHE else [own, SYSTEM_CACHE]
