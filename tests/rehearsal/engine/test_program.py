"""The repository's own program under the engine: from nothing to a cutover, a refused one, and nothing again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pulumi.automation import ConfigValue
from pulumi.automation.errors import CommandError

from rehearsal.engine import Stack, create_stack, open_stack

from .conftest import Traffic, counts, deliver
from .front import Front


def up(stack: Stack) -> dict[str, int]:
    changes = counts(stack.up().summary.resource_changes)
    return {op: count for op, count in changes.items() if op != "same"}


def test_the_program_from_nothing_to_a_cutover(stack: Stack, front: Front, traffic: Traffic) -> None:
    assert set(up(stack)) == {"create"}
    assert stack.outputs()["liveRuleArn"].value == ""

    for color, release in (("blue", "v1"), ("green", "v2")):
        deliver(stack, color, release)
        changes = up(stack)
        assert set(changes) == {"create", "update"}
        assert changes["update"] == 1  # the dashboard names the releases

    traffic.actions.clear()
    assert (up(stack), traffic.writes()) == ({}, [])

    for color in ("green", "blue"):
        stack.set_config("activeColor", ConfigValue(color))
        traffic.actions.clear()
        assert (up(stack), traffic.writes()) == ({"update": 1}, ["ModifyRule"])

    front.broken.add("green")
    stack.set_config("activeColor", ConfigValue("green"))
    traffic.actions.clear()
    with pytest.raises(CommandError, match='before hook "gate-before-users" failed: green is not fit for users'):
        stack.up()
    assert traffic.writes() == []

    stack.set_config("activeColor", ConfigValue("blue"))
    deliver(stack, "blue", "v3")
    with pytest.raises(CommandError, match="blue serves users with release v1"):
        stack.up()
    deliver(stack, "blue", "v1")
    deliver(stack, "green", "v3")
    expected = {"replace": 3, "update": 1}  # the dashboard names the releases
    assert up(stack) == expected, "a release of the idle color makes new machines, and nothing else"
    assert stack.outputs()["colors"].value["green"]["asgName"].startswith("dev-green-v3-")

    stack.destroy()
    deployment = stack.export_stack().deployment
    assert deployment is not None
    assert deployment["resources"] == []


def test_bad_config_is_told_at_once_and_nothing_is_made(stack: Stack, traffic: Traffic) -> None:
    stack.set_config("activeColor", ConfigValue("pink"))
    stack.set_config("canaryPercent", ConfigValue("101"))
    with pytest.raises(CommandError) as caught:
        stack.up()
    assert "activeColor: pink" in str(caught.value)
    assert "canaryPercent: 101" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert traffic.writes() == []


def test_a_stack_starts_with_the_values_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLUEGREEN_STATE_DIR", str(tmp_path))
    assert create_stack("prod").get_config("aws:region").value == open_stack("prod").get_config("aws:region").value
    with pytest.raises(CommandError, match="already exists"):
        create_stack("prod")
    monkeypatch.delenv("BLUEGREEN_STATE_DIR")
    assert "BLUEGREEN_STATE_DIR" not in os.environ
    with pytest.raises(CommandError, match="BLUEGREEN_STATE_DIR is not set"):
        open_stack("prod")
