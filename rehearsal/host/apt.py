"""Where this host's apt finds Debian's packages is known, so that a container can look there too while it is built."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from rehearsal.host import commands

DEFAULT_MIRROR = "http://deb.debian.org/debian"
DEFAULT_SECURITY = "http://deb.debian.org/debian-security"
# How to reach a mirror, and how much to believe it; the rest of apt's configuration is the container's own affair.
TAKEN = ("Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries", "Acquire::ForceIPv")
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
LIMIT_S = 30


@dataclass(frozen=True, kw_only=True)
class Source:
    """One of apt's sources, as `deb URI SUITE main` names it."""

    uri: str
    suite: str

    @property
    def line(self) -> str:
        return f"deb {self.uri} {self.suite} main\n"


def public_sources(suite: str) -> list[Source]:
    """Debian's own, which any machine on the internet reaches."""
    return [
        Source(uri=DEFAULT_MIRROR, suite=suite),
        Source(uri=DEFAULT_MIRROR, suite=f"{suite}-updates"),
        Source(uri=DEFAULT_SECURITY, suite=f"{suite}-security"),
    ]


def sources(suite: str) -> list[Source]:
    """This host's, when it takes the same Debian from somewhere; else the public ones."""
    try:
        # The format's names are apt's own, see apt-get(8), indextargets.
        targets = ["--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages"]
        listed = commands.run(["apt-get", "indextargets", *targets], limit=LIMIT_S)
    except commands.CommandError:
        return public_sources(suite)
    return read_targets(listed, suite) or public_sources(suite)


def read_targets(listed: str, suite: str) -> list[Source]:
    """Lines of address, suite and component; only Debian's own names count, as others call theirs alike."""
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    rows = [line.split() for line in listed.splitlines()]
    found = [
        Source(uri=row[0], suite=row[1]) for row in rows if len(row) == 3 and row[1] in wanted and row[2] == "main"
    ]
    return list(dict.fromkeys(found)) if any(source.suite == suite for source in found) else []


def mirror(suite: str) -> str:
    return next(source.uri for source in sources(suite) if source.suite == suite)


def write_folder(folder: Path, suite: str) -> Path:
    """A folder to stand at a container's /etc/apt while it is built: nothing of it stays in the image."""
    for name in ("apt.conf.d", "preferences.d", "sources.list.d", "trusted.gpg.d", "keyrings", "auth.conf.d"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text("".join(source.line for source in sources(suite)))
    if KEYS.exists():
        shutil.copy(KEYS, folder / "trusted.gpg.d")
    lines = _taken()
    if AUTHORITIES.exists():
        shutil.copy(AUTHORITIES, folder / "authorities.crt")
        lines.append('Acquire::https::CAInfo "/etc/apt/authorities.crt";')
    (folder / "apt.conf.d" / "host").write_text("\n".join(lines) + "\n")
    return folder


def _taken() -> list[str]:
    try:
        dumped = commands.run(["apt-config", "dump", "Acquire"], limit=LIMIT_S)
    except commands.CommandError:
        return []
    return [line for line in dumped.splitlines() if line.startswith(TAKEN)]
