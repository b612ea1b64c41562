"""Rules as Pulumi policies, and conversion of Pulumi's resources to plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_policy import (
    Policy,
    PolicyConfigSchema,
    PolicyProviderResource,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from policy.rules import RULES
from policy.stack import UNKNOWN, Resource, Rule, StackResources

PROJECT, PROTECT = "bluegreen", "protect"
PROTECTED = "protected"
SCHEMA = PolicyConfigSchema(
    properties={
        PROTECTED: {
            "type": "boolean",
            "description": "Whether the stack counts as protected. Not set: its own setting protect decides.",
        }
    }
)


def policies() -> list[Policy]:
    return [_resource_policy(rule) if rule.per_resource else _stack_policy(rule) for rule in RULES]


def _resource_policy(rule: Rule) -> ResourceValidationPolicy:
    """A policy that checks a resource before it is created."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        resource = Resource(
            urn=args.urn,
            type=args.resource_type,
            name=args.name,
            props=properties(args.props, args.provider),
            protect=bool(args.opts.protect),
            parent=args.opts.parent or "",
        )
        stack = StackResources(resources=[resource], protected=is_protected(args.get_config()))
        for violation in rule.check(stack):
            report(violation.message, violation.urn)

    return ResourceValidationPolicy(
        name=rule.name, description=rule.description, validate=validate, config_schema=SCHEMA
    )


def _stack_policy(rule: Rule) -> StackValidationPolicy:
    """A policy that checks the entire stack, after the program has run."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        stack = StackResources(
            resources=[_resource(each) for each in args.resources], protected=is_protected(args.get_config())
        )
        for violation in rule.check(stack):
            report(violation.message, violation.urn)

    return StackValidationPolicy(name=rule.name, description=rule.description, validate=validate, config_schema=SCHEMA)


def _resource(source: PolicyResource) -> Resource:
    return Resource(
        urn=source.urn,
        type=source.resource_type,
        name=source.name,
        props=properties(source.props, source.provider),
        protect=bool(source.opts.protect),
        parent=source.parent.urn if source.parent else "",
        dependencies=frozenset(each.urn for each in source.dependencies),
    )


def is_protected(config: Mapping[str, Any]) -> bool:
    """Whether the policy's config, or else the stack's own setting, says so; a stack's name does not matter."""
    if PROTECTED in config:
        return bool(config[PROTECTED])
    return bool(pulumi.Config(PROJECT).get_bool(PROTECT))


def properties(raw: Mapping[str, Any], provider: PolicyProviderResource | None) -> dict[str, Any]:
    """Plain properties, with UNKNOWN for unknown values, and with the provider's default tags."""
    props: dict[str, Any] = plain(raw)
    if "tags" in props and "tagsAll" not in props and provider is not None:
        props["tagsAll"] = default_tags(plain(provider.props))
    return props


def default_tags(provider: Mapping[str, Any]) -> Any:
    """The default tags of a provider, whose settings the engine has as JSON."""
    raw = provider.get("defaultTags")
    settings = json.loads(raw) if isinstance(raw, str) else raw
    return settings.get("tags") or {} if isinstance(settings, Mapping) else UNKNOWN if settings is UNKNOWN else {}


def plain(value: Any) -> Any:
    """The value without Pulumi's wrapper, which raises an error on access to an unknown value."""
    if isinstance(value, Mapping):
        return {key: _entry(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_entry(value, index) for index in range(len(value))]
    return value


def _entry(container: Any, key: Any) -> Any:
    try:
        return plain(container[key])
    except UnknownValueError:
        return UNKNOWN
