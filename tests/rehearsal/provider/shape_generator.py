"""Generator of `shapes.json` from the resource types and inputs that the programs register.

The types come from the SDK's `…Args` classes. `python -m tests.rehearsal.provider.shape_generator` rewrites the file.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import runpy
import typing
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pulumi import _types as sdk

from rehearsal.provider.shapes import FILE
from tests.declared import ACCOUNT, REGION, ROOT, Declaration, declare, stack_config

BOOTSTRAP = ROOT / "bootstrap"
PROVIDERS = "pulumi:providers:"  # providers themselves are no resources of a provider
SCALARS: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


def _color(release: str, url: str = "") -> dict[str, Any]:
    return {
        "release": release,
        "releaseUrl": url or f"s3://artifacts-1a2b/releases/{release}/bundle.tar.gz",
        "sha256": "0123456789abcdef" * 4,
        "amiId": "ami-0123456789abcdef0",
        "minSize": 2,
        "maxSize": 4,
    }


def _vpn(**options: Any) -> dict[str, Any]:
    network = {"customerGatewayIp": "198.51.100.7", "remoteCidrs": ["192.168.0.0/24", "192.168.9.0/24"]}
    return {"vpn": network | options}


# Every setting of the project has a value other than its default in one of these.
RELEASED: dict[str, Any] = {
    "activeColor": "green",
    "canaryPercent": 10,
    "blue": _color("v1"),
    "green": _color("v2", "https://releases.example.org/v2.tar.gz"),
}
FULL: dict[str, Any] = RELEASED | {
    "vpcCidr": "10.30.0.0/16",
    "zones": ["eu-central-1a", "eu-central-1b"],
    "subnetCidrs": {
        "eu-central-1a": {"public": "10.30.0.0/20", "private": "10.30.16.0/20"},
        "eu-central-1b": {"public": "10.30.32.0/20", "private": "10.30.48.0/20"},
    },
    "natGateways": "per-zone",
    "logRetentionDays": 14,
    "logArchiveDays": 365,
    "instanceType": "t3.micro",
    "rootVolumeGiB": 32,
    "healthPath": "/healthz",
    "containerPort": 3000,
    "httpPort": 8099,
    "healthCheckInterval": 10,
    "deregistrationDelay": 60,
    "drainTimeout": 45,
    "bootTimeout": 600,
    "domain": "app.example.org",
    "hostedZoneId": "Z1",
    "certificateArn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1a2b",
    "ingressCidrs": ["192.0.2.0/24", "198.51.100.0/24"],
    "alertEmails": ["ops@example.org"],
    "alertWebhooks": ["https://hooks.example.org/integration/1a2b3c"],
    "alarms": {"errorRatePercent": 2, "latencyMilliseconds": 500, "minRequests": 50, "minutes": 5},
    "baseImage": f"docker.io/library/python@sha256:{'ab' * 32}",
    "targetCpuPercent": 40,
    "permissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/limit",
    "protect": True,
    "forceDestroy": True,
    "revision": "0123456789ab",
    "committed": {"activeColor": "green"},
}
CONFIGS: tuple[dict[str, Any], ...] = (
    {},
    RELEASED | {"zoneCount": 3, "domain": "app.example.org"},
    RELEASED | {"natGateways": "none", "flowLogs": False, "accessLogs": False},
    FULL | _vpn(allow=[{"port": 22}, {"port": 514, "protocol": "udp"}], startupAction="add"),
    RELEASED
    | _vpn(routing="bgp", bgpAsn=4_200_000_001, amazonAsn=64600, presharedKeys=["first.key_1", "second.key_2"]),
    RELEASED | _vpn(gateway="tgw", insideCidrs=["169.254.110.0/30", "169.254.111.0/30"]),
    RELEASED | _vpn(gateway="tgw", routing="bgp"),
)
STACKS = ("dev", "prod")
ACCOUNT_CONFIGS: tuple[dict[str, Any], ...] = (
    {"repository": "Acme/shop", "alertEmails": ["ops@example.org"]},
    {
        "project": "shop",
        "repository": "Acme/shop",
        "repositoryOwnerId": 7,
        "repositoryId": 8,
        "branch": "trunk",
        "environments": ["live"],
        "oidcProviderArn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com",
        "budgetLimit": 250,
        "alertEmails": ["ops@example.org", "finance@example.org"],
        "protect": False,
    },
)


def registrations() -> Iterator[Declaration]:
    """Registrations of the programs, for each of the configs."""
    for stack in STACKS:
        for values in CONFIGS:
            yield _declared(ROOT, stack, stack_config(stack, **values))
    for values in ACCOUNT_CONFIGS:
        yield _declared(BOOTSTRAP, "account", _account_config(values))


def _declared(project: Path, stack: str, config: Mapping[str, str]) -> Declaration:
    return declare(
        lambda: runpy.run_path(str(project / "__main__.py"), run_name="__main__"), stack=stack, config=config
    )


def _account_config(values: Mapping[str, Any]) -> dict[str, str]:
    declared = yaml.safe_load((BOOTSTRAP / "Pulumi.yaml").read_text())["config"]
    merged = {key: each["default"] for key, each in declared.items() if "default" in each} | dict(values)
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in merged.items()}
    return {"aws:region": REGION} | {f"bluegreen-bootstrap:{key}": text for key, text in texts.items()}


@functools.cache
def used_inputs() -> dict[str, list[Mapping[str, Any]]]:
    """All registered inputs, by resource type."""
    registered: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for declaration in registrations():
        for each in declaration.resources:
            if each.custom and not each.type.startswith(PROVIDERS):
                registered[each.type].append(each.inputs)
    return dict(registered)


def generated() -> str:
    """Content of `shapes.json`."""
    shapes = {token: object_type(args_class(token), inputs) for token, inputs in sorted(used_inputs().items())}
    return json.dumps(shapes, indent=1) + "\n"


def args_class(token: str) -> type:
    package, path, name = token.split(":")
    module = path.partition("/")[0]
    parent = importlib.import_module(f"pulumi_{package}" + ("" if module == "index" else f".{module}"))
    # The SDK names the class differently where a nested input of another resource has that name.
    registered: type = getattr(parent, f"{name}InitArgs", None) or getattr(parent, f"{name}Args")
    return registered


def object_type(cls: type, values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The type of an SDK class, with the properties that one of the values has."""
    types, needed = sdk.input_type_types(cls), required(cls)
    # A required one that is missing is an output that the mocks don't have.
    used = sorted({key for value in values for key in value} | {*needed})
    return {
        "properties": {key: type_of(types[key], [value[key] for value in values if key in value]) for key in used},
        "required": sorted(needed),
        "unsupported": sorted(types.keys() - used),
    }


def type_of(hint: Any, values: Sequence[Any]) -> Any:
    hint = sdk.unwrap_type(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union:  # of a text and its enumeration
        return type_of(args[0], values)
    if isinstance(hint, type) and sdk.is_input_type(hint):
        return object_type(hint, values)
    if origin in (list, Sequence):
        return {"list": type_of(args[0], [item for value in values for item in value])}
    if origin in (dict, Mapping):
        return {"map": type_of(args[-1], [item for value in values for item in value.values()])}
    return next(name for scalar, name in SCALARS.items() if scalar in hint.__mro__)  # an enumeration's is its base


def required(cls: type) -> list[str]:
    names = sdk.input_type_py_to_pulumi_names(cls)
    parameters = inspect.signature(cls).parameters.values()
    return [names[each.name] for each in parameters if each.default is inspect.Parameter.empty]


if __name__ == "__main__":
    FILE.write_text(generated())
