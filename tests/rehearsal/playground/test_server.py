"""The page's HTTP server, over real connections."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from rehearsal.playground.board import Board
from rehearsal.playground.server import PAGE, CommandRefusedError, PageServer, content_security_policy
from rehearsal.playground.session import TOKEN_HEADER


def broken(name: str) -> Mapping[str, Any]:
    if name == "refused":
        raise CommandRefusedError("this one is refused")
    if name == "odd":
        raise ValueError("an odd moment")
    return {"did": f"broke {name}"}


@pytest.fixture
def board() -> Board:
    return Board("run-1", rate=50)


@pytest.fixture
def server(board: Board) -> Iterator[PageServer]:
    started = PageServer(board, {"faults": broken}, port=0)
    yield started
    started.close()


def request(server: PageServer, method: str, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    address = server.url.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request(method, path, headers={key.replace("_", "-"): value for key, value in headers.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def request_json(server: PageServer, method: str, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    answer, body = request(server, method, path, **headers)
    content: dict[str, Any] = json.loads(body)
    return answer.status, content


def test_the_page_is_one_file_that_loads_nothing_from_elsewhere(server: PageServer) -> None:
    answer, body = request(server, "GET", "/")
    page = body.decode()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert re.findall(r"(?:src|href)=\"(?!data:)[^\"]*\"", page) == []
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "innerHTML" not in page
    assert answer.headers["Content-Security-Policy"] == content_security_policy(page)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_policy_names_the_pages_own_script_and_style_by_their_hashes() -> None:
    policy = content_security_policy("<style>a</style><script>b</script>")
    assert "style-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='" in policy
    assert "script-src 'sha256-PiPoFgA5WUoziU9lZOGxNIu9egCI1CxKy3PurtWcAJ0='" in policy


def test_a_page_without_script_has_no_policy() -> None:
    with pytest.raises(ValueError, match="no <script>"):
        content_security_policy("<style>a</style>")


def test_the_state_holds_only_what_the_page_does_not_have_yet(server: PageServer, board: Board) -> None:
    board.add_traffic([{"time": 1.0}, {"time": 2.0}])
    board.log("traffic", "first")
    board.log("traffic", "<script>second</script>")
    status, state = request_json(server, "GET", "/state.json?after=1.0&event=1")
    assert (status, state["run"], state["rate"], state["phase"]) == (200, "run-1", 50, "starting")
    assert state["traffic"] == [{"time": 2.0}]
    assert [event["text"] for event in state["events"]] == ["<script>second</script>"]


@pytest.mark.parametrize("query", ["", "?after=x&event=y", "?after=&event=1.5", "?event=" + "9" * 5000])
def test_an_invalid_query_returns_the_entire_state(server: PageServer, board: Board, query: str) -> None:
    board.add_traffic([{"time": 1.0}])
    board.log("traffic", "first")
    state = request_json(server, "GET", f"/state.json{query}")[1]
    assert (len(state["traffic"]), len(state["events"])) == (1, 1)


@pytest.mark.parametrize("path", ["/favicon.ico", "/state", "/../etc/passwd", "/page.html"])
def test_an_unknown_path_is_not_found(server: PageServer, path: str) -> None:
    status, content = request_json(server, "GET", path)
    assert status == 404
    assert "allowed are / and /state.json" in content["error"]


def test_a_foreign_host_header_is_refused(server: PageServer) -> None:
    assert request_json(server, "GET", "/state.json", Host="evil.example")[0] == 403
    assert request_json(server, "POST", "/faults/zone", Host="evil.example", X_Playground_Token=server.token)[0] == 403
    assert request_json(server, "GET", "/state.json", Host="localhost:1")[0] == 200


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_command_needs_the_token(server: PageServer, token: str) -> None:
    status, content = request_json(server, "POST", "/faults/zone", X_Playground_Token=token)
    assert status == 403
    assert TOKEN_HEADER in content["error"]


def test_a_command_succeeds_or_is_refused_with_its_reason(server: PageServer) -> None:
    def post(path: str) -> tuple[int, dict[str, Any]]:
        return request_json(server, "POST", path, X_Playground_Token=server.token)

    assert post("/faults/zone") == (200, {"did": "broke zone"})
    assert post("/faults/refused") == (409, {"error": "this one is refused"})
    assert post("/faults/odd") == (500, {"error": "ValueError: an odd moment"})
    assert post("/dance")[0] == 404


def test_head_has_no_body(server: PageServer) -> None:
    answer, body = request(server, "HEAD", "/")
    assert (answer.status, int(answer.headers["Content-Length"]), body) == (200, len(PAGE.read_bytes()), b"")


def test_a_port_in_use_is_skipped(board: Board) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = PageServer(board, {}, port=port)
        try:
            assert server.url != f"http://127.0.0.1:{port}/"
            assert request(server, "GET", "/state.json")[0].status == 200
        finally:
            server.close()


def test_a_port_above_all_others_has_no_next_one(board: Board) -> None:
    server = PageServer(board, {}, port=65535)
    server.close()
    assert server.url.startswith("http://127.0.0.1:")
