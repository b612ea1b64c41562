"""Pulumi's own engine and AWS's own provider against a cloud in name only, or the reason why they can't be had."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pulumi.automation as auto
import pytest
import requests

from rehearsal import pulumi_engine
from rehearsal.engines import EngineMissingError, Wanted, choose
from tests.rehearsal.cloud.fleet import DNS_NAME, REGION, Running, start, stop
from tests.rehearsal.engine.front import Front

PASSED_ON = ("PATH", "HOME", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
OpenReal = Callable[[str], auto.Stack]


@pytest.fixture(scope="session")
def engine() -> str:
    try:
        return choose(Wanted.PULUMI, lambda _text: None).name
    except EngineMissingError as error:
        pytest.skip(f"Pulumi's own engine can't be had: {error}")


@pytest.fixture(scope="session")
def _cloud(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("cloud")
    known = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    process, found = start(folder, "--listen", "127.0.0.1", "--dns-name", DNS_NAME, environment=known)
    yield found
    stop(process, folder)


@pytest.fixture
def cloud(_cloud: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """An empty account, which this process and its children take for AWS."""
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
def front(cloud: Running) -> Iterator[Front]:
    made = Front(functools.partial(cloud.client))
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def real(cloud: Running, front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenReal]:
    """Makes a committed stack on the real engine; only the endpoint and the port are the test's own."""
    folder = tmp_path / "real"
    for key, value in pulumi_engine.environment(folder).items():
        monkeypatch.setenv(key, value)

    def make(name: str) -> auto.Stack:
        stack = pulumi_engine.create_stack(name)
        own = pulumi_engine.provider_config(cloud.aws) | {"bluegreen:httpPort": str(front.port)}
        stack.set_all_config({key: auto.ConfigValue(value) for key, value in own.items()}, path=True)
        return stack

    yield make
    shutil.rmtree(folder, ignore_errors=True)
