"""Resources for the rules to judge: small ones by hand, and what the real program registers."""

from __future__ import annotations

import inspect
import json
import runpy
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from policy.stack import Resource
from tests.declared import ROOT, Declared, declare, short, stack_config


def resource(
    type_: str, name: str = "it", /, *, on: tuple[Resource, ...] = (), protect: bool = False, **props: Any
) -> Resource:
    urn = f"urn:pulumi:dev::bluegreen::{type_}::{name}"
    dependencies = frozenset(each.urn for each in on)
    return Resource(urn=urn, type=type_, name=name, props=props, protect=protect, dependencies=dependencies)


def registered(stack: str, **values: Any) -> list[Resource]:
    """The whole program's resources with a stack's file and the given values, as the provider is asked for them."""
    config = stack_config(stack, **values)
    declared = declare(
        lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"), stack=stack, config=config
    )
    defaults = json.loads(config["aws:defaultTags"])["tags"]
    return [converted(each, defaults) for each in declared.resources]


def converted(each: Declared, default_tags: Mapping[str, str]) -> Resource:
    props = {"id": each.id, "arn": each.arn, **each.inputs}
    if takes_default_tags(each):
        props["tagsAll"] = {**default_tags, **props.get("tags", {})}
    return Resource(
        urn=each.urn,
        type=each.type,
        name=each.name,
        props=props,
        protect=each.protect,
        parent=each.parent,
        dependencies=each.dependencies,
    )


def takes_default_tags(each: Declared) -> bool:
    if not each.type.startswith("aws:"):
        return False
    module, _, name = short(each.type).partition(".")
    cls = getattr(import_module(f"pulumi_aws.{module}"), name)
    return isinstance(inspect.getattr_static(cls, "tags_all", None), property)
