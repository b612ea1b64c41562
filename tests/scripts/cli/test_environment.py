"""`./bluegreen` in a fresh clone: the environment is made once, whoever comes first, and the command goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.cli.environment import main

ROOT = Path(__file__).resolve().parents[3]
MAKING = "creating the virtual environment .venv with the packages of requirements-dev.txt: a minute or two, once"
WAITING = "another run is creating the virtual environment: waiting for it"
# Stands for the command: where its packages come from, and what it was given.
COMMAND = "import sys\nprint(sys.prefix, *sys.argv[1:])\n"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone of a project without packages."""
    folder = tmp_path / "a clone"
    (folder / "scripts" / "cli").mkdir(parents=True)
    shutil.copy2(ROOT / "bluegreen", folder)
    shutil.copy2(ROOT / "scripts" / "cli" / "environment.py", folder / "scripts" / "cli")
    (folder / "scripts" / "bluegreen.py").write_text(COMMAND)
    (folder / "requirements-dev.txt").write_text("# nothing\n")
    return folder


def start(program: Path, *words: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(program), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHON": sys.executable, **environment},
    )


def test_two_first_calls_make_one_environment_and_both_go_on(clone: Path, tmp_path: Path) -> None:
    runs = [start(clone / "bluegreen", "status", name, cwd=tmp_path) for name in ("one", "two words")]
    ends = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert [out for out, _ in ends] == [f"{clone}/.venv status one\n", f"{clone}/.venv status two words\n"]
    told = "".join(err for _, err in ends)
    assert told.count(MAKING) == 1
    assert told.count(WAITING) <= 1  # none where the second one began after the first had ended
    assert (clone / ".venv" / "ready").exists()

    own = tmp_path / "mine"
    own.symlink_to(clone / "bluegreen")
    for program in (clone / "bluegreen", clone / ".venv" / "bin" / "bluegreen", own):
        later = start(program, "logs", cwd=tmp_path)
        assert later.communicate(timeout=60) == (f"{clone}/.venv logs\n", "")


def test_a_tab_makes_no_environment(clone: Path) -> None:
    run = start(clone / "bluegreen", cwd=clone, _BLUEGREEN_COMPLETE="complete_bash")
    assert (run.communicate(timeout=60), run.returncode) == (("", ""), 0)
    assert not (clone / ".venv").exists()


def test_without_python_one_sentence_says_so(clone: Path) -> None:
    run = start(clone / "bluegreen", cwd=clone, PYTHON="python-of-nobody")
    told = "python-of-nobody is not on the PATH: install Python 3.11 or later, or set PYTHON to where it is\n"
    assert (run.communicate(timeout=60), run.returncode) == (("", told), 1)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that make an environment; those with `fails` in them fail."""
    seen: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        seen.append(argv)
        Path(argv[-1] if "venv" in argv else seen[0][-1], "bin").mkdir(parents=True, exist_ok=True)
        return subprocess.CompletedProcess(argv, int(any("fails" in word for word in argv)))

    monkeypatch.setattr("scripts.cli.environment.subprocess.run", run)
    return seen


def test_what_fails_is_named_and_tried_again_by_the_next_call(
    tmp_path: Path, runs: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "fails"
    folder.mkdir()
    (folder / "requirements-dev.txt").touch()
    assert main(folder) == 1
    assert "on Debian and Ubuntu, `apt-get install python3-venv` is missing" in capsys.readouterr().err
    assert not (folder / ".venv" / "ready").exists()
    assert (main(folder), len(runs)) == (1, 2)


def test_an_environment_is_renewed_when_the_packages_have_changed(tmp_path: Path, runs: list[list[str]]) -> None:
    requirements = tmp_path / "requirements-dev.txt"
    requirements.touch()
    assert (main(tmp_path), len(runs)) == (0, 2)
    assert runs[1][1:] == [
        *("install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(requirements))
    ]
    assert (main(tmp_path), len(runs)) == (0, 2)
    os.utime(tmp_path / ".venv" / "ready", (1, 1))
    assert (main(tmp_path), len(runs)) == (0, 4)


def test_an_old_python_says_which_one_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scripts.cli.environment.sys.version_info", (3, 9, 2))
    assert main(tmp_path) == 1
    assert "3.11 or later is needed: set PYTHON to one" in capsys.readouterr().err
