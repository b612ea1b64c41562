from __future__ import annotations

import logging

import pytest

from ami.boot.masking import TAIL_LINES, MaskingFormatter, Secrets, Tail, without_credentials

PASSWORD = "p%40ss/word"


def test_known_values_are_hidden_wherever_they_stand() -> None:
    assert Secrets(["hunter22"]).mask("a hunter22b hunter22") == "a ***b ***"


def test_the_longer_of_two_values_goes_first() -> None:
    assert Secrets(["hunter", "hunter22"]).mask("hunter22") == "***"


def test_the_password_inside_a_secret_url_is_hidden_alone_too_coded_and_plain() -> None:
    secrets = Secrets([f"postgresql://app:{PASSWORD.replace('/', '%2F')}@db:5432/app"])
    assert secrets.mask("password p%40ss%2Fword or p@ss/word") == "password *** or ***"


def test_each_line_of_a_key_is_hidden() -> None:
    assert Secrets(["-----BEGIN-----\nabcdef\n"]).mask("read abcdef") == "read ***"


def test_short_values_stay_since_hiding_them_would_hide_everything() -> None:
    assert Secrets(["on", "1", ""]).mask("on 10") == "on 10"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("get https://me:pw@host/x now", "get https://***@host/x now"),
        ("https://h/x?a=1&X-Amz-Signature=abc&b=2", "https://h/x?a=1&X-Amz-Signature=***&b=2"),
        ("https://h/x?token=abc", "https://h/x?token=***"),
        ("mail me@example.com", "mail me@example.com"),
    ],
)
def test_credentials_in_urls_are_hidden_without_being_known(text: str, masked: str) -> None:
    assert Secrets().mask(text) == masked


def test_a_printable_url_has_no_user_and_no_query() -> None:
    assert without_credentials("https://me:pw@host:8/x?token=1") == "https://host:8/x"


def test_log_lines_and_tracebacks_are_masked_and_the_tail_keeps_the_last() -> None:
    secrets, tail = Secrets(["hunter22"]), Tail()
    tail.setFormatter(MaskingFormatter(secrets))
    log = logging.Logger("test")
    log.addHandler(tail)
    log.info("line %s", "first")
    try:
        raise ValueError("hunter22 was wrong")
    except ValueError:
        log.exception("failed with %s", "hunter22")
    assert "line first" in tail.lines
    assert "ValueError: *** was wrong" in tail.lines
    assert not any("hunter22" in line for line in tail.lines)
    for number in range(100):
        log.info("%d", number)
    assert list(tail.lines) == [str(number) for number in range(100 - TAIL_LINES, 100)]
