"""HTTP server of the page on loopback: GET / and /state.json; POST /faults/NAME and /stop with the token."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import json
import re
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rehearsal.playground.board import Board
from rehearsal.playground.session import TOKEN_HEADER

LOOPBACK = "127.0.0.1"
PAGE = Path(__file__).parent / "page.html"
TIMEOUT_S = 10.0  # of an idle connection
TRIED_PORTS = 10  # from the requested one on, before any free port is used

Command = Callable[[str], Mapping[str, Any]]


class CommandRefusedError(Exception):
    """A command that is not allowed now; the message is a sentence."""


class PageServer:
    """Listens from construction on, and serves in threads until `close`."""

    def __init__(self, board: Board, commands: Mapping[str, Command], *, port: int) -> None:
        self._server = _bound(port, board, commands)
        self.token = self._server.token
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="page", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, board: Board, commands: Mapping[str, Command]) -> None:
        self.board, self.commands, self.token = board, commands, secrets.token_urlsafe(24)
        self.page = PAGE.read_bytes()
        self.policy = content_security_policy(self.page.decode())
        super().__init__((LOOPBACK, port), _PageHandler)

    def server_bind(self) -> None:
        """Bind without the base class's reverse DNS lookup, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """No traceback for a browser that disconnects during a response."""


def _bound(port: int, board: Board, commands: Mapping[str, Command]) -> _HttpServer:
    for candidate in range(port, min(port + TRIED_PORTS, 65536)):
        try:
            return _HttpServer(candidate, board, commands)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    return _HttpServer(0, board, commands)


class _PageHandler(BaseHTTPRequestHandler):
    """Request handler; `server` has board, commands and page."""

    server: _HttpServer
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S
    server_version, sys_version = "playground", ""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if not self._is_local():
            self._refuse(HTTPStatus.FORBIDDEN, f"host {self.headers['Host']!r}: allowed are {LOOPBACK} and localhost")
        elif parts.path == "/":
            headers = {"Content-Security-Policy": self.server.policy}
            self._send(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8", headers)
        elif parts.path == "/state.json":
            self._json(HTTPStatus.OK, self.server.board.as_json(**_range(parts.query)))
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"no {parts.path} here: allowed are / and /state.json")

    do_HEAD = do_GET  # noqa: N815 - the base class's naming

    def do_POST(self) -> None:
        """Commands need the token, against cross-site requests from other pages in the same browser."""
        name, _, argument = urlsplit(self.path).path.strip("/").partition("/")
        commands = self.server.commands
        self.close_connection = True  # commands have no body: it is not read
        if not self._is_local() or not secrets.compare_digest(self._token(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, f"the header {TOKEN_HEADER} does not hold this playground's token")
        elif name not in commands:
            self._refuse(HTTPStatus.NOT_FOUND, f"no command {name}: allowed are {', '.join(commands)}")
        else:
            self._run(commands[name], argument)

    def _token(self) -> bytes:
        return self.headers.get(TOKEN_HEADER, "").encode()

    def _run(self, command: Command, argument: str) -> None:
        try:
            self._json(HTTPStatus.OK, command(argument))
        except CommandRefusedError as error:
            self._refuse(HTTPStatus.CONFLICT, str(error))
        except Exception as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")

    def _is_local(self) -> bool:
        """Checks the Host header, against DNS rebinding."""
        host, _, _port = self.headers.get("Host", "").partition(":")
        return host in (LOOPBACK, "localhost")

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._json(status, {"error": reason})

    def _json(self, status: HTTPStatus, content: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(content).encode(), "application/json", {})

    def _send(self, status: HTTPStatus, body: bytes, kind: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        fixed = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        for key, value in {**fixed, "X-Content-Type-Options": "nosniff", **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """No access log: each open page polls every second."""


def _range(query: str) -> dict[str, Any]:
    """Query parameters `after` and `event`; invalid numbers are ignored."""
    values, found = parse_qs(query), dict[str, Any]()
    with contextlib.suppress(KeyError, ValueError):
        found["after"] = float(values["after"][0])
    with contextlib.suppress(KeyError, ValueError):
        found["event"] = int(values["event"][0])
    return found


def content_security_policy(page: str) -> str:
    """Content-Security-Policy that allows only the page's own script and style, by hash."""
    sources = {tag: _hash(page, tag) for tag in ("script", "style")}
    listed = "; ".join(f"{tag}-src '{digest}'" for tag, digest in sources.items())
    return f"default-src 'none'; connect-src 'self'; {listed}; base-uri 'none'; form-action 'none'; img-src data:"


def _hash(page: str, tag: str) -> str:
    found = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    if found is None:
        raise ValueError(f"the page has no <{tag}>")
    return f"sha256-{base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()}"
