from __future__ import annotations

import struct
from pathlib import Path

import pytest

from rehearsal.cli import CliMissingError, Origin, PulumiCli, location
from rehearsal.host.processes import identify
from tests.rehearsal.cli.machine import Machine, wait_until

NEEDED = "3.238.0 or later with its Python language host is needed"
# An executable for a processor that Linux runs on nowhere (machine 0xFFFF).
OTHER_MACHINE = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9) + struct.pack("<HHI", 2, 0xFFFF, 1) + bytes(40)


def refusal(machine: Machine, **variables: str) -> str:
    """The sentence for a CLI that is not taken, which is also part of the error where there is no other."""
    with pytest.raises(CliMissingError) as caught:
        machine.ensure(BLUEGREEN_INSTALL="0", **variables)
    (notice,) = machine.notices
    reason = notice.removeprefix("the Pulumi CLI on the PATH is not used: ")
    assert str(caught.value) == (
        f"no usable Pulumi CLI: {reason}; BLUEGREEN_INSTALL=0 forbids installing or building it; install Pulumi 3.238.0"
        " or later with its Python language host, https://www.pulumi.com/docs/install/"
    )
    return reason


def test_a_usable_one_is_taken_as_it_is(machine: Machine) -> None:
    machine.program("pulumi-language-python")
    program = machine.program("pulumi", "print('v3.260.0')")
    assert machine.ensure() == PulumiCli(program=program, version="v3.260.0", origin=Origin.PATH, folders=())
    assert machine.notices == []
    assert not machine.cache.exists()


def test_what_it_writes_into_its_home_is_gone(machine: Machine) -> None:
    machine.program("pulumi-language-python")
    noted = machine.folder / "home-of-pulumi"
    machine.program(
        "pulumi",
        "import os, pathlib\nhome = pathlib.Path(os.environ['PULUMI_HOME'])\n(home / 'log').touch()\n"
        f"pathlib.Path({str(noted)!r}).write_text(str(home))\nprint('v3.260.0')",
    )
    machine.ensure()
    assert not Path(noted.read_text()).exists()
    assert not (machine.folder / "home" / ".pulumi").exists()


def test_its_language_host_may_lie_beside_the_file_that_a_link_names(machine: Machine, tmp_path: Path) -> None:
    machine.program("pulumi", "print('v3.260.0')").rename(tmp_path / "pulumi")
    (tmp_path / "pulumi-language-python").touch()
    (tmp_path / "bin/pulumi").symlink_to(tmp_path / "pulumi")
    assert machine.ensure().origin is Origin.PATH


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("print('v3.237.1')", "is v3.237.1"),
        ("print('banana')", "prints 'banana' as its version"),
        ("pass", "prints '' as its version"),
        ("sys.exit('no such luck')", "ended with exit code 1: no such luck"),
        (OTHER_MACHINE, "does not run: Exec format error"),
        (b"\x00\x01\x02", "does not run: Exec format error"),
        (b"#!/nowhere/sh\n", "does not run: No such file or directory"),
        ("print('v3.260.0')", "has no pulumi-language-python beside it or on the PATH"),
    ],
    ids=["old", "rubbish", "silent", "fails", "other machine", "no executable", "no interpreter", "no language host"],
)
def test_an_unusable_one_is_not_used(machine: Machine, body: str | bytes, problem: str) -> None:
    program = machine.program("pulumi", body)
    assert refusal(machine) == f"{program} {problem}, {NEEDED}"


def test_one_that_hangs_is_ended_with_what_it_started(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "VERSION_TIMEOUT_S", 3.0)
    pids = machine.folder / "pids"
    hang = f"""
import os, subprocess, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(600)
"""
    program = machine.program("pulumi", hang)
    assert refusal(machine) == f"{program} did not end within 3 s, {NEEDED}"
    wait_until(lambda: all(identify(int(pid)) is None for pid in pids.read_text().split()))


def test_the_next_way_is_taken_instead(machine: Machine) -> None:
    machine.program("pulumi", "print('v3.237.1')")
    machine.program("go", machine.go())
    assert machine.ensure().origin is Origin.BUILT
    assert "is v3.237.1, " in machine.notices[0]
