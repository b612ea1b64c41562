"""Text that leaves the machine holds no secret: known values, plain and coded, and credentials in URLs stand as ***."""

import base64
import json
import logging
import re
from collections import deque
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "***"
SHORTEST_MASKED = 4  # replacing "1" or "on" everywhere would ruin every line and hide nothing worth hiding
SHORTEST_CODED = 6  # of fewer base64 digits than these make, ordinary words are made as well
TAIL_LINES = 50
TAIL_LINE_LENGTH = 1000  # 50 of them stay far below the 256 KiB that a notification may have

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
            if len(part) >= SHORTEST_MASKED:
                self._values |= {part, *_coded(part)}

    def mask(self, text: str) -> str:
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, MASK)
        return _URL_TOKENS.sub(rf"\1{MASK}", _URL_CREDENTIALS.sub(rf"\1{MASK}@", text))


def _coded(value: str) -> set[str]:
    forms = {quote(value, safe=""), quote(value), quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1]}
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

    def format(self, record: logging.LogRecord) -> str:
        return self._secrets.mask(super().format(record))


class Tail(logging.Handler):
    """Keeps the last lines for the notification."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=TAIL_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.extend(line[:TAIL_LINE_LENGTH] for line in self.format(record).splitlines())
