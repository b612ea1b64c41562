"""The options that several scripts share, so that they read and mean the same everywhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

LONGEST_DEADLINE_S = 86_400
REASON_LENGTH = 500
SMOKE_DEADLINE_S = 30.0  # a weight change reaches all of AWS's load balancer nodes within seconds, not at once


def seconds(*names: str, most: int = LONGEST_DEADLINE_S, **settings: Any) -> Any:
    """An option of so many seconds: a number, 0 to `most`."""
    return typer.Option(*names, min=0, max=most, callback=_number, **settings)


def _number(value: float) -> float:
    # It is neither below nor above any bound, and no wait for it ever ends.
    if math.isnan(value):
        raise typer.BadParameter("nan is not a number of seconds")
    return value


def _one_line(text: str) -> str:
    """As tables, messages and a workflow's steps can hold it; too long a reason is no reason to refuse a rollback."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(plain.split())
    return line if len(line) <= REASON_LENGTH else f"{line[: REASON_LENGTH - 1]}…"


StackOption = Annotated[
    str,
    typer.Option(
        "--stack",
        "-s",
        envvar="BLUEGREEN_STACK",
        help="The Pulumi stack, for example dev or prod; default: the one that `pulumi stack select` selected.",
        show_default=False,
    ),
]
RegionOption = Annotated[
    str,
    typer.Option(help="The stack's AWS region; default: aws:region of its config file, else AWS_REGION."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and no progress.")]
BreakLockOption = Annotated[
    bool, typer.Option("--break-lock", help="Take the stack's lock from a holder that you know is dead.")
]
AcceptBreakingOption = Annotated[
    bool,
    typer.Option(
        "--accept-breaking-migration",
        envvar="BLUEGREEN_ACCEPT_BREAKING_MIGRATION",
        help="Roll back although a newer release's migration breaks the older one: only in a planned window.",
    ),
]
BakeOption = Annotated[
    float,
    seconds(
        "--bake",
        most=3600,
        envvar="BLUEGREEN_BAKE_SECONDS",
        help="Seconds to watch the release with its traffic; a bad one is rolled back automatically.",
    ),
]
SmokeDeadlineOption = Annotated[
    float, seconds("--smoke-deadline", help="Seconds within which the smoke test after the traffic shift must pass.")
]
ReasonOption = Annotated[
    str, typer.Option("--reason", callback=_one_line, help="Why, for the notification and the history.")
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", dir_okay=False, help="Write the preview's page, Markdown, to this file.")
]
AllowReplaceOption = Annotated[
    bool,
    typer.Option(
        "--allow-replace",
        envvar="BLUEGREEN_ALLOW_REPLACE",
        help="Let a VPC, a VPN or a bucket be replaced or deleted: data may go with it.",
    ),
]


def app() -> typer.Typer:
    """A script with one command; tracebacks without the values of variables, which may be secrets."""
    return typer.Typer(add_completion=False, pretty_exceptions_show_locals=False, rich_markup_mode=None)
