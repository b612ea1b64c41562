"""Which drills are played is chosen by the faults' names."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from rehearsal.drills.__main__ import NoSuchDrillError, _show_end, chosen, main
from rehearsal.drills.drill import Drill, Outcome
from rehearsal.drills.fixture import Scene
from rehearsal.drills.register import DRILLS


def play(_scene: Scene) -> Outcome:
    raise AssertionError("no drill is played here")


KNOWN = [Drill(fault=name, play=play) for name in ("bundle gone", "disk full")]


def test_without_a_choice_all_are_played() -> None:
    assert chosen([], KNOWN) == KNOWN


def test_a_choice_is_played_in_the_usual_order() -> None:
    assert chosen(["disk full", "bundle gone"], KNOWN) == KNOWN
    assert chosen(["disk full"], KNOWN) == KNOWN[1:]


def test_a_fault_that_is_not_drilled_is_named_with_those_that_are() -> None:
    with pytest.raises(NoSuchDrillError) as caught:
        chosen(["disk ful"], KNOWN)
    assert str(caught.value) == "--only 'disk ful': no such fault; allowed are: 'bundle gone', 'disk full'"


def test_the_command_ends_with_2_on_such_a_fault() -> None:
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, ["--only", "disk ful"])
    assert done.exit_code == 2
    assert done.output.startswith("--only 'disk ful': no such fault; allowed are: 'bundle corrupt', ")


def test_a_run_that_ends_before_its_first_drill_leaves_the_figures_of_the_run_before(tmp_path: Path) -> None:
    path, text = tmp_path / "drills.json", StringIO()
    path.write_text("of the run before")
    _show_end([], path, Console(width=160, file=text))
    assert path.read_text() == "of the run before"
    assert text.getvalue() == f"no drill was played to its end; {path} is left as it was\n"


def test_figures_can_not_go_below_a_file(tmp_path: Path) -> None:
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
