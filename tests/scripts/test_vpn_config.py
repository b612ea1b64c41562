from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner, Result

from rehearsal.cloud.additions import vpn as additions
from scripts import vpn_config
from scripts.cli.exits import Exit, ScriptError
from scripts.vpn.connection import Connection, parse_xml
from tests.scripts.vpn.test_render import STATIC, document

from .world import REGION

RANGES = ("--remote-cidr", "192.168.0.0/24", "--vpc-cidr", "10.20.0.0/16")
NO_SWANCTL = "/nonexistent"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(vpn_config.cli, list(arguments))


@pytest.fixture
def xml(tmp_path: Path) -> Path:
    path = tmp_path / "vpn.xml"
    path.write_text(document())
    return path


class Outputs:
    """A stack of which only the outputs matter."""

    name = "dev"

    def __init__(self, vpn: dict[str, Any] | None) -> None:
        self.told = {"artifactsBucket": "artifacts", "region": REGION} | ({"vpn": vpn} if vpn else {})

    def outputs(self) -> dict[str, Any]:
        return {key: _Value(value) for key, value in self.told.items()}

    def get_all_config(self) -> dict[str, Any]:
        return {}


class _Value:
    def __init__(self, value: Any) -> None:
        self.value = value


@pytest.fixture
def connection(aws: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a connection in the emulator, whose keys lie in Secrets Manager; the stack dev has it."""
    additions.extend()  # adds to moto what no other test calls
    monkeypatch.setenv("PATH", NO_SWANCTL)
    ec2 = boto3.Session(region_name=REGION).client("ec2")
    office = ec2.create_customer_gateway(Type="ipsec.1", IpAddress="198.51.100.7", BgpAsn=65000)
    gateway = ec2.create_vpn_gateway(Type="ipsec.1")["VpnGateway"]["VpnGatewayId"]
    made = ec2.create_vpn_connection(
        Type="ipsec.1",
        CustomerGatewayId=office["CustomerGateway"]["CustomerGatewayId"],
        VpnGatewayId=gateway,
        PreSharedKeyStorage="SecretsManager",
        Options={"StaticRoutesOnly": True},
    )
    found = str(made["VpnConnection"]["VpnConnectionId"])
    outputs = Outputs({"connectionId": found, "remoteCidrs": ["192.168.0.0/24"], "vpcCidr": "10.20.0.0/16"})
    monkeypatch.setattr(vpn_config, "open_stack", lambda name: outputs)
    return found


def test_a_document_becomes_files_for_their_owner_only(xml: Path, tmp_path: Path) -> None:
    into = tmp_path / "office"
    done = run("--xml", str(xml), *RANGES, "--into", str(into))
    assert done.exit_code == Exit.OK
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in into.iterdir()}
    assert modes == {
        "swanctl.conf": "0o600",
        "strongswan.conf": "0o600",
        "sysctl.conf": "0o600",
        "clamp.nft": "0o600",
        "sheet.md": "0o600",
        "interfaces.sh": "0o700",
        "updown.sh": "0o700",
        "guard.sh": "0o700",
        ".gitignore": "0o644",
    }
    assert 'secret = "first.key_1"' in (into / "swanctl.conf").read_text()
    assert "first.key_1" not in done.output


def test_git_sees_no_key_in_a_folder_that_was_made_for_them(xml: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "checkout")], check=True)
    into = tmp_path / "checkout" / "office"
    for _ in range(2):
        assert run("--xml", str(xml), *RANGES, "--into", str(into)).exit_code == Exit.OK
    status = ["git", "-C", str(into.parent), "status", "--porcelain", "--untracked-files=all"]
    assert subprocess.run(status, capture_output=True, text=True, check=True).stdout == ""


def test_a_folder_of_somebodys_own_keeps_what_git_sees_in_it(xml: Path, tmp_path: Path) -> None:
    assert run("--xml", str(xml), *RANGES, "--into", str(tmp_path)).exit_code == Exit.OK
    assert not (tmp_path / ".gitignore").exists()


def test_an_older_file_is_replaced_and_not_left_open(xml: Path, tmp_path: Path) -> None:
    old = tmp_path / "office" / "swanctl.conf"
    old.parent.mkdir()
    old.write_text("old")
    old.chmod(0o644)
    assert run("--xml", str(xml), *RANGES, "--into", str(old.parent)).exit_code == Exit.OK
    assert oct(old.stat().st_mode & 0o777) == "0o600"


def test_a_document_without_ranges_is_refused_and_nothing_written(xml: Path, tmp_path: Path) -> None:
    done = run("--xml", str(xml), "--into", str(tmp_path / "office"))
    assert (done.exit_code, "no range of the remote network is known" in done.stderr) == (Exit.REFUSED, True)
    assert not (tmp_path / "office").exists()


def test_what_is_no_document_is_a_wrong_argument(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.xml"
    wrong.write_text("<other/>")
    done = run("--xml", str(wrong), *RANGES)
    assert (done.exit_code, "root is other" in done.stderr) == (Exit.USAGE, True)


@pytest.mark.parametrize(
    ("under", "told"), [("file/office", "Not a directory"), ("taken", "Is a directory")], ids=["a file", "taken"]
)
def test_a_folder_that_cannot_be_written_is_told_without_keys(xml: Path, tmp_path: Path, under: str, told: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "swanctl.conf").mkdir(parents=True)
    done = run("--xml", str(xml), *RANGES, "--into", str(tmp_path / under))
    assert (done.exit_code, f"{told}; allowed is a folder that can be written" in done.stderr) == (Exit.USAGE, True)
    assert "first.key_1" not in done.output


@pytest.mark.parametrize("home", ["office", "/etc/swan ctl", "/etc/x; reboot"])
def test_a_home_that_a_shell_would_misread_is_refused(xml: Path, tmp_path: Path, home: str) -> None:
    done = run("--xml", str(xml), *RANGES, "--home", home, "--into", str(tmp_path / "office"))
    assert (done.exit_code, f"--home {home}: allowed is" in done.stderr) == (Exit.USAGE, True)
    assert not (tmp_path / "office").exists()


def test_what_is_no_text_is_a_wrong_argument(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.xml"
    wrong.write_bytes(bytes(range(256)))
    done = run("--xml", str(wrong), *RANGES)
    assert (done.exit_code, "this is no text" in done.stderr) == (Exit.USAGE, True)


def test_ranges_that_overlap_are_refused_and_nothing_written(xml: Path, tmp_path: Path) -> None:
    done = run("--xml", str(xml), *RANGES, "--vpc-cidr", "192.168.0.0/16", "--into", str(tmp_path / "office"))
    told = "192.168.0.0/24 (of the remote network) overlaps 192.168.0.0/16 (of the VPC)"
    assert (done.exit_code, told in done.stderr) == (Exit.REFUSED, True)
    assert not (tmp_path / "office").exists()


def test_a_stacks_connection_comes_with_the_keys_that_aws_keeps(connection: str, tmp_path: Path) -> None:
    done = run("--into", str(tmp_path / "office"), "--json")
    assert done.exit_code == Exit.OK, done.output
    assert json.loads(done.stdout)["connection"] == connection
    (found,) = boto3.Session(region_name=REGION).client("ec2").describe_vpn_connections()["VpnConnections"]
    secrets = boto3.Session(region_name=REGION).client("secretsmanager")
    keys = json.loads(secrets.get_secret_value(SecretId=found["PreSharedKeyArn"])["SecretString"])
    written = (tmp_path / "office" / "swanctl.conf").read_text()
    assert [key for key in keys.values() if f'secret = "{key}"' not in written] == []
    assert [key for key in keys.values() if key in done.output] == []


def test_a_check_names_the_tunnels_that_are_down(connection: str) -> None:
    done = run("--check", "--json")
    assert done.exit_code == Exit.FAILED
    seen = [(each["tunnel"], each["seen"]) for each in json.loads(done.stdout)["findings"]]
    assert seen == [
        ("tunnel1", "AWS says DOWN: IPSEC IS DOWN"),
        ("tunnel2", "AWS says DOWN: IPSEC IS DOWN"),
        ("vpn", "the connection has no static route"),
    ]


def test_a_check_explains_a_log(xml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", NO_SWANCTL)
    log = tmp_path / "charon.log"
    log.write_text("13[IKE] <tunnel2|4> received AUTHENTICATION_FAILED notify error\n")
    done = run("--check", "--xml", str(xml), "--log", str(log), "--json")
    assert done.exit_code == Exit.FAILED
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["tunnel"] == "tunnel2"
    assert finding["means"].startswith("the pre-shared key or the identity differs")


def test_a_check_of_nothing_is_refused(xml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", NO_SWANCTL)
    assert run("--check", "--xml", str(xml)).exit_code == Exit.USAGE


def test_a_stack_without_a_vpn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vpn_config, "open_stack", lambda name: Outputs(None))
    done = run("--check")
    assert (done.exit_code, "stack dev has no VPN" in done.stderr) == (Exit.USAGE, True)


@pytest.mark.parametrize(
    "secret",
    [
        {"203.0.113.1": "first.key_1", "203.0.113.2": "second.key_2"},
        {
            "tunnels": [
                {"outsideIpAddress": "203.0.113.2", "preSharedKey": "second.key_2"},
                {"outsideIpAddress": "203.0.113.1", "preSharedKey": "first.key_1"},
            ]
        },
    ],
    ids=["by address", "as a list"],
)
def test_keys_are_found_beside_their_addresses(secret: dict[str, Any]) -> None:
    assert vpn_config.with_keys_of(keyless(), json.dumps(secret)).tunnels == STATIC.tunnels


@pytest.mark.parametrize("secret", ["first.key_1", '{"203.0.113.1": "first.key_1"}', "[]"])
def test_a_secret_that_lacks_a_key_is_not_shown(secret: str) -> None:
    with pytest.raises(ScriptError) as caught:
        vpn_config.with_keys_of(keyless(), secret)
    assert "first.key_1" not in str(caught.value)


def keyless() -> Connection:
    return parse_xml(document().replace("first.key_1", "").replace("second.key_2", ""))
