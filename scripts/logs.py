"""Log lines of a stack's instances, printed or followed: of the app, of boots and of the system."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from components.policy_documents import log_group
from fleet.colors import Color
from fleet.state import client
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import Exit, UsageError
from scripts.cli.interrupts import handle_sigterm
from scripts.cli.options import RegionOption, StackOption, app
from scripts.rollout.direct_rollback import region_of
from scripts.stack.automation import ROOT, selected_stack

POLL_S = 2.0  # CloudWatch Logs allows 5 such requests a second in an account and region
# Agents send their lines within seconds, and once more what was refused; followed are those that come within a minute.
MAX_DELAY_MS = 60_000
PAGE = 10_000  # events, CloudWatch's own limit
SINCE = re.compile(r"(\d{1,6})([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
INSTANCE = re.compile(r"i-[0-9a-f]{8,17}")


class LogKind(StrEnum):
    """A log group of the stack."""

    APP = "app"
    BOOT = "boot"
    SYSTEM = "system"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which streams to read: those of all instances, of a color, or of one instance."""

    color: Color | None = None
    instance: str = ""

    @property
    def prefix(self) -> str:
        return f"{self.color}/" if self.color else ""

    def takes(self, stream: str) -> bool:
        """Whether a stream matches: by color, for emulators that ignore the prefix, and by instance."""
        return stream.startswith(self.prefix) and self.instance in ("", *stream.split("/")[2:3])


@dataclass(frozen=True, kw_only=True)
class Line:
    """One event. Its stream is `<color>/<release>/<instance>/<source>`."""

    time: str
    kind: LogKind
    color: str
    release: str
    instance: str
    source: str
    message: str
    id: str

    @classmethod
    def parse(cls, kind: LogKind, event: Mapping[str, Any]) -> Line:
        color, release, instance, source = (*event["logStreamName"].split("/", 3), "", "", "")[:4]
        at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
        return cls(
            time=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            kind=kind,
            color=color,
            release=release,
            instance=instance,
            source=source,
            message=str(event["message"]).rstrip("\n"),
            id=str(event["eventId"]),
        )

    def __str__(self) -> str:
        return f"{self.time} {self.color} {self.release} {self.instance} {self.source}: {self.message}"


class Cursor:
    """Position in a log group: each event is read once, also one that is stored after later ones."""

    def __init__(self, logs: Any, group: str, selection: Selection, since_ms: int) -> None:
        self.logs, self.group, self.selection = logs, group, selection
        self.start_ms = since_ms
        self.seen: dict[str, int] = {}
        """Times by id of the events since `start_ms` that were read."""

    def read(self) -> list[Mapping[str, Any]]:
        """Raises UsageError where there is no such log group."""
        try:
            return self._read()
        except self.logs.exceptions.ResourceNotFoundException as error:
            raise UsageError(
                f"there is no log group {self.group} in {self.logs.meta.region_name}: "
                "the stack's first update creates it"
            ) from error

    def _read(self) -> list[Mapping[str, Any]]:
        found = dict[str, Mapping[str, Any]]()
        newest_ms = 0
        for event in self._events():
            # By CloudWatch's clock: an instance's, or this host's, may be wrong.
            newest_ms = max(newest_ms, int(event.get("ingestionTime", event["timestamp"])))
            if event["eventId"] not in self.seen and self.selection.takes(event["logStreamName"]):
                found[event["eventId"]] = event
        self.seen |= {id: int(event["timestamp"]) for id, event in found.items()}
        self.start_ms = max(self.start_ms, newest_ms - MAX_DELAY_MS)
        self.seen = {id: at for id, at in self.seen.items() if at >= self.start_ms}
        return list(found.values())

    def _events(self) -> Iterator[Mapping[str, Any]]:
        prefix = {"logStreamNamePrefix": self.selection.prefix} if self.selection.prefix else {}
        token: dict[str, str] = {}
        while True:
            # A page may be empty although others follow.
            page = self.logs.filter_log_events(
                logGroupName=self.group, startTime=self.start_ms, limit=PAGE, **prefix, **token
            )
            yield from page["events"]
            if not page.get("nextToken"):
                return
            token = {"nextToken": page["nextToken"]}


def read(cursors: Mapping[LogKind, Cursor]) -> list[Line]:
    """New lines, sorted by time."""
    events = [(kind, event) for kind, cursor in cursors.items() for event in cursor.read()]
    events.sort(key=lambda each: int(each[1]["timestamp"]))
    return [Line.parse(kind, event) for kind, event in events]


def follow(cursors: Mapping[LogKind, Cursor], show: Callable[[Line], None], pause: Callable[[float], None]) -> None:
    """Show new lines until an interrupt."""
    while True:
        for line in read(cursors):
            show(line)
        pause(POLL_S)


def since_ms(text: str, now: float) -> int:
    """Milliseconds of the epoch. Raises UsageError."""
    found = SINCE.fullmatch(text)
    if not found:
        raise UsageError(f"--since {text}: allowed is a number with s, m, h or d, such as 30s, 10m, 2h or 1d")
    return max(0, int((now - int(found[1]) * SECONDS[found[2]]) * 1000))


def open_cursors(
    stack: str, region: str, kinds: Sequence[LogKind], selection: Selection, start_ms: int
) -> dict[LogKind, Cursor]:
    import boto3

    logs = client(boto3.Session(region_name=region), "logs")
    return {kind: Cursor(logs, log_group(stack, kind), selection, start_ms) for kind in dict.fromkeys(kinds)}


cli = app()


@cli.command()
def main(
    kinds: Annotated[
        list[LogKind] | None, typer.Argument(metavar="KIND", help="Which lines: app, boot or system; default: app.")
    ] = None,
    stack: StackOption = "",
    follows: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")] = False,
    color: Annotated[Color | None, typer.Option(help="Of this color alone; default: of both.")] = None,
    instance: Annotated[
        str, typer.Option(help="Of this instance alone, such as i-0123456789abcdef0; also a terminated one.")
    ] = "",
    region: RegionOption = "",
    since: Annotated[str, typer.Option(help="How far back to begin: a number with s, m, h or d.")] = "10m",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line.")] = False,
) -> None:
    """Print log lines of the stack's instances: of the app, of boots and of the system, from CloudWatch Logs.

    `app` has what the container prints, `boot` what the boot program did and why it failed, `system` the system's
    journal. With -f new lines follow until Ctrl-C, which ends with exit code 130. Times are UTC.
    """
    handle_sigterm()

    def show(line: Line) -> None:
        typer.echo(json.dumps(asdict(line)) if as_json else str(line))

    try:
        # A failure is one JSON document too, and so one line of many.
        with exit_codes(Display(as_json=as_json, indent=None)):
            if instance and not INSTANCE.fullmatch(instance):
                raise UsageError(f"--instance {instance}: allowed is an instance id, such as i-0123456789abcdef0")
            start_ms = since_ms(since, time.time())
            selection = Selection(color=color, instance=instance)
            stack = stack or selected_stack()
            region = region_of(stack, region, ROOT / f"Pulumi.{stack}.yaml")
            cursors = open_cursors(stack, region, kinds or [LogKind.APP], selection, start_ms)
            if follows:
                _until_interrupted(cursors, show)
            for line in read(cursors):
                show(line)
    except BrokenPipeError:  # `… | head` has read enough, and Python would complain when it flushes the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _until_interrupted(cursors: Mapping[LogKind, Cursor], show: Callable[[Line], None]) -> None:
    """Follow until Ctrl-C, which is no error here."""
    try:
        follow(cursors, show, time.sleep)
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None


if __name__ == "__main__":
    cli()
