"""The page's server on loopback: GET / and /state.json for a browser; POST /faults/NAME and /stop with the token."""

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
TRIED_PORTS = 10  # from the usual one on, before any free one is taken

Command = Callable[[str], Mapping[str, Any]]


class RefusedError(Exception):
    """A command that can't be carried out; the message is a sentence."""


class PageServer:
    """Listens from construction on, answers in threads until `close`."""

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


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, board: Board, commands: Mapping[str, Command]) -> None:
        self.board, self.commands, self.token = board, commands, secrets.token_urlsafe(24)
        self.page = PAGE.read_bytes()
        self.policy = content_security_policy(self.page.decode())
        super().__init__((LOOPBACK, port), _Handler)

    def server_bind(self) -> None:
        """Without the base class's look-up of the host's name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves in the middle of an answer is nothing to print a traceback for."""


def _bound(port: int, board: Board, commands: Mapping[str, Command]) -> _Server:
    for candidate in range(port, min(port + TRIED_PORTS, 65536)):
        try:
            return _Server(candidate, board, commands)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    return _Server(0, board, commands)


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests; `server` holds what they are answered from."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S
    server_version, sys_version = "playground", ""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if not self._is_local():
            self._refuse(HTTPStatus.FORBIDDEN, f"host {self.headers['Host']!r}: only this machine's own is served")
        elif parts.path == "/":
            headers = {"Content-Security-Policy": self.server.policy}
            self._send(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8", headers)
        elif parts.path == "/state.json":
            self._json(HTTPStatus.OK, self.server.board.as_json(**_range(parts.query)))
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no {parts.path} here: / and /state.json are what there is")

    do_HEAD = do_GET  # noqa: N815 - the base class's naming

    def do_POST(self) -> None:
        """Of the token: a page of somebody else's, open in the same browser, must not be able to do it."""
        name, _, argument = urlsplit(self.path).path.strip("/").partition("/")
        commands = self.server.commands
        self.close_connection = True  # a body, which no command has, is not read
        if not self._is_local() or not secrets.compare_digest(self._token(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, f"the header {TOKEN_HEADER} does not hold this playground's token")
        elif name not in commands:
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no command {name}: {', '.join(commands)} are what there is")
        else:
            self._run(commands[name], argument)

    def _token(self) -> bytes:
        return self.headers.get(TOKEN_HEADER, "").encode()

    def _run(self, command: Command, argument: str) -> None:
        try:
            self._json(HTTPStatus.OK, command(argument))
        except RefusedError as error:
            self._refuse(HTTPStatus.CONFLICT, str(error))
        except Exception as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")

    def _is_local(self) -> bool:
        """By its name too: a foreign name that resolves to loopback is another site's way in."""
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
        """A line for each second of each open page helps nobody."""


def _range(query: str) -> dict[str, Any]:
    """What the page has already; anything that is no number counts as nothing."""
    asked, found = parse_qs(query), dict[str, Any]()
    with contextlib.suppress(KeyError, ValueError):
        found["after"] = float(asked["after"][0])
    with contextlib.suppress(KeyError, ValueError):
        found["event"] = int(asked["event"][0])
    return found


def content_security_policy(page: str) -> str:
    """Lets the page's own script and style run, and nothing else, whatever its data holds."""
    sources = {tag: _hash(page, tag) for tag in ("script", "style")}
    listed = "; ".join(f"{tag}-src '{digest}'" for tag, digest in sources.items())
    return f"default-src 'none'; connect-src 'self'; {listed}; base-uri 'none'; form-action 'none'; img-src data:"


def _hash(page: str, tag: str) -> str:
    found = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    if found is None:
        raise ValueError(f"the page has no <{tag}>")
    return f"sha256-{base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()}"
