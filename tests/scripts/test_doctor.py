"""`bluegreen doctor`: each check with what it finds, what it says to type, and that none hides another."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner, Result

from scripts import doctor
from scripts.cli.exits import Exit
from scripts.stack.automation import NO_CLI, NO_STACK
from tests.scripts.world import REGION, STACK

PLUGIN = installed_version("pulumi_aws")
NAMES = [
    *("Pulumi CLI", "Pulumi's AWS plugin", "state backend", "stack", "config"),
    *("AWS region", "AWS credentials", "machine image", "vCPU quota", "Elastic IP quota"),
]
IMAGE = "bluegreen-debian-12-20261129120000"
BLUE = {"release": "v1", "releaseUrl": "s3://b/releases/v1/bundle.tar.gz", "sha256": "0" * 64, "amiId": "ami-01234567"}
OUTPUTS = {
    "artifactsBucket": "b",
    "revision": "0123456789ab",
    "region": REGION,
    "activeColor": "blue",
    "colors": {"blue": BLUE},
}


def config(revision: str = "0123456789ab", **values: str) -> dict[str, Any]:
    told = {"aws:region": REGION, "bluegreen:revision": revision, "bluegreen:instanceType": "t3.micro"}
    return {key: {"value": value, "secret": False} for key, value in (told | values).items()}


class Pulumi:
    """A `pulumi` on the PATH whose answers a test can change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers = {
            "version": "echo v3.272.0",
            "plugin": f"echo '{json.dumps([{'name': 'aws', 'kind': 'resource', 'version': PLUGIN}])}'",
            "whoami": """echo '{"user": "ada", "url": "s3://acme-pulumi-state"}'""",
            "stack": "echo dev",
            "stack output": f"echo '{json.dumps(OUTPUTS)}'",
            "config": f"echo '{json.dumps(config())}'",
        }
        self.write()

    def say(self, words: str, script: str) -> None:
        self.answers[words] = script
        self.write()

    def write(self) -> None:
        cases = "".join(
            f'"{words} "*) {script};;\n' for words, script in sorted(self.answers.items(), key=lambda one: -len(one[0]))
        )
        path = self.folder / "pulumi"
        path.write_text(f'#!/bin/sh\necho "$@" >> {self.folder}/called\ncase "$* " in\n{cases}esac\n')
        path.chmod(0o755)

    def remove(self) -> None:
        (self.folder / "pulumi").unlink()


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pulumi:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", raising=False)
    return Pulumi(tmp_path / "bin")


@pytest.fixture
def quotas(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, float]]:
    """Service Quotas over HTTP, which moto knows of the VPC alone; without a value the account may not read it."""
    values = {doctor.VCPU_QUOTA: 32.0, doctor.ADDRESS_QUOTA: 5.0}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert asked["ServiceCode"] == "ec2"
            value = values.get(asked["QuotaCode"])
            body = json.dumps({"Quota": {"Value": value}} if value is not None else {"__type": "AccessDeniedException"})
            self.send_response(200 if value is not None else 400)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", f"http://127.0.0.1:{server.server_address[1]}")
    yield values
    server.shutdown()
    server.server_close()


