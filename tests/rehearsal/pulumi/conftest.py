"""Pulumi CLI with the rehearsal's provider and an AWS emulator without containers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pulumi.automation as auto
import pytest
import requests

from rehearsal.cli import CliMissingError, PulumiCli, ensure_cli, fork_client, supervised
from rehearsal.cloud.client import CloudClient
from rehearsal.workspace import ProviderPlugin, Workspace, copy_project
from tests.rehearsal.cloud.fleet import DNS_NAME, REGION, Running, start, stop
from tests.rehearsal.pulumi.load_balancer_stub import LoadBalancerStub

PASSED_ON = ("PATH", "HOME", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
PROVIDER = ProviderPlugin(os.environ.get("PROVIDER", ProviderPlugin.REHEARSAL))
OpenStack = Callable[[str], auto.Stack]


@pytest.fixture(scope="session")
def cli() -> PulumiCli:
    try:
        return ensure_cli(notify=lambda _: None, environment={**os.environ, "BLUEGREEN_INSTALL": "0"})
    except CliMissingError as error:
        pytest.skip(f"{error}; or `python -m rehearsal.cli`")


@pytest.fixture(scope="session")
def _cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("cloud")
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    process, found = start(folder, "--listen", "127.0.0.1", "--dns-name", DNS_NAME, environment=passed_on)
    yield found
    stop(process, folder)


@pytest.fixture
def cloud(_cloud: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """An empty account, which this process and its children use as AWS."""
    requests.post(f"{_cloud.aws}/moto-api/reset", timeout=10).raise_for_status()
    for key in [key for key in os.environ if key.startswith(("AWS_", "PULUMI_"))]:
        monkeypatch.delenv(key)
    for key in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(key, REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL", _cloud.aws)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    return _cloud


@pytest.fixture
def calls(cloud: Running) -> CloudClient:
    """The emulator's own count of calls."""
    return CloudClient(control=cloud.control)


@pytest.fixture
def load_balancer(cloud: Running) -> Iterator[LoadBalancerStub]:
    created = LoadBalancerStub(cloud.client)
    yield created
    created.close()


@pytest.fixture(scope="session")
def _fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("fork-server") / "socket"
    argv = [sys.executable, "-I", "-S", supervised.__file__, *fork_client.serve_command(str(path))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True) as process:
        yield path
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def workspace(
    cli: PulumiCli, cloud: Running, _fork_server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """A separate project folder, Pulumi home and backend, which this process and its children use."""
    project = copy_project(tmp_path / "project")
    created = Workspace(folder=tmp_path / "pulumi", project=project, cli=cli, provider=PROVIDER, warm=_fork_server)
    created.prepare(lambda _: None)
    for key, value in created.environment.items():
        monkeypatch.setenv(key, value)
    return created


@pytest.fixture
def secrets_provider(cloud: Running) -> str:
    """A KMS key, as for a team. From a passphrase each of the CLI's commands would derive a key again."""
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    return f"awskms:///{key}?region={REGION}&awssdk=v2"


@pytest.fixture
def stack(workspace: Workspace, secrets_provider: str, cloud: Running, load_balancer: LoadBalancerStub) -> OpenStack:
    """Creates a committed stack; only endpoint and port are the test's own."""

    def create(name: str) -> auto.Stack:
        created = workspace.create_stack(name, secrets_provider=secrets_provider)
        own = workspace.provider_config(cloud.aws) | {"bluegreen:httpPort": str(load_balancer.port)}
        created.set_all_config({key: auto.ConfigValue(value) for key, value in own.items()}, path=True)
        return created

    return create


@pytest.fixture
def stack_in_bucket(stack: OpenStack, cloud: Running, monkeypatch: pytest.MonkeyPatch) -> OpenStack:
    """A stack with its state in S3, as for a team: a file that is being written when its writer is killed is lost."""
    location = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
    cloud.client("s3").create_bucket(Bucket="pulumi-state", **location)
    monkeypatch.setenv(
        "PULUMI_BACKEND_URL", f"s3://pulumi-state?region={REGION}&endpoint={cloud.aws}&s3ForcePathStyle=true"
    )
    return stack
