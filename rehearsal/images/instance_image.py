"""The image of the rehearsal's machines: the template's own provisioning, run by Packer in a container of Debian."""

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
from rehearsal.host.sandbox import Ground, port_answers, wait_until
from rehearsal.images import debian
from rehearsal.images.cache import files_under, key_of, loaded

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "ami"
SOURCE = Path(__file__).parent / "instance.pkr.hcl"
EC2_ONLY = ("source.pkr.hcl", "plugins.pkr.hcl")
MACHINE, BUILDER = "bluegreen-machine", "bluegreen-builder"
IMAGE_CHANGES = ('CMD ["/sbin/init"]', "VOLUME /var/lib/docker")
REGION = "eu-central-1"
PACKER_LIMIT_S, SSH_LIMIT_S, KEY_LIMIT_S, ARCHIVE_LIMIT_S = 900.0, 30.0, 60.0, 300.0
SAID_LINES = 12


# What the machine image of a rehearsal lacks, for its report.
GAPS = (
    {
        "service": "machine image",
        "action": "log agent",
        "reason": "Amazon's log agent is in no distribution: machines here ship the app's lines, not the journal",
    },
    {
        "service": "machine image",
        "action": "kernel, disks, cloud-init",
        "reason": "a machine is a container: it shares the host's kernel, has no volume of its own and no cloud-init",
    },
    {
        "service": "machine image",
        "action": "packer build",
        "reason": "when image files are unchanged, the image of an earlier build is loaded and only its AMI registered",
    },
)


class BakeError(Exception):
    """The machine image can't be made; the message holds what the tool said last."""


@dataclass(frozen=True, kw_only=True)
class Baked:
    """`image` is the container image that stands for `ami_id`. `cached`: no build was needed."""

    ami_id: str
    image: str
    cached: bool
    seconds: float


def bake(docker: DockerEngine, cache: Path, *, endpoint: str, ground: Ground) -> Baked:
    """Make the image, or load the one that the same files made before; its AMI is registered either way."""
    started = time.monotonic()
    base = debian.tag()
    image = f"{MACHINE}:{key_of([base, *IMAGE_CHANGES, SOURCE.read_bytes(), *files_under(TEMPLATE)])}"
    built: list[str] = []

    def build() -> None:
        loaded(docker, cache, base, lambda: debian.make(docker))
        built.append(_build(docker, base, image, endpoint, ground))

    cached = loaded(docker, cache, image, build)
    ami = _register(endpoint) if cached else built[0]
    return Baked(ami_id=ami, image=image, cached=cached, seconds=time.monotonic() - started)


def _register(endpoint: str) -> str:
    """The AMI of an earlier bake, which this run's new emulator doesn't know."""
    ec2: Any = boto3.client(
        "ec2",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id="rehearsal",
        aws_secret_access_key="rehearsal",  # noqa: S106 - the emulator takes any
    )
    name = f"bluegreen-debian-12-{time.time_ns()}"
    return str(ec2.register_image(Name=name, Architecture="x86_64", RootDeviceName="/dev/xvda")["ImageId"])


def _build(docker: DockerEngine, base: str, image: str, endpoint: str, ground: Ground) -> str:
    """Run Packer against the emulator, with the container as its machine; the AMI id that it registered."""
    with docker.scratch("bake") as folder:
        work = Path(folder)
        key = _ssh_key(work)
        with _builder(docker, base, ground, work, key) as port:
            log = _packer(_template(work), endpoint, port, key, ground)
            _import(docker, image, work / "machine.tar")
    return _ami_of(log)


def _import(docker: DockerEngine, image: str, archive: Path) -> None:
    """One layer: what the updates replaced would otherwise stay below, and be loaded in each rehearsal."""
    docker.run("export", "--output", str(archive), BUILDER, timeout=ARCHIVE_LIMIT_S)
    changes = [part for change in IMAGE_CHANGES for part in ("--change", change)]
    docker.run("import", *changes, str(archive), image, timeout=ARCHIVE_LIMIT_S)


def _template(work: Path) -> Path:
    folder = work / "template"
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__pycache__", *EC2_ONLY))
    shutil.copy(SOURCE, folder / SOURCE.name)
    return folder


def _ssh_key(work: Path) -> Path:
    key = work / "key"
    # Packer 1.6 reads no key of the newer form.
    make = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", str(key)]
    commands.run(make, limit=KEY_LIMIT_S)
    return key


@contextmanager
def _builder(docker: DockerEngine, base: str, ground: Ground, work: Path, key: Path) -> Iterator[int]:
    """A container with sshd on loopback, in the host's network since apt must reach its mirror; its port."""
    port = ground.port()
    public = key.with_suffix(".pub").read_text().strip()
    script = (
        "mkdir -p /run/sshd /root/.ssh && chmod 700 /root/.ssh"
        f" && echo '{public}' >/root/.ssh/authorized_keys && chmod 600 /root/.ssh/authorized_keys"
        f" && ssh-keygen -A >/dev/null && exec /usr/sbin/sshd -D -e -p {port} -o ListenAddress=127.0.0.1"
    )
    sources = apt.write_folder(work / "apt", debian.SUITE)
    where = ["--name", BUILDER, "--network", "host", "--volume", f"{sources}:/etc/apt"]
    try:
        docker.run("run", "--detach", *where, base, "/bin/sh", "-c", script)
        wait_until(port_answers("127.0.0.1", port), what="sshd in the image's builder", deadline=SSH_LIMIT_S)
        yield port
    finally:
        with suppress(DockerError):  # it never came to be; what went wrong is on its way up
            docker.run("rm", "--force", "--volumes", BUILDER)


def _packer(template: Path, endpoint: str, port: int, key: Path, ground: Ground) -> str:
    values = {
        "region": REGION,
        "git_commit": "rehearsal",
        "log_agent_url": "",  # not among Debian's packages; see the rehearsal's gaps
        "endpoint": endpoint,
        "ssh_port": str(port),
        "ssh_private_key_file": str(key),
    }
    flags = [part for name, value in values.items() for part in ("-var", f"{name}={value}")]
    env = {**ground.environment, "CHECKPOINT_DISABLE": "1", "PACKER_CACHE_DIR": str(template.parent / "packer-cache")}
    argv = ["packer", "build", "-machine-readable", *flags, str(template)]
    log = ground.folder / "packer.log"
    try:
        return commands.run(argv, limit=PACKER_LIMIT_S, env=env, log=log)
    except commands.CommandError as error:
        raise BakeError(f"{str(error).partition(': ')[0]}; {log} ends with: {_spoken(log)}") from error


def _spoken(log: Path) -> str:
    """The last of what Packer meant for people: `time,,ui,say,…` without its columns."""
    lines = log.read_text().splitlines() if log.exists() else []
    said = [line.split(",", 4)[4] for line in lines if line.split(",")[2:3] == ["ui"] and line.count(",") >= 4]
    return " | ".join(said[-SAID_LINES:]).replace("%!(PACKER_COMMA)", ",")


def _ami_of(log: str) -> str:
    """Out of `time,amazon-ebs.app,artifact,0,id,eu-central-1:ami-…`."""
    for line in log.splitlines():
        fields = line.split(",")
        if fields[2:3] == ["artifact"] and fields[4:5] == ["id"]:
            return fields[5].partition(":")[2]
    raise BakeError("Packer ended well, but named no AMI")
