"""Container images: pull, tag and push with a Docker daemon and a registry."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.host import registry
from rehearsal.host.docker_engine import DockerEngine
from rehearsal.host.sandbox import Sandbox

from .client import Client

pytestmark = [
    pytest.mark.docker,
    pytest.mark.network,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("dockerd") is None, reason="needs root and dockerd"),
    pytest.mark.skipif(shutil.which("docker-registry") is None, reason="needs docker-registry"),
]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerEngine]:
    with Sandbox.open(runs=tmp_path / "runs") as sandbox:
        engine = DockerEngine.start(sandbox)
        for key, value in engine.environment.items():
            monkeypatch.setenv(key, value)
        archive = tmp_path / "base.tar"
        with tarfile.open(archive, "w") as tar:
            tar.addfile(tarfile.TarInfo("hello"), io.BytesIO())
        engine.run("import", str(archive), "base:1")
        yield engine


@pytest.fixture
def store(daemon: DockerEngine, tmp_path: Path) -> Iterator[registry.Registry]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    created = registry.Registry(address="127.0.0.1", port=port, folder=tmp_path / "registry", password="secret")
    with registry.running(created):
        yield created


def test_an_image_is_copied_into_a_registry_by_digest(
    provider: Client, daemon: DockerEngine, store: registry.Registry
) -> None:
    login = {"address": f"https://{store.endpoint}", "username": registry.USER, "password": store.password}
    target = f"{store.endpoint}/stack/base:one"
    pulled = provider.create("docker:index:RemoteImage", "base", name="base:1", keepLocally=True)
    tag = provider.create("docker:index:Tag", "base", sourceImage=pulled["imageId"], targetImage=target)
    pushed = provider.create(
        "docker:index:RegistryImage",
        "base",
        name=target,
        keepRemotely=True,
        authConfig=login,
    )
    digest = pushed["sha256Digest"]
    assert digest.startswith("sha256:")
    assert provider.update(pushed) == {}
    for each in (pushed, tag, pulled):
        provider.delete(each)
    daemon.run("image", "inspect", "base:1")
    pull(daemon, store, f"{store.endpoint}/stack/base@{digest}")


def pull(daemon: DockerEngine, store: registry.Registry, image: str) -> None:
    login = [daemon.client, "login", "-u", registry.USER, "--password-stdin", store.endpoint]
    environment = os.environ | daemon.environment
    subprocess.run(login, input=store.password, text=True, check=True, capture_output=True, env=environment)
    daemon.run("pull", "-q", image)
