"""Command-line options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

MAX_DEADLINE_S = 86_400
MAX_REASON = 500
SMOKE_DEADLINE_S = 30.0  # a weight change reaches all of AWS's load balancer nodes within seconds, not at once


def seconds(*names: str, maximum: int = MAX_DEADLINE_S, **settings: Any) -> Any:
    """An option in seconds, 0 to `maximum`."""
    return typer.Option(*names, min=0, max=maximum, callback=_number, **settings)


def _number(value: float) -> float:
    # NaN is neither below nor above any bound, and no wait for it ever ends.
    if math.isnan(value):
        raise typer.BadParameter("nan is not a number of seconds")
    return value


def _one_line(text: str) -> str:
    """The text on one line, for tables, messages and step outputs; cut rather than refused, not to stop a rollback."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(plain.split())
    return line if len(line) <= MAX_REASON else f"{line[: MAX_REASON - 1]}…"


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
    bool, typer.Option("--break-lock", help="Take over the stack's lock from a process that you know is dead.")
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
        maximum=3600,
        envvar="BLUEGREEN_BAKE_SECONDS",
        help="Seconds to watch the release with its traffic; a bad one is rolled back automatically.",
    ),
]
SmokeDeadlineOption = Annotated[
    float, seconds("--smoke-deadline", help="Seconds within which the smoke test after the traffic shift must pass.")
]
ReasonOption = Annotated[
    str, typer.Option("--reason", callback=_one_line, help="The reason, for the notification and the history.")
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", dir_okay=False, help="Write the preview's page, Markdown, to this file.")
]
AllowReplaceOption = Annotated[
    bool,
    typer.Option(
        "--allow-replace",
        envvar="BLUEGREEN_ALLOW_REPLACE",
        help="Allow a VPC, a VPN or a bucket to be replaced or deleted; data may be lost.",
    ),
]


def app() -> typer.Typer:
    """A Typer app with one command; tracebacks hide the values of variables, which may be secrets."""
    return typer.Typer(add_completion=False, pretty_exceptions_show_locals=False, rich_markup_mode=None)
