"""Installation of the provider plugins into a separate Pulumi home."""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import version
from pathlib import Path

from rehearsal.cli import fork_client

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("aws", "docker")


def install(home: Path, packages: tuple[str, ...] = PACKAGES) -> None:
    """Install the plugins as `pulumi plugin install --file` would; `home` is the PULUMI_HOME.

    They have the versions that the installed SDKs request, so that Pulumi uses them without a download.
    """
    for package in packages:
        folder = home / "plugins" / f"resource-{package}-v{version(f'pulumi-{package}')}"
        folder.mkdir(parents=True, exist_ok=True)
        launcher = folder / f"pulumi-resource-{package}"
        launcher.write_text(_launcher(package))
        launcher.chmod(0o755)


def _launcher(package: str) -> str:
    # -P: a program's own modules must not shadow the plugin's.
    command = [sys.executable, "-I", "-S", fork_client.__file__, "-P", "-m", "rehearsal.provider", package]
    return f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.join(command)} "$@"\n'
