"""Rules as Pulumi's policies, and what Pulumi shows of resources as the rules' plain data."""

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
from policy.stack import UNKNOWN, Resource, Rule, Stack

PROJECT, PROTECT = "bluegreen", "protect"
PROTECTED = "protected"
SCHEMA = PolicyConfigSchema(
    properties={
        PROTECTED: {
            "type": "boolean",
            "description": "Whether the stack counts as protected. Not set: as its own setting protect says.",
        }
    }
)


def policies() -> list[Policy]:
    return [_alone(rule) if rule.alone else _together(rule) for rule in RULES]


def _alone(rule: Rule) -> ResourceValidationPolicy:
    """Judges what is about to be made."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        resource = Resource(
            urn=args.urn,
            type=args.resource_type,
            name=args.name,
            props=properties(args.props, args.provider),
            protect=bool(args.opts.protect),
            parent=args.opts.parent or "",
        )
        stack = Stack(resources=[resource], protected=is_protected(args.get_config()))
        for violation in rule.check(stack):
            report(violation.message, violation.urn)

    return ResourceValidationPolicy(
        name=rule.name, description=rule.description, validate=validate, config_schema=SCHEMA
    )


def _together(rule: Rule) -> StackValidationPolicy:
    """Judges the stack as it will be, or is: Pulumi asks when the whole program has run."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        stack = Stack(resources=[_resource(each) for each in args.resources], protected=is_protected(args.get_config()))
        for violation in rule.check(stack):
            report(violation.message, violation.urn)

    return StackValidationPolicy(name=rule.name, description=rule.description, validate=validate, config_schema=SCHEMA)


def _resource(given: PolicyResource) -> Resource:
    return Resource(
        urn=given.urn,
        type=given.resource_type,
        name=given.name,
        props=properties(given.props, given.provider),
        protect=bool(given.opts.protect),
        parent=given.parent.urn if given.parent else "",
        dependencies=frozenset(each.urn for each in given.dependencies),
    )


def is_protected(config: Mapping[str, Any]) -> bool:
    """As the policy's config says, else as the stack's own setting: never by a stack's name."""
    if PROTECTED in config:
        return bool(config[PROTECTED])
    return bool(pulumi.Config(PROJECT).get_bool(PROTECT))


def properties(given: Mapping[str, Any], provider: PolicyProviderResource | None) -> dict[str, Any]:
    """Plain, unknown values marked, and with the default tags that the provider is about to add."""
    props: dict[str, Any] = plain(given)
    if "tags" in props and "tagsAll" not in props and provider is not None:
        props["tagsAll"] = default_tags(plain(provider.props))
    return props


def default_tags(provider: Mapping[str, Any]) -> Any:
    """A provider's settings reach the engine as JSON texts."""
    given = provider.get("defaultTags")
    settings = json.loads(given) if isinstance(given, str) else given
    return settings.get("tags") or {} if isinstance(settings, Mapping) else UNKNOWN if settings is UNKNOWN else {}


def plain(value: Any) -> Any:
    """Without Pulumi's wrapping, which raises an error where somebody reads an unknown value."""
    if isinstance(value, Mapping):
        return {key: _entry(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_entry(value, place) for place in range(len(value))]
    return value


def _entry(holder: Any, key: Any) -> Any:
    try:
        return plain(holder[key])
    except UnknownValueError:
        return UNKNOWN
