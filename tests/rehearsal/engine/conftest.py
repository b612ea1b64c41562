"""A moto server that counts what reaches it, and stacks of small programs against it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from moto import backends
from moto.ec2.models import EC2Backend
from moto.elbv2.models import ELBv2Backend, elbv2_backends
from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.moto_server import threaded_moto_server
from moto.server import ThreadedMotoServer
from pulumi.automation import ConfigValue
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Response

from rehearsal.cloud.additions import alarms, nat_gateways, object_versions, policies
from rehearsal.engine import Stack, open_stack
from rehearsal.engine import stack as stack_module

from . import forked
from .front import Client, Front

REGION = "us-east-1"
ONLOOKER = "onlooker"  # in the name of a client whose calls don't count
READING = ("Describe", "Get", "List", "Head")
# Of AWS's own policies, those that the tests' programs attach: moto reads all 1,582 anew for each empty account.
ATTACHED = ("AmazonSSMManagedInstanceCore",)


# Befalls one call: it may let the cloud act, and says what the caller hears.
Accident = Callable[[Callable[[], Response]], Response]


class Traffic:
    """A WSGI layer that notes each AWS action, and lets an accident happen to one of them."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._lock = threading.Condition()
        self._turn = threading.Lock()
        self._accident: tuple[int, Accident, bool] | None = None
        self._busy = 0
        self._barred = False
        self.actions: list[str] = []
        self.endpoint = ""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        def act() -> Response:
            with self._turn:  # moto keeps no locks, and forgets one of two changes at once
                return Response(*run_wsgi_app(self._application, environ, buffered=True))

        if "/moto-api" in environ["PATH_INFO"] or ONLOOKER in environ.get("HTTP_USER_AGENT", ""):
            return act()(environ, start_response)
        action = _action(environ)
        with self._lock:
            if self._barred:
                return Response(status=503)(environ, start_response)
            self._busy += 1
            self.actions.append(action)
            accident = self._due(action)
        try:
            return (accident(act) if accident else act())(environ, start_response)
        finally:
            with self._lock:
                self._busy -= 1
                self._lock.notify_all()

    def _due(self, action: str) -> Accident | None:
        if self._accident is None:
            return None
        left, accident, any_call = self._accident
        if action.startswith(READING) and not any_call:
            return None
        self._accident = (left - 1, accident, any_call)
        return accident if left == 1 else None

    def writes(self) -> list[str]:
        return [action for action in self.actions if not action.startswith(READING)]

    def happens(self, number: int, accident: Accident, *, any_call: bool = False) -> None:
        """The accident befalls the write call (or any call) of that number, counted from now, from 1 on."""
        with self._lock:
            self._accident = (number, accident, any_call)

    @property
    def awaits_accident(self) -> bool:
        return self._accident is not None and self._accident[0] > 0

    def bar(self) -> None:
        """From now on calls don't reach the cloud; those that are under way do."""
        with self._lock:
            self._barred = True

    def mend(self) -> None:
        """No accident is to come, none is under way, and calls reach the cloud."""
        with self._lock:
            self._accident = None
            assert self._lock.wait_for(lambda: not self._busy, timeout=30), "a call is still under way"
            self._barred = False

    def reset(self) -> None:
        """An empty account again."""
        requests.post(f"{self.endpoint}/moto-api/reset", timeout=30).raise_for_status()
        self.actions.clear()


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
def _warm() -> None:
    forked.start()


@pytest.fixture
def warm(_warm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's processes begin with their imports made."""
    popen = SimpleNamespace(Popen=forked.Forked, PIPE=subprocess.PIPE)
    monkeypatch.setattr(stack_module, "subprocess", popen)


@pytest.fixture(scope="session")
def _server() -> Iterator[tuple[str, Traffic]]:
    traffic: list[Traffic] = []
    make = getattr(threaded_moto_server, "DomainDispatcherApplication")  # noqa: B009 - moto does not export it

    def watched(*args: Any, **kwargs: Any) -> Traffic:
        traffic.append(Traffic(make(*args, **kwargs)))
        return traffic[-1]

    patch = pytest.MonkeyPatch()
    alarms.extend()
    nat_gateways.extend()
    object_versions.extend()
    policies.extend()
    patch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    known = json.loads(aws_managed_policies_data)
    patch.setattr("moto.iam.models.aws_managed_policies_data", json.dumps({name: known[name] for name in ATTACHED}))
    services = frozenset(backends.list_of_moto_modules())
    # moto looks through its own folder at each request.
    patch.setattr(backends, "list_of_moto_modules", lambda: services)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as starting:  # other servers in this process take calls within calls
        starting.setattr(threaded_moto_server, "DomainDispatcherApplication", watched)
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
    seen.endpoint = endpoint
    seen.mend()
    seen.reset()
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


@pytest.fixture
def onlooker(traffic: Traffic) -> Client:
    """Clients whose calls are not noted in `traffic`."""
    session: Any = boto3.Session(region_name="eu-central-1")
    config = Config(user_agent_extra=ONLOOKER, retries={"max_attempts": 10})
    return functools.cache(functools.partial(session.client, config=config))


@pytest.fixture
def front(onlooker: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    made = Front(onlooker)
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
def leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that a group ends leave their target groups, as they do in AWS; moto forgets that."""
    plain = EC2Backend.terminate_instances

    def terminate(self: Any, instance_ids: list[str]) -> Any:
        elbv2_backends[self.account_id][self.region_name].notify_terminate_instances(instance_ids)
        return plain(self, instance_ids)

    monkeypatch.setattr(EC2Backend, "terminate_instances", terminate)


@pytest.fixture
def stack(tmp_path: Path, front: Front, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("BLUEGREEN_STATE_DIR", str(tmp_path))
    for key in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(key, "eu-central-1")
    made = open_stack("dev")
    made.set_config("httpPort", ConfigValue(str(front.port)))
    return made


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
