"""Deployments: which release each color holds and who gets the traffic; what a change of them does, and its refusal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from config.colors import ColorSettings
from fleet.colors import ALL_USERS, Color
from fleet.command_lines import bluegreen

# Words for what a run may do that no run does by accident; each is an environment variable set to 1.
ALLOW_OFFLINE = "BLUEGREEN_ALLOW_OFFLINE"
ALLOW_RETIRE = "BLUEGREEN_ALLOW_RETIRE"
ALLOW_SHIFT = "BLUEGREEN_ALLOW_SHIFT"
DIGITS = 12  # of a revision
# The stack outputs that `Deployment.from_outputs` reads.
OUTPUTS = ("activeColor", "canaryPercent", "colors", "revision", "committed", "account", "region")


def _off() -> dict[Color, ColorSettings]:
    return {color: ColorSettings() for color in Color}


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """As a stack's last update left it, or as a config asks for it.

    `revision` of the first is the update's; that of a config is `BASE` or `BASE/NEXT`: the revision that the config
    knows, and the one that an update by this config was about to make of it.
    """

    active: Color = Color.BLUE
    canary_percent: int = 0
    colors: Mapping[Color, ColorSettings] = field(default_factory=_off)
    revision: str = ""
    account: str = ""
    region: str = ""
    committed: Mapping[str, str] = field(default_factory=dict)
    """What Git held of these keys, by key, when CI last applied a commit."""

    @property
    def serves(self) -> bool:
        return self.colors[self.active].is_on

    @property
    def is_off(self) -> bool:
        return not any(held.is_on for held in self.colors.values())

    @property
    def weights(self) -> dict[Color, int]:
        """Percent of the traffic by color; all 0 while nothing serves."""
        if not self.serves:
            return dict.fromkeys(Color, 0)
        return {self.active: ALL_USERS - self.canary_percent, self.active.other: self.canary_percent}

    @property
    def traffic(self) -> dict[str, Any]:
        """Who has the traffic, by its keys in config and outputs."""
        return {"activeColor": self.active.value, "canaryPercent": self.canary_percent}

    def is_same(self, other: Deployment) -> bool:
        return bool(self._content == other._content)

    def next_revision(self, last: Deployment) -> str:
        """The revision that an update from `last` to this makes; that of `last` where nothing differs.

        A stack that was made before there were revisions gets its first one from whatever update comes next.
        """
        if self.is_off:
            return ""  # nothing that could be taken away
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
        """`outputs`: of a stack; without any, nothing was deployed yet."""
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


class Kind(StrEnum):
    """What a change does to users."""

    OFFLINE = "offline"
    DELETES_LIVE = "deletes live"
    REPLACES_LIVE = "replaces live"
    SHIFTS = "shifts"
    DELETES_IDLE = "deletes idle"
    DEPLOYS = "deploys"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One thing that an `up` would do; `text` goes on after "would"."""

    kind: Kind
    text: str


# Those that need their own word, and the word.
WORDS = {Kind.OFFLINE: ALLOW_OFFLINE, Kind.DELETES_LIVE: ALLOW_OFFLINE, Kind.DELETES_IDLE: ALLOW_RETIRE}


def effects(last: Deployment, desired: Deployment) -> list[Effect]:
    """What an `up` of `desired` would do to what `last` left; the worst first."""
    found = [*_traffic(last, desired), *(one for color in Color for one in _fleet(last, desired, color))]
    return sorted(found, key=lambda one: list(Kind).index(one.kind))


def _traffic(last: Deployment, desired: Deployment) -> list[Effect]:
    before, after = last.weights, desired.weights
    if before == after:
        return []
    if not desired.serves:
        text = f"take all users off {_named(last, last.active)}: every request would get a 503"
        return [Effect(kind=Kind.OFFLINE, text=text)]
    if not last.serves:
        return [
            Effect(kind=Kind.SHIFTS, text=f"send all users to {_named(desired, desired.active)}, the first release")
        ]
    gains = next(color for color in Color if after[color] > before[color])
    if after[gains] == ALL_USERS and before[gains] == 0:
        text = f"move all users from {_named(last, gains.other)} to {_named(desired, gains)}"
    else:
        text = (
            f"send {after[gains]} % of the users to {_named(desired, gains)} and {after[gains.other]} % to "
            f"{_named(desired, gains.other)}, now {before[gains]} % and {before[gains.other]} %"
        )
    return [Effect(kind=Kind.SHIFTS, text=text)]


def _fleet(last: Deployment, desired: Deployment, color: Color) -> list[Effect]:
    before, after = last.colors[color], desired.colors[color]
    if before.fleet == after.fleet:
        return []
    has_traffic, keeps_traffic = last.weights[color] > 0, desired.weights[color] > 0
    if before.is_on and not after.is_on:
        if has_traffic:
            return [
                Effect(kind=Kind.DELETES_LIVE, text=f"delete the fleet of {_named(last, color)}, which has traffic")
            ]
        if not last.serves:
            return []
        return [Effect(kind=Kind.DELETES_IDLE, text=f"delete {_named(last, color)}, the only release to roll back to")]
    if before.is_on and has_traffic and keeps_traffic:
        text = f"replace {_named(last, color)}, which has traffic, by {_named(desired, color)}"
        return [Effect(kind=Kind.REPLACES_LIVE, text=text)]
    place = "which has traffic" if keeps_traffic and not last.serves else "the idle color"
    instead = f" instead of {before.version}" if before.is_on and before.version != after.version else ""
    text = f"start new instances of {after.version} on {color}, {place},{instead}".rstrip(",")
    return [Effect(kind=Kind.DEPLOYS, text=text)]


