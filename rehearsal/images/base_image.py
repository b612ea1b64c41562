"""Base image for releases, built from Debian packages, since no public registry may be reachable."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from rehearsal.host import commands
from rehearsal.host.docker_engine import DockerEngine
from rehearsal.images.cache import ensure_image, key_of

NAME = "bluegreen-python-base"
# dash and coreutils: a Dockerfile's RUN needs a shell. tzdata and certificates are left to apps that need them.
PACKAGES = ("python3", "python3-aiohttp", "python3-asyncpg", "dash", "coreutils", "base-files", "libc-bin")
MERGED = ("bin", "sbin", "lib", "lib64")  # on Debian, links into /usr
# Not needed at run time.
NEEDLESS = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/bash-completion",
    "usr/share/perl5",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/python3.11/test",
    "usr/lib/python3.11/unittest",
    "usr/lib/python3.11/pydoc_data",
    "usr/lib/python3.11/lib2to3",
)
ACCOUNTS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"
TIMEOUT_S = 300


class BaseImageError(Exception):
    """The base image can't be built; the message says what to check."""


def prepare_base(docker: DockerEngine, cache: Path) -> str:
    """Load or build the image; its tag. Raises BaseImageError."""
    tag = f"{NAME}:{key_of([Path(__file__).read_bytes()])}"
    ensure_image(docker, cache, tag, lambda: _build(docker, tag))
    return tag


def _build(docker: DockerEngine, tag: str) -> None:
    with docker.scratch("base") as folder:
        root = Path(folder) / "root"
        _skeleton(root)
        for package in _download(docker, Path(folder) / "apt"):
            _unpack(docker, package, root)
        _slim(root)
        _compile(docker, root)
        archive = Path(folder) / "root.tar"
        _run(docker, "tar", "--create", "--numeric-owner", "--file", str(archive), "--directory", str(root), ".")
        docker.run("import", "--change", 'CMD ["python3"]', str(archive), tag)


def _download(docker: DockerEngine, folder: Path) -> list[Path]:
    """Download the packages with all their dependencies, as for an empty system."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    options = [f"Dir::State::status={folder / 'status'}", f"Dir::Cache={folder / 'cache'}"]
    options += ["Debug::NoLocking=1", "APT::Sandbox::User=root", "APT::Install-Recommends=0"]
    # Keep the downloaded packages: some Debian images delete them after each run of apt.
    options += ["Binary::apt::APT::Keep-Downloaded-Packages=1", "APT::Keep-Downloaded-Packages=1"]
    flags = [part for option in options for part in ("-o", option)]
    _run(docker, "apt-get", *flags, "--yes", "--quiet", "--download-only", "install", *PACKAGES)
    packages = sorted((folder / "cache/archives").glob("*.deb"))
    if not packages:
        raise BaseImageError(f"apt-get downloaded none of {', '.join(PACKAGES)}; does `apt-get update` work here?")
    return packages


def _skeleton(root: Path) -> None:
    for name in ("etc", "tmp", "root", "proc", "sys", "dev", "usr"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    for name in MERGED:
        (root / "usr" / name).mkdir()
        (root / name).symlink_to(f"usr/{name}")
    # Written by maintainer scripts, which are not executed here.
    (root / "etc/passwd").write_text(ACCOUNTS)
    (root / "etc/group").write_text(GROUPS)


def _unpack(docker: DockerEngine, package: Path, root: Path) -> None:
    # `dpkg-deb --extract` would replace /lib, a link into /usr, by a folder.
    script = 'dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink --directory "$2"'
    _run(docker, "bash", "-o", "pipefail", "-c", script, "unpack", str(package), str(root))


def _slim(root: Path) -> None:
    for name in NEEDLESS:
        shutil.rmtree(root / name, ignore_errors=True)


def _compile(docker: DockerEngine, root: Path) -> None:
    """Compile Python modules, as maintainer scripts would: without, each start of an app takes a second longer."""
    folders = [f"/{path.relative_to(root)}" for path in sorted((root / "usr/lib").glob("python3*"))]
    with suppress(commands.ToolError):  # some modules are for other versions of Python
        _run(docker, "chroot", str(root), "/usr/bin/python3", "-m", "compileall", "-q", *folders)


def _run(docker: DockerEngine, *argv: str) -> None:
    commands.run(argv, timeout=TIMEOUT_S, env={**docker.environment, "DEBIAN_FRONTEND": "noninteractive"})
