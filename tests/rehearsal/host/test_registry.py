"""Registry with TLS and a password."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from rehearsal.host import registry
from rehearsal.host.registry import USER, Registry, running

needs_programs = pytest.mark.skipif(
    shutil.which("docker-registry") is None or shutil.which("openssl") is None,
    reason="needs docker-registry and openssl",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with running(Registry(address="127.0.0.1", port=free_port(), folder=folder, password="right")) as found:
        yield found


def catalog(found: Registry, password: str | None) -> requests.Response:
    return requests.get(
        f"https://{found.endpoint}/v2/_catalog",
        auth=(USER, password) if password else None,
        verify=str(found.certificate),
        timeout=5,
    )


@needs_programs
def test_the_password_grants_access(answering: Registry) -> None:
    assert catalog(answering, "right").json() == {"repositories": []}


@needs_programs
@pytest.mark.parametrize("password", [None, "wrong"])
def test_access_without_the_password_is_refused(answering: Registry, password: str | None) -> None:
    assert catalog(answering, password).status_code == 401


@needs_programs
def test_without_its_certificate_it_is_not_trusted(answering: Registry) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://{answering.endpoint}/v2/", timeout=5)


@needs_programs
def test_its_key_is_readable_by_its_owner_only(answering: Registry) -> None:
    assert answering.key.stat().st_mode & 0o777 == 0o600


@needs_programs
def test_it_ends_with_its_block(tmp_path: Path) -> None:
    with running(Registry(address="127.0.0.1", port=free_port(), folder=tmp_path, password="right")) as found:
        pass
    assert "refused" in (registry.not_ready(found) or "")


def test_the_password_is_not_in_its_files(tmp_path: Path) -> None:
    found = Registry(address="10.1.0.1", port=5443, folder=tmp_path, password="a secret one")
    assert "a secret one" not in registry.passwords_text(found) + registry.config_text(found)
