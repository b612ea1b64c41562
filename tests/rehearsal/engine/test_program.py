"""The repository's own program under the engine: from nothing to a cutover, a refused one, and nothing again."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from moto.elbv2.models import ELBv2Backend
from pulumi.automation import ConfigValue
from pulumi.automation.errors import CommandError

from rehearsal.engine import Stack, create_stack, open_stack

from .conftest import Traffic, counts

Client = Callable[[str], Any]


class Front:
    """What users and previews get: answers by the live rule's weights, or by the color in the preview header."""

    def __init__(self, aws: Client) -> None:
        self.aws = aws
        self.releases = {"blue": "v1", "green": "v2"}
        self.broken: set[str] = set()
        front = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                front.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        color = str(request.headers.get("X-Bluegreen-Preview", "")).rpartition("-")[2] or self._live()
        release = self.releases[color]
        bad = color in self.broken
        body = json.dumps(
            {"status": "ok", "release": release, "checks": {"database": "down" if bad else "ok"}}
        ).encode()
        request.send_response(503 if bad else 200)
        for key, value in {"Content-Length": len(body), "X-Release": release, "X-Color": color}.items():
            request.send_header(key, str(value))
        request.end_headers()
        request.wfile.write(body)

    def _live(self) -> str:
        elb = self.aws("elbv2")
        balancer = elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
        listener = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"][0]["ListenerArn"]
        rule = next(each for each in elb.describe_rules(ListenerArn=listener)["Rules"] if each["Priority"] == "100")
        groups = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
        serving = next(each["TargetGroupArn"] for each in groups if int(each["Weight"]) > 0)
        return "blue" if "/blue" in serving else "green"


@pytest.fixture
def front(aws: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    made = Front(aws)
    create = ELBv2Backend.create_load_balancer

    def here(*args: Any, **kwargs: Any) -> Any:
        balancer = create(*args, **kwargs)
        balancer.dns_name = "127.0.0.1"
        return balancer

    monkeypatch.setattr(ELBv2Backend, "create_load_balancer", here)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def stack(tmp_path: Path, front: Front, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("BLUEGREEN_STATE_DIR", str(tmp_path))
    for key in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(key, "eu-central-1")
    made = open_stack("dev")
    made.set_config("httpPort", ConfigValue(str(front.port)))
    return made


def up(stack: Stack) -> dict[str, int]:
    changes = counts(stack.up().summary.resource_changes)
    return {op: count for op, count in changes.items() if op != "same"}


def deliver(stack: Stack, color: str, release: str) -> None:
    bucket = stack.outputs()["artifactsBucket"].value
    values = {
        "release": release,
        "releaseUrl": f"s3://{bucket}/releases/{release}/bundle.tar.gz",
        "sha256": "0" * 64,
        "amiId": "ami-12c6146b",
    }
    for key, value in values.items():
        stack.set_config(f"{color}.{key}", ConfigValue(value), path=True)


def test_the_program_from_nothing_to_a_cutover(stack: Stack, front: Front, traffic: Traffic) -> None:
    assert set(up(stack)) == {"create"}
    assert stack.outputs()["liveRuleArn"].value == ""

    deliver(stack, "blue", "v1")
    assert set(up(stack)) == {"create"}
    deliver(stack, "green", "v2")
    assert set(up(stack)) == {"create"}

    traffic.actions.clear()
    assert (up(stack), traffic.writes()) == ({}, [])

    for color in ("green", "blue"):
        stack.set_config("activeColor", ConfigValue(color))
        traffic.actions.clear()
        assert (up(stack), traffic.writes()) == ({"update": 1}, ["ModifyRule"])

    front.broken.add("green")
    stack.set_config("activeColor", ConfigValue("green"))
    traffic.actions.clear()
    with pytest.raises(CommandError, match='before hook "gate-before-users" failed: green is not fit for users'):
        stack.up()
    assert traffic.writes() == []

    stack.set_config("activeColor", ConfigValue("blue"))
    deliver(stack, "blue", "v3")
    with pytest.raises(CommandError, match="blue serves users with release v1"):
        stack.up()
    deliver(stack, "blue", "v1")
    deliver(stack, "green", "v3")
    assert up(stack) == {"replace": 3}, "a release of the idle color makes new machines, and nothing else"
    assert stack.outputs()["colors"].value["green"]["asgName"].startswith("dev-green-v3-")

    stack.destroy()
    deployment = stack.export_stack().deployment
    assert deployment is not None
    assert deployment["resources"] == []


def test_bad_config_is_told_at_once_and_nothing_is_made(stack: Stack, traffic: Traffic) -> None:
    stack.set_config("activeColor", ConfigValue("pink"))
    stack.set_config("canaryPercent", ConfigValue("101"))
    with pytest.raises(CommandError) as caught:
        stack.up()
    assert "activeColor: pink" in str(caught.value)
    assert "canaryPercent: 101" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert traffic.writes() == []


def test_a_stack_starts_with_the_values_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLUEGREEN_STATE_DIR", str(tmp_path))
    assert create_stack("prod").get_config("aws:region").value == open_stack("prod").get_config("aws:region").value
    with pytest.raises(CommandError, match="already exists"):
        create_stack("prod")
    monkeypatch.delenv("BLUEGREEN_STATE_DIR")
    assert "BLUEGREEN_STATE_DIR" not in os.environ
    with pytest.raises(CommandError, match="BLUEGREEN_STATE_DIR is not set"):
        open_stack("prod")
