"""The environment file, in the shells of this host."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rehearsal.playground.shell import CLEARED, render

SHELLS = [name for name in ("bash", "dash", "zsh") if shutil.which(name)]
ODD = 'it\'s $HOME, `id` and "quotes"\nin two lines'
BEFORE = {"PATH": "/usr/bin:/bin", "AWS_REGION": "us-east-1", "AWS_PROFILE": "work"}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "env"
    path.write_text(
        render({"AWS_REGION": "eu-central-1", "ODD": ODD}, ["/first/bin", "/a b/bin"], "http://127.0.0.1:1/")
    )
    return path


def run(shell: str, script: str) -> str:
    done = subprocess.run([shell, "-euc", script], env=BEFORE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_variables_are_set_and_conflicting_ones_are_unset(shell: str, file: Path) -> None:
    script = f'. {file}; printf "%s|" "$PATH" "$AWS_REGION" "$ODD" "${{AWS_PROFILE-none}}"; sh -c "echo \\$AWS_REGION"'
    assert run(shell, script) == f"/first/bin:/a b/bin:/usr/bin:/bin|eu-central-1|{ODD}|none|eu-central-1\n"


@pytest.mark.parametrize("times", [1, 2])
def test_playground_off_restores_the_previous_values(shell: str, file: Path, times: int) -> None:
    before = run(shell, "set | grep -v '^_=' | sort")
    script = f". {file}; " * times + "playground_off; command -v playground_off >/dev/null && echo still there; :"
    assert run(shell, script) == ""
    after = run(shell, f". {file}; playground_off; set | grep -v '^_=' | sort")

    def own(text: str) -> set[str]:
        watched = ("PATH", "AWS_REGION", "ODD", "_PG", *CLEARED)
        return {line for line in text.splitlines() if line.startswith(watched)}

    assert own(after) == own(before)


def test_the_prompt_says_so_where_there_is_one(shell: str, file: Path) -> None:
    assert (
        run(shell, f'PS1="> "; . {file}; printf "%s" "$PS1"; playground_off; printf "%s" "$PS1"') == "(playground) > > "
    )


def test_without_the_file_the_shell_says_so_in_one_sentence(shell: str, tmp_path: Path) -> None:
    done = subprocess.run([shell, "-c", f". {tmp_path / 'env'}"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
