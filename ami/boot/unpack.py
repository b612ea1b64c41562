"""Unpacking of untrusted bundles: no entry leaves the folder, and sizes are limited."""

import gzip
import json
import os
import posixpath
import tarfile
import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, cast


class UnpackError(Exception):
    pass


@dataclass(frozen=True, kw_only=True)
class UnpackLimits:
    max_bytes: int = 8 << 30  # unpacked
    max_entries: int = 100_000
    max_ratio: int = 200  # source and images pack 3 to 20 times smaller, a bomb about 1,000 times
    ratio_from: int = 64 << 20  # small archives of zeros are harmless


class _LimitedReader:
    """The unpacked stream, limited in size; headers count as well, so that a bomb can't hide in them."""

    def __init__(self, packed: IO[bytes], limits: UnpackLimits) -> None:
        self._packed = packed
        self._plain = gzip.GzipFile(fileobj=packed)
        self._limits = limits
        self._total = 0

    def read(self, size: int = -1) -> bytes:
        block = self._plain.read(size)
        self._total += len(block)
        if self._total > self._limits.max_bytes:
            raise UnpackError(f"the bundle unpacks to more than the allowed {self._limits.max_bytes} bytes")
        ratio = self._total / max(1, self._packed.tell())
        if self._total > self._limits.ratio_from and ratio > self._limits.max_ratio:
            raise UnpackError(f"the bundle unpacks to more than {self._limits.max_ratio} times its size: a bomb")
        return block


@dataclass
class _Seen:
    folder: Path
    files: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    entries: int = 0


def unpack(bundle: Path, folder: Path, limits: UnpackLimits | None = None) -> Path:
    """Returns the folder that holds the release: GitHub's archives have one folder around everything.

    Raises UnpackError, which names the entry.
    """
    limits = limits or UnpackLimits()
    folder.mkdir(parents=True)
    try:
        with bundle.open("rb") as packed:
            _extract(cast(IO[bytes], _LimitedReader(packed, limits)), folder, limits)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UnpackError(f"the bundle is not a complete tar.gz archive: {error}") from error
    except OSError as error:
        raise UnpackError(f"the bundle can't be unpacked: {error}") from error
    return _top(folder)


def _extract(stream: IO[bytes], folder: Path, limits: UnpackLimits) -> None:
    seen = _Seen(folder)
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        # Debian 12's tarfile (Python 3.11.2) has no filters: the checks below don't rely on those of newer versions.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        for member in archive:
            seen.entries += 1
            if seen.entries > limits.max_entries:
                raise UnpackError(f"the bundle has more than the allowed {limits.max_entries} entries")
            name = posixpath.normpath(member.name)
            _refuse_bad_name(member.name)
            if name != ".":
                _refuse_bad_entry(member, name, seen)
                archive.extract(_normalized(member), folder)
            archive.members = []  # type: ignore[attr-defined]  # tarfile would keep a list of every entry
    for link in sorted(seen.links):
        # Again, now that all exist: a chain of links, each harmless when it was created, can still lead out.
        _refuse_escaping_link(seen.folder, link, str((folder / link).readlink()))


def _refuse_bad_name(name: str) -> None:
    if name.startswith("/"):
        raise UnpackError(f"entry {name!r}: an absolute path")
    if ".." in name.split("/"):
        raise UnpackError(f"entry {name!r}: leads out of the folder")
    if "\0" in name or "\\" in name:
        raise UnpackError(f"entry {name!r}: contains a character that is not allowed in a path")


def _refuse_bad_entry(member: tarfile.TarInfo, name: str, seen: _Seen) -> None:
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()) or member.issparse():
        raise UnpackError(
            f"entry {name!r}: a device, pipe, socket or sparse file; only files, folders and links are allowed"
        )
    if through := next((part for part in _itself_and_parents(name) if part in seen.links), None):
        raise UnpackError(f"entry {name!r}: leads through the link {through!r}")
    if not member.isdir() and name in seen.files:
        raise UnpackError(f"entry {name!r}: is in the bundle twice")
    if member.islnk() and posixpath.normpath(member.linkname) not in seen.files:
        raise UnpackError(f"entry {name!r}: links to {member.linkname!r}, which is no earlier file of the bundle")
    if member.issym():
        _refuse_escaping_link(seen.folder, name, member.linkname)
        seen.links.add(name)
    elif not member.isdir():
        seen.files.add(name)


def _itself_and_parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _normalized(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Owned by root, with plain modes: no setuid, no owner or unreadable folder from the host that packed it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def _refuse_escaping_link(folder: Path, name: str, target: str) -> None:
    """By the path itself, and by where the links that exist already lead."""
    lexical = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    real = os.path.realpath(folder / posixpath.dirname(name) / target)
    inside = Path(real).is_relative_to(os.path.realpath(folder))
    if target.startswith("/") or lexical.split("/")[0] == ".." or not inside:
        raise UnpackError(f"entry {name!r}: links to {target!r}, out of the folder")


def _top(folder: Path) -> Path:
    entries = list(folder.iterdir())
    if not entries:
        raise UnpackError("the bundle contains no file")
    if len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink():
        return entries[0]
    return folder


class BundleKind(StrEnum):
    """Content of a bundle."""

    SOURCE = "source"
    """A Dockerfile and code, built on the instance."""
    IMAGE = "image"
    """A `docker save` archive, loaded on the instance."""


def kind_of(top: Path, release: str) -> BundleKind:
    """The kind that release.json names; a bundle without one is source. Raises UnpackError."""
    manifest = _release_json(top)
    version = manifest.get("version", release)
    if version != release:
        raise UnpackError(f"release.json: version {version!r}: this instance is to run {release!r}")
    try:
        kind = BundleKind(manifest.get("kind", BundleKind.SOURCE))
    except ValueError as error:
        raise UnpackError(f"release.json: kind {manifest['kind']!r}: must be source or image") from error
    needed = "Dockerfile" if kind is BundleKind.SOURCE else "image.tar"
    if not _is_plain_file(top / needed):
        raise UnpackError(f"the bundle is of kind {kind} and has no {needed} at its top")
    return kind


def _release_json(top: Path) -> dict[str, Any]:
    path = top / "release.json"
    if not _is_plain_file(path):
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnpackError(f"release.json: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UnpackError("release.json: must be an object")
    return content


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
