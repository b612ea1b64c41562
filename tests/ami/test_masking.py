from __future__ import annotations

import base64
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


@pytest.mark.parametrize(
    "value", ["on", "1", "", "x", "ab", "abc", "true", "False", "80", "8080", "65535", "production"]
)
def test_short_values_and_common_words_stay_since_hiding_them_would_hide_everything(value: str) -> None:
    text = f"in production it is true that {value} on 10 ab abc x :80 :8080 65535 False"
    assert Secrets([value]).mask(text) == text


@pytest.mark.parametrize("value", ["123456", "trueish", "p455", "äöüß"])
def test_other_short_values_are_hidden(value: str) -> None:
    assert Secrets([value]).mask(f"it is {value}.") == "it is ***."


LONG = "sk_live_abcdefghijklmnop0123456789ABCDEFGHIJKLMNOP0123456789abcdefghij"


@pytest.mark.parametrize("width", [20, 64, 76])
@pytest.mark.parametrize("before", ["", "x", "xx"])
@pytest.mark.parametrize("prefix", ["", "app: "])
def test_a_value_in_base64_that_is_broken_into_lines_is_hidden(width: int, before: str, prefix: str) -> None:
    digits = base64.b64encode(f"{before}{LONG}".encode()).decode()
    lines = [prefix + digits[at : at + width] for at in range(0, len(digits), width)]
    masked = Secrets([LONG]).mask("\n".join(["begin", *lines, "end"]))
    kept = [word for word in masked.split() if word not in ("begin", "end", "app:")]
    # Only digits of what stood before the value may be left, and padding.
    assert all(len(word.replace("***", "")) <= 4 for word in kept), kept
    assert masked.startswith("begin\n")
    assert masked.endswith("\nend")


@pytest.mark.parametrize("at", [12, 30, len(LONG) - 1])
@pytest.mark.parametrize("between", ["\n", "\r\n", " | "])
def test_a_value_that_is_broken_once_is_hidden(at: int, between: str) -> None:
    assert Secrets([LONG]).mask(f"got {LONG[:at]}{between}{LONG[at:]} twice") == f"got ***{between}*** twice"


def test_what_only_looks_like_the_beginning_of_a_value_hides_no_more() -> None:
    secrets = Secrets(["postgresql://app:hunter22hunter22@db.internal:5432/app", LONG])
    text = "connect to postgresql://\ndb.internal:5432\nsk_live_\nabcdefghijkl | done"
    assert secrets.mask(text) == text
    assert secrets.mask(f"{LONG[:20]}\nnothing of it\n{LONG[20:40]}") == f"***\nnothing of it\n{LONG[20:40]}"


@pytest.mark.parametrize("form", ["a%2fb%3ac%26d", "a%2Fb%3Ac%26d", "a/b:c&amp;d", "a/b:c&d", "612f623a632664"])
def test_a_value_is_hidden_as_it_looks_in_urls_html_and_digits(form: str) -> None:
    assert Secrets(["a/b:c&d"]).mask(f"x{form}y") == "x***y"


def test_log_records_that_break_a_value_are_masked_one_after_the_other() -> None:
    formatter = MaskingFormatter(Secrets([LONG]))
    records = [logging.makeLogRecord({"msg": text}) for text in (f"app: {LONG[:30]}", f"app: {LONG[30:]}", "app: on")]
    assert [formatter.format(record) for record in records] == ["app: ***", "app: ***", "app: on"]


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
