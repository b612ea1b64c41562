"""Debian container image with systemd, in place of Debian's AMI."""

from __future__ import annotations

import shutil
from pathlib import Path

from rehearsal.host import apt, commands
from rehearsal.host.docker_engine import DockerEngine
from rehearsal.images.cache import key_of

NAME, SUITE = "bluegreen-debian", "bookworm"
# The packages of Debian's AMI that boot and build need.
PACKAGES = "systemd,systemd-sysv,dbus,openssh-server,python3,ca-certificates,iproute2,iptables,procps"
# Services for hardware, consoles, logins and file systems that a container doesn't have, or for housekeeping of a
# long-lived system; each would delay the boot.
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
# Not needed on an instance of a rehearsal, and loaded into Docker once per rehearsal.
EXCLUDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian")
# For packages that are installed later; and no fsync after each file, in a file system that is discarded.
DPKG_RULES = "".join(f"path-exclude=/{folder}/*\n" for folder in EXCLUDED) + "force-unsafe-io\n"
DEBOOTSTRAP_TIMEOUT_S, TAR_TIMEOUT_S = 600.0, 120.0


def tag() -> str:
    lines = "".join(source.line for source in apt.public_sources(SUITE))
    return f"{NAME}:{key_of([SUITE, PACKAGES, *MASKED, DPKG_RULES, lines])}"


def build(docker: DockerEngine) -> None:
    """Build the image; takes about a minute, mostly in dpkg."""
    with docker.scratch("debian") as folder:
        root, archive = Path(folder) / "root", Path(folder) / "root.tar"
        keyring = [f"--keyring={apt.KEYS}"] if apt.KEYS.exists() else []
        flags = ["--variant=minbase", f"--include={PACKAGES}", *keyring]
        argv = ["debootstrap", *flags, SUITE, str(root), apt.mirror(SUITE)]
        # debootstrap mounts /proc and /sys below the root: a mount namespace removes them, also when it is killed.
        commands.run(["unshare", "--mount", *argv], timeout=DEBOOTSTRAP_TIMEOUT_S, env=docker.environment)
        _configure(root)
        tar = ["tar", "--create", "--numeric-owner", "--file", str(archive), "--directory", str(root), "."]
        commands.run(tar, timeout=TAR_TIMEOUT_S, env=docker.environment)
        docker.run("import", str(archive), tag(), timeout=600)


def _configure(root: Path) -> None:
    (root / "etc/apt/sources.list").write_text("".join(source.line for source in apt.public_sources(SUITE)))
    for unit in MASKED:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    (root / "run/sshd").mkdir(parents=True, exist_ok=True)
    (root / "etc/dpkg/dpkg.cfg.d/rehearsal").write_text(DPKG_RULES)
    for folder in EXCLUDED:
        shutil.rmtree(root / folder)
        (root / folder).mkdir()
    # Copied from this host by debootstrap; Docker provides them for each container.
    for name in ("etc/resolv.conf", "etc/hostname"):
        (root / name).unlink(missing_ok=True)
