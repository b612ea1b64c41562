"""The image of the rehearsal's machines: the template's own provisioning, run by Packer in a container of Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3

from rehearsal.docker_engine import DockerEngine
from rehearsal.ground import Ground, port_answers, wait_until
from rehearsal.image_cache import files_under, key_of, loaded

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "ami"
SOURCE = Path(__file__).parent / "machine.pkr.hcl"
EC2_ONLY = ("source.pkr.hcl", "plugins.pkr.hcl")
BASE, MACHINE, BUILDER = "bluegreen-debian", "bluegreen-machine", "bluegreen-builder"
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# What Debian's image for EC2 has, as far as boot and build take it.
PACKAGES = "systemd,systemd-sysv,dbus,openssh-server,python3,ca-certificates,iproute2,iptables,procps"
# They look after hardware, consoles and logins that a container doesn't have, and would only hold up its start.
MASKED = (
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-logind.service",
    "systemd-resolved.service",
    "systemd-networkd-wait-online.service",
    "console-getty.service",
    "getty.target",
    "ssh.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "systemd-tmpfiles-clean.timer",
)
COMMIT_CHANGES = ('CMD ["/sbin/init"]', "VOLUME /var/lib/docker")
# Names and certificates of this host, so that apt works in the builder; none of them stays in the image.
HOST_FILES = ("/etc/resolv.conf", "/etc/hosts")
REGION = "eu-central-1"
DEBOOTSTRAP_LIMIT_S, PACKER_LIMIT_S, SSH_LIMIT_S = 600, 900, 30


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
    base = f"{BASE}:{key_of([SUITE, PACKAGES, *MASKED])}"
    image = f"{MACHINE}:{key_of([base, SOURCE.read_bytes(), *files_under(TEMPLATE)])}"
    built: list[str] = []

    def build() -> None:
        loaded(docker, cache, base, lambda: _make_base(docker, base))
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


def _make_base(docker: DockerEngine, tag: str) -> None:
    with TemporaryDirectory(prefix="bluegreen-debian-") as folder:
        root, archive = Path(folder) / "root", Path(folder) / "root.tar"
        keyring = [f"--keyring={KEYRING}"] if KEYRING.exists() else []
        flags = ["--variant=minbase", f"--include={PACKAGES}", *keyring]
        _run(["debootstrap", *flags, SUITE, str(root), MIRROR], DEBOOTSTRAP_LIMIT_S)
        lines = f"deb {MIRROR} {SUITE} main\ndeb {MIRROR} {SUITE}-updates main\ndeb {SECURITY} {SUITE}-security main\n"
        (root / "etc/apt/sources.list").write_text(lines)
        for unit in MASKED:
            (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
        (root / "run/sshd").mkdir(parents=True, exist_ok=True)
        _run(["tar", "--create", "--numeric-owner", "--file", str(archive), "--directory", str(root), "."], 120)
        docker.run("import", str(archive), tag)


def _build(docker: DockerEngine, base: str, image: str, endpoint: str, ground: Ground) -> str:
    """Run Packer against the emulator, with the container as its machine; the AMI id that it registered."""
    with TemporaryDirectory(prefix="bluegreen-bake-") as folder:
        work = Path(folder)
        key = _ssh_key(work)
        with _builder(docker, base, ground, key) as port:
            log = _packer(_template(work), endpoint, port, key, ground)
            changes = [part for change in COMMIT_CHANGES for part in ("--change", change)]
            docker.run("commit", *changes, BUILDER, image)
    return _ami_of(log)


def _template(work: Path) -> Path:
    folder = work / "template"
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__pycache__", *EC2_ONLY))
    shutil.copy(SOURCE, folder / SOURCE.name)
    return folder


def _ssh_key(work: Path) -> Path:
    key = work / "key"
    # Packer 1.6 reads no key of the newer form.
    _run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", str(key)], 60)
    return key


@contextmanager
def _builder(docker: DockerEngine, base: str, ground: Ground, key: Path) -> Iterator[int]:
    """A container with sshd on loopback, in the host's network since apt must reach its mirror; its port."""
    port = ground.port()
    public = key.with_suffix(".pub").read_text().strip()
    script = (
        "mkdir -p /run/sshd /root/.ssh && chmod 700 /root/.ssh"
        f" && echo '{public}' >/root/.ssh/authorized_keys && chmod 600 /root/.ssh/authorized_keys"
        f" && ssh-keygen -A >/dev/null && exec /usr/sbin/sshd -D -e -p {port} -o ListenAddress=127.0.0.1"
    )
    mounts = [part for file in HOST_FILES for part in ("--volume", f"{file}:{file}:ro")]
    docker.run("run", "--detach", "--name", BUILDER, "--network", "host", *mounts, base, "/bin/sh", "-c", script)
    try:
        wait_until(port_answers("127.0.0.1", port), what="sshd in the image's builder", deadline=SSH_LIMIT_S)
        yield port
    finally:
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
    output = _run(
        ["packer", "build", "-machine-readable", *flags, str(template)],
        PACKER_LIMIT_S,
        {"CHECKPOINT_DISABLE": "1", "PACKER_CACHE_DIR": str(template.parent / "packer-cache")},
    )
    (ground.folder / "packer.log").write_text(output)
    return output


def _ami_of(log: str) -> str:
    """Out of `time,amazon-ebs.app,artifact,0,id,eu-central-1:ami-…`."""
    for line in log.splitlines():
        fields = line.split(",")
        if fields[2:3] == ["artifact"] and fields[4:5] == ["id"]:
            return fields[5].partition(":")[2]
    raise BakeError("Packer ended well, but named no AMI")


def _run(argv: list[str], limit: int, env: dict[str, str] | None = None) -> str:
    """A tool's output; a failure shows the end of it."""
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BakeError(f"{argv[0]} did not end within {limit} s: {str(error.output or '')[-800:]}") from error
    if done.returncode:
        raise BakeError(f"{argv[0]} ended with exit code {done.returncode}: {done.stdout.strip()[-1500:]}")
    return done.stdout
