from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rehearsal.host import install
from rehearsal.host.install import FORBID, TOOLS, Host, InstallError, ensure, missing, require

ROOT = Path(__file__).resolve().parents[3]
# Stands for apt-get: writes down its arguments and what forbids services meanwhile, and then "installs" the programs.
APT = """#!/bin/sh
echo "$@" >> {root}/calls
cat {root}/usr/sbin/policy-rc.d > {root}/policy-during 2>/dev/null
grep create_main {root}/etc/postgresql-common/createcluster.conf >> {root}/cluster-during 2>/dev/null
[ -e {root}/broken ] && [ "$1" = install ] && echo "E: Unable to locate package" && exit 100
[ -e {root}/no-lists ] && [ "$1" = install ] && exit 100
[ "$1" = update ] && rm -f {root}/no-lists
[ "$1" = update ] && exit 0
for program in {programs}; do printf '#!/bin/sh\\n' > {bin}/$program; chmod +x {bin}/$program; done
"""


class Machine:
    """A root folder with a PATH of its own; nothing of the real machine is found in it."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin = root, root / "bin"
        (root / "usr/sbin").mkdir(parents=True)
        self.bin.mkdir()
        for program in ("cat", "grep", "rm", "chmod", "sh"):
            (self.bin / program).symlink_to(f"/bin/{program}")
        self.told: list[str] = []

    def host(self, *, is_root: bool = True, **environment: str) -> Host:
        return Host(root=self.root, is_root=is_root, environment={"PATH": str(self.bin), **environment})

    def with_apt(self, *, brings: str = "all") -> None:
        programs = " ".join(tool.program for tool in TOOLS) if brings == "all" else brings
        self.script("apt-get", APT.format(root=self.root, bin=self.bin, programs=programs))

    def script(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def ensure(self, host: Host) -> None:
        ensure(host, self.told.append)

    @property
    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(install, "SYSTEM_FOLDERS", str(tmp_path / "usr/sbin"))
    return Machine(tmp_path)


def test_all_that_is_missing_is_installed_in_one_go(machine: Machine) -> None:
    machine.with_apt()
    machine.ensure(machine.host())
    assert missing(machine.host()) == []
    install_calls = [call for call in machine.calls if call.startswith("install")]
    packages = "debootstrap docker-registry docker.io haproxy iproute2 openssh-client openssl packer postgresql"
    assert install_calls[-1].endswith(f" {packages}")
    assert "--no-install-recommends" in install_calls[-1]
    assert machine.told == [
        f"installing {packages.replace(' ', ', ')} (no service is started; BLUEGREEN_INSTALL=0 forbids this)"
    ]


def test_nothing_is_touched_when_nothing_is_missing(machine: Machine) -> None:
    machine.with_apt()
    machine.ensure(machine.host())
    before = machine.calls
    machine.ensure(machine.host(is_root=False, BLUEGREEN_INSTALL="0"))
    assert machine.calls == before


def test_a_tool_may_be_a_file_by_its_path(machine: Machine) -> None:
    plugin = install.Tool(program="/usr/lib/plugins/one.so", package="plugins")
    assert missing(machine.host(), [plugin]) == [plugin]
    (machine.root / "usr/lib/plugins").mkdir(parents=True)
    (machine.root / "usr/lib/plugins/one.so").touch()
    assert missing(machine.host(), [plugin]) == []


def test_no_service_may_start_meanwhile_and_the_rule_goes_afterwards(machine: Machine) -> None:
    machine.with_apt()
    machine.ensure(machine.host())
    assert (machine.root / "policy-during").read_text() == FORBID
    assert not (machine.root / "usr/sbin/policy-rc.d").exists()


@pytest.mark.parametrize("works", [True, False])
def test_an_administrators_own_rule_is_put_back(machine: Machine, works: bool) -> None:
    own = machine.root / "usr/sbin/policy-rc.d"
    own.write_text("#!/bin/sh\nexit 104\n")
    own.chmod(0o750)
    machine.with_apt()
    if not works:
        (machine.root / "broken").touch()
        with pytest.raises(InstallError):
            machine.ensure(machine.host())
    else:
        machine.ensure(machine.host())
    assert (machine.root / "policy-during").read_text() == FORBID
    assert own.read_text() == "#!/bin/sh\nexit 104\n"
    assert own.stat().st_mode & 0o777 == 0o750


def test_postgresql_comes_without_a_cluster(machine: Machine) -> None:
    settings = machine.root / "etc/postgresql-common/createcluster.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text("ssl = on\n")
    machine.with_apt()
    machine.ensure(machine.host())
    assert machine.calls[0].endswith(" postgresql-common")
    assert (machine.root / "cluster-during").read_text() == "create_main_cluster = false\n"
    assert settings.read_text() == "ssl = on\n"


def test_new_services_stay_off_at_the_next_boot(machine: Machine) -> None:
    machine.with_apt()
    machine.script("systemctl", f'#!/bin/sh\necho "$@" >> {machine.root}/disabled\n')
    machine.script("haproxy", "#!/bin/sh\n")  # was here before: its service is the administrator's business
    machine.ensure(machine.host())
    disabled = (machine.root / "disabled").read_text()
    assert "disable --quiet docker.service\n" in disabled
    assert "disable --quiet postgresql.service\n" in disabled
    assert "haproxy" not in disabled


def test_services_of_a_half_done_install_stay_off_as_well(machine: Machine) -> None:
    machine.with_apt()
    machine.script("systemctl", f'#!/bin/sh\necho "$@" >> {machine.root}/disabled\n')
    (machine.root / "broken").touch()
    with pytest.raises(InstallError):
        machine.ensure(machine.host())
    assert "disable --quiet docker.service\n" in (machine.root / "disabled").read_text()


def test_empty_package_lists_are_fetched(machine: Machine) -> None:
    machine.with_apt()
    (machine.root / "no-lists").touch()
    machine.ensure(machine.host())
    verbs = [call.split()[0] for call in machine.calls]
    assert verbs[:3] == ["install", "update", "install"]
    assert missing(machine.host()) == []


def test_a_failing_install_shows_what_apt_said(machine: Machine) -> None:
    machine.with_apt()
    (machine.root / "broken").touch()
    with pytest.raises(InstallError, match=r"exit 100:\nE: Unable to locate package"):
        machine.ensure(machine.host())


def test_what_the_packages_did_not_bring_is_named(machine: Machine) -> None:
    machine.with_apt(brings="dockerd docker docker-registry haproxy postgres debootstrap ip openssl ssh-keygen")
    with pytest.raises(InstallError, match=r"^packer: still not found after `apt-get install .* packer`$"):
        machine.ensure(machine.host())


def without_apt(machine: Machine) -> Host:
    return machine.host()


def without_consent(machine: Machine) -> Host:
    machine.with_apt()
    return machine.host(BLUEGREEN_INSTALL="0")


def without_root(machine: Machine) -> Host:
    machine.with_apt()
    return machine.host(is_root=False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (without_apt, "This machine has no apt-get: install them by its own means (Debian's packages are debootstrap,"),
        (without_consent, "BLUEGREEN_INSTALL=0 forbids to install them: `apt-get install --no-install-recommends deb"),
        (without_root, "Only root may install them: sudo `apt-get install --no-install-recommends debootstrap docker-"),
    ],
)
def test_what_may_not_be_installed_is_told_with_exit_code_3(
    machine: Machine, capsys: pytest.CaptureFixture[str], make: Callable[[Machine], Host], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        require(make(machine))
    assert ended.value.code == 3
    said = capsys.readouterr().err
    assert said.startswith("missing programs: dockerd, docker, docker-registry, haproxy, postgres, packer, debootstrap")
    assert message in said
    assert machine.calls == []


def test_postgresql_off_the_path_is_found(machine: Machine) -> None:
    folder = machine.root / "usr/lib/postgresql/16/bin"
    folder.mkdir(parents=True)
    for program in ("postgres", "initdb", "psql"):
        (folder / program).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 16.2'\n")
        (folder / program).chmod(0o755)
    assert "postgres" not in [tool.program for tool in missing(machine.host())]


def test_the_command_says_nothing_when_all_is_there() -> None:
    if missing(Host()):
        pytest.skip("this machine lacks programs of the rehearsal")
    done = subprocess.run(
        [sys.executable, "-m", "rehearsal.host.install"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
