"""A moto server that records API calls, and a provider that uses it; both in this process."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

import boto3
import grpc
import pytest
import requests
from botocore import session as botocore_session
from botocore.config import Config
from moto import backends
from moto.ec2.models import amis
from moto.moto_server import threaded_moto_server
from moto.server import ThreadedMotoServer
from pulumi.runtime.proto import provider_pb2_grpc
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Response

from rehearsal.cloud.additions import (
    alarms,
    images,
    internet_gateways,
    load_balancers,
    name_rules,
    nat_gateways,
    object_versions,
    policies,
    vpn,
)
from rehearsal.cloud.additions.gap import EmulatorContext
from rehearsal.provider.server import start
from rehearsal.provider.service import ProviderService

from .client import Client, Resource

REGION = "us-east-1"
IMAGE = "ami-12c6146b"
TEST_CLIENT = "test-client"  # in the user agent of a test's own clients, whose calls are not recorded
READING = ("Describe", "Get", "List", "Head", "Search")
SERVICES = (
    *("autoscaling", "budgets", "cloudwatch", "cloudwatchevents", "cloudwatchlogs", "ec2", "ecr", "elbv2"),
    *("firehose", "iam", "kms", "route53", "s3", "sns", "ssm", "sts"),
)


class Traffic:
    """WSGI middleware that records the provider's AWS calls by action, and refuses those that a test selects."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._turn = threading.Condition()
        self._refusals: dict[str, list[str]] = {}
        self.actions: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        action = _action(environ)
        with self._turn:  # moto has no locks, and loses one of two concurrent changes
            if "/moto-api" not in environ["PATH_INFO"] and TEST_CLIENT not in environ.get("HTTP_USER_AGENT", ""):
                self.actions.append(action)
                self._turn.notify_all()
                if self._refusals.get(action):
                    return _refusal(self._refusals[action].pop(0))(environ, start_response)
            return Response(*run_wsgi_app(self._application, environ, buffered=True))(environ, start_response)

    @property
    def writes(self) -> list[str]:
        return [action for action in self.actions if not action.startswith(READING)]

    def refuse(self, action: str, code: str = "Refused", times: int = 1) -> None:
        """The next calls of that action get an error of that code."""
        self._refusals[action] = [code] * times

    def wait_for(self, action: str) -> None:
        with self._turn:
            assert self._turn.wait_for(lambda: action in self.actions, timeout=20), f"no {action} yet"

    def forget(self) -> None:
        self._refusals.clear()
        self.actions.clear()


def _action(environ: dict[str, Any]) -> str:
    """The action's name where the protocol has it; the HTTP verb (as Get or Put…) and path otherwise."""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rpartition(".")[2]
    verb = str(environ["REQUEST_METHOD"]).capitalize()
    if verb == "Post" and "urlencoded" in environ.get("CONTENT_TYPE", ""):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        return str(parse_qs(body.decode())["Action"][0])
    return f"{verb} {environ['PATH_INFO']}?{environ['QUERY_STRING']}"


def _refusal(code: str) -> Response:
    """In the formats of EC2, of other query services and of JSON services at once."""
    error = f"<Error><Code>{code}</Code><Message>by order of the test</Message></Error>"
    text = f"<Response>{error}<Errors>{error}</Errors></Response>"
    return Response(text, status=400, headers={"x-amzn-errortype": code})


