"""HTTP/1.1 response parser for a byte stream: status, release, color and where the response ends."""

from __future__ import annotations

from dataclasses import dataclass


class ResponseError(Exception):
    """Not an HTTP/1.1 response."""


@dataclass(frozen=True, slots=True)
class Response:
    """`status` 0: no response. `close`: the connection can't be reused."""

    status: int = 0
    release: str = ""
    color: str = ""
    close: bool = False


class ResponseParser:
    """`feed` returns the response once it is complete."""

    __slots__ = ("_buffer", "_chunked", "_remaining", "_response")

    def __init__(self) -> None:
        self._buffer = b""
        self._response: Response | None = None
        self._remaining: int | None = None
        self._chunked = False

    def feed(self, data: bytes) -> Response | None:
        self._buffer = self._buffer + data if self._buffer else data
        if self._response is None and not self._read_head():
            return None
        if self._chunked:
            return self._read_chunks()
        if self._remaining is None:
            return None  # the body ends with the connection
        return self._complete(self._remaining) if len(self._buffer) >= self._remaining else None

    def end_of_stream(self) -> Response | None:
        """The connection was closed, which completes a body without a length."""
        if self._response is None or self._chunked or self._remaining is not None:
            return None
        return self._complete(len(self._buffer))

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > 65536:
                raise ResponseError("headers of more than 64 KiB")
            return False
        lines = self._buffer[:end].split(b"\r\n")
        self._buffer = self._buffer[end + 4 :]
        status = lines[0].split(b" ", 2)
        if len(status) < 2 or not status[0].startswith(b"HTTP/1.") or not status[1].isdigit():
            raise ResponseError(f"status line {lines[0][:60]!r}")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])
        }
        self._apply_headers(int(status[1]), headers)
        return True

    def _apply_headers(self, status: int, headers: dict[bytes, bytes]) -> None:
        length = headers.get(b"content-length")
        self._chunked = headers.get(b"transfer-encoding", b"").lower() == b"chunked"
        if length is not None and not length.isdigit():
            raise ResponseError(f"content length {length!r}")
        self._remaining = int(length) if length is not None else None
        if status in (204, 304):
            self._remaining = 0
        bodiless_end = self._remaining is None and not self._chunked
        self._response = Response(
            status=status,
            release=_tsv_field(headers.get(b"x-release", b"")),
            color=_tsv_field(headers.get(b"x-color", b"")),
            close=bodiless_end or headers.get(b"connection", b"").lower() == b"close",
        )

    def _read_chunks(self) -> Response | None:
        position = 0
        while (end := self._buffer.find(b"\r\n", position)) >= 0:
            try:
                size = int(self._buffer[position:end].split(b";")[0], 16)
            except ValueError as error:
                raise ResponseError(f"chunk size {self._buffer[position:end][:20]!r}") from error
            following = end + 2 + size + 2
            if len(self._buffer) < following:
                break
            if size == 0:
                return self._complete(following)
            position = following
        self._buffer = self._buffer[position:]
        return None

    def _complete(self, length: int) -> Response:
        response = self._response
        if response is None:
            raise ResponseError("a body without headers")
        self._buffer, self._response, self._remaining, self._chunked = self._buffer[length:], None, None, False
        return response


def _tsv_field(value: bytes) -> str:
    """A header value without tabs."""
    return value.decode("ascii", "replace").replace("\t", " ")
