"""Instance image of a rehearsal: the AMI's Packer template, provisioned in a Debian container."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from rehearsal.host import apt, commands
from rehearsal.host.docker_engine import DockerEngine, DockerError
from rehearsal.host.sandbox import Sandbox, port_answers, wait_until
from rehearsal.images import debian
from rehearsal.images.cache import ensure_image, files_under, key_of

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "ami"
SOURCE = Path(__file__).parent / "instance.pkr.hcl"
EC2_ONLY = ("source.pkr.hcl", "plugins.pkr.hcl")
INSTANCE, BUILDER = "bluegreen-instance", "bluegreen-builder"
IMAGE_CHANGES = ('CMD ["/sbin/init"]', "VOLUME /var/lib/docker")
REGION = "eu-central-1"
PACKER_TIMEOUT_S, SSH_TIMEOUT_S, KEY_TIMEOUT_S, ARCHIVE_TIMEOUT_S = 900.0, 30.0, 60.0, 300.0
LOG_TAIL_LINES = 12

# Differences from a real AMI, for the report.
GAPS = (
    {
        "service": "instance image",
        "action": "log agent",
        "reason": "Amazon's log agent is in no distribution: instances here ship the app's log, not the journal",
    },
    {
        "service": "instance image",
        "action": "kernel, disks, cloud-init",
        "reason": "an instance is a container: it shares the host's kernel, and has no volumes and no cloud-init",
    },
    {
        "service": "instance image",
        "action": "packer build",
        "reason": "an unchanged template is not built again: its cached image is loaded and registered as an AMI",
    },
)


class BakeError(Exception):
    """The instance image can't be built; the message contains the end of Packer's output."""


@dataclass(frozen=True, kw_only=True)
class BakeResult:
    """`image`: the container image behind `ami_id`. `cached`: no build was needed."""

    ami_id: str
    image: str
    cached: bool
    seconds: float


def bake(docker: DockerEngine, cache: Path, *, endpoint: str, sandbox: Sandbox) -> BakeResult:
    """Build the image, or load it from the cache, and register its AMI. Raises BakeError."""
    started = time.monotonic()
    base = debian.tag()
    image = f"{INSTANCE}:{key_of([base, *IMAGE_CHANGES, SOURCE.read_bytes(), *files_under(TEMPLATE)])}"
    amis: list[str] = []

    def build() -> None:
        ensure_image(docker, cache, base, lambda: debian.build(docker))
        amis.append(_build(docker, base, image, endpoint, sandbox))

    cached = ensure_image(docker, cache, image, build)
    ami = _register(endpoint) if cached else amis[0]
    return BakeResult(ami_id=ami, image=image, cached=cached, seconds=time.monotonic() - started)


def _register(endpoint: str) -> str:
    """Register the AMI of a cached image, which this run's emulator doesn't know; its id."""
    ec2: Any = boto3.client(
        "ec2",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id="rehearsal",
        aws_secret_access_key="rehearsal",  # noqa: S106 - the emulator takes any
    )
    name = f"bluegreen-debian-12-{time.time_ns()}"
    return str(ec2.register_image(Name=name, Architecture="x86_64", RootDeviceName="/dev/xvda")["ImageId"])


def _build(docker: DockerEngine, base: str, image: str, endpoint: str, sandbox: Sandbox) -> str:
    """Run Packer against the emulator, with the container as its builder; the id of the registered AMI."""
    with docker.scratch("bake") as folder:
        work = Path(folder)
        key = _ssh_key(work)
        with _builder(docker, base, sandbox, work, key) as port:
            log = _packer(_template(work), endpoint, port, key, sandbox)
            _import(docker, image, work / "instance.tar")
    return _ami_id(log)


def _import(docker: DockerEngine, image: str, archive: Path) -> None:
    """Squash to one layer: files that updates replaced would otherwise stay in the image."""
    docker.run("export", "--output", str(archive), BUILDER, timeout=ARCHIVE_TIMEOUT_S)
    changes = [part for change in IMAGE_CHANGES for part in ("--change", change)]
    docker.run("import", *changes, str(archive), image, timeout=ARCHIVE_TIMEOUT_S)


def _template(work: Path) -> Path:
    folder = work / "template"
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__pycache__", *EC2_ONLY))
    shutil.copy(SOURCE, folder / SOURCE.name)
    return folder


def _ssh_key(work: Path) -> Path:
    key = work / "key"
    # Packer 1.6 does not read the newer key format.
    command = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", str(key)]
    commands.run(command, timeout=KEY_TIMEOUT_S)
    return key


@contextmanager
def _builder(docker: DockerEngine, base: str, sandbox: Sandbox, work: Path, key: Path) -> Iterator[int]:
    """A container with sshd on loopback, in the host's network since apt must reach its mirror; sshd's port."""
    port = sandbox.port()
    public = key.with_suffix(".pub").read_text().strip()
    script = (
        "mkdir -p /run/sshd /root/.ssh && chmod 700 /root/.ssh"
        f" && echo '{public}' >/root/.ssh/authorized_keys && chmod 600 /root/.ssh/authorized_keys"
        f" && ssh-keygen -A >/dev/null && exec /usr/sbin/sshd -D -e -p {port} -o ListenAddress=127.0.0.1"
    )
    sources = apt.write_folder(work / "apt", debian.SUITE)
    options = ["--name", BUILDER, "--network", "host", "--volume", f"{sources}:/etc/apt"]
    try:
        docker.run("run", "--detach", *options, base, "/bin/sh", "-c", script)
        wait_until(port_answers("127.0.0.1", port), what="sshd in the image's builder", deadline=SSH_TIMEOUT_S)
        yield port
    finally:
        with suppress(DockerError):  # it was never started; the cause propagates
            docker.run("rm", "--force", "--volumes", BUILDER)


def _packer(template: Path, endpoint: str, port: int, key: Path, sandbox: Sandbox) -> str:
    values = {
        "region": REGION,
        "git_commit": "rehearsal",
        "log_agent_url": "",  # not among Debian's packages; see GAPS
        "endpoint": endpoint,
        "ssh_port": str(port),
        "ssh_private_key_file": str(key),
    }
    flags = [part for name, value in values.items() for part in ("-var", f"{name}={value}")]
    env = {**sandbox.environment, "CHECKPOINT_DISABLE": "1", "PACKER_CACHE_DIR": str(template.parent / "packer-cache")}
    argv = ["packer", "build", "-machine-readable", *flags, str(template)]
    log = sandbox.folder / "packer.log"
    try:
        return commands.run(argv, timeout=PACKER_TIMEOUT_S, env=env, log=log)
    except commands.ToolError as error:
        raise BakeError(f"{str(error).partition(': ')[0]}; {log} ends with: {_log_tail(log)}") from error


def _log_tail(log: Path) -> str:
    """The last user-interface messages of Packer's log: lines `time,,ui,say,…` without their columns."""
    lines = log.read_text().splitlines() if log.exists() else []
    messages = [line.split(",", 4)[4] for line in lines if line.split(",")[2:3] == ["ui"] and line.count(",") >= 4]
    return " | ".join(messages[-LOG_TAIL_LINES:]).replace("%!(PACKER_COMMA)", ",")


def _ami_id(log: str) -> str:
    """The id in `time,amazon-ebs.app,artifact,0,id,eu-central-1:ami-…`."""
    for line in log.splitlines():
        fields = line.split(",")
        if fields[2:3] == ["artifact"] and fields[4:5] == ["id"]:
            return fields[5].partition(":")[2]
    raise BakeError("Packer succeeded, but its log names no AMI")
