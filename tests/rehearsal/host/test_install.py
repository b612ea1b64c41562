from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rehearsal.host import install
from rehearsal.host.install import POLICY, TOOLS, Host, InstallError, ensure, missing, require

ROOT = Path(__file__).resolve().parents[3]
# Fake apt-get: records its arguments and the policy-rc.d during the installation, then "installs" the programs.
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


class FakeHost:
    """A root folder with its own PATH; no program of the real host is found in it."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin = root, root / "bin"
        (root / "usr/sbin").mkdir(parents=True)
        self.bin.mkdir()
        for program in ("cat", "grep", "rm", "chmod", "sh"):
            (self.bin / program).symlink_to(f"/bin/{program}")
        self.messages: list[str] = []

    def host(self, *, is_root: bool = True, **environment: str) -> Host:
        return Host(root=self.root, is_root=is_root, environment={"PATH": str(self.bin), **environment})

    def with_apt(self, *, installs: str = "all") -> None:
        programs = " ".join(tool.program for tool in TOOLS) if installs == "all" else installs
        self.script("apt-get", APT.format(root=self.root, bin=self.bin, programs=programs))

    def script(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def ensure(self, host: Host) -> None:
        ensure(host, self.messages.append)

    @property
    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    monkeypatch.setattr(install, "SYSTEM_FOLDERS", str(tmp_path / "usr/sbin"))
    return FakeHost(tmp_path)


def test_all_missing_packages_are_installed_at_once(fake: FakeHost) -> None:
    fake.with_apt()
    fake.ensure(fake.host())
    assert missing(fake.host()) == []
    install_calls = [call for call in fake.calls if call.startswith("install")]
    packages = "debootstrap docker-registry docker.io haproxy iproute2 openssh-client openssl packer postgresql"
    assert install_calls[-1].endswith(f" {packages}")
    assert "--no-install-recommends" in install_calls[-1]
    assert fake.messages == [
        f"installing {packages.replace(' ', ', ')} (no service is started; BLUEGREEN_INSTALL=0 forbids this)"
    ]


def test_nothing_is_installed_when_nothing_is_missing(fake: FakeHost) -> None:
    fake.with_apt()
    fake.ensure(fake.host())
    before = fake.calls
    fake.ensure(fake.host(is_root=False, BLUEGREEN_INSTALL="0"))
    assert fake.calls == before


def test_a_tool_may_be_a_file_by_its_path(fake: FakeHost) -> None:
    plugin = install.Tool(program="/usr/lib/plugins/one.so", package="plugins")
    assert missing(fake.host(), [plugin]) == [plugin]
    (fake.root / "usr/lib/plugins").mkdir(parents=True)
    (fake.root / "usr/lib/plugins/one.so").touch()
    assert missing(fake.host(), [plugin]) == []


def test_no_service_may_start_during_the_installation(fake: FakeHost) -> None:
    fake.with_apt()
    fake.ensure(fake.host())
    assert (fake.root / "policy-during").read_text() == POLICY
    assert not (fake.root / "usr/sbin/policy-rc.d").exists()


@pytest.mark.parametrize("works", [True, False])
def test_an_administrators_own_rule_is_put_back(fake: FakeHost, works: bool) -> None:
    own = fake.root / "usr/sbin/policy-rc.d"
    own.write_text("#!/bin/sh\nexit 104\n")
    own.chmod(0o750)
    fake.with_apt()
    if not works:
        (fake.root / "broken").touch()
        with pytest.raises(InstallError):
            fake.ensure(fake.host())
    else:
        fake.ensure(fake.host())
    assert (fake.root / "policy-during").read_text() == POLICY
    assert own.read_text() == "#!/bin/sh\nexit 104\n"
    assert own.stat().st_mode & 0o777 == 0o750


def test_postgresql_comes_without_a_cluster(fake: FakeHost) -> None:
    settings = fake.root / "etc/postgresql-common/createcluster.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text("ssl = on\n")
    fake.with_apt()
    fake.ensure(fake.host())
    assert fake.calls[0].endswith(" postgresql-common")
    assert (fake.root / "cluster-during").read_text() == "create_main_cluster = false\n"
    assert settings.read_text() == "ssl = on\n"


def test_new_services_are_disabled(fake: FakeHost) -> None:
    fake.with_apt()
    fake.script("systemctl", f'#!/bin/sh\necho "$@" >> {fake.root}/disabled\n')
    fake.script("haproxy", "#!/bin/sh\n")  # was here before: its service is left alone
    fake.ensure(fake.host())
    disabled = (fake.root / "disabled").read_text()
    assert "disable --quiet docker.service\n" in disabled
    assert "disable --quiet postgresql.service\n" in disabled
    assert "haproxy" not in disabled


def test_new_services_of_a_failed_install_are_disabled_too(fake: FakeHost) -> None:
    fake.with_apt()
    fake.script("systemctl", f'#!/bin/sh\necho "$@" >> {fake.root}/disabled\n')
    (fake.root / "broken").touch()
    with pytest.raises(InstallError):
        fake.ensure(fake.host())
    assert "disable --quiet docker.service\n" in (fake.root / "disabled").read_text()


def test_empty_package_lists_are_fetched(fake: FakeHost) -> None:
    fake.with_apt()
    (fake.root / "no-lists").touch()
    fake.ensure(fake.host())
    verbs = [call.split()[0] for call in fake.calls]
    assert verbs[:3] == ["install", "update", "install"]
    assert missing(fake.host()) == []


def test_a_failing_install_shows_what_apt_said(fake: FakeHost) -> None:
    fake.with_apt()
    (fake.root / "broken").touch()
    with pytest.raises(InstallError, match=r"exit 100:\nE: Unable to locate package"):
        fake.ensure(fake.host())


def test_a_program_that_is_still_missing_after_the_installation_is_named(fake: FakeHost) -> None:
    fake.with_apt(installs="dockerd docker docker-registry haproxy postgres debootstrap ip openssl ssh-keygen")
    with pytest.raises(InstallError, match=r"^packer: still not found after `apt-get install .* packer`$"):
        fake.ensure(fake.host())


def without_apt(fake: FakeHost) -> Host:
    return fake.host()


def without_consent(fake: FakeHost) -> Host:
    fake.with_apt()
    return fake.host(BLUEGREEN_INSTALL="0")


def without_root(fake: FakeHost) -> Host:
    fake.with_apt()
    return fake.host(is_root=False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            without_apt,
            "This host has no apt-get: install them with its own package manager (Debian's packages are deb",
        ),
        (without_consent, "BLUEGREEN_INSTALL=0 forbids the installation: `apt-get install --no-install-recommends deb"),
        (without_root, "Installing needs root: sudo `apt-get install --no-install-recommends debootstrap docker-"),
    ],
)
def test_a_forbidden_installation_exits_with_code_3_and_a_message(
    fake: FakeHost, capsys: pytest.CaptureFixture[str], make: Callable[[FakeHost], Host], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        require(make(fake))
    assert ended.value.code == 3
    said = capsys.readouterr().err
    assert said.startswith("missing programs: dockerd, docker, docker-registry, haproxy, postgres, packer, debootstrap")
    assert message in said
    assert fake.calls == []


def test_postgresql_off_the_path_is_found(fake: FakeHost) -> None:
    folder = fake.root / "usr/lib/postgresql/16/bin"
    folder.mkdir(parents=True)
    for program in ("postgres", "initdb", "psql"):
        (folder / program).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 16.2'\n")
        (folder / program).chmod(0o755)
    assert "postgres" not in [tool.program for tool in missing(fake.host())]


def test_the_command_prints_nothing_when_nothing_is_missing() -> None:
    if missing(Host()):
        pytest.skip("this host lacks programs of the rehearsal")
    done = subprocess.run(
        [sys.executable, "-m", "rehearsal.host.install"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
