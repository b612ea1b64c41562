"""Pulumi CLI for a rehearsal: from the PATH, else from the cache, else installed, else built."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rehearsal.cli import location, provision
from rehearsal.cli.command import CliCommandError
from rehearsal.cli.location import Origin, PulumiCli, UnusableError

__all__ = ["CliMissingError", "Origin", "PulumiCli", "ensure_cli", "pulumi_environment"]

CONSENT = "BLUEGREEN_INSTALL"  # as for Debian packages: 0 forbids installing and building
NEEDED = f"{'.'.join(map(str, location.MIN_VERSION))} or later with its Python language host is needed"
HINT = f"install Pulumi {NEEDED.removesuffix(' is needed')}, https://www.pulumi.com/docs/install/"
WORK = "pulumi-work-"
LOCK_TIMEOUT_S, LOCK_PAUSE_S = 1800.0, 0.2  # a build takes some minutes, on a slow host a quarter of an hour

Notify = Callable[[str], None]
METHODS: tuple[tuple[Origin, Callable[[Path, Path, Mapping[str, str]], None], str], ...] = (
    (Origin.INSTALLED, provision.install, "installing the Pulumi CLI {} with Pulumi's installer"),
    (
        Origin.BUILT,
        provision.build,
        "building the Pulumi CLI {} from its Go module: about 5 minutes on 2 cores, once per host",
    ),
)


class CliMissingError(Exception):
    """No usable CLI; the message lists what was tried and what to install."""


def ensure_cli(*, notify: Notify, environment: Mapping[str, str]) -> PulumiCli:
    """Find the CLI, or install or build it in the cache folder. Raises CliMissingError.

    Thread-safe; a second run waits for the first.
    """
    reasons = []
    if program := shutil.which("pulumi", path=environment.get("PATH", "")):
        try:
            return location.on_path(Path(program), environment)
        except UnusableError as error:
            reasons.append(f"{program} {error}, {NEEDED}")
            notify(f"the Pulumi CLI on the PATH is not used: {reasons[0]}")
    else:
        reasons.append("pulumi is not on the PATH")
    if cli := _cached(environment):
        return cli
    if environment.get(CONSENT) == "0":
        raise _missing([*reasons, f"{CONSENT}=0 forbids installing or building it"])
    cache = location.own_cache(environment)
    try:
        with _lock(cache, notify):
            return _cached(environment) or _provision(cache, notify, environment, reasons)
    except OSError as error:
        raise _missing([*reasons, f"{cache} can't be used ({error}), {location.CACHE} names another folder"]) from error


def pulumi_environment(home: Path) -> dict[str, str]:
    """Environment variables for a CLI that doesn't use ~/.pulumi and downloads no plugins automatically."""
    return {
        "PULUMI_HOME": str(home),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }


def _missing(reasons: list[str]) -> CliMissingError:
    return CliMissingError(f"no usable Pulumi CLI: {'; '.join(reasons)}; {HINT}")


def _cached(environment: Mapping[str, str]) -> PulumiCli | None:
    for cache in location.caches(environment):
        for origin, _, _ in METHODS:
            try:
                return location.cached(cache, origin, environment)
            except UnusableError:
                continue
    return None


@contextmanager
def _lock(cache: Path, notify: Notify) -> Iterator[None]:
    if not cache.exists():
        cache.mkdir(parents=True)
        cache.chmod(0o755)  # other users run the CLI in it, whatever the umask
    with (cache / "pulumi.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            notify("waiting for another run, which installs or builds the Pulumi CLI")
            _wait_for(handle)
        yield


def _wait_for(handle: TextIO) -> None:
    end = time.monotonic() + LOCK_TIMEOUT_S
    while time.monotonic() < end:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
        else:
            return
    raise _missing([f"another run has held {handle.name} for {LOCK_TIMEOUT_S / 60:g} minutes: end that run"])


def _provision(cache: Path, notify: Notify, environment: Mapping[str, str], reasons: list[str]) -> PulumiCli:
    for leftover in cache.glob(f"{WORK}*"):  # of killed runs: this one holds the lock
        shutil.rmtree(leftover, ignore_errors=True)
    for origin, provide, announcement in METHODS:
        notify(f"{announcement.format(location.VERSION)} ({CONSENT}=0 forbids this)")
        started = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix=WORK, dir=cache, ignore_cleanup_errors=True) as work:
                provide(Path(work) / "new", Path(work), environment)
                _publish(Path(work) / "new", location.cached_folder(cache, origin))
            cli = location.cached(cache, origin, environment)
        except (CliCommandError, UnusableError) as error:
            reasons.append(f"{announcement.split(' ', 1)[0]} it {error}")
            continue
        notify(f"the Pulumi CLI {cli.version} was {origin} in {time.monotonic() - started:.0f} s: {cli.program}")
        return cli
    raise _missing(reasons)


def _publish(new: Path, folder: Path) -> None:
    """Move the folder into the cache by a rename, so that a cached folder is always complete."""
    for path in [new, *new.rglob("*")]:
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if executable else 0o644)
    if folder.exists():  # a broken one: _cached() refused it
        shutil.rmtree(folder)
    new.rename(folder)
