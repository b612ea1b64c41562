#!/usr/bin/env python3
"""Command line of the project: each command is a module of this folder, imported when it is called."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

if not __package__:
    # Run as a file by ./bluegreen, from any folder.
    sys.path[0] = str(Path(__file__).absolute().parent.parent)

import typer
from typer.core import TyperCommand, TyperGroup

PROGRAM = "bluegreen"
COMPLETE = "_BLUEGREEN_COMPLETE"  # set by the shell's completion; Typer prescribes the name


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A command: its name, its module, and its line in the list of commands."""

    name: str
    help: str
    script: str = ""

    @property
    def module(self) -> str:
        return f"scripts.{self.script or self.name}"


SECTIONS: dict[str, tuple[Entry, ...]] = {
    "Releases, in order": (
        Entry(name="release", help="Publish, deploy, cut over and bake; stops when a step fails."),
        Entry(
            name="publish", help="Pack a folder with a Dockerfile and store it as a release.", script="publish_release"
        ),
        Entry(name="deploy", help="Start a release on new instances of the idle color."),
        Entry(name="smoke-test", help="Check a color or the public endpoint over HTTP.", script="smoke_test"),
        Entry(name="canary", help="Send a percentage of the traffic to the idle color."),
        Entry(name="cutover", help="Send all traffic to a color; a bad release is rolled back."),
        Entry(name="rollback", help="Send all traffic back to the previous release."),
        Entry(name="retire", help="Remove the idle color's instances."),
    ),
    "Status and diagnostics": (
        Entry(name="status", help="Show colors, traffic, lock and history; or drift."),
        Entry(name="logs", help="Print or follow log lines of app, boot and system."),
        Entry(name="shell", help="Open a shell on an instance, by Session Manager."),
        Entry(name="doctor", help="Check workstation, AWS account and stack; print the fixes."),
    ),
    "The stack": (
        Entry(name="preview", help="Show what `up` would change or refuse."),
        Entry(name="up", help="Apply program and config, after the same checks."),
        Entry(name="sync-config", help="Update this checkout's config to the stack.", script="sync_config"),
        Entry(name="restart", help="Restart instances one at a time, with current parameters."),
        Entry(
            name="vpn", help="Write the customer gateway's VPN configuration, or diagnose the VPN.", script="vpn_config"
        ),
    ),
    "For CI and shells": (
        Entry(name="comment", help="Create or update one comment on a pull request."),
        Entry(name="summary", help="Add test results to the summary of a workflow run."),
        Entry(name="completion", help="Print the completion script for bash, zsh or fish."),
    ),
}
ENTRIES = {entry.name: entry for entries in SECTIONS.values() for entry in entries}

HELP = """Ship containers to EC2 blue/green: a release starts on the idle color, is checked, and gets the traffic by one
change of the load balancer.

Commands work on the stack that `pulumi stack select` selected, or on the one that --stack or BLUEGREEN_STACK names.
With --json they print one JSON document on stdout (logs: one a line). See also `bluegreen COMMAND --help`."""
EPILOG = """Exit codes: 0 done, 1 failed, 2 misused, 3 refused and nothing changed, 4 locked by another run,
5 rolled back, 6 rollback failed: act now, 7 drift, 130 interrupted."""


class LazyCommand(TyperCommand):
    """A command that is imported when it is called, or when its own options are completed."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.name, help=entry.help, rich_markup_mode=None)
        self.entry = entry

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        command = typer.main.get_command(import_module(self.entry.module).cli)
        return command.make_context(info_name, args, parent, **extra)


class Commands(TyperGroup):
    """All commands, listed by section."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(entry.name, entry.help) for entry in entries])


def group() -> Commands:
    return Commands(
        name=PROGRAM,
        commands={entry.name: LazyCommand(entry) for entry in ENTRIES.values()},
        help=HELP,
        epilog=EPILOG,
        rich_markup_mode=None,
        no_args_is_help=True,
    )


def main() -> None:
    if os.environ.get(COMPLETE):
        from typer.completion import get_completion_inspect_parameters

        get_completion_inspect_parameters()  # registers Typer's shells, as its options would
    group().main(prog_name=PROGRAM, complete_var=COMPLETE)


if __name__ == "__main__":
    main()
