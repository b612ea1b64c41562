"""Image cache: archives of container images, keyed by a hash of their inputs."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rehearsal.host.docker_engine import DockerEngine

KEY_LENGTH = 16
RETAINED_ARCHIVES = 2  # per name: the current one and the previous one


def key_of(parts: Iterable[bytes | str]) -> str:
    """Cache key of a sequence of parts; each is hashed with its length, so that parts can't be confused."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()[:KEY_LENGTH]


def files_under(folder: Path) -> list[bytes | str]:
    """Names and contents of all files below a folder, sorted, without Python's bytecode caches."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [part for path in files for part in (str(path.relative_to(folder)), path.read_bytes())]


def ensure_image(docker: DockerEngine, cache: Path, tag: str, build: Callable[[], None]) -> bool:
    """Load the image `tag` into the engine, from the cache or by `build`, and cache it; whether it was cached."""
    cache.mkdir(parents=True, exist_ok=True)
    name, _, key = tag.partition(":")
    archive = cache / f"{name}-{key}.tar"
    with _locked(cache / f"{name}.lock"):
        if archive.exists():
            os.utime(archive)
            if not docker.has(tag):
                docker.load(archive)
            return True
        build()
        part = archive.with_suffix(".part")
        docker.run("save", "--output", str(part), tag, timeout=600)
        part.replace(archive)
        _remove_older(cache, name)
    return False


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """Concurrent rehearsals don't build the same image twice."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _remove_older(cache: Path, name: str) -> None:
    archives = sorted(cache.glob(f"{name}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in archives[RETAINED_ARCHIVES:]:
        path.unlink()
