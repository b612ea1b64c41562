"""Traffic weights of the live rule: actual (AWS), recorded (the stack's last update) and desired (config)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ami.boot.messages import ChangeRecord, Kind, Outcome
from fleet.colors import ALL_TRAFFIC, Color
from fleet.command_lines import bluegreen
from fleet.deployments import ALLOW_SHIFT, Deployment, Weights, effects, interrupted_weights, is_current, stale
from fleet.state import Fleet, NoSuchStack, live_weights
from scripts.cli.exits import RefusedError
from scripts.stack import history
from scripts.stack.automation import Stack, StackFacts, set_value

# Records of the history among which a direct rollback is searched that explains a difference.
NEWEST = 20
# A direct rollback with these outcomes shifted no traffic.
WITHOUT_EFFECT = (Outcome.REFUSED, Outcome.FAILED)


def weights(active: Color, canary_percent: int) -> dict[Color, int]:
    return {color: ALL_TRAFFIC - canary_percent if color == active else canary_percent for color in Color}


def recorded(facts: StackFacts) -> dict[Color, int]:
    """Weights that the stack's last update left, by its outputs."""
    if not facts.outputs.keys() >= Deployment().traffic.keys():
        return desired(facts)  # there was none
    return weights(facts.last.active, facts.last.canary_percent)


def desired(facts: StackFacts) -> dict[Color, int]:
    """Weights that this checkout's config asks for."""
    return weights(facts.active, facts.canary_percent)


def format_weights(weights: Weights) -> str:
    return ", ".join(f"{color} {weights[color]} %" for color in sorted(weights))


@dataclass(frozen=True, kw_only=True)
class Unreconciled:
    """Weights in AWS that the stack's last update did not leave: set without Pulumi, or by an interrupted update."""

    stack: str
    actual: Weights
    recorded: Weights
    desired: Weights
    is_unfinished: bool = False
    """Whether an update by this config shifted the traffic to where it is, and failed or was interrupted."""
    rollback: ChangeRecord | None = None
    """The direct rollback that shifted the traffic, where the history has one."""

    @property
    def config_is_stale(self) -> bool:
        """Whether this checkout's config requests no change, so that an `up` would undo what AWS has."""
        return self.desired != self.actual and self.desired == self.recorded and not self.is_unfinished

    def __str__(self) -> str:
        text = (
            f"AWS sends the traffic to {format_weights(self.actual)}, but the stack's last update left "
            f"{format_weights(self.recorded)}"
        )
        if self.rollback:
            why = f" ({self.rollback.reason})" if self.rollback.reason else ""
            text += f": direct rollback by {self.rollback.who} at {self.rollback.time[:19]} UTC{why}"
        return f"{text}; {self._next}"

    @property
    def _next(self) -> str:
        reconcile = f"`pulumi up --refresh --stack {self.stack}` reconciles the state"
        if self.desired == self.actual:
            return reconcile
        return (
            f"config says {format_weights(self.desired)}: {bluegreen('sync-config', stack=self.stack)} takes over what "
            f"AWS has, then {reconcile}; or {_shift(self.stack, self.desired)}"
        )


def unreconciled(facts: StackFacts, fleet: Fleet, records: Sequence[ChangeRecord]) -> Unreconciled | None:
    """`records`: of the stack's history, the newest first."""
    if fleet.serving is None or fleet.weights == recorded(facts):
        return None
    rollbacks = (one for one in records if one.kind == Kind.DIRECT_ROLLBACK and one.outcome not in WITHOUT_EFFECT)
    newest = next(rollbacks, None)
    return Unreconciled(
        stack=facts.stack,
        actual=fleet.weights,
        recorded=recorded(facts),
        desired=desired(facts),
        is_unfinished=fleet.weights == interrupted_weights(facts.last, facts.desired),
        rollback=newest if newest and newest.target.color == fleet.serving else None,
    )


def fleet_if_any(facts: StackFacts) -> Fleet | None:
    """None where the stack's load balancer is gone: an `up` creates it again, and must not fail for it."""
    try:
        return facts.fleet()
    except NoSuchStack:
        return None


def require_agreement(stack: Stack, facts: StackFacts, fleet: Fleet | None) -> None:
    """Raise RefusedError unless config, state and AWS agree on the traffic weights, and the config is current.

    An old config that would change nothing is brought up to date.
    """
    require_current(stack, facts)
    if fleet is None or fleet.serving is None or fleet.weights == recorded(facts) == desired(facts):
        return  # the history costs reads, and mostly there is nothing to explain
    found = unreconciled(facts, fleet, history.read(facts.s3, facts.bucket, facts.stack, NEWEST))
    raise RefusedError(str(found) if found else _unapplied(facts))


def require_current(stack: Stack, facts: StackFacts) -> None:
    """Raise RefusedError where the config is older than the stack's last change and would undo it."""
    if is_current(facts.last, facts.desired):
        return
    if found := effects(facts.last, facts.desired):
        raise RefusedError(stale(facts.stack, facts.last, found))
    set_value(stack, "revision", facts.last.revision)


def require_no_stale_traffic(facts: StackFacts, fleet: Fleet | None) -> None:
    """Raise RefusedError where an `up` would undo a traffic shift that was made without Pulumi."""
    if fleet is None or fleet.serving is None or fleet.weights == recorded(facts):
        return
    found = unreconciled(facts, fleet, history.read(facts.s3, facts.bucket, facts.stack, NEWEST))
    if found and found.config_is_stale:
        raise RefusedError(str(found))


def _unapplied(facts: StackFacts) -> str:
    return (
        f"config says {format_weights(desired(facts))}, but the stack's last update left "
        f"{format_weights(recorded(facts))}: {bluegreen('sync-config', stack=facts.stack)} takes the config back to "
        f"what the stack has, {_shift(facts.stack, desired(facts))}"
    )


def _shift(stack: str, desired: Weights) -> str:
    """The command that sends the traffic where the config says."""
    active = max(desired, key=lambda color: desired[color])
    if desired[active] == ALL_TRAFFIC:
        return f"{bluegreen('cutover', active, stack=stack)} moves all traffic to {active}"
    return f"{bluegreen('up', stack=stack)} applies it"


def up(stack: Stack, facts: StackFacts, fleet: Fleet, target: Weights, on_output: Callable[[str], Any]) -> Any:
    """`up` for a traffic shift to `target`; with a refresh where the state hides that AWS has other weights."""
    if fleet.serving is None or fleet.weights == recorded(facts):
        return stack.up(on_output=on_output)
    with allowed(ALLOW_SHIFT):
        result = stack.up(on_output=on_output)
        if live_weights(fleet, facts.session) == target:
            return result
        # By the state the live rule had these weights already, so Pulumi changed nothing.
        return stack.up(on_output=on_output, refresh=True)


@contextmanager
def allowed(*variables: str) -> Iterator[None]:
    """Set the environment variables that allow the program an otherwise refused change."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(dict.fromkeys(variables, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
