"""Preview of an `up`: its changes to traffic and resources, and what would be refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet import deployments
from fleet.deployments import Deployment
from scripts.ci.workflow import summarize
from scripts.cli.display import Display, exit_codes, update_error
from scripts.cli.exits import RefusedError, ScriptError
from scripts.cli.options import AllowReplaceOption, JsonOption, ReportOption, StackOption, app
from scripts.stack.automation import ROOT, PreviewedStack, Stack, open_stack, read_facts
from scripts.stack.change_report import markdown
from scripts.stack.changes import Changes, read_events, refusal

if TYPE_CHECKING:
    from pulumi.automation import EngineEvent

POLICY = ROOT / "policy"


class PreviewFailedError(ScriptError):
    """The program or the engine failed in a preview; the message has their output."""


def previewed(
    stack: PreviewedStack, on_output: Callable[[str], None] | None = None
) -> tuple[Changes, Exception | None]:
    """Changes of an `up` by the engine's events, and the error of a failed preview."""
    from pulumi.automation import CommandError

    events: list[EngineEvent] = []
    failed: Exception | None = None
    try:
        stack.preview(diff=True, policy_packs=[str(POLICY)], on_output=on_output, on_event=events.append)
    except CommandError as error:
        failed = error
    return read_events(events), failed


def checked_preview(stack: PreviewedStack, display: Display, *, allow_replace: bool, report: Path | None) -> Changes:
    """Preview, write the report, and raise RefusedError or PreviewFailedError unless an `up` may follow."""
    with display.stage("preview: what would change") as update:
        last, desired = deployments_of(stack)
        traffic = deployments.refusal(stack.name, last, desired, os.environ)
        found, failed = previewed(stack, update)
        refused = refusal(found, traffic, allow_replace=allow_replace)
        failure = update_error(str(failed)) if failed else None
        page = markdown(stack.name, found, refused, deployments.effects(last, desired), failure)
        _write_report(page, report)
        display.say(page)
        if refused:
            raise RefusedError(refused)
        if failed:
            # In full: the text of CommandError is cut to its first line, and a list of bad values has many.
            raise PreviewFailedError("\n".join(found.errors) or str(failure)) from failed
    return found


def deployments_of(stack: Stack) -> tuple[Deployment, Deployment]:
    """The last and the desired deployment; both empty where the config can't be read."""
    try:
        facts = read_facts(stack, required=False)
    except ValueError:
        return Deployment(), Deployment()  # an invalid value: the program reports it, with all others
    return facts.last, facts.desired


def _write_report(page: str, report: Path | None) -> None:
    summarize(page)
    if report:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(page)


def as_json(found: Changes) -> dict[str, Any]:
    return {
        "counts": dict(found.counts),
        "changes": [{**asdict(change), "destroys": change.destroys} for change in found.changes],
        "violations": [asdict(violation) for violation in found.violations],
    }


cli = app()


@cli.command()
def main(
    stack: StackOption = "",
    report: ReportOption = None,
    allow_replace: AllowReplaceOption = False,
    as_document: JsonOption = False,
) -> None:
    """Show what `up` would do to traffic and resources; exit code 3 when it would be refused.

    Refused are: config that is older than the stack, removing the live release or the only one to roll back to,
    replacing or deleting a VPC, a VPN or a bucket, and violations of a mandatory policy.
    """
    display = Display(as_json=as_document)
    with exit_codes(display):
        found = checked_preview(open_stack(stack), display, allow_replace=allow_replace, report=report)
        display.result({"ok": True, **as_json(found)})


if __name__ == "__main__":
    cli()