def _named(deployment: Deployment, color: Color) -> str:
    return f"{color} {deployment.colors[color].version}"


def outgoing(last: Deployment, desired: Deployment) -> list[Color]:
    """The colors whose present fleet an `up` of `desired` would replace or delete."""
    return [
        color for color in Color if last.colors[color].is_on and last.colors[color].fleet != desired.colors[color].fleet
    ]


def sentence(found: Sequence[Effect]) -> str:
    """What would happen, in one sentence's part; empty when nothing would."""
    texts = [one.text for one in found]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def live(last: Deployment) -> str:
    """Who serves, in words."""
    shares = {color: percent for color, percent in last.weights.items() if percent}
    if not shares:
        return "no release is live"
    told = [f"{_named(last, color)} has {percent} %" for color, percent in shares.items()]
    return f"{' and '.join(told)} of the traffic"


def is_current(last: Deployment, desired: Deployment) -> bool:
    """Whether the config knows the stack's last change: it is its base, or it was made by this config."""
    return last.is_off or last.revision in desired.revision.split("/")


def is_unfinished(last: Deployment, desired: Deployment) -> bool:
    """Whether an update by this config began to change `last`, and did not come to its end."""
    base, slash, _ = desired.revision.partition("/")
    return bool(slash) and base == last.revision


def refusal(stack: str, last: Deployment, desired: Deployment, allowed: Mapping[str, str]) -> str | None:
    """Why an `up` of `desired` must not change anything, or None. `allowed`: the environment, with the words in it."""
    if reason := elsewhere(stack, last, desired):
        return reason
    found = effects(last, desired)
    if not found:
        return None
    if not is_current(last, desired):
        return stale(stack, last, found)
    missing = [one for one in found if one.kind in WORDS and not is_allowed(WORDS[one.kind], allowed)]
    if not missing:
        return None
    word = WORDS[missing[0].kind]
    flags = ("--all",) if word == ALLOW_OFFLINE else ()
    return (
        f"this would {sentence(missing)}. When that is meant: {bluegreen('retire', *flags, stack=stack)}, or "
        f"`{word}=1 pulumi up --stack {stack}`; else {bluegreen('sync-config', stack=stack)} brings the config back "
        "to what the stack has"
    )


def stale(stack: str, last: Deployment, found: Sequence[Effect]) -> str:
    """Says that a config with these effects is older than the stack, and the one command that ends that."""
    return (
        f"the config of this checkout is older than the last change of stack {stack}: {live(last)}, and this would "
        f"{sentence(found)}. {bluegreen('sync-config', stack=stack)} brings the config up to date; "
        "then make your change again"
    )


def is_allowed(word: str, environment: Mapping[str, str]) -> bool:
    return environment.get(word, "") in ("1", "true")


def elsewhere(stack: str, last: Deployment, desired: Deployment) -> str | None:
    """Why the credentials or the region lead to another place than the one where the stack is, or None."""
    for what, has, got in (("account", last.account, desired.account), ("region", last.region, desired.region)):
        if has and got and has != got:
            return (
                f"stack {stack} is in the AWS {what} {has}, and this would make it in {got}: "
                + (
                    "take credentials of the first"
                    if what == "account"
                    else f"`pulumi config set --stack {stack} aws:region {has}` brings the config back"
                )
                + ", or destroy the stack first"
            )
    return None


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The traffic weights that the stack's last update left, and whether this update is to change them."""

    weights: Mapping[Color, int]
    is_to_change: bool


@dataclass(frozen=True, kw_only=True)
class Change:
    """One update of a stack: from what its last update left to what the config asks for.

    `refusal` says why it must not begin; empty when it may.
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
        """Of the stack, once this update has come to its end."""
        return self.desired.next_revision(self.last)

    @property
    def committed(self) -> dict[str, str]:
        return dict(self.desired.committed or self.last.committed)

    def recorded(self, environment: Mapping[str, str]) -> Recorded | None:
        """For the gates; None while no release is live."""
        if not self.last.serves:
            return None
        is_asked = self.desired.weights != self.last.weights or is_unfinished(self.last, self.desired)
        return Recorded(weights=self.last.weights, is_to_change=is_asked or is_allowed(ALLOW_SHIFT, environment))

    @property
    def revision_at_begin(self) -> str:
        """What the config's revision is to be before anything changes, so that it is the newest also when this update
        is cut off."""
        if self.revision in ("", self.last.revision):
            return self.desired.revision
        return "/".join(filter(None, (self.last.revision, self.revision)))

    @property
    def revision_at_end(self) -> str:
        """And after the traffic is as it should be: a config that asked for nothing else than the stack has is up to
        date then."""
        return self.revision if self.revision == self.last.revision else self.revision_at_begin
