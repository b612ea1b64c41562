"""Summary of a workflow run: the results of tests or of a rehearsal."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.ci.workflow import code, summarize, table
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import UsageError
from scripts.cli.options import JsonOption, app

MAX_FAILURES = 20
MAX_FAILURE_TEXT = 2000  # characters of one failure; its reason is at the end


def page_of_tests(file: Path) -> str:
    """From pytest's JUnit file: counts, failures with their last lines, and why tests were skipped."""
    try:
        cases = list(ElementTree.parse(file).getroot().iter("testcase"))  # noqa: S314 - as above
    except ElementTree.ParseError as error:
        raise UsageError(f"{file} is no JUnit file: {error}") from error
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [found for case in cases if (found := case.find("skipped")) is not None]
    seconds = sum(float(case.get("time", 0)) for case in cases)
    row = (len(cases) - len(failed) - len(skipped), len(failed), len(skipped), f"{seconds:.0f} s")
    parts = ["### Tests\n", table(("passed", "failed", "skipped", "took"), [row])]
    parts += [_failure(case) for case in failed[:MAX_FAILURES]]
    reasons = sorted({found.get("message", "") for found in skipped})
    parts += [f"Skipped: {'; '.join(reasons)}\n"] if reasons else []
    return "\n".join(parts)


def _failure(case: ElementTree.Element) -> str:
    found = next(child for child in case if child.tag in ("failure", "error"))
    text = found.text or found.get("message") or ""
    name = f"{case.get('classname', '')}.{case.get('name', '')}"
    return f"**{name}**\n\n{code(text[-MAX_FAILURE_TEXT:])}"


def page_of_rehearsal(file: Path) -> str:
    """From a rehearsal's report.json: how it ended, its steps, and how many requests failed in each cutover."""
    report: dict[str, Any] = json.loads(file.read_text())
    steps = [(("ok" if one["ok"] else "FAILED"), one["name"], f"{one['seconds']:.1f} s") for one in report["steps"]]
    parts = [f"### Rehearsal: {'passed' if report['ok'] else 'failed'}\n", table(("", "step", "took"), steps)]
    columns = ("from", "to", "seconds", "changed_resources", "requests", "failed")
    cutovers = [[one[column] for column in columns] for one in report["cutovers"]]
    return "\n".join([*parts, table(columns, cutovers)]) if cutovers else "\n".join(parts)


cli = app()


@cli.command()
def main(
    tests: Annotated[Path | None, typer.Option(help="A JUnit file, as pytest's --junit-xml writes it.")] = None,
    rehearsal: Annotated[Path | None, typer.Option(help="A rehearsal's report.json.")] = None,
    text: Annotated[str, typer.Option(help="A sentence.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Add test results to the summary of the workflow run; on a workstation, print them."""
    display = Display(as_json=as_json)
    with exit_codes(display):
        pages = [text] if text else []
        pages += [_page(file, read) for file, read in ((tests, page_of_tests), (rehearsal, page_of_rehearsal)) if file]
        if not pages:
            raise UsageError("name a file with --tests or --rehearsal, or a sentence with --text")
        for page in pages:
            summarize(page)
            display.say(page)


def _page(file: Path, read: Callable[[Path], str]) -> str:
    return read(file) if file.exists() else f"**{file.name} was not written: it ended before.**\n"


if __name__ == "__main__":
    cli()
