"""Engine events in the JSON form of Pulumi's event log, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PREFIX = "urn:pulumi:dev::bluegreen::"


def step(op: str, kind: str, name: str, *, diff: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """`diff` gives the kind of each changed path: update, add, delete, or with -replace."""
    urn = f"{PREFIX}bluegreen:network:Network${kind}::{name}"
    detailed = {path: {"diffKind": change, "inputDiff": True} for path, change in (diff or {}).items()}
    secret = {"inputs": {"password": "never-shown"}}
    metadata = {"op": op, "urn": urn, "type": kind, "provider": "", "detailedDiff": detailed, "old": secret, **more}
    return {"resourcePreEvent": {"metadata": metadata, "planning": True}}


def replacement(kind: str, name: str, path: str) -> list[dict[str, Any]]:
    """The three steps of Pulumi's engine, in its order."""
    diff = {path: "update-replace"}
    ops = ("create-replacement", "replace", "delete-replaced")
    return [step(op, kind, name, diff=diff, keys=[path]) for op in ops]


def summary(**counts: int) -> dict[str, Any]:
    changes = {op.replace("_", "-"): count for op, count in counts.items()}
    return {"summaryEvent": {"maybeCorrupt": False, "durationSeconds": 3, "resourceChanges": changes}}


def violation(policy: str, level: str, message: str, name: str = "") -> dict[str, Any]:
    told = {"policyName": policy, "enforcementLevel": level, "message": message, "policyPackName": "bluegreen"}
    return {"policyEvent": told | ({"resourceUrn": f"{PREFIX}aws:s3/bucket:Bucket::{name}"} if name else {})}


def diagnostic(severity: str, message: str) -> dict[str, Any]:
    return {"diagnosticEvent": {"severity": severity, "message": message, "color": "never"}}
