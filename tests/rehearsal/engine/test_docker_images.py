"""Images are pulled, tagged and pushed by a real Docker daemon to a real registry."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal import registry
from rehearsal.docker_engine import DockerEngine
from rehearsal.ground import Ground

from .conftest import Workshop

pytestmark = [
    pytest.mark.docker,
    pytest.mark.network,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("dockerd") is None, reason="needs root and dockerd"),
    pytest.mark.skipif(shutil.which("docker-registry") is None, reason="needs docker-registry"),
]

PUSHED = """
import pulumi_docker as docker
login = docker.RegistryImageAuthConfigArgs(address="https://{endpoint}", username="AWS", password="{password}")
pulled = docker.RemoteImage("base", name="base:1", keep_locally=True)
tag = docker.Tag("base", source_image=pulled.image_id, target_image="{endpoint}/stack/base:one")
pushed = docker.RegistryImage("base", name=tag.target_image, keep_remotely=True, auth_config=login,
                              triggers={{"digest": "TRIGGER"}})
pulumi.export("digest", pushed.sha256_digest)
"""


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerEngine]:
    with Ground.open(runs=tmp_path / "runs") as ground:
        engine = DockerEngine.start(ground)
        for key, value in engine.environment.items():
            monkeypatch.setenv(key, value)
        archive = tmp_path / "base.tar"
        with tarfile.open(archive, "w") as tar:
            tar.addfile(tarfile.TarInfo("hello"), io.BytesIO())
        engine.run("import", str(archive), "base:1")
        yield engine


def test_an_image_is_copied_into_a_registry_by_digest(shop: Workshop, daemon: DockerEngine, tmp_path: Path) -> None:
    place = registry.Registry(address="127.0.0.1", port=_free_port(), folder=tmp_path / "registry", password="secret")
    with registry.running(place):
        program = PUSHED.format(endpoint=place.endpoint, password=place.password)
        assert shop.up(program) == {"create": 4}
        digest = shop.outputs()["digest"]
        assert digest.startswith("sha256:")
        assert shop.up(program) == {}
        assert shop.up(program.replace("TRIGGER", "other")) == {"replace": 1}
        assert shop.outputs()["digest"] == digest
        shop.stack.destroy()
        daemon.run("image", "inspect", "base:1")
        _pull(daemon, place, f"{place.endpoint}/stack/base@{digest}")


def _pull(daemon: DockerEngine, place: registry.Registry, image: str) -> None:
    login = [daemon.client, "login", "-u", registry.USER, "--password-stdin", place.endpoint]
    environment = os.environ | daemon.environment
    subprocess.run(login, input=place.password, text=True, check=True, capture_output=True, env=environment)
    daemon.run("pull", "-q", image)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
