"""What a machine said last reaches a person as plain lines."""

from __future__ import annotations

from scripts.rollout.failure_report import plain


def test_a_console_is_told_without_what_moves_a_terminal() -> None:
    output = (
        "[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mDocker\x1b[0m.\r\n\x1b[2J\x1b[K[FAILED] ring\x07\r\n\nlogin:"
    )
    assert plain(output) == ["[  OK  ] Started Docker.", "[FAILED] ring", "", "login:"]
