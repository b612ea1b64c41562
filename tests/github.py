"""GitHub's comments API behind a real port: pages, links to the next one, tokens, and answers that refuse."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LONGEST = 65_536
TOKEN = "a-token-of-the-run"
REPOSITORY = "acme/shop"
LIST = re.compile(r"/repos/acme/shop/issues/(\d+)/comments")
ONE = re.compile(r"/repos/acme/shop/issues/comments/(\d+)")


@dataclass
class GitHubServer:
    """What it was told. `most` caps a page, as GitHub does above 100."""

    url: str = ""
    most: int = 100
    comments: dict[int, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    pulls: set[int] = field(default_factory=lambda: {7})

    def add(self, number: int, body: str) -> int:
        identity = 1000 + len(self.comments)
        address = f"https://github.example/{REPOSITORY}/pull/{number}#issuecomment-{identity}"
        self.comments[identity] = {"id": identity, "issue": number, "body": body, "html_url": address}
        return identity

    def bodies(self, number: int) -> list[str]:
        return [one["body"] for one in self.comments.values() if one["issue"] == number]

    @property
    def environment(self) -> dict[str, str]:
        return {"GITHUB_API_URL": self.url, "GITHUB_REPOSITORY": REPOSITORY, "GITHUB_TOKEN": TOKEN}


@contextmanager
def github_server() -> Iterator[GitHubServer]:
    told = GitHubServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"told": told}))
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    told: GitHubServer  # set by a subclass of each server's own

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if number := self._known(LIST, asked.path):
            query = {key: int(values[0]) for key, values in parse_qs(asked.query).items()}
            self._page(number, query.get("page", 1), min(query.get("per_page", 30), self.told.most))

    def _page(self, number: int, page: int, size: int) -> None:
        found = [one for one in self.told.comments.values() if one["issue"] == number]
        shown, links = found[(page - 1) * size : page * size], {}
        if page * size < len(found):
            path = f"/repos/{REPOSITORY}/issues/{number}/comments?per_page={size}&page={page + 1}"
            links = {"Link": f'<{self.told.url}{path}>; rel="next", <{self.told.url}{path}>; rel="last"'}
        self._answer(200, shown, links)

    def do_POST(self) -> None:
        if (number := self._known(LIST, self.path)) and (body := self._body()):
            self._answer(201, self.told.comments[self.told.add(number, body)])

    def do_PATCH(self) -> None:
        if (identity := self._known(ONE, self.path)) and (body := self._body()):
            self.told.comments[identity]["body"] = body
            self._answer(200, self.told.comments[identity])

    def _known(self, pattern: re.Pattern[str], path: str) -> int:
        """The number in the path, once token and path are fine; 0 when it has been answered already."""
        self.told.requests.append(f"{self.command} {self.path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"message": "Bad credentials"})
            return 0
        match = pattern.fullmatch(path)
        number = int(match[1]) if match else 0
        if number not in self.told.pulls | set(self.told.comments):
            self._answer(404, {"message": "Not Found"})
            return 0
        return number

    def _body(self) -> str:
        body = str(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"])
        if len(body) > LONGEST:
            self._answer(422, {"message": "Validation Failed: body is too long (maximum is 65536 characters)"})
            return ""
        return body

    def _answer(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass
