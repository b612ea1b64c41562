"""Which drills are played is chosen by the faults' names."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from rehearsal.drills.__main__ import NoSuchDrillError, chosen, main
from rehearsal.drills.drill import Drill, Outcome
from rehearsal.drills.register import DRILLS
from rehearsal.drills.scene import Scene


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
    assert str(caught.value) == "--only 'disk ful': no such fault; allowed are: bundle gone, disk full"


def test_the_command_ends_with_2_on_such_a_fault() -> None:
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, ["--only", "disk ful"])
    assert done.exit_code == 2
    assert done.output.startswith("--only 'disk ful': no such fault; allowed are: bundle corrupt, ")


def test_no_two_drills_have_the_same_name() -> None:
    names = [drill.fault for drill in DRILLS]
    assert sorted(names) == sorted(set(names))
