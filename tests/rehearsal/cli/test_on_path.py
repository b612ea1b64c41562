from __future__ import annotations

import struct
from pathlib import Path

import pytest

from rehearsal.cli import CliMissingError, Origin, PulumiCli, location
from rehearsal.host.processes import identify
from tests.rehearsal.cli.host import Host, wait_until

NEEDED = "3.238.0 or later with its Python language host is needed"
# An ELF executable for an unknown architecture (e_machine 0xFFFF).
OTHER_ARCHITECTURE = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9) + struct.pack("<HHI", 2, 0xFFFF, 1) + bytes(40)


def refusal(host: Host, **variables: str) -> str:
    """The reason for which the CLI on the PATH is not used, as in the notification and in the error."""
    with pytest.raises(CliMissingError) as caught:
        host.ensure(BLUEGREEN_INSTALL="0", **variables)
    (notification,) = host.notifications
    reason = notification.removeprefix("the Pulumi CLI on the PATH is not used: ")
    assert str(caught.value) == (
        f"no usable Pulumi CLI: {reason}; BLUEGREEN_INSTALL=0 forbids installing or building it; install Pulumi 3.238.0"
        " or later with its Python language host, https://www.pulumi.com/docs/install/"
    )
    return reason


def test_a_usable_cli_is_used(host: Host) -> None:
    host.program("pulumi-language-python")
    program = host.program("pulumi", "print('v3.260.0')")
    assert host.ensure() == PulumiCli(program=program, version="v3.260.0", origin=Origin.PATH, folders=())
    assert host.notifications == []
    assert not host.cache.exists()


def test_its_pulumi_home_is_removed(host: Host) -> None:
    host.program("pulumi-language-python")
    noted = host.folder / "home-of-pulumi"
    host.program(
        "pulumi",
        "import os, pathlib\nhome = pathlib.Path(os.environ['PULUMI_HOME'])\n(home / 'log').touch()\n"
        f"pathlib.Path({str(noted)!r}).write_text(str(home))\nprint('v3.260.0')",
    )
    host.ensure()
    assert not Path(noted.read_text()).exists()
    assert not (host.folder / "home" / ".pulumi").exists()


def test_its_language_host_may_be_in_the_folder_of_a_links_target(host: Host, tmp_path: Path) -> None:
    host.program("pulumi", "print('v3.260.0')").rename(tmp_path / "pulumi")
    (tmp_path / "pulumi-language-python").touch()
    (tmp_path / "bin/pulumi").symlink_to(tmp_path / "pulumi")
    assert host.ensure().origin is Origin.PATH


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("print('v3.237.1')", "is v3.237.1"),
        ("print('banana')", "prints 'banana' as its version"),
        ("pass", "prints '' as its version"),
        ("sys.exit('no such luck')", "ended with exit code 1: no such luck"),
        (OTHER_ARCHITECTURE, "does not run: Exec format error"),
        (b"\x00\x01\x02", "does not run: Exec format error"),
        (b"#!/nowhere/sh\n", "does not run: No such file or directory"),
        ("print('v3.260.0')", "has no pulumi-language-python in its folder or on the PATH"),
    ],
    ids=[
        "old",
        "rubbish",
        "silent",
        "fails",
        "other architecture",
        "no executable",
        "no interpreter",
        "no language host",
    ],
)
def test_an_unusable_cli_is_not_used(host: Host, body: str | bytes, problem: str) -> None:
    program = host.program("pulumi", body)
    assert refusal(host) == f"{program} {problem}, {NEEDED}"


def test_a_cli_that_hangs_is_killed_with_its_children(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "VERSION_TIMEOUT_S", 3.0)
    pids = host.folder / "pids"
    hang = f"""
import os, subprocess, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(600)
"""
    program = host.program("pulumi", hang)
    assert refusal(host) == f"{program} did not end within 3 s, {NEEDED}"
    wait_until(lambda: all(identify(int(pid)) is None for pid in pids.read_text().split()))


def test_the_next_method_is_used_instead(host: Host) -> None:
    host.program("pulumi", "print('v3.237.1')")
    host.program("go", host.go())
    assert host.ensure().origin is Origin.BUILT
    assert "is v3.237.1, " in host.notifications[0]
