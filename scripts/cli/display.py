"""Display of a command: stages with their seconds while it runs, then a table or one JSON document."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from fleet.command_lines import pulumi
from scripts.ci import workflow
from scripts.cli.exits import Exit, ScriptError

if TYPE_CHECKING:
    from rich.console import Console

# Columns of output that goes to no terminal but to a log.
PLAIN_WIDTH = 160


class Display:
    """Progress goes to stderr, results to stdout; with `as_json` stdout holds exactly one JSON document."""

    def __init__(self, *, as_json: bool = False, indent: int | None = 2) -> None:
        self.as_json = as_json
        self.indent = indent
        """Of the JSON document; None puts it on one line."""
        self.stages: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        """For the JSON document too, although the run went on."""
        self.next_command = ""
        """The command to run after a failure, printed below its message."""
        self.on_stage: Callable[[str], None] = lambda _: None
        """Called with a stage's name as it begins."""
        self._spins = not as_json and sys.stderr.isatty()

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        """Time a stage and show it; yields a function that shows its progress."""
        started = time.monotonic()
        entry: dict[str, Any] = {"name": name, "ok": False}
        self.stages.append(entry)
        try:
            self.on_stage(name)
            with self.working(name) as update:
                yield update
            entry["ok"] = True
        finally:
            entry["seconds"] = round(time.monotonic() - started, 3)
            self.note(f"{'ok' if entry['ok'] else 'FAILED':>6}  {name}  {entry['seconds']:.1f} s")

    def note(self, text: str) -> None:
        if not self.as_json:
            # A closed terminal or pipe must not stop a rollback.
            with suppress(OSError):
                typer.echo(text, err=True)

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        self.note(text)

    def result(self, document: Mapping[str, Any]) -> None:
        """Print the JSON document, with --json only, and write it to the workflow's outputs and summary."""
        workflow.write_result(document)
        if self.as_json:
            typer.echo(json.dumps(document, indent=self.indent, default=str))

    def say(self, text: str) -> None:
        if not self.as_json:
            typer.echo(text)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        if self.as_json:
            return
        from rich.table import Table

        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        _console(sys.stdout).print(table)

    @contextmanager
    def working(self, name: str) -> Iterator[Callable[[str], None]]:
        """Show a spinner on a terminal; yields a function that updates its text."""
        if not self._spins:
            yield lambda _: None
            return
        status = _console(sys.stderr).status(f"{name} …")

        def update(text: str) -> None:
            with suppress(OSError):
                status.update(f"{name}: {text.strip()[:100]}")

        with suppress(OSError):
            status.start()
        try:
            yield update
        finally:
            with suppress(OSError):
                status.stop()


def _console(stream: Any) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, width=None if stream.isatty() else PLAIN_WIDTH)


@contextmanager
def exit_codes(display: Display) -> Iterator[None]:
    """Turn every known kind of failure into its message and exit code; unknown ones keep their traceback."""
    try:
        yield
    except KeyboardInterrupt:
        _end(display, "interrupted", Exit.INTERRUPTED)
    except Exception as error:
        code = _code(error)
        if code is None:
            raise
        details = error.details if isinstance(error, ScriptError) else {}
        # Our own messages may quote an instance's log lines, which can look like anything.
        message = str(error) if isinstance(error, ScriptError) else update_error(str(error))
        if code is Exit.LOCKED and not isinstance(error, ScriptError):
            message = pulumi_lock(str(error))
        _end(display, message, code, details)


def _end(display: Display, message: str, code: Exit, details: Mapping[str, Any] | None = None) -> None:
    document: dict[str, Any] = {"ok": False, "error": message, "exit_code": int(code), "stages": display.stages}
    if display.warnings:
        document["warnings"] = display.warnings
    if display.next_command:
        document["next"] = display.next_command
    display.result({**(details or {}), **document})
    display.note(message)
    if display.next_command:
        display.note(f"next:  {display.next_command}")
    raise typer.Exit(code)


def _code(error: Exception) -> Exit | None:
    from botocore.exceptions import BotoCoreError, ClientError
    from pulumi.automation.errors import CommandError, ConcurrentUpdateError

    from fleet.gates import GateClosed
    from fleet.state import NoSuchStack
    from fleet.waiting import TimedOut

    if isinstance(error, ScriptError):
        return error.code
    if isinstance(error, GateClosed):
        return Exit.REFUSED
    if isinstance(error, NoSuchStack):
        return Exit.USAGE
    if isinstance(error, ConcurrentUpdateError):
        return Exit.LOCKED
    known = (TimedOut, CommandError, ClientError, BotoCoreError)
    return Exit.FAILED if isinstance(error, known) else None


