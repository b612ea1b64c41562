"""The Pulumi CLI for a rehearsal: the PATH's own, else one cached by an earlier run, else installed, else built."""

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
from rehearsal.cli.command import CommandError
from rehearsal.cli.location import Origin, PulumiCli, UnusableError

__all__ = ["CliMissingError", "Origin", "PulumiCli", "ensure_cli", "pulumi_environment"]

CONSENT = "BLUEGREEN_INSTALL"  # as for Debian's packages: 0 forbids installing and building
NEEDED = f"{'.'.join(map(str, location.OLDEST))} or later with its Python language host is needed"
HINT = f"install Pulumi {NEEDED.removesuffix(' is needed')}, https://www.pulumi.com/docs/install/"
WORK = "pulumi-work-"
LOCK_TIMEOUT_S, LOCK_PAUSE_S = 1800.0, 0.2  # a build takes some minutes, on a slow machine a quarter of an hour

Notify = Callable[[str], None]
WAYS: tuple[tuple[Origin, Callable[[Path, Path, Mapping[str, str]], None], str], ...] = (
    (Origin.INSTALLED, provision.install, "installing the Pulumi CLI {} with Pulumi's installer"),
    (
        Origin.BUILT,
        provision.build,
        "building the Pulumi CLI {} from its Go module: about 5 minutes on 2 cores, once a machine",
    ),
)


class CliMissingError(Exception):
    """There is no usable CLI; the message says what was tried and what to install."""


def ensure_cli(*, notify: Notify, environment: Mapping[str, str]) -> PulumiCli:
    """Find the CLI, or install or build it in the cache folder. Thread-safe; a second run waits for the first."""
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
    """Variables for a CLI that reads and writes nothing in ~/.pulumi and downloads nothing without being told to."""
    return {
        "PULUMI_HOME": str(home),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }


def _missing(reasons: list[str]) -> CliMissingError:
    return CliMissingError(f"no usable Pulumi CLI: {'; '.join(reasons)}; {HINT}")


def _cached(environment: Mapping[str, str]) -> PulumiCli | None:
    for cache in location.caches(environment):
        for origin, _, _ in WAYS:
            try:
                return location.cached(cache, origin, environment)
            except UnusableError:
                continue
    return None


@contextmanager
def _lock(cache: Path, notify: Notify) -> Iterator[None]:
    if not cache.exists():
        cache.mkdir(parents=True)
        cache.chmod(0o755)  # other users run what is in it, whatever the umask
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
    for left in cache.glob(f"{WORK}*"):  # of killed runs: this one holds the lock
        shutil.rmtree(left, ignore_errors=True)
    for origin, provide, announcement in WAYS:
        notify(f"{announcement.format(location.VERSION)} ({CONSENT}=0 forbids this)")
        started = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix=WORK, dir=cache, ignore_cleanup_errors=True) as work:
                provide(Path(work) / "new", Path(work), environment)
                _publish(Path(work) / "new", location.cached_folder(cache, origin))
            cli = location.cached(cache, origin, environment)
        except (CommandError, UnusableError) as error:
            reasons.append(f"{announcement.split(' ', 1)[0]} it {error}")
            continue
        notify(f"the Pulumi CLI {cli.version} was {origin} in {time.monotonic() - started:.0f} s: {cli.program}")
        return cli
    raise _missing(reasons)


def _publish(new: Path, folder: Path) -> None:
    """The rename comes last: a folder of this name is always complete."""
    for path in [new, *new.rglob("*")]:
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if executable else 0o644)
    if folder.exists():  # a broken one: _cached() refused it
        shutil.rmtree(folder)
    new.rename(folder)
