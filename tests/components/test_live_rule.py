from __future__ import annotations

import pulumi
import pytest

from components.live_rule import LiveRule, LiveRuleArgs
from fleet.colors import Color
from tests.declared import CONTEXT, Declaration, declare


def live_rule(blue: int = 100, green: int = 0) -> Declaration:
    def program() -> None:
        before = pulumi.ResourceHook("before", lambda args: None)
        after = pulumi.ResourceHook("after", lambda args: None)
        args = LiveRuleArgs(
            listener_arn="arn:listener",
            target_groups={Color.BLUE: "arn:blue", Color.GREEN: "arn:green"},
            weights={Color.BLUE: blue, Color.GREEN: green},
            depends_on=[pulumi.CustomResource("test:index:Fleet", name) for name in ("blue", "green")],
            gates=pulumi.ResourceHookBinding(before_update=[before], after_update=[after]),
        )
        LiveRule("live", CONTEXT, args)

    return declare(program)


@pytest.mark.parametrize(("blue", "green"), [(100, 0), (0, 100), (90, 10)])
def test_the_weights_and_both_colors_always(blue: int, green: int) -> None:
    assert live_rule(blue, green).one("lb.ListenerRule", "live").inputs == {
        "actions": [
            {
                "type": "forward",
                "forward": {
                    "targetGroups": [{"arn": "arn:blue", "weight": blue}, {"arn": "arn:green", "weight": green}]
                },
            }
        ],
        "conditions": [{"pathPattern": {"values": ["/*"]}}],
        "listenerArn": "arn:listener",
        "priority": 100,
        "tags": {"Stack": "dev", "Role": "live"},
    }


def test_the_gates_hang_on_the_rule_itself() -> None:
    declared = live_rule()
    assert declared.one("lb.ListenerRule").hooks == {"before_update": 1, "after_update": 1}


def test_the_rule_waits_for_both_fleets() -> None:
    declared = live_rule()
    fleets = {each.urn for each in declared.all("test.Fleet").values()}
    assert len(fleets) == 2
    assert fleets <= declared.one("lb.ListenerRule").dependencies
