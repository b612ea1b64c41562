"""Markdown report of a preview: traffic, counts, refusals, policy results, and a row for each change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fleet.deployments import Effect
from scripts.ci.workflow import code, table
from scripts.stack.changes import Changes, PolicyViolation, ResourceChange

# GitHub takes about a million characters in a summary and 65,536 in a comment; nobody reads more rows than this.
MAX_ROWS = 200
MARKS = {"create": "+", "update": "~", "replace": "+-", "delete": "-", "import": "="}


def markdown(
    stack: str, found: Changes, refused: str | None, traffic: Sequence[Effect] = (), failure: str | None = None
) -> str:
    """The page, traffic first. It names properties and never shows a value, so that no secret can be in it.

    `failure`: of a preview that Pulumi gave up before its engine reported anything, so that nothing is known.
    """
    if failure and not (found.counts or found.changes or found.errors or refused):
        return f"### Preview of `{stack}`\n\n**The preview failed**\n\n{code(failure)}"
    parts = [f"### Preview of `{stack}`\n", _traffic(traffic), _counts(found)]
    if refused:
        parts += ["**Refused:**\n", code(refused)]
    if found.destructive and not refused:
        parts += [
            "**Allowed by hand:** " + ", ".join(f"{one.op} of {one.destroys} `{one.name}`" for one in found.destructive)
        ]
    parts += [_changes(found.changes), _violations(found.violations)]
    if found.errors:
        parts += ["**The preview ended with errors**\n", code("\n\n".join(found.errors))]
    if found.warnings:
        parts += [f"<details><summary>{len(found.warnings)} warnings</summary>\n", code("\n\n".join(found.warnings))]
        parts += ["</details>"]
    return "\n".join(part for part in parts if part) + "\n"


def _traffic(found: Sequence[Effect]) -> str:
    if not found:
        return "Traffic: unchanged.\n"
    return "Traffic: this\n" + "".join(f"- **would {one.text}**\n" for one in found)


def _counts(found: Changes) -> str:
    counts = +found.counts or Counter(change.op for change in found.changes)
    parts = [f"{counts[op]} to {op}" for op in MARKS if counts.get(op)]
    return ", ".join([*(parts or ["no changes"]), f"{counts.get('same', 0)} unchanged"]) + "\n"


def _changes(changes: tuple[ResourceChange, ...]) -> str:
    if not changes:
        return ""
    rows = [
        (MARKS.get(change.op, change.op), change.op, f"`{change.type}`", f"`{change.name}`", _properties(change))
        for change in sorted(changes, key=lambda one: (one.destroys is None, one.op, one.type, one.name))
    ]
    rest = f"… and {len(rows) - MAX_ROWS} more\n" if len(rows) > MAX_ROWS else ""
    return table(("", "op", "type", "name", "changed"), rows[:MAX_ROWS]) + rest


def _properties(change: ResourceChange) -> str:
    changed = [f"`{path}`{' (forces replacement)' if path in change.replacing else ''}" for path in change.properties]
    missing = [f"`{path}` (forces replacement)" for path in change.replacing if path not in change.properties]
    flag = [f"**destroys a {change.destroys}**"] if change.destroys else []
    return ", ".join([*flag, *changed, *missing])


def _violations(violations: tuple[PolicyViolation, ...]) -> str:
    if not violations:
        return "Policies: no violations.\n"
    rows = [
        (
            "**mandatory**" if one.mandatory else "advisory",
            f"`{one.policy}`",
            f"`{one.resource or 'stack'}`",
            one.message,
        )
        for one in violations
    ]
    return "Policies:\n\n" + table(("level", "policy", "resource", "what"), rows)
