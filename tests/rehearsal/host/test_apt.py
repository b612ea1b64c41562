from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rehearsal.host import apt, commands
from rehearsal.host.apt import Source, read_targets

PRIVATE = "https://mirror.example/debian"


def test_only_debian_s_own_suites_count() -> None:
    listed = f"""\
        {PRIVATE}/ bookworm main
        {PRIVATE}/ bookworm main
        {PRIVATE}/ bookworm contrib
        {PRIVATE}/ bookworm-security main
        https://other.example/tools stable main
        a line that apt may add one day
    """
    assert read_targets(listed, "bookworm") == [
        Source(uri=f"{PRIVATE}/", suite="bookworm"),
        Source(uri=f"{PRIVATE}/", suite="bookworm-security"),
    ]


def test_a_host_of_another_debian_has_no_mirror_for_this_one() -> None:
    assert read_targets(f"{PRIVATE}/ trixie main\n{PRIVATE}/ bookworm-updates main\n", "bookworm") == []


def test_a_line_is_in_the_form_that_apt_reads() -> None:
    assert Source(uri=PRIVATE, suite="bookworm").line == f"deb {PRIVATE} bookworm main\n"
    assert [one.suite for one in apt.public_sources("bookworm")] == [
        "bookworm",
        "bookworm-updates",
        "bookworm-security",
    ]


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt")
def test_apt_accepts_the_container_folder(tmp_path: Path) -> None:
    folder = apt.write_folder(tmp_path / "apt", "bookworm")
    argv = ["apt-get", "-o", f"Dir::Etc={folder}", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"]
    listed = commands.run(argv, timeout=30)
    expected = {(source.uri.rstrip("/"), source.suite) for source in apt.sources("bookworm")}
    rows = [line.split() for line in listed.splitlines()]
    assert {(row[0].rstrip("/"), row[1]) for row in rows if len(row) == 3} == expected
