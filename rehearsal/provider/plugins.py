"""Installation of the provider plugins into a Pulumi home of the rehearsal's own."""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import version
from pathlib import Path

from rehearsal.cli import warmed

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("aws", "docker")


def install(home: Path, packages: tuple[str, ...] = PACKAGES) -> None:
    """Put the plugins where `pulumi plugin install --file` would; `home` is what PULUMI_HOME names.

    They bear the versions that the installed SDKs ask for, so that Pulumi takes them without a download.
    """
    for package in packages:
        folder = home / "plugins" / f"resource-{package}-v{version(f'pulumi-{package}')}"
        folder.mkdir(parents=True, exist_ok=True)
        launcher = folder / f"pulumi-resource-{package}"
        launcher.write_text(_launcher(package))
        launcher.chmod(0o755)


def _launcher(package: str) -> str:
    # -P: a program's own modules must not stand before the plugin's.
    command = [sys.executable, "-I", "-S", warmed.__file__, "-P", "-m", "rehearsal.provider", package]
    return f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.join(command)} "$@"\n'
