"""Rules on traffic: every forward action has both colors and no stickiness, and no refused change is applied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from policy.exposure import LISTENER
from policy.stack import Findings, StackResources, at, is_on, items, known, shown

RULE = "aws:lb/listenerRule:ListenerRule"
GUARD = "bluegreen:traffic:TrafficGuard"  # components/traffic_guard.py
COLORS = 2


def both_colors(stack: StackResources) -> Findings:
    for each, action in _forwards(stack):
        groups = _groups(action)
        if groups is None:
            continue
        if (count := _distinct(groups)) != COLORS:
            yield each, f"the forward's target groups are {count}; allowed are 2, one for each color"
        weights = [at(group, "weight") for group in groups]
        if all(known(weight) for weight in weights) and not sum(weight or 0 for weight in weights):
            yield each, f"the weights are {', '.join(map(shown, weights)) or 'not set'}; allowed is a sum above 0"


def _groups(action: Any) -> list[Any] | None:
    """Target groups with their weights; None while a preview does not know them all."""
    value = at(action, "forward", "targetGroups")
    single = at(action, "targetGroupArn")
    if value is None and single is not None:
        return [{"arn": single, "weight": 1}]
    groups = items(value)
    return groups if known(value) and len(groups) == len(value or []) else None


def _distinct(groups: list[Any]) -> int:
    arns = [at(group, "arn") for group in groups]
    # Unknown ARNs count as different.
    return len({arn for arn in arns if known(arn)}) + sum(not known(arn) for arn in arns)


def stickiness(stack: StackResources) -> Findings:
    for group in stack.all("aws:lb/targetGroup:TargetGroup"):
        if is_on(at(group.props, "stickiness", "enabled")):
            yield group, "stickiness.enabled is true; allowed is false, else clients stay with a color after a cutover"
    for each, forward in _forwards(stack):
        if is_on(at(forward, "forward", "stickiness", "enabled")):
            yield (
                each,
                "stickiness.enabled of the forward is true; allowed is false, else clients stay with a color",
            )


def _forwards(stack: StackResources) -> Iterator[tuple[Any, Any]]:
    for type_, key in ((RULE, "actions"), (LISTENER, "defaultActions")):
        for each in stack.all(type_):
            for action in items(at(each.props, key)):
                if at(action, "type") == "forward":
                    yield each, action


def users_kept(stack: StackResources) -> Findings:
    """Traffic changes that the program refused: a policy sees neither the old state nor deletions."""
    for guard in stack.all(GUARD):
        for refusal in items(guard.props.get("refusals")):
            yield guard, str(refusal)
