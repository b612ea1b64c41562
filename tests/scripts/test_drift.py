"""What `status --drift` tells: each property as it was recorded and as the cloud has it, in Pulumi's events."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from pulumi.automation import EngineEvent

from scripts.display import Display, exit_codes
from scripts.drift import HIDDEN, SIGNATURE, Difference, Drifted, read_drift, report
from scripts.exits import Exit
from tests.scripts.event_log import PREFIX, step, summary
from tests.scripts.world import World, two_colors

GROUP, RULE = "aws:cloudwatch/logGroup:LogGroup", "aws:lb/listenerRule:ListenerRule"


def found(kind: str, name: str, want: Any, have: Any, *paths: str) -> dict[str, Any]:
    """The end of a resource's refresh; `have` is None where it is gone."""
    states = {"old": {"inputs": want}, "new": None if have is None else {"inputs": have}}
    detailed = {path: {"diffKind": "update", "inputDiff": True} for path in paths}
    metadata = {"op": "refresh", "urn": f"{PREFIX}{kind}::{name}", "type": kind, "detailedDiff": detailed, **states}
    return {"resOutputsEvent": {"metadata": metadata, "planning": True}}


KEPT = found(GROUP, "kept", {"retentionInDays": 7}, {"retentionInDays": 7})
LONGER = found(GROUP, "app", {"retentionInDays": 7}, {"retentionInDays": 365}, "retentionInDays")
LOST = found(RULE, "live", {"priority": 100}, None)


def read(*events: dict[str, Any]) -> list[Drifted]:
    return read_drift(EngineEvent.from_json(event) for event in events)


def test_what_is_as_recorded_is_no_drift() -> None:
    assert read(KEPT, step("update", GROUP, "app"), summary(same=1)) == []


def test_wanted_and_found_values_stand_by_their_paths() -> None:
    want = {"actions": [{"weights": [100, 0]}], "tags": {"Stack": "dev"}}
    have = {"actions": [{"weights": [50, 50]}], "tags": {"Stack": "dev", "By.Hand": "yes"}}
    paths = ('tags["By.Hand"]', "actions[0].weights[1]", "actions[0].weights[2]")
    (one,) = read(found(RULE, "live", want, have, *paths))
    assert one.properties == (
        Difference(path="actions[0].weights[1]", want=0, have=50),
        Difference(path="actions[0].weights[2]", want=None, have=None),
        Difference(path='tags["By.Hand"]', want=None, have="yes"),
    )


@pytest.mark.parametrize("secret", [HIDDEN, {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "ciphertext": HIDDEN}])
def test_a_secret_stays_one_in_either_form(secret: Any) -> None:
    (one,) = read(
        found(RULE, "live", {"conditions": [{"token": secret}]}, {"conditions": secret}, "conditions[0].token")
    )
    assert one.properties == (Difference(path="conditions[0].token", want=HIDDEN, have=HIDDEN),)


def test_people_see_a_table_and_the_exit_code_is_its_own(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    stack = two_colors(world)
    stack.events = [KEPT, LONGER, LOST, step("update", GROUP, "app"), step("create", RULE, "live"), summary(update=1)]
    display = Display()
    with pytest.raises(typer.Exit) as ended, exit_codes(display):
        report(stack, display)
    assert ended.value.exit_code == Exit.DRIFTED
    told, noted = capsys.readouterr()
    lines = [" ".join(line.replace("│", " ").split()) for line in told.splitlines()]
    assert f"app {GROUP} retentionInDays 7 365" in lines
    assert f"live {RULE} there gone" in lines
    assert "kept" not in told
    assert f"{GROUP} app (update), {RULE} live (create)" in noted


def test_json_tells_all_of_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    stack = two_colors(world)
    stack.events = [LONGER, LOST]
    display = Display(as_json=True)
    with pytest.raises(typer.Exit), exit_codes(display):
        report(stack, display)
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["exit_code"], document["stack"]) == (False, 7, "dev")
    assert document["drift"] == [
        {
            "type": GROUP,
            "name": "app",
            "gone": False,
            "properties": [{"path": "retentionInDays", "want": 7, "have": 365}],
        },
        {"type": RULE, "name": "live", "gone": True, "properties": []},
    ]


def test_no_drift_is_an_empty_list(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    stack = two_colors(world)
    stack.events = [KEPT, summary(same=2)]
    report(stack, Display(as_json=True))
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["drift"], document["changes"]) == (True, [], [])
