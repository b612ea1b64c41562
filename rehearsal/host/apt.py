"""Apt sources of this host, so that container builds use the same Debian mirror."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from rehearsal.host import commands

DEFAULT_MIRROR = "http://deb.debian.org/debian"
DEFAULT_SECURITY = "http://deb.debian.org/debian-security"
# Options that are copied into a container: how to reach a mirror, and how far to trust it.
COPIED_OPTIONS = ("Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries", "Acquire::ForceIPv")
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
TIMEOUT_S = 30


@dataclass(frozen=True, kw_only=True)
class Source:
    """One apt source, as in `deb URI SUITE main`."""

    uri: str
    suite: str

    @property
    def line(self) -> str:
        return f"deb {self.uri} {self.suite} main\n"


def public_sources(suite: str) -> list[Source]:
    """Debian's public mirrors."""
    return [
        Source(uri=DEFAULT_MIRROR, suite=suite),
        Source(uri=DEFAULT_MIRROR, suite=f"{suite}-updates"),
        Source(uri=DEFAULT_SECURITY, suite=f"{suite}-security"),
    ]


def sources(suite: str) -> list[Source]:
    """This host's sources, when it has the same Debian suite; else the public ones."""
    try:
        # The format's names are apt's own, see apt-get(8), indextargets.
        targets = ["--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages"]
        listed = commands.run(["apt-get", "indextargets", *targets], timeout=TIMEOUT_S)
    except commands.ToolError:
        return public_sources(suite)
    return read_targets(listed, suite) or public_sources(suite)


def read_targets(listed: str, suite: str) -> list[Source]:
    """Sources from lines of URI, suite and component; only Debian's own suite names count."""
    suites = {suite, f"{suite}-updates", f"{suite}-security"}
    rows = [line.split() for line in listed.splitlines()]
    matching = [
        Source(uri=row[0], suite=row[1]) for row in rows if len(row) == 3 and row[1] in suites and row[2] == "main"
    ]
    return list(dict.fromkeys(matching)) if any(source.suite == suite for source in matching) else []


def mirror(suite: str) -> str:
    return next(source.uri for source in sources(suite) if source.suite == suite)


def write_folder(folder: Path, suite: str) -> Path:
    """A folder to mount at /etc/apt during a container build: nothing of it stays in the image."""
    for name in ("apt.conf.d", "preferences.d", "sources.list.d", "trusted.gpg.d", "keyrings", "auth.conf.d"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text("".join(source.line for source in sources(suite)))
    if KEYS.exists():
        shutil.copy(KEYS, folder / "trusted.gpg.d")
    lines = _copied_options()
    if AUTHORITIES.exists():
        shutil.copy(AUTHORITIES, folder / "authorities.crt")
        lines.append('Acquire::https::CAInfo "/etc/apt/authorities.crt";')
    (folder / "apt.conf.d" / "host").write_text("\n".join(lines) + "\n")
    return folder


def _copied_options() -> list[str]:
    try:
        dumped = commands.run(["apt-config", "dump", "Acquire"], timeout=TIMEOUT_S)
    except commands.ToolError:
        return []
    return [line for line in dumped.splitlines() if line.startswith(COPIED_OPTIONS)]
