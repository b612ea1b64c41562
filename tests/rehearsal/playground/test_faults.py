"""Fault injection by name, active faults, and restore."""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fleet.colors import Color
from rehearsal.drills.fixture import Fixture
from rehearsal.playground import faults
from rehearsal.playground.board import Board
from rehearsal.playground.faults import FAULTS, HELP, Injection, Injector, PlaygroundFault
from rehearsal.playground.server import CommandRefusedError


def fixture(live: Color | None = Color.GREEN) -> Fixture:
    return cast(Fixture, SimpleNamespace(fleet=lambda: SimpleNamespace(serving=live)))


def lasting(name: str, ended: list[str], *, fails: bool = False) -> PlaygroundFault:
    def end() -> None:
        if fails:
            raise LookupError(f"{name} is gone")
        ended.append(name)

    def inject(_scene: Fixture, color: Color, until: ExitStack) -> Injection:
        until.callback(end)
        return Injection(did=f"broke {name} of {color}", check="nothing", lasts=True)

    return PlaygroundFault(name=name, help=name, inject=inject)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    played = (lasting("zone", names), lasting("database", names), lasting("slow", names, fails=True))
    monkeypatch.setattr(faults, "FAULTS", played)
    return names


def logged(board: Board) -> list[tuple[str, str]]:
    return [(event["kind"], event["text"]) for event in board.as_json()["events"]]


def test_each_fault_has_a_name_and_one_line() -> None:
    assert [fault.name for fault in FAULTS] == ["instance", "zone", "database", "docker", "app", "slow", "s3"]
    assert all(fault.help and "\n" not in fault.help for fault in FAULTS)
    assert faults.listing().count("\n") == len(HELP) - 1


def test_an_unknown_fault_is_refused_with_the_allowed_names(ended: list[str]) -> None:
    with pytest.raises(
        CommandRefusedError, match=r"FAULT=fire: no such fault; allowed are: instance, zone, database.* restore"
    ):
        Injector(fixture=fixture(), board=Board("run-1")).run("fire")


def test_an_active_fault_is_injected_once_and_ended_by_restore(ended: list[str]) -> None:
    board = Board("run-1")
    injector = Injector(fixture=fixture(), board=board)
    assert injector.run("zone") == {"did": "broke zone of green", "check": "nothing"}
    with pytest.raises(CommandRefusedError, match="this fault is active already"):
        injector.run("zone")
    injector.run("database")
    assert board.as_json()["active"] == ["database", "zone"]
    assert injector.run("restore")["did"] == "ended zone, database"
    assert (ended, board.as_json()["active"]) == (["database", "zone"], [])
    assert [kind for kind, _ in logged(board)] == ["fault", "fault", "restore"]
    assert injector.run("restore")["did"] == "no fault was active, nothing was changed"


def test_restore_ends_all_others_when_one_can_not_be_ended(ended: list[str]) -> None:
    injector = Injector(fixture=fixture(), board=Board("run-1"))
    for name in ("zone", "slow"):
        injector.run(name)
    assert "slow: slow is gone" in injector.run("restore")["did"]
    assert ended == ["zone"]


def test_without_a_live_color_there_is_nothing_to_break(ended: list[str]) -> None:
    with pytest.raises(CommandRefusedError, match="no color is live"):
        Injector(fixture=fixture(None), board=Board("run-1")).run("zone")


def test_a_fault_that_fails_half_way_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    undone: list[str] = []

    def inject(_scene: Fixture, _color: Color, until: ExitStack) -> Injection:
        until.callback(undone.append, "undone")
        raise LookupError("no running container")

    monkeypatch.setattr(faults, "FAULTS", (PlaygroundFault(name="zone", help="zone", inject=inject),))
    injector = Injector(fixture=fixture(), board=Board("run-1"))
    with pytest.raises(LookupError):
        injector.run("zone")
    assert (undone, injector.active) == (["undone"], {})


def test_only_an_instance_that_runs_and_serves_is_broken() -> None:
    rows: list[dict[str, Any]] = [
        {"instance": "i-1", "lifecycle": "InService", "container": "running"},
        {"instance": "i-2", "lifecycle": "InService", "container": "running"},
        {"instance": "i-3", "lifecycle": "Pending:Wait", "container": "running"},
    ]
    docker = SimpleNamespace(run=lambda *_: "run-i-2\nrun-i-3")
    found = cast(Fixture, SimpleNamespace(instances=lambda _color: rows, environment=SimpleNamespace(docker=docker)))
    assert [row["instance"] for row in faults._in_service(found, Color.BLUE)] == ["i-2"]
    rows[1]["lifecycle"] = "Terminating:Wait"
    with pytest.raises(CommandRefusedError, match="no instance in service"):
        faults._in_service(found, Color.BLUE)
