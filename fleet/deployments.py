"""Deployments: releases and traffic weights by color; the effects of an update, and its refusal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from config.colors import ColorSettings
from fleet.colors import ALL_TRAFFIC, Color
from fleet.command_lines import bluegreen

# Environment variables, set to 1, that allow what no run does by accident.
ALLOW_OFFLINE = "BLUEGREEN_ALLOW_OFFLINE"
ALLOW_RETIRE = "BLUEGREEN_ALLOW_RETIRE"
ALLOW_SHIFT = "BLUEGREEN_ALLOW_SHIFT"
DIGITS = 12  # of a revision
# The stack outputs that `Deployment.from_outputs` reads.
OUTPUTS = ("activeColor", "canaryPercent", "colors", "revision", "committed", "account", "region")


def _off() -> dict[Color, ColorSettings]:
    return {color: ColorSettings() for color in Color}


Weights = Mapping[Color, int]


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The deployment that a stack's last update left, or that a config requests.

    The first has that update's `revision`; a config has `BASE` or `BASE/NEXT`: the revision that it is based on, and
    the one that an update by this config was about to create.
    """

    active: Color = Color.BLUE
    canary_percent: int = 0
    colors: Mapping[Color, ColorSettings] = field(default_factory=_off)
    revision: str = ""
    account: str = ""
    region: str = ""
    committed: Mapping[str, str] = field(default_factory=dict)
    """The values of these keys in Git, by key, when CI last applied a commit."""

    @property
    def serves(self) -> bool:
        return self.colors[self.active].is_on

    @property
    def is_off(self) -> bool:
        return not any(settings.is_on for settings in self.colors.values())

    @property
    def weights(self) -> dict[Color, int]:
        """Percent of the traffic by color; all 0 while no release is live."""
        if not self.serves:
            return dict.fromkeys(Color, 0)
        return {self.active: ALL_TRAFFIC - self.canary_percent, self.active.other: self.canary_percent}

    @property
    def traffic(self) -> dict[str, Any]:
        """The traffic, by its keys in config and outputs."""
        return {"activeColor": self.active.value, "canaryPercent": self.canary_percent}

    def is_same(self, other: Deployment) -> bool:
        return bool(self._content == other._content)

    def next_revision(self, last: Deployment) -> str:
        """The revision after an update from `last` to this; that of `last` where nothing differs.

        A stack without a revision gets its first one from the next update.
        """
        if self.is_off:
            return ""  # nothing to protect
        if last.revision and self.is_same(last):
            return last.revision
        text = json.dumps([last.revision, self._content])
        return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]

    @property
    def _content(self) -> Any:
        return [
            {color: percent for color, percent in self.weights.items() if percent},
            [self.colors[color].fleet for color in Color],
        ]

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any]) -> Deployment:
        """From a stack's outputs; without any, nothing was deployed yet."""
        colors = outputs.get("colors") or {}
        return cls(
            active=Color(outputs.get("activeColor") or Color.BLUE),
            canary_percent=int(outputs.get("canaryPercent") or 0),
            colors={color: ColorSettings.from_output(colors.get(color) or {}) for color in Color},
            revision=str(outputs.get("revision") or ""),
            account=str(outputs.get("account") or ""),
            region=str(outputs.get("region") or ""),
            committed=dict(outputs.get("committed") or {}),
        )


class EffectKind(StrEnum):
    """An update's effect on traffic, the most severe first."""

    OFFLINE = "offline"
    DELETES_LIVE = "deletes live"
    REPLACES_LIVE = "replaces live"
    SHIFTS = "shifts"
    DELETES_IDLE = "deletes idle"
    DEPLOYS = "deploys"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One thing that an `up` would do; `text` goes on after "would"."""

    kind: EffectKind
    text: str


# The variable that allows an effect, where one is needed.
ALLOWED_BY = {
    EffectKind.OFFLINE: ALLOW_OFFLINE,
    EffectKind.DELETES_LIVE: ALLOW_OFFLINE,
    EffectKind.DELETES_IDLE: ALLOW_RETIRE,
}


def effects(last: Deployment, desired: Deployment) -> list[Effect]:
    """Effects of an `up` from `last` to `desired`, the most severe first."""
    found = [*_traffic(last, desired), *(effect for color in Color for effect in _fleet(last, desired, color))]
    return sorted(found, key=lambda effect: list(EffectKind).index(effect.kind))


def _traffic(last: Deployment, desired: Deployment) -> list[Effect]:
    before, after = last.weights, desired.weights
    if before == after:
        return []
    if not desired.serves:
        text = f"take all traffic off {_named(last, last.active)}: every request would get a 503"
        return [Effect(kind=EffectKind.OFFLINE, text=text)]
    if not last.serves:
        return [
            Effect(
                kind=EffectKind.SHIFTS, text=f"send all traffic to {_named(desired, desired.active)}, the first release"
            )
        ]
    gains = next(color for color in Color if after[color] > before[color])
    if after[gains] == ALL_TRAFFIC and before[gains] == 0:
        text = f"move all traffic from {_named(last, gains.other)} to {_named(desired, gains)}"
    else:
        text = (
            f"send {after[gains]} % of the traffic to {_named(desired, gains)} and {after[gains.other]} % to "
            f"{_named(desired, gains.other)}, now {before[gains]} % and {before[gains.other]} %"
        )
    return [Effect(kind=EffectKind.SHIFTS, text=text)]


def _fleet(last: Deployment, desired: Deployment, color: Color) -> list[Effect]:
    before, after = last.colors[color], desired.colors[color]
    if before.fleet == after.fleet:
        return []
    has_traffic, keeps_traffic = last.weights[color] > 0, desired.weights[color] > 0
    if before.is_on and not after.is_on:
        if has_traffic:
            return [
                Effect(
                    kind=EffectKind.DELETES_LIVE, text=f"delete the fleet of {_named(last, color)}, which has traffic"
                )
            ]
        if not last.serves:
            return []
        return [
            Effect(kind=EffectKind.DELETES_IDLE, text=f"delete {_named(last, color)}, the only release to roll back to")
        ]
    if before.is_on and has_traffic and keeps_traffic:
        text = f"replace {_named(last, color)}, which has traffic, by {_named(desired, color)}"
        return [Effect(kind=EffectKind.REPLACES_LIVE, text=text)]
    role = "which has traffic" if keeps_traffic and not last.serves else "the idle color"
    instead = f" instead of {before.version}" if before.is_on and before.version != after.version else ""
    text = f"start new instances of {after.version} on {color}, {role},{instead}".rstrip(",")
    return [Effect(kind=EffectKind.DEPLOYS, text=text)]


def _named(deployment: Deployment, color: Color) -> str:
    return f"{color} {deployment.colors[color].version}"


def outgoing(last: Deployment, desired: Deployment) -> list[Color]:
    """The colors whose present fleet an `up` of `desired` would replace or delete."""
    return [
        color for color in Color if last.colors[color].is_on and last.colors[color].fleet != desired.colors[color].fleet
    ]


def sentence(found: Sequence[Effect]) -> str:
    """The effects as part of one sentence; empty for none."""
    texts = [effect.text for effect in found]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def live(last: Deployment) -> str:
    """The live release and its traffic, in words."""
    live_colors = {color: percent for color, percent in last.weights.items() if percent}
    if not live_colors:
        return "no release is live"
    parts = [f"{_named(last, color)} has {percent} %" for color, percent in live_colors.items()]
    return f"{' and '.join(parts)} of the traffic"


def is_current(last: Deployment, desired: Deployment) -> bool:
    """Whether the config is based on the stack's last revision, or created it."""
    return last.is_off or last.revision in desired.revision.split("/")


def interrupted_weights(last: Deployment, desired: Deployment) -> Weights | None:
    """The traffic weights that an interrupted update by this config was about to set, or None without one.

    The config holds only that update's revision, a digest: it is compared with those of all weights there are.
    """
    base, slash, interrupted = desired.revision.partition("/")
    if not slash or base != last.revision:
        return None
    for active in Color:
        for percent in range(ALL_TRAFFIC):
            candidate = replace(desired, active=active, canary_percent=percent)
            if candidate.next_revision(last) == interrupted:
                return candidate.weights
    return None


def refusal(stack: str, last: Deployment, desired: Deployment, allowed: Mapping[str, str]) -> str | None:
    """Why an `up` to `desired` is refused, or None. `allowed`: the environment variables."""
    if reason := elsewhere(stack, last, desired):
        return reason
    found = effects(last, desired)
    if not found:
        return None
    if not is_current(last, desired):
        return stale(stack, last, found)
    missing = [
        effect for effect in found if effect.kind in ALLOWED_BY and not is_allowed(ALLOWED_BY[effect.kind], allowed)
    ]
    if not missing:
        return None
    variable = ALLOWED_BY[missing[0].kind]
    flags = ("--all",) if variable == ALLOW_OFFLINE else ()
    return (
        f"this would {sentence(missing)}. When that is meant: {bluegreen('retire', *flags, stack=stack)}, or "
        f"`{variable}=1 pulumi up --stack {stack}`; else {bluegreen('sync-config', stack=stack)} brings the config "
        "back to what the stack has"
    )


def stale(stack: str, last: Deployment, found: Sequence[Effect]) -> str:
    """The refusal of a config that is older than the stack's last change, with the command that updates it."""
    return (
        f"the config of this checkout is older than the last change of stack {stack}: {live(last)}, and this would "
        f"{sentence(found)}. {bluegreen('sync-config', stack=stack)} brings the config up to date; "
        "then make your change again"
    )


def is_allowed(variable: str, environment: Mapping[str, str]) -> bool:
    return environment.get(variable, "") in ("1", "true")


def elsewhere(stack: str, last: Deployment, desired: Deployment) -> str | None:
    """Why credentials or region are not those of the stack, or None."""
    for setting, actual, requested in (
        ("account", last.account, desired.account),
        ("region", last.region, desired.region),
    ):
        if actual and requested and actual != requested:
            return (
                f"stack {stack} is in the AWS {setting} {actual}, and this would create it in {requested}: "
                + (
                    "use credentials of that account"
                    if setting == "account"
                    else f"`pulumi config set --stack {stack} aws:region {actual}` brings the config back"
                )
                + ", or destroy the stack first"
            )
    return None


@dataclass(frozen=True, kw_only=True)
class RecordedTraffic:
    """The traffic weights of the stack's last update, and whether this update may change them."""

    weights: Weights
    may_change: bool
    interrupted: Weights | None = None
    """What an interrupted update by this config was about to set: the way back from there needs no other consent."""

    def may_change_from(self, actual: Weights) -> bool:
        return self.may_change or actual == self.interrupted


@dataclass(frozen=True, kw_only=True)
class StackUpdate:
    """One update of a stack, from the last deployment to the desired one.

    `refusal` says why it must not start; empty when it may.
    """

    stack: str
    last: Deployment
    desired: Deployment
    refusal: str = ""

    @property
    def refusals(self) -> list[str]:
        return [self.refusal] if self.refusal else []

    @property
    def revision(self) -> str:
        """The stack's revision after this update."""
        return self.desired.next_revision(self.last)

    @property
    def committed(self) -> dict[str, str]:
        return dict(self.desired.committed or self.last.committed)

    def recorded(self, environment: Mapping[str, str]) -> RecordedTraffic | None:
        """The argument of the gates; None while no release is live."""
        if not self.last.serves:
            return None
        is_requested = self.desired.weights != self.last.weights
        return RecordedTraffic(
            weights=self.last.weights,
            may_change=is_requested or is_allowed(ALLOW_SHIFT, environment),
            interrupted=interrupted_weights(self.last, self.desired),
        )

    @property
    def revision_at_begin(self) -> str:
        """The config's revision to write before anything changes, so that it is current also when this update is
        interrupted."""
        if self.revision in ("", self.last.revision):
            return self.desired.revision
        return "/".join(filter(None, (self.last.revision, self.revision)))

    @property
    def revision_at_end(self) -> str:
        """The config's revision to write after the traffic changed; a config that changed nothing is current then."""
        return self.revision if self.revision == self.last.revision else self.revision_at_begin
