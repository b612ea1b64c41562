"""A base image for releases, made of Debian's packages alone, since no public registry may be reached."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from rehearsal.host import commands
from rehearsal.host.docker_engine import DockerEngine
from rehearsal.images.cache import key_of, loaded

NAME = "bluegreen-python-base"
# dash and coreutils: a Dockerfile's RUN needs a shell. tzdata and certificates are left to apps that need them.
PACKAGES = ("python3", "python3-aiohttp", "python3-asyncpg", "dash", "coreutils", "base-files", "libc-bin")
MERGED = ("bin", "sbin", "lib", "lib64")  # on Debian, links into /usr
# What no app reads at run time.
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
LIMIT_S = 300


class BaseImageError(Exception):
    """The base image can't be made; the message says what to look at."""


def prepare_base(docker: DockerEngine, cache: Path) -> str:
    """The tag of the image, which is in the engine afterwards."""
    tag = f"{NAME}:{key_of([Path(__file__).read_bytes()])}"
    loaded(docker, cache, tag, lambda: _make(docker, tag))
    return tag


def _make(docker: DockerEngine, tag: str) -> None:
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
    """The packages and all that they depend on, for a machine that has nothing installed yet."""
    for needed in ("state/lists/partial", "cache/archives/partial"):
        (folder / needed).mkdir(parents=True)
    (folder / "status").touch()
    options = [f"Dir::State::status={folder / 'status'}", f"Dir::Cache={folder / 'cache'}"]
    options += ["Debug::NoLocking=1", "APT::Sandbox::User=root", "APT::Install-Recommends=0"]
    # A way to keep what was downloaded: some images of Debian delete it after each run of apt.
    options += ["Binary::apt::APT::Keep-Downloaded-Packages=1", "APT::Keep-Downloaded-Packages=1"]
    flags = [part for option in options for part in ("-o", option)]
    _run(docker, "apt-get", *flags, "--yes", "--quiet", "--download-only", "install", *PACKAGES)
    found = sorted((folder / "cache/archives").glob("*.deb"))
    if not found:
        raise BaseImageError(f"apt-get downloaded none of {', '.join(PACKAGES)}; does `apt-get update` work here?")
    return found


def _skeleton(root: Path) -> None:
    for name in ("etc", "tmp", "root", "proc", "sys", "dev", "usr"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    for name in MERGED:
        (root / "usr" / name).mkdir()
        (root / name).symlink_to(f"usr/{name}")
    # Maintainer scripts write these; none of them runs here.
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
    """Packages compile their modules in their maintainer scripts; without, each start of an app takes a second more."""
    folders = [f"/{path.relative_to(root)}" for path in sorted((root / "usr/lib").glob("python3*"))]
    with suppress(commands.CommandError):  # some modules are written for other versions of Python, and stay as they are
        _run(docker, "chroot", str(root), "/usr/bin/python3", "-m", "compileall", "-q", *folders)


def _run(docker: DockerEngine, *argv: str) -> None:
    commands.run(argv, limit=LIMIT_S, env={**docker.environment, "DEBIAN_FRONTEND": "noninteractive"})
