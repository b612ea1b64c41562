"""Handlers of resource types, by Pulumi's type token."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator

from .base import Handler

# Imported on first use of one of their types: a program rarely needs them all.
_MODULES = {
    "aws:ec2": ("network", "security_groups", "launch_templates", "vpn"),
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
    "aws:route53": ("dns_records",),
    "aws:ssm": ("parameters",),
    "docker:index": ("docker_images",),
}


class UnknownTypeError(Exception):
    """A resource type without a handler."""


@functools.cache
def _group(group: str) -> dict[str, Handler]:
    handlers: dict[str, Handler] = {}
    for name in _MODULES.get(group, ()):
        module = importlib.import_module(f"{__name__}.{name}")
        handlers |= {handler.pulumi_type: handler() for handler in _handlers(vars(module))}
    return handlers


def _handlers(names: dict[str, object]) -> Iterator[type[Handler]]:
    for value in names.values():
        if isinstance(value, type) and issubclass(value, Handler) and "pulumi_type" in vars(value):
            yield value


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
