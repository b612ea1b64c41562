"""File ownership: files that root creates under sudo are given to the calling user."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT_UID = 0
SKIPPED = (".git", ".venv")  # large, and without such files
CACHE = "__pycache__"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A user by uid and gid. Root's own files stay root's."""

    uid: int
    gid: int

    @classmethod
    def caller(cls, environment: Mapping[str, str] = os.environ) -> Owner:
        """The user who called sudo, else the user of this process."""
        try:
            return cls(uid=int(environment["SUDO_UID"]), gid=int(environment["SUDO_GID"]))
        except (KeyError, ValueError):
            return cls(uid=os.getuid(), gid=os.getgid())

    def adopt(self, *paths: Path) -> None:
        """Change the owner of these files and folders, recursively. Symlinks are changed, not followed."""
        if self.uid == ROOT_UID:
            return
        for path in paths:
            for file in _walk(path):
                os.chown(file, self.uid, self.gid, follow_symlinks=False)

    def adopt_new(self, project: Path, since: float) -> None:
        """Adopt what root created in the owner's project since then (epoch seconds): build/, and Python's caches."""
        if self.uid == ROOT_UID or project.stat().st_uid != self.uid:
            return
        caches = [path for path in _walk(project, skipped=SKIPPED) if path.name == CACHE]
        for folder in (project / "build", *caches):
            for file in _walk(folder):
                status = file.lstat()
                if status.st_uid == ROOT_UID and status.st_ctime >= since:
                    os.chown(file, self.uid, self.gid, follow_symlinks=False)


def _walk(path: Path, skipped: tuple[str, ...] = ()) -> Iterator[Path]:
    yield path
    if path.is_symlink():
        return
    for parent, folders, files in os.walk(path):
        folders[:] = [name for name in folders if name not in skipped]
        yield from (Path(parent) / name for name in (*folders, *files))
