"""Release bundles, good and hostile, a small app, and an https server that serves them, also badly."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import socket
import ssl
import tarfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ami.boot.user_data import FORMAT

# The app's contract in a few lines: health with the release, 503 where the release says so, SIGTERM obeyed.
SERVE = """#!/bin/sh
trap 'echo finished; kill $!; exit 0' TERM
echo "serving release=$RELEASE"
httpd -f -p "$PORT" -h /www &
wait
"""
HEALTH = """#!/bin/sh
printf 'Status: 200\\r\\nContent-Type: application/json\\r\\n\\r\\n'
printf '{"status": "ok", "release": "%s", "greeting": "%s"}' "$RELEASE" "$GREETING"
"""
HEALTH_PATH = "/cgi-bin/health"
DOCKERFILE = f"""ARG BASE_IMAGE=none:none
FROM ${{BASE_IMAGE}}
COPY serve /serve
COPY health /www{HEALTH_PATH}
CMD ["/bin/sh", "/serve"]
"""
PARTS = {
    **dict.fromkeys(("version", "url", "sha256"), "release"),
    **dict.fromkeys(("port", "health_path", "boot_timeout", "drain_timeout"), "app"),
    **dict.fromkeys(("log_app", "log_boot", "log_system"), "log_groups"),
}
APP = {"Dockerfile": DOCKERFILE, "serve": SERVE, "health": HEALTH}


def rootfs(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        archive.add("/bin/busybox", "bin/busybox")
        for name in ("sh", "httpd", "kill", "sleep", "echo"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o755) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, link, mode
    return member


def source(folder: Path, **changed: str) -> Path:
    """The small app as a folder, with changed files."""
    folder.mkdir()
    for name, text in {**APP, **changed}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def bundle(path: Path, files: dict[str, str], *, top: str = "", extra: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    """A tar.gz of these files, in one folder around them when `top` names one, and then the extra entries."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = entry(f"{top}{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
        for member in extra:
            archive.addfile(member, io.BytesIO(b"x" * member.size) if member.size else None)
    return path


def app_bundle(path: Path, release: str = "v1", **changed: str) -> Path:
    about = json.dumps({"version": release, "kind": "source"})
    return bundle(path, {**APP, "release.json": about, **changed})


def bomb(path: Path, megabytes: int) -> Path:
    """One file of zeros: a thousandth of its size when packed."""
    header = entry("zeros")
    header.size = megabytes << 20
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(header.tobuf())
        for _ in range(megabytes):
            stream.write(bytes(1 << 20))
        stream.write(bytes(1024))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Exchange(BaseHTTPRequestHandler):
    """One request; what answers it is looked up by path."""

    server: _Tls

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.seen.append(path)
        self.server.answers.get(path, _nothing)(self)

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", headers.get("length", str(len(body))))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests read the requested paths in `seen`."""


Answer = Callable[[Exchange], None]


def _nothing(exchange: Exchange) -> None:
    exchange.send(404)


class _Tls(ThreadingHTTPServer):
    daemon_threads = True
    answers: dict[str, Answer]
    seen: list[str]

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what some tests are about."""


class TlsServer:
    def __init__(self, key: Path, certificate: Path) -> None:
        self._server = _Tls(("127.0.0.1", 0), Exchange)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.answers, self._server.seen = {}, []
        self.released = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def seen(self) -> list[str]:
        return self._server.seen

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}{path}"

    def answer(self, path: str, how: Answer) -> str:
        self._server.answers[path] = how
        return self.url(path)

    def file(self, path: str, source: Path) -> str:
        return self.answer(path, lambda exchange: exchange.send(200, source.read_bytes()))

    def stall(self, path: str, first: bytes = b"", promised: int = 1000) -> str:
        """Begins a response and then sends nothing more."""

        def how(exchange: Exchange) -> None:
            exchange.send(200, first, length=str(promised))
            self.released.wait(30)

        return self.answer(path, how)

    def trickle(self, path: str) -> str:
        """A byte every 20 ms: each read gets something, and the response never ends."""

        def how(exchange: Exchange) -> None:
            exchange.send(200, length="1000000")
            while not self.released.wait(0.02):
                exchange.wfile.write(b"x")

        return self.answer(path, how)

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def user_data(**changed: object) -> str:
    """Good user data but for what a test changes, by field; None leaves a field out."""
    values: dict[str, object] = {
        "format": FORMAT,
        "stack": "dev",
        "color": "blue",
        "version": "v1",
        "url": "https://127.0.0.1/v1.tar.gz",
        "port": 8080,
        "health_path": HEALTH_PATH,
        "boot_timeout": 80,
        "drain_timeout": 5,
        **changed,
    }
    nested: dict[str, Any] = {}
    for name, value in values.items():
        if value is not None:
            part = PARTS.get(name)
            (nested.setdefault(part, {}) if part else nested)[name.removeprefix("log_")] = value
    return json.dumps(nested)
