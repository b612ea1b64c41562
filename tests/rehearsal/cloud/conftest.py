"""A running AWS emulator without containers, whose account is empty before each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.rehearsal.cloud.fleet import (
    DNS_NAME,
    REGISTRY,
    REGISTRY_PASSWORD,
    Fleet,
    Maker,
    Running,
    create_group,
    load_balancer,
    network,
    start,
    stop,
)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("cloud")
    process, found = start(
        folder,
        *("--listen", "127.0.0.1", "--dns-name", DNS_NAME, "--registry", REGISTRY, "--hold-hooks"),
        environment={"PATH": "/usr/bin:/bin", "BLUEGREEN_REGISTRY_PASSWORD": REGISTRY_PASSWORD},
    )
    yield found
    stop(process, folder)


@pytest.fixture
def cloud(running: Running) -> Running:
    requests.post(f"{running.aws}/moto-api/reset", timeout=10).raise_for_status()
    return running


@pytest.fixture
def make_fleet(cloud: Running) -> Maker:
    def make(**changes: Any) -> Fleet:
        subnets = network(cloud)
        target_group, listener = load_balancer(cloud, subnets, 80)
        group = create_group(cloud, subnets, target_group, **changes)
        return Fleet(cloud=cloud, group=group, target_group=target_group, listener=listener)

    return make
