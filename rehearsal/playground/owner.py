"""Ownership of files: what root creates under sudo belongs to the user who called it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT_UID = 0
OTHERS = (".git", ".venv")  # of no interest here, and large
CACHE = "__pycache__"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A user by its numbers. Root's own files stay root's."""

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
        """These files and folders, with all in them, become the owner's. Links are changed, not followed."""
        if self.uid == ROOT_UID:
            return
        for path in paths:
            for each in _all(path):
                os.chown(each, self.uid, self.gid, follow_symlinks=False)

    def adopt_new(self, project: Path, since: float) -> None:
        """What root left in the owner's own project since then (epoch seconds): build/, and Python's caches."""
        if self.uid == ROOT_UID or project.stat().st_uid != self.uid:
            return
        caches = [path for path in _all(project, skipped=OTHERS) if path.name == CACHE]
        for folder in (project / "build", *caches):
            for each in _all(folder):
                status = each.lstat()
                if status.st_uid == ROOT_UID and status.st_ctime >= since:
                    os.chown(each, self.uid, self.gid, follow_symlinks=False)


def _all(path: Path, skipped: tuple[str, ...] = ()) -> Iterator[Path]:
    yield path
    if path.is_symlink():
        return
    for parent, folders, files in os.walk(path):
        folders[:] = [name for name in folders if name not in skipped]
        yield from (Path(parent) / name for name in (*folders, *files))
