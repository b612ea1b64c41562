"""The options that several scripts share, so that they read and mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StackOption = Annotated[
    str, typer.Option("--stack", "-s", envvar="BLUEGREEN_STACK", help="The Pulumi stack, for example dev or prod.")
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
        help="Go back although a newer release's migration breaks the older one: only in a planned window.",
    ),
]
BakeOption = Annotated[
    float,
    typer.Option(
        "--bake",
        min=0,
        max=3600,
        envvar="BLUEGREEN_BAKE_SECONDS",
        help="Seconds to watch the release with its users, and to go back by itself when it is bad.",
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the notification and the history.")]
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
