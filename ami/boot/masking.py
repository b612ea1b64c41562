"""Masking of secrets as ***: known values, plain and encoded, and credentials in URLs."""

import base64
import json
import logging
import re
from collections import deque
from collections.abc import Iterable
from html import escape
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "***"
MIN_MASKED = 4  # replacing "1" or "on" everywhere would ruin every line and hide nothing worth hiding
# Values that are never secret, and words of every log.
_WORDS = """true false none null yes enabled disabled default auto trace debug info warn warning error critical local
localhost test staging production development utf8 utf-8"""
COMMON_WORDS = frozenset(_WORDS.split())
MIN_DIGITS = 6  # fewer digits are a port, a size or a timeout
MIN_FRAGMENT = 12  # of a value that is split over lines; fewer characters at a line's end may be anything
MIN_ENCODED = 6  # bytes; the base64 of fewer is also part of ordinary words
TAIL_LINES = 50
TAIL_LINE_LENGTH = 1000  # 50 of them stay far below the 256 KiB that a notification may have

_BREAK = re.compile(r"(\r?\n| \| )")  # line breaks, also as they are quoted in one sentence
_LOWER_CASE = re.compile("%[0-9A-F]{2}")  # some encoders use lower case
_URL_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@]+@", re.IGNORECASE)
_URL_TOKENS = re.compile(
    r"([?&](?:X-Amz-[\w-]+|AWSAccessKeyId|token|access_token|signature|sig|password|secret)=)[^&\s\"']+", re.IGNORECASE
)


class Secrets:
    """Secret values, added while the instance boots."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """Mask the value, each line of it, and the password when it is a URL: an app prints those alone, too.

        Also encoded for URLs, JSON and HTML, in hexadecimal digits and in base64, alone or inside something longer.
        """
        parts = {value, *value.splitlines(), *_url_passwords(value)}
        for part in parts:
            if _is_worth_masking(part):
                self._values |= {part, *_encoded_forms(part)}

    def mask(self, text: str, remainders: list[str] | None = None) -> str:
        """`remainders`: of values that were split at the end of the previous text; updated for the next text."""
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, MASK)
        parts = _BREAK.split(text)
        remainders = [] if remainders is None else remainders
        parts[::2] = [self._mask_fragments(line, remainders) for line in parts[::2]]
        text = "".join(parts)
        return _URL_TOKENS.sub(rf"\1{MASK}", _URL_CREDENTIALS.sub(rf"\1{MASK}@", text))

    def _mask_fragments(self, line: str, remainders: list[str]) -> str:
        """Mask the part of a value that is split over lines, as base64 is: it begins at the end, or continues here."""
        words, continued = line.split(), list[str]()
        for rest in remainders:
            if words and rest.startswith(words[-1]):
                continued.append(rest[len(words[-1]) :])
                line = f"{line.rstrip()[: -len(words[-1])]}{MASK}"
                break
            if found := next((word for word in words if word.startswith(rest)), ""):
                line = line.replace(found, f"{MASK}{found[len(rest) :]}", 1)
                break
        remainders[:] = [rest for rest in continued if rest]
        return line if continued else self._mask_line_end(line, remainders)

    def _mask_line_end(self, line: str, remainders: list[str]) -> str:
        text = line.rstrip()
        for value in self._values:
            # Host and user of a URL are worth reading; its password is a separate value.
            if len(value) <= MIN_FRAGMENT or "://" in value:
                continue
            at = text.rfind(value[:MIN_FRAGMENT])
            if at >= 0 and value.startswith(text[at:]):
                remainders.append(value[len(text) - at :])
                line = f"{text[:at]}{MASK}"
                break
        return line


def _is_worth_masking(value: str) -> bool:
    if value.isdecimal():
        return len(value) >= MIN_DIGITS
    return len(value) >= MIN_MASKED and value.lower() not in COMMON_WORDS


def _encoded_forms(value: str) -> set[str]:
    forms = {quote(value, safe=""), quote(value), quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1]}
    forms |= {escape(value), *(_LOWER_CASE.sub(lambda found: found[0].lower(), form) for form in forms)}
    raw = value.encode()
    if len(raw) >= MIN_ENCODED:
        forms |= {raw.hex(), raw.hex().upper(), *_base64(raw)}
    return forms


def _base64(raw: bytes) -> set[str]:
    """The digits that depend on these bytes alone, at each of the three possible offsets."""
    found = set[str]()
    for before in range(3):
        first, end = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        digits = base64.b64encode(bytes(before) + raw).decode()[first:end]
        found |= {digits, digits.replace("+", "-").replace("/", "_")}
    return found


def _url_passwords(value: str) -> set[str]:
    try:
        password = urlsplit(value).password
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()


def without_credentials(url: str) -> str:
    """The URL without user and query, for printing."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class MaskingFormatter(logging.Formatter):
    """Masks the finished line, so that arguments and tracebacks are covered as well."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__("%(message)s")
        self._secrets = secrets
        self._remainders: list[str] = []

    def format(self, record: logging.LogRecord) -> str:
        return self._secrets.mask(super().format(record), self._remainders)


class Tail(logging.Handler):
    """Keeps the last lines for the notification."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=TAIL_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.extend(line[:TAIL_LINE_LENGTH] for line in self.format(record).splitlines())