@pytest.fixture(scope="session")
def _server() -> Iterator[tuple[str, Traffic]]:
    traffic: list[Traffic] = []
    make = getattr(threaded_moto_server, "DomainDispatcherApplication")  # noqa: B009 - moto does not export it

    def watched(*args: Any, **kwargs: Any) -> Traffic:
        traffic.append(Traffic(make(*args, **kwargs)))
        return traffic[-1]

    for addition in (alarms, images, internet_gateways, name_rules, nat_gateways, object_versions, policies, vpn):
        addition.extend()
    load_balancers.extend(EmulatorContext())
    services = frozenset(backends.list_of_moto_modules())
    with pytest.MonkeyPatch.context() as patch:
        # moto lists its own folder at each request, and botocore its own for each session.
        patch.setattr(backends, "list_of_moto_modules", lambda: services)
        patch.setattr(botocore_session, "create_loader", functools.cache(botocore_session.create_loader))
        # An empty account has images: the one that tests launch, instead of 1,300.
        patch.setenv("MOTO_AMIS_PATH", "none of a region's own")
        patch.setattr(amis, "AMIS", [each for each in amis.AMIS if each["ami_id"] == IMAGE])
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        with pytest.MonkeyPatch.context() as starting:  # other servers in this process are not recorded
            starting.setattr(threaded_moto_server, "DomainDispatcherApplication", watched)
            server.start()
            host, port = server.get_host_and_port()  # waits until it listens
        yield f"http://{host}:{port}", traffic[0]
        server.stop()


@pytest.fixture
def traffic(_server: tuple[str, Traffic], monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """An empty account."""
    endpoint, traffic = _server
    for key in [key for key in os.environ if key.startswith("AWS_")]:
        monkeypatch.delenv(key)
    requests.post(f"{endpoint}/moto-api/reset", timeout=30).raise_for_status()
    traffic.forget()
    return traffic


@pytest.fixture(scope="session")
def settings(_server: tuple[str, Traffic]) -> dict[str, Any]:
    """Provider settings as in a rehearsal's stacks; objects as JSON text."""
    return {
        "region": REGION,
        "accessKey": "testing",
        "secretKey": "testing",
        "s3UsePathStyle": "true",
        "endpoints": json.dumps([dict.fromkeys(SERVICES, _server[0])]),
    }


@contextlib.contextmanager
def serve(settings: dict[str, Any]) -> Iterator[Client]:
    server, port = start(ProviderService("7.0.0"))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        client = Client(provider_pb2_grpc.ResourceProviderStub(channel))
        client.configure(**settings)
        yield client
    server.stop(grace=None).wait()


@pytest.fixture(scope="session")
def _provider(settings: dict[str, Any]) -> Iterator[Client]:
    with serve(settings) as client:
        yield client


@pytest.fixture
def provider(_provider: Client, traffic: Traffic) -> Client:
    """A provider for an empty account; it keeps its connections across tests."""
    return _provider


@pytest.fixture
def own_provider(settings: dict[str, Any], traffic: Traffic) -> Iterator[Client]:
    """A provider that a test may reconfigure or cancel."""
    with serve(settings) as client:
        yield client


@pytest.fixture(scope="session")
def _test_clients(_server: tuple[str, Traffic]) -> Callable[[str], Any]:
    session: Any = boto3.Session("testing", "testing", region_name=REGION)
    config = Config(user_agent_extra=TEST_CLIENT)
    return functools.cache(functools.partial(session.client, endpoint_url=_server[0], config=config))


@pytest.fixture
def aws(_test_clients: Callable[[str], Any], traffic: Traffic) -> Callable[[str], Any]:
    """The test's own clients, whose calls are not recorded."""
    return _test_clients


@pytest.fixture
def vpc(provider: Client) -> Resource:
    return provider.create("aws:ec2:Vpc", "net", cidrBlock="10.0.0.0/16", tags={"Name": "net"})


@pytest.fixture
def gateway(provider: Client, vpc: Resource) -> Resource:
    return provider.create("aws:ec2:InternetGateway", "out", vpcId=vpc.id)


@pytest.fixture
def subnet(provider: Client, vpc: Resource) -> Resource:
    return provider.create(
        "aws:ec2:Subnet",
        "a",
        vpcId=vpc.id,
        cidrBlock="10.0.1.0/24",
        availabilityZone=f"{REGION}a",
        mapPublicIpOnLaunch=False,
        tags={"Stack": "test"},
    )
