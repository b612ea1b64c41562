from __future__ import annotations

from pathlib import Path

import pytest

from scripts.ci.workflow import OUTPUT, SUMMARY, code, summarize, table
from scripts.cli.display import Display

DOCUMENT = {
    "ok": True,
    "changed_resources": 1,
    "target": {"color": "green", "release": "v2"},
    "reason": "two\nlines=injected",
    "stages": [{"name": "scale up: a|b", "ok": True, "seconds": 1.5}],
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    output, summary = tmp_path / "output", tmp_path / "summary"
    monkeypatch.setenv(OUTPUT, str(output))
    monkeypatch.setenv(SUMMARY, str(summary))
    monkeypatch.setattr("sys.argv", ["/x/scripts/deploy.py"])
    return output, summary


def test_plain_values_become_outputs_of_the_step_and_no_value_can_forge_another(files: tuple[Path, Path]) -> None:
    Display().result(DOCUMENT)
    assert files[0].read_text() == "ok=true\nchanged_resources=1\ntarget_color=green\ntarget_release=v2\n"


def test_stages_become_a_table_that_their_names_can_not_break(files: tuple[Path, Path]) -> None:
    Display().result(DOCUMENT)
    assert files[1].read_text() == (
        "### deploy: ok\n\n| name | ok | seconds |\n| --- | --- | --- |\n| scale up: a\\|b | True | 1.5 |\n\n"
    )


def test_a_failure_is_told_with_its_words(files: tuple[Path, Path]) -> None:
    Display().result({"ok": False, "error": "blue serves users", "exit_code": 3, "stages": []})
    assert files[1].read_text() == "### deploy: failed\n\n```\nblue serves users\n```\n\n"


def test_elsewhere_nothing_is_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(OUTPUT, raising=False)
    monkeypatch.delenv(SUMMARY, raising=False)
    Display().result(DOCUMENT)
    summarize("text")
    assert capsys.readouterr() == ("", "")


def test_code_that_holds_a_fence_gets_a_longer_one() -> None:
    assert code("a\n```\nb") == "````\na\n```\nb\n````\n"


def test_a_cell_of_several_lines_stays_a_cell() -> None:
    assert table(("a",), [("x\ny\\",)]) == "| a |\n| --- |\n| x<br>y\\\\ |\n"
