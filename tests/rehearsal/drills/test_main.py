"""Selection of drills by their faults' names, and the command's exit codes."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from rehearsal.drills.__main__ import NoSuchDrillError, _show_result, main, select
from rehearsal.drills.drill import Drill, DrillOutcome
from rehearsal.drills.fixture import Fixture
from rehearsal.drills.register import DRILLS


def play(_scene: Fixture) -> DrillOutcome:
    raise AssertionError("no drill runs here")


KNOWN = [Drill(fault=name, inject=play) for name in ("bundle deleted", "disk full")]


def test_without_a_selection_all_drills_run() -> None:
    assert select([], KNOWN) == KNOWN


def test_a_selection_runs_in_the_register_order() -> None:
    assert select(["disk full", "bundle deleted"], KNOWN) == KNOWN
    assert select(["disk full"], KNOWN) == KNOWN[1:]


def test_an_unknown_fault_is_named_with_the_allowed_ones() -> None:
    with pytest.raises(NoSuchDrillError) as caught:
        select(["disk ful"], KNOWN)
    assert str(caught.value) == "--only 'disk ful': no such fault; allowed are: 'bundle deleted', 'disk full'"


def test_the_command_exits_with_2_on_an_unknown_fault() -> None:
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, ["--only", "disk ful"])
    assert done.exit_code == 2
    assert done.output.startswith("--only 'disk ful': no such fault; allowed are: 'bundle corrupt', ")


def test_a_run_without_a_finished_drill_leaves_the_previous_file(tmp_path: Path) -> None:
    path, text = tmp_path / "drills.json", StringIO()
    path.write_text("of the previous run")
    _show_result([], path, Console(width=160, file=text))
    assert path.read_text() == "of the previous run"
    assert text.getvalue() == f"no drill finished; {path} is unchanged\n"


def test_the_report_folder_must_not_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    path.write_text("")
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, ["--report", str(path)])
    assert done.exit_code == 2
    assert "is a file" in " ".join(done.output.replace("│", " ").split())  # the frame wraps it anywhere


def test_no_two_drills_have_the_same_name() -> None:
    names = [drill.fault for drill in DRILLS]
    assert sorted(names) == sorted(set(names))
