"""Fault-injecting proxy for AWS: single services are down or never answer, by the service of a request's signature."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_SIGNED_FOR = re.compile(r"Credential=[^/]+/\d+/[\w-]+/(\w+)/aws4_request")
_OF_CONNECTION = {"connection", "transfer-encoding", "date", "server"}
HANGS_S = 60.0


class FaultProxy:
    """Forwards requests to the emulator, but for services that are `down` (503), `hanging` or `late`.

    Requests to hanging services are dropped; late ones process an event, a message or a metric and respond too late.
    Both respond, or close the connection, once they are released.
    """

    def __init__(self, upstream: str) -> None:
        self.down: set[str] = set()
        self.hanging: set[str] = set()
        self.late: set[str] = set()
        self.requested: list[str] = []
        self.released = threading.Event()
        self._upstream = urlsplit(upstream).netloc
        self._server = _server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def forward(self, exchange: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = HTTPConnection(self._upstream, timeout=30)
        try:
            connection.request(exchange.command, exchange.path, body, dict(exchange.headers.items()))
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def release(self) -> None:
        """All services are healthy again, and pending requests end."""
        for faults in (self.down, self.hanging, self.late):
            faults.clear()
        self.released.set()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()


class _AnyMethod(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.do_POST()

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, format: str, *args: object) -> None:
        """Tests read the requested services in `requested`."""


def _server(proxy: FaultProxy) -> ThreadingHTTPServer:
    class Exchange(_AnyMethod):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            signed = _SIGNED_FOR.search(self.headers.get("Authorization", ""))
            service = signed[1] if signed else ""
            proxy.requested.append(service)
            if service in proxy.hanging:
                proxy.released.wait(HANGS_S)
                return
            if service in proxy.down:
                self._answer(503, [], b"<ErrorResponse><Error><Code>ServiceUnavailable</Code></Error></ErrorResponse>")
                return
            answer = proxy.forward(self, body)
            if service in proxy.late and not self.headers.get("X-Amz-Target", "").endswith("CreateLogStream"):
                proxy.released.wait(HANGS_S)
            self._answer(*answer)

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in {*_OF_CONNECTION, "content-length"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that time out are part of some tests."""

    return Quiet(("127.0.0.1", 0), Exchange)


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    proxy = FaultProxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()