@pytest.fixture
def ec2(aws: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_REGION", REGION)
    client: Any = boto3.client("ec2", region_name=REGION)
    client.register_image(Name=IMAGE, RootDeviceName="/dev/xvda")
    return client


Examine = Callable[..., dict[str, dict[str, str]]]


@pytest.fixture
def examine(pulumi: Pulumi, quotas: dict[str, float], ec2: Any) -> Examine:
    """The findings by name, once all of them were there and the exit code said the same."""

    def start(*words: str) -> dict[str, dict[str, str]]:
        result = run("--json", *words)
        told = json.loads(result.stdout)
        assert [each["name"] for each in told["checks"]] == NAMES
        bad = [each for each in told["checks"] if each["state"] in ("FAILED", "skipped")]
        assert (result.exit_code, told["ok"]) == ((Exit.FAILED, False) if bad else (Exit.OK, True))
        return {each["name"]: each for each in told["checks"]}

    return start


def run(*words: str) -> Result:
    return CliRunner().invoke(doctor.cli, list(words))


def states(findings: dict[str, dict[str, str]]) -> dict[str, str]:
    """Of those that are not ok."""
    return {name: each["state"] for name, each in findings.items() if each["state"] != "ok"}


def test_a_workstation_that_lacks_nothing(examine: Examine) -> None:
    findings = examine()
    assert states(findings) == {}
    image = findings["machine image"]["found"]
    assert (image.split(", ")[0][:4], image.split(", ")[1]) == ("ami-", IMAGE)
    assert {name: each["found"] for name, each in findings.items() if name != "machine image"} == {
        "Pulumi CLI": "v3.272.0",
        "Pulumi's AWS plugin": PLUGIN,
        "state backend": "s3://acme-pulumi-state, as ada",
        "stack": "dev, named",
        "config": "up to date with the stack, blue is the active color",
        "AWS region": REGION,
        "AWS credentials": "arn:aws:sts::123456789012:user/moto",
        "vCPU quota": "32 vCPUs, of which both colors and Packer's builder need 6",
        "Elastic IP quota": "0 of 5 are in use, NAT gateways need 1 more",
    }


def test_a_person_reads_a_line_a_check_and_what_to_type(examine: Examine, pulumi: Pulumi) -> None:
    lines = run().stdout.splitlines()
    assert lines[0] == "ok       Pulumi CLI           v3.272.0"
    assert lines[-1] == "nothing is missing"
    pulumi.remove()
    lines = run().stdout.splitlines()
    assert lines[:3] == [
        f"FAILED   Pulumi CLI           {NO_CLI}",
        "                              type:  curl -fsSL https://get.pulumi.com | sh",
        "skipped  Pulumi's AWS plugin  pulumi is not on the PATH",
    ]
    assert lines[-1] == "missing: Pulumi CLI; not checked: Pulumi's AWS plugin, state backend, stack, config"


def test_without_pulumi_aws_is_checked_all_the_same(examine: Examine, pulumi: Pulumi) -> None:
    pulumi.remove()
    assert states(examine()) == {"Pulumi CLI": "FAILED", **dict.fromkeys(NAMES[1:5], "skipped")}


def test_without_credentials_pulumi_is_checked_all_the_same(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    findings = examine()
    assert states(findings) == {"AWS credentials": "FAILED", **dict.fromkeys(NAMES[7:], "skipped")}
    assert findings["AWS credentials"]["found"].startswith("there are no AWS credentials: set AWS_PROFILE")
    assert findings["AWS credentials"]["type"] == "aws configure sso"
    assert findings["machine image"]["found"] == "AWS credentials come first"


NO_SELECTION = "echo 'error: no stack selected; please use `pulumi stack select`' >&2; exit 1"
NO_LOGIN = "echo 'error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions' >&2; exit 255"


@pytest.mark.parametrize(
    ("words", "script", "name", "found", "typed"),
    [
        (
            "version",
            "echo v3.100.0",
            "Pulumi CLI",
            "3.238 or later is needed",
            "curl -fsSL https://get.pulumi.com | sh",
        ),
        ("whoami", NO_LOGIN, "state backend", "Pulumi is not logged in", "pulumi login 's3://BUCKET?region=REGION'"),
        ("stack", NO_SELECTION, "stack", NO_STACK, "pulumi stack select NAME"),
        (
            "stack",
            "echo \"error: no stack named 'dev' found\" >&2; exit 1",
            "stack",
            "no stack named",
            "pulumi stack ls",
        ),
        (
            "config",
            f"echo '{json.dumps(config('ba9876543210'))}'",
            "config",
            "this checkout's config is older than the stack's last change",
            "./bluegreen sync-config --stack dev",
        ),
        (
            "config",
            f"echo '{json.dumps(config() | {'bluegreen:zoneCount': {'value': '99'}})}'",
            "config",
            "zoneCount",
            "pulumi config --stack dev",
        ),
    ],
    ids=["old CLI", "no login", "none selected", "no such stack", "stale config", "bad config"],
)
def test_what_pulumi_lacks_is_named_with_what_to_type(
    examine: Examine, pulumi: Pulumi, words: str, script: str, name: str, found: str, typed: str
) -> None:
    pulumi.say(words, script)
    finding = examine()[name]
    assert (finding["state"], finding["type"]) == ("FAILED", typed)
    assert found in finding["found"]


def test_a_plugin_that_is_missing_is_downloaded_unless_that_is_forbidden(
    examine: Examine, pulumi: Pulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulumi.say("plugin", "echo '[]'")
    finding = examine()["Pulumi's AWS plugin"]
    assert (finding["state"], finding["type"]) == ("warning", f"pulumi plugin install resource aws {PLUGIN}")
    monkeypatch.setenv("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "true")
    assert examine()["Pulumi's AWS plugin"]["state"] == "FAILED"
    (pulumi.folder / "pulumi-resource-aws").touch(mode=0o755)
    assert examine()["Pulumi's AWS plugin"]["found"] == f"{pulumi.folder}/pulumi-resource-aws, on the PATH"


def test_a_stack_without_resources_is_brought_up(examine: Examine, pulumi: Pulumi) -> None:
    pulumi.say("stack output", "echo '{}'")
    finding = examine()["config"]
    assert (finding["state"], finding["type"]) == ("warning", "pulumi up --stack dev")


def test_a_cli_that_hangs_ends_and_the_others_go_on(
    examine: Examine, pulumi: Pulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PULUMI_S", 0.3)
    pulumi.say("whoami", "exec sleep 60")
    started = time.monotonic()
    findings = examine()
    assert time.monotonic() - started < 30
    assert findings["state backend"]["found"] == "`pulumi whoami --json --non-interactive` gave no answer within 0.3 s"
    assert states(findings) == {"state backend": "FAILED"}


def test_whatever_a_check_raises_or_however_long_it_takes_it_is_one_finding() -> None:
    def breaks() -> str:
        raise ZeroDivisionError

    assert doctor.DoctorCheck("odd", breaks).result() == doctor.Finding(
        name="odd", state=doctor.CheckState.FAILED, found="ZeroDivisionError"
    )
    with pytest.raises(doctor.MissingError, match=r"no answer within 0\.1 s"):
        doctor.within(0.1, lambda: str(threading.Event().wait(5)))


@pytest.mark.parametrize(
    ("environment", "own", "state", "typed"),
    [
        ("", REGION, "warning", f"export AWS_REGION={REGION}"),
        ("us-east-1", REGION, "warning", f"export AWS_REGION={REGION}"),
        ("", "", "FAILED", "export AWS_REGION=REGION"),
        ("us-east-1", "", "ok", ""),
    ],
)
def test_the_region_of_the_stack_and_of_the_shell(
    aws: None, monkeypatch: pytest.MonkeyPatch, environment: str, own: str, state: str, typed: str
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    if environment:
        monkeypatch.setenv("AWS_REGION", environment)
    checks = doctor.AwsChecks(STACK if own else "of-nobody")
    finding = doctor.DoctorCheck("AWS region", checks.regions).result()
    assert (finding.state, finding.type) == (state, typed)


def test_without_an_image_packer_s_lines_are_printed(examine: Examine, ec2: Any) -> None:
    [image] = ec2.describe_images(Owners=["self"])["Images"]
    ec2.deregister_image(ImageId=image["ImageId"])
    finding = examine()["machine image"]
    assert (finding["state"], finding["found"]) == ("FAILED", f"none named bluegreen-debian-12-* in {REGION}")
    assert finding["type"] == (
        f'packer init ami/ && packer build -var region={REGION} -var git_commit="$(git rev-parse HEAD)" ami/'
    )


def test_a_small_vcpu_quota_is_to_be_raised_to_what_both_colors_need(
    examine: Examine, quotas: dict[str, float]
) -> None:
    quotas[doctor.VCPU_QUOTA] = 5.0
    finding = examine()["vCPU quota"]
    assert (finding["state"], finding["found"]) == (
        "FAILED",
        "5 vCPUs, and both colors with 2 t3.micro in all and Packer's builder need 6",
    )
    assert finding["type"] == (
        "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-1216C47A "
        f"--desired-value 6 --region {REGION}"
    )


def test_addresses_that_others_have_count_and_the_stack_s_own_are_no_need(
    examine: Examine, quotas: dict[str, float], ec2: Any
) -> None:
    quotas[doctor.ADDRESS_QUOTA] = 1.0
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    finding = examine()["Elastic IP quota"]
    assert (finding["state"], finding["found"]) == ("FAILED", "1 of 1 are in use, and NAT gateways need 1 more")
    assert finding["type"].endswith(f"--quota-code L-0263D0A3 --desired-value 2 --region {REGION}")
    ec2.create_tags(Resources=[address], Tags=[{"Key": "Stack", "Value": STACK}])
    assert examine()["Elastic IP quota"]["state"] == "ok"


def test_a_quota_that_the_account_may_not_read_is_a_warning(examine: Examine, quotas: dict[str, float]) -> None:
    quotas.clear()
    findings = examine()
    assert states(findings) == {"vCPU quota": "warning", "Elastic IP quota": "warning"}
    assert "AccessDeniedException" in findings["vCPU quota"]["found"]
    assert findings["vCPU quota"]["type"] == (
        f"aws service-quotas get-service-quota --service-code ec2 --quota-code L-1216C47A --region {REGION}"
    )


def test_prod_needs_more(examine: Examine, quotas: dict[str, float], pulumi: Pulumi) -> None:
    """By its committed file: two instances a color, and a NAT gateway in each of three zones."""
    findings = examine("--stack", "prod")
    assert findings["vCPU quota"]["found"] == "32 vCPUs, of which both colors and Packer's builder need 10"
    assert findings["Elastic IP quota"]["found"] == "0 of 5 are in use, NAT gateways need 3 more"
    assert "stack --show-name --stack prod --non-interactive" in (pulumi.folder / "called").read_text()
