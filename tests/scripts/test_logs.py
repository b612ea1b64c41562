"""`bluegreen logs` against CloudWatch Logs as moto has it: which lines, in which order, each once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fleet.colors import Color
from fleet.state import client
from scripts import logs
from scripts.cli.exits import Exit, UsageError
from scripts.logs import Cursor, Line, LogKind, Selection, follow, open_cursors, read, since_ms
from tests.scripts.world import REGION, STACK

ROOT = Path(__file__).resolve().parents[2]
BLUE, GREEN, OTHER = "i-0b11e0000", "i-09a5ee000", "i-09a5ee001"
NOW_MS = int(time.time() * 1000)


@pytest.fixture
def cloudwatch(aws: None, session: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("boto3.Session", lambda **_: session)
    cloudwatch = client(session, "logs")
    for kind in LogKind:
        cloudwatch.create_log_group(logGroupName=f"/bluegreen/{STACK}/{kind}")
    return cloudwatch


def write(cloudwatch: Any, kind: LogKind, stream: str, *messages: str, ago_s: float = 60.0) -> None:
    """A second apart, the first one so long ago."""
    group = f"/bluegreen/{STACK}/{kind}"
    found = cloudwatch.describe_log_streams(logGroupName=group, logStreamNamePrefix=stream)["logStreams"]
    if not found:
        cloudwatch.create_log_stream(logGroupName=group, logStreamName=stream)
    first = int(time.time() * 1000) - int(ago_s * 1000)
    events = [{"timestamp": first + 1000 * number, "message": text} for number, text in enumerate(messages)]
    cloudwatch.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def write_all(cloudwatch: Any) -> None:
    write(cloudwatch, LogKind.APP, f"blue/v1/{BLUE}/app", "blue one", "blue two", ago_s=50)
    write(cloudwatch, LogKind.APP, f"green/v2/{GREEN}/app", "green one", "green two", ago_s=49.5)
    write(cloudwatch, LogKind.APP, f"green/v2/{OTHER}/app", "other", ago_s=40)
    write(cloudwatch, LogKind.APP, f"green/v2/{OTHER}/app", "long ago", ago_s=3600)
    write(cloudwatch, LogKind.BOOT, f"green/v2/{GREEN}/failure", "end step=ready", ago_s=45)
    write(cloudwatch, LogKind.SYSTEM, f"green/v2/{GREEN}/syslog", "kernel: up", ago_s=48)


def run(*words: str) -> Result:
    return CliRunner().invoke(logs.cli, ["--stack", STACK, *words])


def messages(result: Result) -> list[str]:
    assert result.exit_code == Exit.OK, result.output
    return [line.partition(": ")[2] for line in result.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ["blue one", "green one", "blue two", "green two", "other"]),
        (("--color", "green"), ["green one", "green two", "other"]),
        (("--instance", GREEN), ["green one", "green two"]),
        (("--instance", GREEN, "--color", "blue"), []),
        (("--since", "45s"), ["other"]),
        (("--since", "2h", "--instance", OTHER), ["long ago", "other"]),
        (("boot",), ["end step=ready"]),
        (("boot", "system", "app", "boot", "--color", "green", "--since", "49s"), [
            "green two", "kernel: up", "end step=ready", "other",
        ]),
    ],
)  # fmt: skip
def test_the_lines_that_are_asked_for_come_in_the_order_of_time(
    cloudwatch: Any, words: Sequence[str], expected: list[str]
) -> None:
    write_all(cloudwatch)
    assert messages(run(*words)) == expected


def test_a_line_says_when_and_where(cloudwatch: Any) -> None:
    write_all(cloudwatch)
    line = run("boot").stdout.splitlines()[0]
    at, place = line.split(" ", 1)
    assert (len(at), at[10], at[-1]) == (24, "T", "Z")
    assert place == f"green v2 {GREEN} failure: end step=ready"
    [told] = [json.loads(text) for text in run("boot", "--json").stdout.splitlines()]
    assert told.pop("id")
    assert told == {
        "time": at,
        "kind": "boot",
        "color": "green",
        "release": "v2",
        "instance": GREEN,
        "source": "failure",
        "message": "end step=ready",
    }


def test_more_than_a_page_is_read_to_its_end(cloudwatch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "PAGE", 3)
    written = [f"line {number}" for number in range(10)]
    write(cloudwatch, LogKind.APP, f"blue/v1/{BLUE}/app", *written)
    assert messages(run()) == written


def test_an_empty_page_before_the_last_is_no_end() -> None:
    class Paged:
        asked: list[dict[str, Any]] = []  # noqa: RUF012 - one test's own

        class exceptions:  # noqa: N801 - as botocore names it
            ResourceNotFoundException = KeyError

        def filter_log_events(self, **words: Any) -> dict[str, Any]:
            self.asked.append(words)
            event = {"timestamp": 5, "message": "late", "eventId": "1", "logStreamName": "blue/v1/i-1/app"}
            return {"events": [event]} if "nextToken" in words else {"events": [], "nextToken": "more"}

    paged = Paged()
    found = Cursor(paged, "group", Selection(color=Color.BLUE), 1).read()
    assert [event["message"] for event in found] == ["late"]
    assert [(one["startTime"], one["logStreamNamePrefix"], one.get("nextToken")) for one in paged.asked] == [
        (1, "blue/", None),
        (1, "blue/", "more"),
    ]


def test_followed_each_line_comes_once_also_one_that_is_stored_late(cloudwatch: Any) -> None:
    """Between the reads come: a later line, one from before it, one of another instance, nothing, and two at once."""
    stream = f"blue/v1/{BLUE}/app"
    write(cloudwatch, LogKind.APP, stream, "first", ago_s=30)
    steps = [
        lambda: write(cloudwatch, LogKind.APP, stream, "second", ago_s=10),
        lambda: write(cloudwatch, LogKind.APP, stream, "late", ago_s=25),
        lambda: write(cloudwatch, LogKind.APP, f"blue/v1/{OTHER}/app", "other", ago_s=5),
        lambda: None,
        lambda: write(cloudwatch, LogKind.APP, stream, "same", "third", ago_s=3),
        lambda: write(cloudwatch, LogKind.APP, stream, "same", ago_s=1),
    ]
    seen: list[Line] = []

    def pause(seconds: float) -> None:
        assert seconds == logs.POLL_S
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    cursors = open_cursors(STACK, REGION, [LogKind.APP], Selection(), NOW_MS - 600_000)
    with pytest.raises(KeyboardInterrupt):
        follow(cursors, seen.append, pause)
    assert [line.message for line in seen] == ["first", "second", "late", "other", "same", "third", "same"]
    assert len({line.id for line in seen}) == len(seen)


def test_the_cursor_moves_with_cloudwatch_s_clock_and_forgets_what_lies_behind_it(cloudwatch: Any) -> None:
    stream = f"blue/v1/{BLUE}/app"
    write(cloudwatch, LogKind.APP, stream, "old", ago_s=500)
    write(cloudwatch, LogKind.APP, stream, "new", ago_s=1)
    cursors = open_cursors(STACK, REGION, [LogKind.APP], Selection(), NOW_MS - 600_000)
    assert len(read(cursors)) == 2
    cursor = cursors[LogKind.APP]
    assert abs(cursor.start_ms - (time.time() * 1000 - logs.MAX_DELAY_MS)) < 30_000
    assert len(cursor.seen) == 1
    assert read(cursors) == []


def launch_watch(*words: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "scripts.logs", "-f", "--stack", STACK, *words]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_quietly_with_its_own_code(cloudwatch: Any, number: signal.Signals) -> None:
    write_all(cloudwatch)
    with launch_watch("--color", "blue", "--json") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert first["message"] == "blue one"
        process.send_signal(number)
        rest, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (Exit.INTERRUPTED, "")
    assert [json.loads(line)["message"] for line in rest.splitlines()] in (["blue two"], [])


def test_a_reader_that_has_enough_is_no_failure(cloudwatch: Any) -> None:
    write(
        cloudwatch, LogKind.APP, f"blue/v1/{BLUE}/app", *(f"{'x' * 1000} {number}" for number in range(200)), ago_s=300
    )
    command = f"{sys.executable} -m scripts.logs --stack {STACK} | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ
    )
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (Exit.OK, "", 1)


def test_a_stack_without_log_groups_is_a_sentence(aws: None) -> None:
    result = run()
    assert result.exit_code == Exit.USAGE
    assert result.stderr.splitlines() == [
        f"there is no log group /bluegreen/{STACK}/app in {REGION}: the stack's first update creates it"
    ]
    assert json.loads(run("--json").stdout) == {
        "ok": False,
        "error": result.stderr.strip(),
        "exit_code": Exit.USAGE,
        "stages": [],
    }
    assert len(run("--json").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("--since", "yesterday"),
            "--since yesterday: allowed is a number with s, m, h or d, such as 30s, 10m, 2h or 1d",
        ),
        (("--since", "-5m"), "--since -5m: allowed is a number with s, m, h or d, such as 30s, 10m, 2h or 1d"),
        (("--instance", "web1"), "--instance web1: allowed is an instance id, such as i-0123456789abcdef0"),
    ],
)
def test_bad_values_are_named_with_what_is_allowed(words: Sequence[str], told: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stderr.splitlines()) == (Exit.USAGE, [told])


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86400)])
def test_how_far_back(text: str, seconds: int) -> None:
    assert since_ms(text, 1_000_000.5) == (1_000_000.5 - seconds) * 1000
    assert since_ms("999999d", 5) == 0
    with pytest.raises(UsageError):
        since_ms("10", 5)


def test_the_other_kinds_of_streams_are_read_as_far_as_they_go() -> None:
    event = {"timestamp": 0, "message": "m\n", "eventId": "1", "logStreamName": "of-somebody"}
    line = Line.parse(LogKind.APP, event)
    assert (line.color, line.release, line.instance, line.source, line.message) == ("of-somebody", "", "", "", "m")
