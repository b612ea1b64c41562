from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scripts.ci.workflow import SUMMARY
from scripts.cli.exits import Exit, UsageError
from scripts.summary import cli, page_of_rehearsal, page_of_tests

THREE = """
import pytest
def test_fine(): pass
def test_bad(): assert 1 + 1 == 3
@pytest.mark.skip(reason="needs root")
def test_left_out(): pass
"""


@pytest.fixture
def junit(tmp_path: Path) -> Path:
    """Written by a real run of pytest, away from this project's settings."""
    (tmp_path / "test_three.py").write_text(THREE)
    file = tmp_path / "tests.xml"
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", f"--junit-xml={file}", "--rootdir", "."]
    subprocess.run([*argv, "test_three.py"], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    return file


def test_counts_failures_and_what_was_skipped_are_told(junit: Path) -> None:
    page = page_of_tests(junit)
    assert "| passed | failed | skipped | took |\n| --- | --- | --- | --- |\n| 1 | 1 | 1 |" in page
    assert "**test_three.test_bad**" in page
    assert "assert (1 + 1) == 3" in page
    assert "Skipped: needs root" in page


def test_what_is_no_junit_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text("nothing")
    with pytest.raises(UsageError, match=r"x\.xml is no JUnit file"):
        page_of_tests(tmp_path / "x.xml")


def test_a_rehearsal_is_told_with_its_steps_and_cutovers(tmp_path: Path) -> None:
    cutover = {"from": "blue v1", "to": "green v2", "seconds": 2.3, "changed_resources": 1, "requests": 9, "failed": 0}
    steps = [{"name": "bake", "ok": True, "seconds": 1.04}, {"name": "provision", "ok": False, "seconds": 2}]
    (tmp_path / "report.json").write_text(json.dumps({"ok": False, "steps": steps, "cutovers": [cutover]}))
    assert page_of_rehearsal(tmp_path / "report.json") == (
        "### Rehearsal: failed\n\n|  | step | took |\n| --- | --- | --- |\n"
        "| ok | bake | 1.0 s |\n| FAILED | provision | 2.0 s |\n\n"
        "| from | to | seconds | changed_resources | requests | failed |\n| --- | --- | --- | --- | --- | --- |\n"
        "| blue v1 | green v2 | 2.3 | 1 | 9 | 0 |\n"
    )


def test_the_command_writes_the_summary_also_when_a_run_broke_off(
    junit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SUMMARY, str(tmp_path / "summary"))
    done = CliRunner().invoke(
        cli, ["--tests", str(junit), "--rehearsal", str(tmp_path / "report.json"), "--text", "fine"]
    )
    assert done.exit_code == Exit.OK
    told = (tmp_path / "summary").read_text()
    assert told.startswith("fine\n\n### Tests")
    assert "report.json was not written" in told


def test_without_a_file_it_says_what_to_name() -> None:
    done = CliRunner().invoke(cli, [])
    assert (done.exit_code, done.stderr) == (
        Exit.USAGE,
        "name a file with --tests or --rehearsal, or a sentence with --text\n",
    )
