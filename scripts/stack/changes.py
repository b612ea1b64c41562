"""What a preview would do to a stack, read from the engine's events, and which of it must not happen by accident."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi.automation import EngineEvent
    from pulumi.automation.events import PolicyEvent, StepEventMetadata, SummaryEvent

# What others hold addresses, keys or data of: a new one is another one.
KEPT = {
    "aws:ec2/vpc:Vpc": "VPC",
    "aws:ec2/vpnConnection:VpnConnection": "VPN connection",
    "aws:ec2/vpnGateway:VpnGateway": "VPN gateway",
    "aws:ec2/customerGateway:CustomerGateway": "customer gateway",
    "aws:s3/bucket:Bucket": "bucket",
}
STACK = "pulumi:pulumi:Stack"
USERS_KEPT = "users-kept"  # policy/rules.py
# The engine tells a replacement in up to three steps; one row is enough.
HALVES = ("create-replacement", "delete-replaced", "discard-replaced", "read-replacement")
UNCHANGED = ("same", "read", "refresh")
LOSING = ("replace", "delete")
COLOR_CODES = re.compile(r"<\{%[^%]*%\}>|\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource that would be created, updated, replaced or deleted. Names of properties alone: values may be
    secrets."""

    op: str
    type: str
    name: str
    properties: tuple[str, ...] = ()
    replacing: tuple[str, ...] = ()
    """Those of the properties whose change takes a new resource."""

    @property
    def loses(self) -> str | None:
        """Which kept kind of resource would be lost, or None."""
        return KEPT.get(self.type) if self.op in LOSING else None


@dataclass(frozen=True, kw_only=True)
class Violation:
    """What a rule of the policy pack says of one resource, or of the stack."""

    policy: str
    mandatory: bool
    resource: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Changes:
    """A whole preview. `counts` by op, unchanged ones too; `errors` are why it ended before its end."""

    changes: tuple[Change, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    violations: tuple[Violation, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def mandatory(self) -> list[Violation]:
        return [violation for violation in self.violations if violation.mandatory]

    @property
    def losses(self) -> list[Change]:
        return [change for change in self.changes if change.loses]


def refusal(found: Changes, traffic: str | None = None, *, allow_replace: bool) -> str | None:
    """Why this must not be applied, or None. `traffic`: why not for the users' sake."""
    # The program's own sentence, which the engine puts under the rule's description.
    users = [one.message.splitlines()[-1] for one in found.mandatory if one.policy == USERS_KEPT]
    others = [one for one in found.mandatory if one.policy != USERS_KEPT]
    reasons = [traffic] if traffic else users
    reasons += [f"policy {one.policy} forbids {one.resource or 'the stack'}: {one.message}" for one in others]
    if not allow_replace:
        reasons += [
            f"{change.loses} {change.name} would be {'replaced' if change.op == 'replace' else 'deleted'}; "
            "when that is meant, say --allow-replace (on a pull request: the label allow-replace)"
            for change in found.losses
        ]
    return "\n".join(reasons) or None


def read_events(events: Iterable[EngineEvent]) -> Changes:
    """Engine events in the order in which they came, of one preview."""
    steps: dict[str, Change] = {}
    counts: Counter[str] = Counter()
    violations: list[Violation] = []
    told: dict[str, list[str]] = {"error": [], "warning": []}
    for event in events:
        if event.resource_pre_event:
            _note(steps, event.resource_pre_event.metadata)
        elif event.summary_event:
            counts.update(_counted(event.summary_event))
        elif event.policy_event:
            violations.append(_violation(event.policy_event))
        elif (said := event.diagnostic_event) and said.severity in told:
            told[said.severity].append(_bare(said.message))
    return Changes(
        changes=tuple(steps.values()),
        counts=counts,
        violations=tuple(violations),
        errors=tuple(told["error"]),
        warnings=tuple(told["warning"]),
    )


def _counted(summary: SummaryEvent) -> dict[str, int]:
    counts = {str(getattr(op, "value", op)): count for op, count in summary.resource_changes.items()}
    return {op: count for op, count in counts.items() if op not in HALVES}


def _note(steps: dict[str, Change], metadata: StepEventMetadata) -> None:
    op = str(metadata.op.value)
    if op in UNCHANGED or metadata.type == STACK:
        return
    if op in HALVES:
        # Alone when the engine has no step of its own between them; then it is the replacement.
        op = "replace"
    kinds = {path: one.diff_kind.value for path, one in (metadata.detailed_diff or {}).items()}
    replacing = {path for path, kind in kinds.items() if kind.endswith("replace")} | set(metadata.keys or ())
    before = steps.get(metadata.urn)
    steps[metadata.urn] = Change(
        op=op,
        type=metadata.type,
        name=name_of(metadata.urn),
        properties=tuple(sorted({*(kinds or metadata.diffs or ()), *(before.properties if before else ())})),
        replacing=tuple(sorted({*replacing, *(before.replacing if before else ())})),
    )


def _violation(event: PolicyEvent) -> Violation:
    return Violation(
        policy=event.policy_name,
        mandatory=event.enforcement_level == "mandatory",
        resource=name_of(event.resource_urn or ""),
        message=_bare(event.message),
    )


def name_of(urn: str) -> str:
    """The name at the end of a URN; the program's own name for the resource."""
    return urn.rpartition("::")[2]


def _bare(message: str) -> str:
    return COLOR_CODES.sub("", message).strip()
