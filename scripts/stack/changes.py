"""Changes of a preview, read from the engine's events, and the refusal of destructive ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi.automation import EngineEvent
    from pulumi.automation.events import PolicyEvent, StepEventMetadata, SummaryEvent

# Resources whose addresses, keys or data others depend on: a replacement breaks them.
PROTECTED = {
    "aws:ec2/vpc:Vpc": "VPC",
    "aws:ec2/vpnConnection:VpnConnection": "VPN connection",
    "aws:ec2/vpnGateway:VpnGateway": "VPN gateway",
    "aws:ec2/customerGateway:CustomerGateway": "customer gateway",
    "aws:s3/bucket:Bucket": "bucket",
}
STACK = "pulumi:pulumi:Stack"
USERS_KEPT = "users-kept"  # policy/rules.py
# The engine reports a replacement in up to three steps; one row is enough.
REPLACEMENT_STEPS = ("create-replacement", "delete-replaced", "discard-replaced", "read-replacement")
UNCHANGED = ("same", "read", "refresh")
DESTRUCTIVE = ("replace", "delete")
COLOR_CODES = re.compile(r"<\{%[^%]*%\}>|\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class ResourceChange:
    """One resource that would be created, updated, replaced or deleted. Names of properties alone: values may be
    secrets."""

    op: str
    type: str
    name: str
    properties: tuple[str, ...] = ()
    replacing: tuple[str, ...] = ()
    """The properties whose change forces a replacement."""

    @property
    def destroys(self) -> str | None:
        """The protected kind of resource that would be replaced or deleted, or None."""
        return PROTECTED.get(self.type) if self.op in DESTRUCTIVE else None


@dataclass(frozen=True, kw_only=True)
class PolicyViolation:
    """A violation of a policy by one resource, or by the stack."""

    policy: str
    mandatory: bool
    resource: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Result of a preview. `counts` by op, unchanged ones too; `errors` are why it failed."""

    changes: tuple[ResourceChange, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    violations: tuple[PolicyViolation, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def mandatory(self) -> list[PolicyViolation]:
        return [violation for violation in self.violations if violation.mandatory]

    @property
    def destructive(self) -> list[ResourceChange]:
        return [change for change in self.changes if change.destroys]


def refusal(found: Changes, traffic: str | None = None, *, allow_replace: bool) -> str | None:
    """Why this must not be applied, or None. `traffic`: the refusal because of the traffic, if there is one."""
    # The program's own sentence, which the engine puts under the rule's description.
    live = [one.message.splitlines()[-1] for one in found.mandatory if one.policy == USERS_KEPT]
    others = [one for one in found.mandatory if one.policy != USERS_KEPT]
    reasons = [traffic] if traffic else live
    reasons += [f"policy {one.policy} forbids {one.resource or 'the stack'}: {one.message}" for one in others]
    if not allow_replace:
        reasons += [
            f"{change.destroys} {change.name} would be {'replaced' if change.op == 'replace' else 'deleted'}; "
            "if that is intended, say --allow-replace (on a pull request: the label allow-replace)"
            for change in found.destructive
        ]
    return "\n".join(reasons) or None


def read_events(events: Iterable[EngineEvent]) -> Changes:
    """Changes from the engine events of one preview, in order."""
    steps: dict[str, ResourceChange] = {}
    counts: Counter[str] = Counter()
    violations: list[PolicyViolation] = []
    messages: dict[str, list[str]] = {"error": [], "warning": []}
    for event in events:
        if event.resource_pre_event:
            _note(steps, event.resource_pre_event.metadata)
        elif event.summary_event:
            counts.update(_counted(event.summary_event))
        elif event.policy_event:
            violations.append(_violation(event.policy_event))
        elif (diagnostic := event.diagnostic_event) and diagnostic.severity in messages:
            messages[diagnostic.severity].append(_bare(diagnostic.message))
    return Changes(
        changes=tuple(steps.values()),
        counts=counts,
        violations=tuple(violations),
        errors=tuple(messages["error"]),
        warnings=tuple(messages["warning"]),
    )


def _counted(summary: SummaryEvent) -> dict[str, int]:
    counts = {str(getattr(op, "value", op)): count for op, count in summary.resource_changes.items()}
    return {op: count for op, count in counts.items() if op not in REPLACEMENT_STEPS}


def _note(steps: dict[str, ResourceChange], metadata: StepEventMetadata) -> None:
    op = str(metadata.op.value)
    if op in UNCHANGED or metadata.type == STACK:
        return
    if op in REPLACEMENT_STEPS:
        # The engine may report these steps without a `replace` of its own.
        op = "replace"
    kinds = {path: one.diff_kind.value for path, one in (metadata.detailed_diff or {}).items()}
    replacing = {path for path, kind in kinds.items() if kind.endswith("replace")} | set(metadata.keys or ())
    before = steps.get(metadata.urn)
    steps[metadata.urn] = ResourceChange(
        op=op,
        type=metadata.type,
        name=name_of(metadata.urn),
        properties=tuple(sorted({*(kinds or metadata.diffs or ()), *(before.properties if before else ())})),
        replacing=tuple(sorted({*replacing, *(before.replacing if before else ())})),
    )


def _violation(event: PolicyEvent) -> PolicyViolation:
    return PolicyViolation(
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
