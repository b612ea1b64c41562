"""What a program registers, as plain data: the SDK's own mock monitor with a notebook."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import json
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import yaml
from google.protobuf import empty_pb2
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockCallArgs, MockEngine, MockMonitor, MockResourceArgs, Mocks, MockSettings
from pulumi.runtime.settings import configure
from pulumi.runtime.stack import run_in_stack

from config.context import StackContext

ROOT = Path(__file__).resolve().parent.parent
REGION, ACCOUNT = "eu-central-1", "123456789012"
ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")
CONTEXT = StackContext(stack="dev", region=REGION, account=ACCOUNT)
THREADS = 4
STACK_TYPE = "pulumi:pulumi:Stack"
MOMENTS = ("before_create", "after_create", "before_update", "after_update")


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One registration; inputs by the provider's names, secrets opened and named in `secrets`."""

    type: str
    name: str
    urn: str
    parent: str
    custom: bool
    inputs: Mapping[str, Any]
    secrets: frozenset[str]
    dependencies: frozenset[str]
    protect: bool
    ignore_changes: tuple[str, ...]
    replace_on_changes: tuple[str, ...]
    hooks: Mapping[str, int]

    @property
    def id(self) -> str:
        return id_of(self.type, self.name)

    @property
    def arn(self) -> str:
        return arn_of(self.type, self.name)


@dataclass
class Declaration:
    """All registrations of one run, and the stack's outputs."""

    resources: list[Declared] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    secret_outputs: frozenset[str] = frozenset()

    def table(self) -> set[tuple[str, str]]:
        """Each real resource's type, shortened, and name."""
        return {(short(each.type), each.name) for each in self.resources if each.custom}

    def all(self, kind: str) -> dict[str, Declared]:
        return {each.name: each for each in self.resources if short(each.type) == kind}

    def one(self, kind: str, name: str = "") -> Declared:
        found = self.all(kind)
        if name:
            return found[name]
        (only,) = found.values()
        return only

    def components(self) -> dict[str, str]:
        return {each.name: each.type for each in self.resources if not each.custom and each.type != STACK_TYPE}


def short(type_: str) -> str:
    """`aws:ec2/vpc:Vpc` is `ec2.Vpc`."""
    package, module, name = type_.split(":")
    inside = module.partition("/")[0]
    return f"{package if inside == 'index' else inside}.{name}"


def id_of(type_: str, name: str) -> str:
    return f"{short(type_)}:{name}"


def arn_of(type_: str, name: str) -> str:
    return f"arn:aws:{type_.split(':')[1].partition('/')[0]}:{REGION}:{ACCOUNT}:{type_.split(':')[2]}/{name}"


# What providers compute, by the resource's type; everything has an id and an ARN besides.
COMPUTED: dict[str, Callable[[MockResourceArgs], dict[str, Any]]] = {
    "cloudwatch.LogGroup": lambda args: (
        {"name": f"{args.inputs['namePrefix']}1a2b"} if "namePrefix" in args.inputs else {}
    ),
    "lb.LoadBalancer": lambda args: {
        "arnSuffix": f"app/{args.name}/1a2b",
        "dnsName": f"{args.name}.elb.example",
        "zoneId": "ZBALANCER",
    },
    "lb.TargetGroup": lambda args: {"arnSuffix": f"targetgroup/{args.name}/1a2b"},
    "cloudwatch.Dashboard": lambda args: {"dashboardArn": arn_of(args.typ, args.name)},
    "ec2.LaunchTemplate": lambda args: {"latestVersion": 1},
    "autoscaling.Group": lambda args: {"name": f"{args.inputs['namePrefix']}1a2b"},
    "ssm.Parameter": lambda args: {"value": "t" * 32},  # the kept token, whatever this run drew
    "ecr.Repository": lambda args: {"registryId": ACCOUNT, "repositoryUrl": f"{ACCOUNT}.ecr.example/{args.name}"},
    "ec2.VpnConnection": lambda args: {
        "tunnel1Address": "203.0.113.1",
        "tunnel2Address": "203.0.113.2",
        "transitGatewayAttachmentId": "tgw-attach-vpn",
    },
    "ec2transitgateway.TransitGateway": lambda args: {"associationDefaultRouteTableId": "tgw-rtb-default"},
    "docker.RemoteImage": lambda args: {"imageId": "sha256:local"},
    "docker.RegistryImage": lambda args: {"sha256Digest": "sha256:pushed"},
    "s3.Bucket": lambda args: {"bucket": f"{args.name}-1a2b"},
}

ANSWERS: dict[str, dict[str, Any]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": {"accountId": ACCOUNT},
    "aws:index/getPartition:getPartition": {"partition": "aws"},
    "aws:index/getAvailabilityZones:getAvailabilityZones": {"names": list(ZONES)},
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": {
        "authorizationToken": "QVdTOnNlc2FtZQ==",  # AWS:sesame
        "proxyEndpoint": f"https://{ACCOUNT}.ecr.example",
    },
}


