"""Comment on a pull request, one for each marker: created once, then updated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from scripts.ci.github import GitHub
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import UsageError
from scripts.cli.options import JsonOption, app

MAX_COMMENT = 65_536  # characters that GitHub takes in one comment
CUT = "\n\n… cut here: the comment would be longer than GitHub takes. The entire report is in the summary of the run.\n"
MARKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def tag(marker: str) -> str:
    """HTML comment that identifies our comment; GitHub doesn't show it."""
    if not MARKER.fullmatch(marker):
        raise UsageError(f"marker {marker!r}: must match {MARKER.pattern}, for example preview-dev")
    return f"<!-- bluegreen:{marker} -->"


def content(marker: str, body: str) -> str:
    """The comment's text, with the tag first so that no cut removes it."""
    text = f"{tag(marker)}\n{body}"
    return text if len(text) <= MAX_COMMENT else text[: MAX_COMMENT - len(CUT)] + CUT


def put_comment(github: GitHub, number: int, marker: str, body: str) -> tuple[str, bool]:
    """Create or update the comment; returns its URL, and whether it was created."""
    text, own = content(marker, body), tag(marker)
    for comment in github.comments(number):
        # At the start only: a reply may quote the comment.
        if comment["body"].startswith(own):
            return github.update_comment(int(comment["id"]), text), False
    return github.create_comment(number, text), True


cli = app()


@cli.command()
def main(
    pull_request: Annotated[int, typer.Option(min=1, help="The pull request's number.")],
    marker: Annotated[str, typer.Option(help="Name that identifies the comment, for example preview-dev.")],
    body_file: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The comment, in Markdown.")],
    as_json: JsonOption = False,
) -> None:
    """Write BODY_FILE as the one comment of MARKER on a pull request; an earlier one is replaced.

    Reads GITHUB_API_URL, GITHUB_REPOSITORY and GITHUB_TOKEN, as GitHub Actions provides them.
    """
    display = Display(as_json=as_json)
    with exit_codes(display):
        address, created = put_comment(GitHub.from_environment(), pull_request, marker, body_file.read_text())
        display.result({"ok": True, "url": address, "created": created})
        display.say(f"comment {'created' if created else 'updated'}: {address}")


if __name__ == "__main__":
    cli()
