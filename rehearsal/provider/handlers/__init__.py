"""Handlers of resource types, by Pulumi's type token."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator

from .base import Handler

# Loaded when a type of theirs is first used: a program rarely needs them all.
_MODULES = {
    "aws:ec2": ("network", "security_groups", "machines", "vpn"),
    "aws:ec2transitgateway": ("transit_gateways",),
    "aws:vpc": ("security_groups",),
    "aws:s3": ("buckets",),
    "aws:iam": ("roles", "policies", "identity_providers"),
    "aws:kms": ("keys",),
    "aws:budgets": ("budgets",),
    "aws:cloudwatch": ("logs", "alarms", "event_rules"),
    "aws:kinesis": ("log_delivery",),
    "aws:lb": ("load_balancing",),
    "aws:autoscaling": ("scaling",),
    "aws:sns": ("notifications",),
    "aws:ecr": ("image_repositories",),
    "aws:route53": ("names",),
    "aws:ssm": ("parameters",),
    "docker:index": ("docker_images",),
}


class UnknownTypeError(Exception):
    """A resource type without a handler."""


@functools.cache
def _group(group: str) -> dict[str, Handler]:
    found: dict[str, Handler] = {}
    for name in _MODULES.get(group, ()):
        module = importlib.import_module(f"{__name__}.{name}")
        found |= {kind.pulumi_type: kind() for kind in _handlers(vars(module))}
    return found


def _handlers(names: dict[str, object]) -> Iterator[type[Handler]]:
    for each in names.values():
        if isinstance(each, type) and issubclass(each, Handler) and "pulumi_type" in vars(each):
            yield each


def handler_for(token: str) -> Handler:
    group = token.partition("/")[0] if "/" in token else token.rpartition(":")[0]
    try:
        return _group(group)[token]
    except KeyError:
        raise UnknownTypeError(
            f"{token}: the rehearsal's provider has no such resource type; add a handler to rehearsal/provider/handlers"
        ) from None


def tokens() -> set[str]:
    """All resource types that have a handler."""
    return {token for group in _MODULES for token in _group(group)}
