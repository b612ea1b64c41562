"""Live traffic weights: as AWS has them, as the stack's last update left them, and as config wants them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checks.colors import Color
from checks.fleet import Fleet, NoSuchStack, describe, live_weights
from checks.gates import ALL_USERS
from scripts import history
from scripts.exits import RefusedError
from scripts.history import DIRECT_ROLLBACK, Record
from scripts.stacks import Stack, StackFacts

# How far back in the history the direct rollback is looked for that may explain a difference.
NEWEST = 20
# A direct rollback that ended so moved nobody.
WITHOUT_EFFECT = ("refused", "failed")

Weights = Mapping[Color, int]


def weights(active: Color, canary_percent: int) -> dict[Color, int]:
    return {color: ALL_USERS - canary_percent if color == active else canary_percent for color in Color}


def recorded(facts: StackFacts) -> dict[Color, int]:
    """Those of the stack's last update, by its outputs."""
    active = Color(facts.outputs.get("activeColor", facts.active))
    return weights(active, int(facts.outputs.get("canaryPercent", facts.canary_percent)))


def desired(facts: StackFacts) -> dict[Color, int]:
    """Those that the config of this checkout asks for."""
    return weights(facts.active, facts.canary_percent)


def words(shares: Weights) -> str:
    return ", ".join(f"{color} {shares[color]} %" for color in sorted(shares))


@dataclass(frozen=True, kw_only=True)
class Unreconciled:
    """Other weights in AWS than the stack's last update left: set without Pulumi, or by an update that was cut off."""

    stack: str
    actual: Weights
    recorded: Weights
    desired: Weights
    rollback: Record | None = None
    """The direct rollback that moved the users, where the history tells of one."""

    @property
    def config_is_stale(self) -> bool:
        """Whether this checkout's config would send the users back from where a direct rollback brought them."""
        return self.rollback is not None and self.desired != self.actual and self.desired == self.recorded

    def __str__(self) -> str:
        told = f"AWS sends users to {words(self.actual)}, but the stack's last update left {words(self.recorded)}"
        if self.rollback:
            why = f" ({self.rollback.why})" if self.rollback.why else ""
            told += f": direct rollback by {self.rollback.who} at {self.rollback.when[:19]} UTC{why}"
        return f"{told}; {self._next}"

    @property
    def _next(self) -> str:
        reconcile = f"`pulumi up --refresh --stack {self.stack}` reconciles the state"
        if self.desired == self.actual:
            return reconcile
        return (
            f"config says {words(self.desired)}: `python -m scripts.recall --stack {self.stack}` first takes over what "
            f"AWS has, then {reconcile}"
        )


def unreconciled(facts: StackFacts, fleet: Fleet, records: Sequence[Record]) -> Unreconciled | None:
    """`records`: of the stack's history, the newest first."""
    if fleet.serving is None or fleet.weights == recorded(facts):
        return None
    rollbacks = (one for one in records if one.action == DIRECT_ROLLBACK and one.outcome not in WITHOUT_EFFECT)
    newest = next(rollbacks, None)
    return Unreconciled(
        stack=facts.stack,
        actual=fleet.weights,
        recorded=recorded(facts),
        desired=desired(facts),
        rollback=newest if newest and newest.target.color == fleet.serving else None,
    )


def fleet_if_any(facts: StackFacts) -> Fleet | None:
    """None where AWS has no load balancer of the stack any more: an `up` makes it again, and must not fail for it."""
    try:
        return describe(facts.stack, facts.session)
    except NoSuchStack:
        return None


def refuse_stale_config(facts: StackFacts, fleet: Fleet | None) -> None:
    """Raise RefusedError where an `up` would go by a config from before a direct rollback."""
    if fleet is None or fleet.serving is None or fleet.weights == recorded(facts):
        return  # the history costs reads, and mostly there is nothing to explain
    found = unreconciled(facts, fleet, history.read(facts.s3, facts.bucket, facts.stack, NEWEST))
    if found and found.config_is_stale:
        raise RefusedError(str(found))


def up(stack: Stack, facts: StackFacts, fleet: Fleet, shares: Weights, on_output: Callable[[str], Any]) -> Any:
    """`up` for a change of traffic; with a refresh where the state hides that AWS has other weights."""
    result = stack.up(on_output=on_output)
    if fleet.serving is None or fleet.weights == recorded(facts) or live_weights(fleet, facts.session) == shares:
        return result
    # To the state the live rule is as desired already, so that nothing was changed.
    return stack.up(on_output=on_output, refresh=True)
