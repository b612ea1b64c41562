"""Debian with systemd is a container image: what stands for Debian's own image on EC2 when a machine is rehearsed."""

from __future__ import annotations

import shutil
from pathlib import Path

from rehearsal.host import apt, commands
from rehearsal.host.docker_engine import DockerEngine
from rehearsal.images.cache import key_of

NAME, SUITE = "bluegreen-debian", "bookworm"
# What Debian's image for EC2 has, as far as boot and build take it.
PACKAGES = "systemd,systemd-sysv,dbus,openssh-server,python3,ca-certificates,iproute2,iptables,procps"
# They look after hardware, consoles, logins and file systems that a container doesn't have, or write what nobody
# reads in a machine that lives for minutes; each would hold up its start.
MASKED = (
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-logind.service",
    "systemd-resolved.service",
    "systemd-networkd-wait-online.service",
    "systemd-modules-load.service",
    "systemd-sysctl.service",  # would set the host's own kernel: pid_max has no namespace
    "systemd-sysusers.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-remount-fs.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-binfmt.service",
    "proc-sys-fs-binfmt_misc.automount",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-fs-fuse-connections.mount",
    "modprobe@.service",
    "console-getty.service",
    "getty.target",
    "ssh.service",
    "e2scrub_reap.service",
    "e2scrub_all.timer",
    "fstrim.timer",
    "dpkg-db-backup.timer",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "systemd-tmpfiles-clean.timer",
)
# Read by nobody on a rehearsed machine, and loaded into Docker once a rehearsal: kept out of it.
NEEDLESS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian")
# For the packages that are still to come; and no fsync after each file, in a file system that is thrown away.
DPKG_RULES = "".join(f"path-exclude=/{folder}/*\n" for folder in NEEDLESS) + "force-unsafe-io\n"
DEBOOTSTRAP_LIMIT_S, TAR_LIMIT_S = 600.0, 120.0


def tag() -> str:
    lines = "".join(source.line for source in apt.public_sources(SUITE))
    return f"{NAME}:{key_of([SUITE, PACKAGES, *MASKED, DPKG_RULES, lines])}"


def make(docker: DockerEngine) -> None:
    """Takes about a minute, most of it dpkg's."""
    with docker.scratch("debian") as folder:
        root, archive = Path(folder) / "root", Path(folder) / "root.tar"
        keyring = [f"--keyring={apt.KEYS}"] if apt.KEYS.exists() else []
        flags = ["--variant=minbase", f"--include={PACKAGES}", *keyring]
        argv = ["debootstrap", *flags, SUITE, str(root), apt.mirror(SUITE)]
        # It mounts /proc and /sys below the root: in a namespace of its own they go with it, also when it is killed.
        commands.run(["unshare", "--mount", *argv], limit=DEBOOTSTRAP_LIMIT_S, env=docker.environment)
        _fit(root)
        tar = ["tar", "--create", "--numeric-owner", "--file", str(archive), "--directory", str(root), "."]
        commands.run(tar, limit=TAR_LIMIT_S, env=docker.environment)
        docker.run("import", str(archive), tag(), timeout=600)


def _fit(root: Path) -> None:
    (root / "etc/apt/sources.list").write_text("".join(source.line for source in apt.public_sources(SUITE)))
    for unit in MASKED:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    (root / "run/sshd").mkdir(parents=True, exist_ok=True)
    (root / "etc/dpkg/dpkg.cfg.d/rehearsal").write_text(DPKG_RULES)
    for needless in NEEDLESS:
        shutil.rmtree(root / needless)
        (root / needless).mkdir()
    # Of this host, written by debootstrap; Docker gives each container its own.
    for name in ("etc/resolv.conf", "etc/hostname"):
        (root / name).unlink(missing_ok=True)