STACK_REFERENCE = "pulumi:pulumi:StackReference"


class Cloud(Mocks):
    """Answers as AWS would, with values that a test can foresee; `last`: the stack's outputs before this run."""

    def __init__(self, last: Mapping[str, Any]) -> None:
        self._last = last

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        return {"id": "answer", **args.args, **ANSWERS[args.token]}, []

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if args.typ == STACK_REFERENCE:
            return str(args.inputs["name"]), {**args.inputs, "outputs": dict(self._last), "secretOutputNames": []}
        if not args.custom:
            return "", dict(args.inputs)
        compute = COMPUTED.get(short(args.typ))
        computed = compute(args) if compute else {}
        named = {"arn": arn_of(args.typ, args.name), "name": args.name}
        return id_of(args.typ, args.name), {**named, **args.inputs, **computed}


class Notebook(MockMonitor):
    """Keeps each request's options, which mocks don't see."""

    def __init__(self, declaration: Declaration, last: Mapping[str, Any]) -> None:
        super().__init__(Cloud(last))
        self.declaration = declaration
        self._lock = threading.Lock()

    def features(self) -> set[int]:
        return set(self.GetDeploymentInfo(empty_pb2.Empty()).supportedFeatures)  # type: ignore[no-untyped-call]

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        with self._lock:
            self.declaration.resources.append(_declared(answer.urn, request))
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        if request.urn.split("::")[2] == STACK_TYPE:
            raw = rpc.deserialize_properties(request.outputs)
            self.declaration.outputs = _opened(raw)
            self.declaration.secret_outputs = _secrets(raw)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def _declared(urn: str, request: Any) -> Declared:
    raw = rpc.deserialize_properties(request.object)
    return Declared(
        type=request.type,
        name=request.name,
        urn=urn,
        parent=request.parent,
        custom=request.custom,
        inputs=_opened(raw),
        secrets=_secrets(raw),
        dependencies=frozenset(request.dependencies),
        protect=request.protect,
        ignore_changes=tuple(request.ignoreChanges),
        replace_on_changes=tuple(request.replaceOnChanges),
        hooks={moment: len(names) for moment in MOMENTS if (names := getattr(request.hooks, moment))},
    )


def _secrets(raw: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(key for key, value in raw.items() if rpc.is_rpc_secret(value))


def _opened(value: Any) -> Any:
    """Without the wrapping of secrets; whole numbers as such, which the wire sends as floats."""
    if rpc.is_rpc_secret(value):
        return _opened(rpc.unwrap_rpc_secret(value))
    if isinstance(value, dict):
        return {key: _opened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_opened(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def declare(
    program: Callable[[], Any],
    *,
    stack: str = "dev",
    config: Mapping[str, str] | None = None,
    into: Declaration | None = None,
    last: Mapping[str, Any] | None = None,
    preview: bool = False,
    folder: Path | None = None,
) -> Declaration:
    """Run the program to its end, every output and hook registration with it; its errors are raised.

    `last`: the stack's outputs before. `folder`: the project's, whose stack file the program may write; by default an
    empty one. `into` is for who wants to see what was registered before an error.
    """
    notebook = Notebook(into or Declaration(), last or {})
    # The SDK gives each of its threads an event loop, and leaves it open.
    loops: list[asyncio.AbstractEventLoop] = []
    try:
        with tempfile.TemporaryDirectory() as empty, contextlib.chdir(folder or empty):
            contextvars.copy_context().run(
                asyncio.run, _run(program, notebook, stack, dict(config or {}), loops, preview)
            )
    finally:
        for loop in loops:
            loop.close()
    return notebook.declaration


async def _run(
    program: Callable[[], Any],
    notebook: Notebook,
    stack: str,
    config: dict[str, str],
    loops: list[asyncio.AbstractEventLoop],
    preview: bool,
) -> None:
    def own_loop() -> None:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, initializer=own_loop))
    configure(
        MockSettings(  # type: ignore[no-untyped-call]
            monitor=notebook,
            monitor_features=notebook.features(),
            engine=MockEngine(None),
            project="bluegreen",
            stack=stack,
            root_directory=str(ROOT),
            organization="organization",
            dry_run=preview,
            callbacks=None,
            package_refs={},
            base_providers_by_ref={},
            outputs=set(),
        )
    )
    pulumi.runtime.set_all_config(config, [])

    def run() -> None:
        program()

    await run_in_stack(run)


@functools.cache
def project() -> dict[str, Any]:
    """Pulumi.yaml."""
    return dict(yaml.safe_load((ROOT / "Pulumi.yaml").read_text()))


def stack_config(stack: str, **values: Any) -> dict[str, str]:
    """The config that a program gets: the project's defaults, the stack's file, and the given values over both."""
    merged: dict[str, Any] = {}
    for key, declared in project()["config"].items():
        given = declared.get("default", declared.get("value"))
        merged[key if ":" in key else f"bluegreen:{key}"] = given
    merged |= yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    merged |= {f"bluegreen:{key}": value for key, value in values.items()}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in merged.items()}
