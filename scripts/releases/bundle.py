"""Release bundles: reproducible tar archives, the same files give the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import stat
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from scripts.cli.exits import ScriptError, UsageError
from scripts.releases.bucket import ReleaseManifest

# 1 January 1980: the oldest time in a zip file, which some builds create from these files.
FIXED_MTIME = 315532800
MANIFEST = "release.json"
IMAGE = "image.tar"
# Docker sends these two even when they are ignored.
ALWAYS_SENT = ("Dockerfile", ".dockerignore")


class BundleError(ScriptError):
    """The folder can't become a bundle; the message names the file."""


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """One file of a bundle."""

    name: str
    path: Path


def source_entries(folder: Path) -> list[BundleFile]:
    """The files of a folder that belong to a release, sorted: not what Git or Docker is told to ignore."""
    if not (folder / "Dockerfile").is_file():
        raise UsageError(
            f"{folder} has no Dockerfile at its top; a source release is a folder that `docker build` takes"
        )
    ignored = DockerIgnore.read(folder)
    names = sorted(name for name in _candidates(folder) if name in ALWAYS_SENT or not ignored.matches(name))
    if MANIFEST in names:
        raise UsageError(f"{folder / MANIFEST} is in the way: the bundle has its own {MANIFEST} there")
    entries = [BundleFile(name=name, path=folder / name) for name in names]
    for entry in entries:
        _require_plain(folder, entry)
    return entries


def image_entries(archive: Path) -> list[BundleFile]:
    return [BundleFile(name=IMAGE, path=archive)]


def save_image(reference: str, archive: Path) -> None:
    """Write a local Docker image to a file. Raises BundleError."""
    run = subprocess.run(
        ["docker", "save", "--output", str(archive), reference], capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise BundleError(f"docker save {reference} failed: {run.stderr.strip()}")


def build_image(folder: Path, reference: str) -> None:
    run = subprocess.run(["docker", "build", "--tag", reference, str(folder)], check=False, stdout=subprocess.DEVNULL)
    if run.returncode:
        raise BundleError(f"docker build of {folder} failed with exit code {run.returncode}")


def pack(entries: Sequence[BundleFile], release: ReleaseManifest, archive: Path) -> tuple[str, int]:
    """Write the bundle; return its sha256 and size."""
    with (
        archive.open("wb") as plain,
        gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        manifest = release.bundled_json()
        tar.addfile(_bare(tarfile.TarInfo(MANIFEST), 0o644, len(manifest)), BytesIO(manifest))
        for entry in entries:
            _add(tar, entry)
    return digest(archive), archive.stat().st_size


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True)
class DockerIgnore:
    """The patterns of a .dockerignore: the last one that matches decides, `!` takes a path back in."""

    patterns: tuple[tuple[re.Pattern[str], bool], ...] = ()

    @classmethod
    def read(cls, folder: Path) -> DockerIgnore:
        file = folder / ".dockerignore"
        return cls.parse(file.read_text().splitlines() if file.is_file() else ())

    @classmethod
    def parse(cls, lines: Iterable[str]) -> DockerIgnore:
        kept = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        return cls(
            patterns=tuple((_pattern(line.removeprefix("!").strip()), not line.startswith("!")) for line in kept)
        )

    def matches(self, name: str) -> bool:
        # A pattern that names a folder ignores all below it.
        parents = [str(parent) for parent in PurePosixPath(name).parents if str(parent) != "."]
        ignored = False
        for pattern, ignore in self.patterns:
            if any(pattern.fullmatch(candidate) for candidate in (name, *parents)):
                ignored = ignore
        return ignored


def _pattern(text: str) -> re.Pattern[str]:
    """Go's filepath.Match with Docker's `**` as a regular expression."""
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    clean = str(PurePosixPath(text)).lstrip("/")
    tokens = re.findall(r"\*\*/|\*\*|\*|\?|\[[^]]+\]|\\.|.", clean)
    return re.compile("".join(pieces.get(token) or _literal(token) for token in tokens))


def _literal(token: str) -> str:
    if len(token) > 1 and token.startswith("["):
        return token
    return re.escape(token[-1])


def _candidates(folder: Path) -> list[str]:
    listed = _git_files(folder)
    return _all_files(folder) if listed is None else [name for name in listed if os.path.lexists(folder / name)]


def _git_files(folder: Path) -> list[str] | None:
    """Tracked files and untracked ones that are not ignored; None outside of a Git repository."""
    ignored = _git(folder, "check-ignore", "--quiet", ".")
    # 0: the entire folder is ignored, but its files belong to the release; 128: no repository.
    if ignored is None or ignored.returncode != 1:
        return None
    listed = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
    return [name for name in listed.stdout.split("\0") if name] if listed and not listed.returncode else None


def _git(folder: Path, *args: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None


def _all_files(folder: Path) -> list[str]:
    names = []
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        links = [name for name in folders if Path(path, name).is_symlink()]
        names += [Path(path, name).relative_to(folder).as_posix() for name in (*files, *links)]
    return names


def _require_plain(folder: Path, entry: BundleFile) -> None:
    mode = entry.path.lstat().st_mode
    if stat.S_ISLNK(mode):
        if not entry.path.resolve().is_relative_to(folder.resolve()) or entry.path.readlink().is_absolute():
            raise BundleError(
                f"{entry.path} links to {entry.path.readlink()}, out of its folder; a bundle must stand alone"
            )
    elif not stat.S_ISREG(mode):
        raise BundleError(f"{entry.path} is neither a file nor a link; a bundle holds only these")


def _add(tar: tarfile.TarFile, entry: BundleFile) -> None:
    info, status = tarfile.TarInfo(entry.name), entry.path.lstat()
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, str(entry.path.readlink())
        tar.addfile(_bare(info, 0o777, 0))
        return
    with entry.path.open("rb") as content:
        tar.addfile(_bare(info, 0o755 if status.st_mode & stat.S_IXUSR else 0o644, status.st_size), content)


def _bare(info: tarfile.TarInfo, mode: int, size: int) -> tarfile.TarInfo:
    info.mode, info.size, info.mtime = mode, size, FIXED_MTIME
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info
