from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.cloud.instances import INSTANCE_FLAGS
from rehearsal.host import apt
from rehearsal.host.docker_engine import DockerEngine
from rehearsal.host.sandbox import Sandbox, wait_until
from rehearsal.images import debian, instance_image
from rehearsal.images.cache import ensure_image
from rehearsal.images.instance_image import BakeError, BakeResult, bake
from tests.rehearsal.cloud.fleet import Running, start, stop

TOOLS = ("dockerd", "packer", "debootstrap")
pytestmark = [
    pytest.mark.docker,
    pytest.mark.network,
    pytest.mark.packer,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(shutil.which(tool) for tool in TOOLS), reason=f"needs root and {', '.join(TOOLS)}"
    ),
]
ROOT = Path(__file__).resolve().parents[3]
# The rehearsal's cache: images that take minutes are built once for both.
CACHE = ROOT / "build" / "cache"
BUILD = """
build {
  sources = ["source.amazon-ebs.app"]
  provisioner "shell" {
    inline = ["%s"]
  }
}
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox.open(runs=tmp_path_factory.mktemp("runs"), with_network=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def engine(sandbox: Sandbox) -> DockerEngine:
    return DockerEngine.start(sandbox)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("cloud")
    process, found = start(folder, "--listen", "127.0.0.1", environment={"PATH": "/usr/bin:/bin"})
    yield found
    stop(process, folder)


@pytest.fixture
def small(engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A template with fast provisioning, and a cache with the Debian image only."""
    ensure_image(engine, CACHE, debian.tag(), lambda: debian.build(engine))
    cache, template = tmp_path / "cache", tmp_path / "ami"
    cache.mkdir()
    template.mkdir()
    archive = debian.tag().replace(":", "-") + ".tar"
    os.link(CACHE / archive, cache / archive)
    shutil.copy(ROOT / "ami" / "variables.pkr.hcl", template)
    (template / "build.pkr.hcl").write_text(BUILD % "echo of-this-template >/etc/baked")
    monkeypatch.setattr(instance_image, "TEMPLATE", template)
    before = instance_images(engine)
    yield cache
    for image in instance_images(engine) - before:  # the real image may exist already, depending on the tests' order
        engine.run("rmi", "--force", image)


@pytest.fixture(scope="module")
def instance(engine: DockerEngine, cloud: Running, sandbox: Sandbox) -> BakeResult:
    """The image of the real template."""
    return bake(engine, CACHE, endpoint=cloud.aws, sandbox=sandbox)


def amis(cloud: Running) -> set[str]:
    return {image["ImageId"] for image in cloud.client("ec2").describe_images(Owners=["self"])["Images"]}


def instance_images(engine: DockerEngine) -> set[str]:
    return set(engine.run("images", "--format", "{{.Repository}}:{{.Tag}}", instance_image.INSTANCE).split())


def containers(engine: DockerEngine) -> list[str]:
    return engine.run("ps", "--all", "--format", "{{.Names}}").split()


def inside(engine: DockerEngine, image: str, script: str) -> str:
    return engine.run("run", "--rm", "--network", "none", image, "/bin/sh", "-c", script)


def test_an_image_is_baked_once_and_then_loaded(
    small: Path, engine: DockerEngine, cloud: Running, sandbox: Sandbox
) -> None:
    first = bake(engine, small, endpoint=cloud.aws, sandbox=sandbox)
    assert (first.cached, first.ami_id in amis(cloud)) == (False, True)
    assert inside(engine, first.image, "cat /etc/baked") == "of-this-template"
    engine.run("rmi", first.image)
    second = bake(engine, small, endpoint=cloud.aws, sandbox=sandbox)
    assert (second.cached, second.image, second.ami_id in amis(cloud)) == (True, first.image, True)
    assert second.ami_id != first.ami_id
    assert inside(engine, second.image, "cat /etc/baked") == "of-this-template"
    assert engine.inspect(second.image)["Config"]["Cmd"] == ["/sbin/init"]
    assert engine.inspect(second.image)["Config"]["Volumes"] == {"/var/lib/docker": {}}
    (instance_image.TEMPLATE / "build.pkr.hcl").write_text(BUILD % "exit 3")
    with pytest.raises(BakeError):  # built again: the key depends on the template
        bake(engine, small, endpoint=cloud.aws, sandbox=sandbox)


def test_a_failed_provisioning_is_reported_and_leaves_nothing(
    small: Path, engine: DockerEngine, cloud: Running, sandbox: Sandbox
) -> None:
    (instance_image.TEMPLATE / "build.pkr.hcl").write_text(BUILD % "echo no space for this package; exit 3")
    before = amis(cloud)
    with pytest.raises(BakeError, match="no space for this package"):
        bake(engine, small, endpoint=cloud.aws, sandbox=sandbox)
    assert containers(engine) == []
    assert list(small.glob("bluegreen-instance-*")) == []
    assert amis(cloud) == before


def test_nothing_of_this_host_or_this_build_stays_in_the_image(engine: DockerEngine, instance: BakeResult) -> None:
    public = apt.public_sources(debian.SUITE)
    assert inside(engine, instance.image, "cat /etc/apt/sources.list") == "".join(one.line for one in public).strip()
    names = "-name host -o -name authorities.crt -o -name authorized_keys -o -name 'ssh_host_*'"
    assert inside(engine, instance.image, f"find /etc /root {names}") == ""
    assert inside(engine, instance.image, "cat /etc/instance-id; ls /tmp") == ""
    for mirror in {one.uri for one in apt.sources(debian.SUITE)} - {one.uri for one in public}:
        assert inside(engine, instance.image, f"grep -rlF '{mirror}' /etc /opt /root /var || true") == ""


def test_the_image_boots_with_docker_and_the_boot_program(engine: DockerEngine, instance: BakeResult) -> None:
    engine.run("run", "--detach", "--name", "boots", "--network", "none", *INSTANCE_FLAGS, instance.image)
    try:
        wait_until(lambda: not_active(engine, "docker.service"), what="the instance's Docker", deadline=60)
        program = engine.run("exec", "boots", "cat", "/opt/bluegreen/boot/__main__.py")
        assert program == (ROOT / "ami" / "boot" / "__main__.py").read_text().strip()
        # It has no metadata service and waits for it; systemd must have started it.
        shown = engine.run("exec", "boots", "systemctl", "show", "--property", "ExecMainPID", "bluegreen-boot.service")
        assert shown not in ("ExecMainPID=", "ExecMainPID=0")
        assert systemctl(engine, "--failed", "--no-legend", "--plain", "list-units") == ""
    finally:
        engine.run("rm", "--force", "--volumes", "boots")


def not_active(engine: DockerEngine, unit: str) -> str | None:
    state = systemctl(engine, "is-active", unit)
    return None if state == "active" else f"{unit} is {state or 'unknown'}"


def systemctl(engine: DockerEngine, *argv: str) -> str:
    """Output of systemctl, whatever the exit code."""
    done = subprocess.run(
        [engine.client, "exec", "boots", "systemctl", *argv],
        env={**os.environ, **engine.environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout.strip()
