"""Judges what a program registered by a policy pack whose rules are a plain function: `<pack>/rules.py`, `judge`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from .display import Display
from .state import STACK, Resource
from .values import Props, plain, to_json


class PackError(Exception):
    """The folder is no policy pack that this engine can ask."""


def judge(folder: Path, resources: Iterable[Resource], display: Display, *, protected: bool) -> int:
    """The number of violations. Each is told; all of them are mandatory."""
    rules = _rules(folder)
    judged = [
        rules.Resource(
            urn=each.urn,
            type=each.type,
            name=each.name,
            props=_properties(each),
            protect=each.protect,
            parent=each.parent,
            dependencies=frozenset(each.dependencies).union(*each.property_dependencies.values()),
        )
        for each in resources
        if each.type != STACK
    ]
    violations = rules.judge(judged, protected=protected)
    names = {each.urn: f"{each.type} ({each.name})" for each in judged}
    for one in violations:
        display.events.policy(rule=one.rule, message=one.message, pack=folder.name, urn=one.urn)
        display.diagnose(
            names.get(one.urn, "policy"), f"error: policy {folder.name}: {one.rule}: {one.message}", one.urn
        )
    return len(violations)


def _properties(resource: Resource) -> Props:
    """Unknown values as Pulumi writes them: rules know that text."""
    names = {key: resource.outputs[key] for key in ("id", "arn") if key in resource.outputs}
    return dict(to_json(plain(resource.inputs | names)))


def _rules(folder: Path) -> ModuleType:
    if not (folder / "rules.py").is_file():
        raise PackError(f"policy pack {folder}: there is no rules.py, whose function judge the embedded engine asks.")
    sys.path.insert(0, str(folder.parent))
    return importlib.import_module(f"{folder.name}.rules")