# Where the state is in a bucket or folder; Pulumi Cloud only says that another update runs.
_LOCK_HOLDER = re.compile(
    r"/(?P<stack>[^/\s]+)/[^/\s]+\.json(\?\S*)?: created by "
    r"(?P<user>.+?)@(?P<host>.+?) \(pid (?P<pid>\d+)\) at (?P<since>\S+)"
)


@dataclass(frozen=True, kw_only=True)
class PulumiLockHolder:
    """Whose update holds Pulumi's own lock of a stack."""

    stack: str
    user: str
    host: str
    pid: int
    since: str

    def __str__(self) -> str:
        return f"{self.user}@{self.host} (pid {self.pid}) at {self.since}"

    @classmethod
    def parse(cls, text: str) -> PulumiLockHolder | None:
        """From the engine's error; None where it names no holder."""
        found = _LOCK_HOLDER.search(text)
        if found is None:
            return None
        return cls(
            stack=found["stack"],
            user=found["user"],
            host=found["host"],
            pid=int(found["pid"]),
            since=found["since"],
        )


def pulumi_lock(text: str) -> str:
    """Pulumi's lock in one sentence: its holder where Pulumi names it, and the command that releases it."""
    found = PulumiLockHolder.parse(text)
    holder = f"since an update by {found}" if found else "by another update"
    return (
        f"Pulumi's own lock of the stack is held {holder}: wait for its end, or, when you know that it is dead, "
        f"{pulumi('cancel', stack=found.stack if found else 'NAME')} and the same command again"
    )


# The last line of a Python traceback.
_RAISED = re.compile(r"\s*[\w.]*(Error|Exception): ")
_TRACEBACK = re.compile(r"\s*Traceback \(most recent call last\)")
# What the engine says of an update that failed, by resource; before it stand progress lines, after it all outputs.
_DIAGNOSTICS = re.compile(r"^Diagnostics:\n(?P<text>(?:[ \t].*\n|\n)*)", re.MULTILINE)
# What follows from any failure: of the engine, of the connection that ends with it, of the program that it ends.
_NOISE = re.compile(
    r"(update|preview|refresh|destroy) failed$"
    r"|.*Resource monitor has terminated"
    r"|an unhandled error occurred: program exited with non-zero exit code"
    r"|program failed with an unhandled exception"
    r"|.*_InactiveRpcError"
    r"|.*no running event loop"
    r"|(pulumi\.errors\.)?RunError: (update|preview) failed",
    re.IGNORECASE,
)


# What Pulumi and the AWS SDKs say without a login or credentials, and what to do about it.
_NO_ACCESS = (
    (
        re.compile(r"PULUMI_ACCESS_TOKEN must be set for login"),
        "Pulumi is not logged in to where the state lies: `pulumi login s3://BUCKET` first",
    ),
    (
        re.compile(r"no EC2 IMDS role found|NoCredentialProviders|Unable to locate credentials"),
        "there are no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
        "`aws sts get-caller-identity` says whose are in use",
    ),
    (
        re.compile(r"region was not a valid DNS name|Missing Region|You must specify a region"),
        "there is no AWS region: set AWS_REGION to that of the stack and its state",
    ),
)


def update_error(text: str) -> str:
    """What went wrong in an `up`: each error with the lines that belong to it, without what follows from any error."""
    found = list(_DIAGNOSTICS.finditer(text))
    if not found:  # an update that began may quote an app's lines, which speak of the app's own login
        for pattern, sentence in _NO_ACCESS:
            if pattern.search(text):
                return sentence
    errors = _errors(found[-1]["text"] if found else text)
    causes = [error for error in errors if not _NOISE.match(error)] or errors
    # Pulumi prints an error at its resource and again under Diagnostics.
    return "\n".join(dict.fromkeys(causes)) or text.strip()


def _errors(text: str) -> list[str]:
    """Each error with its further lines, which are indented deeper than its first one."""
    errors: list[str] = []
    depth: int | None = None  # of the error that a line may belong to
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if "error: " in line:
            errors.append(line.split("error: ", 1)[1].strip())
            depth = indent
        elif _RAISED.match(line):
            errors.append(line.strip())
            depth = None
        elif depth is not None and indent > depth and line.strip() and not _TRACEBACK.match(line):
            errors[-1] += f"\n{line[depth:].rstrip()}"
        else:
            depth = None
    return errors
