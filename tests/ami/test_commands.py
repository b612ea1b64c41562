"""Errors of failed commands: the command, its exit code and its last lines."""

from __future__ import annotations

import pytest

from ami.boot.commands import CommandError, run
from ami.boot.retrying import Deadline


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo one; echo two >&2; exit 3", "sh -c exited with 3: one | two"),
        ("exit 3", "sh -c exited with 3"),
    ],
)
def test_a_failure_is_one_line(script: str, message: str) -> None:
    with pytest.raises(CommandError) as raised:
        run(["sh", "-c", script], deadline=Deadline(30))
    assert str(raised.value) == message


def test_a_command_that_hangs_times_out() -> None:
    with pytest.raises(CommandError) as raised:
        run(["sleep", "300"], deadline=Deadline(0.1))
    assert str(raised.value) == "sleep 300 timed out"


def test_of_a_flood_without_a_lines_end_only_the_last_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", logger="boot")
    flood = "head -c 20000000 /dev/zero | tr '\\0' x; echo; printf 'the \\377 end'"
    said = run(["sh", "-c", flood], deadline=Deadline(60), quiet=True)
    assert said.endswith("x\nthe \ufffd end")
    assert len(said) < 4_000_000
