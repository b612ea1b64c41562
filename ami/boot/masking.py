"""Text that leaves the machine holds no secret: known values, plain and coded, and credentials in URLs stand as ***."""

import base64
import json
import logging
import re
from collections import deque
from collections.abc import Iterable
from html import escape
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "***"
SHORTEST_MASKED = 4  # replacing "1" or "on" everywhere would ruin every line and hide nothing worth hiding
# Values of parameters that are no secret whoever stores them, and words of every log.
_WORDS = """true false none null yes enabled disabled default auto trace debug info warn warning error critical local
localhost test staging production development utf8 utf-8"""
COMMON_WORDS = frozenset(_WORDS.split())
SHORTEST_NUMBER = 6  # fewer digits are a port, a size or a limit
SHORTEST_PIECE = 12  # of a value that is broken into lines; fewer letters at a line's end may be anything
SHORTEST_CODED = 6  # of fewer base64 digits than these make, ordinary words are made as well
TAIL_LINES = 50
TAIL_LINE_LENGTH = 1000  # 50 of them stay far below the 256 KiB that a notification may have

_BREAK = re.compile(r"(\r?\n| \| )")  # lines, also those that stand in one sentence
_LOWER_CASE = re.compile("%[0-9A-F]{2}")  # some write them small
_URL_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@]+@", re.IGNORECASE)
_URL_TOKENS = re.compile(
    r"([?&](?:X-Amz-[\w-]+|AWSAccessKeyId|token|access_token|signature|sig|password|secret)=)[^&\s\"']+", re.IGNORECASE
)


class Secrets:
    """The values that must not be seen; they become known while the machine boots."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """Hides the value, each line of it, and the password when it is a URL: an app prints those alone, too.

        Also as they stand in URLs, in JSON, in hexadecimal digits and in base64, alone or inside something longer.
        """
        parts = {value, *value.splitlines(), *_url_passwords(value)}
        for part in parts:
            if _hides_something(part):
                self._values |= {part, *_coded(part)}

    def mask(self, text: str, left: list[str] | None = None) -> str:
        """`left`: what is left of values that the text before broke off at its end; kept for the text after this."""
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, MASK)
        parts = _BREAK.split(text)
        left = [] if left is None else left
        parts[::2] = [self._without_pieces(line, left) for line in parts[::2]]
        text = "".join(parts)
        return _URL_TOKENS.sub(rf"\1{MASK}", _URL_CREDENTIALS.sub(rf"\1{MASK}@", text))

    def _without_pieces(self, line: str, left: list[str]) -> str:
        """Without what begins at its end, or goes on here, of a value that was broken into lines, as base64 is."""
        words, goes_on = line.split(), list[str]()
        for rest in left:
            if words and rest.startswith(words[-1]):
                goes_on.append(rest[len(words[-1]) :])
                line = f"{line.rstrip()[: -len(words[-1])]}{MASK}"
                break
            if found := next((word for word in words if word.startswith(rest)), ""):
                line = line.replace(found, f"{MASK}{found[len(rest) :]}", 1)
                break
        left[:] = [rest for rest in goes_on if rest]
        return line if goes_on else self._without_beginning(line, left)

    def _without_beginning(self, line: str, left: list[str]) -> str:
        text = line.rstrip()
        for value in self._values:
            # Host and user of a URL are worth reading; its password is a value of its own.
            if len(value) <= SHORTEST_PIECE or "://" in value:
                continue
            at = text.rfind(value[:SHORTEST_PIECE])
            if at >= 0 and value.startswith(text[at:]):
                left.append(value[len(text) - at :])
                line = f"{text[:at]}{MASK}"
                break
        return line


def _hides_something(value: str) -> bool:
    if value.isdecimal():
        return len(value) >= SHORTEST_NUMBER
    return len(value) >= SHORTEST_MASKED and value.lower() not in COMMON_WORDS


def _coded(value: str) -> set[str]:
    forms = {quote(value, safe=""), quote(value), quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1]}
    forms |= {escape(value), *(_LOWER_CASE.sub(lambda found: found[0].lower(), form) for form in forms)}
    raw = value.encode()
    if len(raw) >= SHORTEST_CODED:
        forms |= {raw.hex(), raw.hex().upper(), *_base64(raw)}
    return forms


def _base64(raw: bytes) -> set[str]:
    """The digits that depend on these bytes only, wherever they begin among the three that make four digits."""
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
    """The part of a URL that may be printed: no user, no query."""
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
        self._left: list[str] = []

    def format(self, record: logging.LogRecord) -> str:
        return self._secrets.mask(super().format(record), self._left)


class Tail(logging.Handler):
    """Keeps the last lines for the notification."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=TAIL_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.extend(line[:TAIL_LINE_LENGTH] for line in self.format(record).splitlines())
