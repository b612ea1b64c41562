"""A moto server that counts what reaches it, and stacks of small programs against it."""

from __future__ import annotations

import functools
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from moto.moto_server import threaded_moto_server
from moto.server import ThreadedMotoServer

from rehearsal.engine import Stack

REGION = "us-east-1"
READING = ("Describe", "Get", "List", "Head")


class Traffic:
    """A WSGI layer that notes each AWS action."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.actions: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if "/moto-api" not in environ["PATH_INFO"]:
            self.actions.append(_action(environ))
        return self._application(environ, start_response)

    def writes(self) -> list[str]:
        return [action for action in self.actions if not action.startswith(READING)]


def _action(environ: dict[str, Any]) -> str:
    """The action's name where the protocol tells it; the HTTP verb (as Get or Put…) and path otherwise."""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rpartition(".")[2]
    verb = str(environ["REQUEST_METHOD"]).capitalize()
    if verb == "Post" and "urlencoded" in environ.get("CONTENT_TYPE", ""):
        import io
        from urllib.parse import parse_qs

        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        return str(parse_qs(body.decode())["Action"][0])
    return f"{verb} {environ['PATH_INFO']}?{environ['QUERY_STRING']}"


@pytest.fixture(scope="session")
def _server() -> Iterator[tuple[str, Traffic]]:
    traffic: list[Traffic] = []
    make = getattr(threaded_moto_server, "DomainDispatcherApplication")  # noqa: B009 - moto does not export it

    def watched(*args: Any, **kwargs: Any) -> Traffic:
        traffic.append(Traffic(make(*args, **kwargs)))
        return traffic[-1]

    patch = pytest.MonkeyPatch()
    patch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    patch.setattr(threaded_moto_server, "DomainDispatcherApplication", watched)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()  # waits until it listens
    yield f"http://{host}:{port}", traffic[0]
    server.stop()
    patch.undo()


@pytest.fixture
def traffic(_server: tuple[str, Traffic], monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """An empty account. What reaches it is noted in `actions`."""
    endpoint, seen = _server
    for key in [key for key in os.environ if key.startswith(("AWS_", "PULUMI_"))]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    requests.post(f"{endpoint}/moto-api/reset", timeout=10).raise_for_status()
    seen.actions.clear()
    return seen


@pytest.fixture
def aws(traffic: Traffic) -> Callable[[str], Any]:
    session: Any = boto3.Session()
    return functools.cache(session.client)


Program = Callable[[str], None]


def counts(changes: Mapping[Any, int] | None) -> dict[str, int]:
    return {str(op): count for op, count in (changes or {}).items()}


class Workshop:
    """One stack whose program a test writes, and writes again."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.root.mkdir()
        self.state_dir = folder / "state"
        (self.root / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
        (self.root / "Pulumi.test.yaml").write_text("config: {}\n")

    def program(self, text: str) -> Workshop:
        header = "import pulumi\nimport pulumi_aws as aws\n"
        (self.root / "__main__.py").write_text(header + textwrap.dedent(text))
        return self

    @property
    def stack(self) -> Stack:
        return Stack("test", project=self.root, state_dir=self.state_dir)

    def up(self, text: str | None = None) -> dict[str, int]:
        """What changed, without what stayed the same."""
        if text is not None:
            self.program(text)
        changes = counts(self.stack.up().summary.resource_changes)
        return {op: count for op, count in changes.items() if op != "same"}

    def outputs(self) -> dict[str, Any]:
        return {key: each.value for key, each in self.stack.outputs().items()}


@pytest.fixture
def shop(tmp_path: Path, traffic: Traffic) -> Workshop:
    return Workshop(tmp_path)
