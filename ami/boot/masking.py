"""Text that leaves the machine holds no secret: known values and credentials in URLs stand as ***."""

import logging
import re
from collections import deque
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

MASK = "***"
SHORTEST_MASKED = 4  # replacing "1" or "on" everywhere would ruin every line and hide nothing worth hiding
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
        """Hides the value, each line of it, and the password when it is a URL: an app prints those alone, too."""
        parts = {value, *value.splitlines(), *_url_passwords(value)}
        self._values |= {part for part in parts if len(part) >= SHORTEST_MASKED}

    def mask(self, text: str) -> str:
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, MASK)
        return _URL_TOKENS.sub(rf"\1{MASK}", _URL_CREDENTIALS.sub(rf"\1{MASK}@", text))


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
