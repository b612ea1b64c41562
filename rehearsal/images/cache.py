"""Images that take minutes to make are kept as archives, named for all that went into them."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rehearsal.host.docker_engine import DockerEngine

KEY_LENGTH = 16
KEPT = 2  # archives of each name: this one, and the one before it


def key_of(parts: Iterable[bytes | str]) -> str:
    """A short name for content; each part counts with its length, so that parts can't flow into each other."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()[:KEY_LENGTH]


def files_under(folder: Path) -> list[bytes | str]:
    """Names and contents of all files below a folder, in one order, without what Python leaves behind."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [part for path in files for part in (str(path.relative_to(folder)), path.read_bytes())]


def loaded(docker: DockerEngine, cache: Path, tag: str, make: Callable[[], None]) -> bool:
    """The image `tag` is in the engine afterwards: from the cache, or made by `make` and kept. True: from the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    name, _, key = tag.partition(":")
    archive = cache / f"{name}-{key}.tar"
    with _alone(cache / f"{name}.lock"):
        if archive.exists():
            os.utime(archive)
            if not docker.has(tag):
                docker.load(archive)
            return True
        make()
        part = archive.with_suffix(".part")
        docker.run("save", "--output", str(part), tag, timeout=600)
        part.replace(archive)
        _forget_older(cache, name)
    return False


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Two rehearsals beside each other don't make the same image twice."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _forget_older(cache: Path, name: str) -> None:
    archives = sorted(cache.glob(f"{name}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in archives[KEPT:]:
        path.unlink()
