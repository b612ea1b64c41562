"""Reference of the config keys, from the settings' schema: `python -m config.reference` writes it.

It is Pulumi.yaml's config section, from the marker on, and the tables in docs/reference/config.md between two markers.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from config.alerts import AlarmSettings, AlertSettings
from config.colors import ColorSettings
from config.settings import (
    ELSEWHERE,
    AppSettings,
    DeploymentSettings,
    InstanceSettings,
    LoadBalancerSettings,
    LogSettings,
    NetworkSettings,
    StackSettings,
)
from config.values import Model, ValueRule
from config.vpn import VpnSettings

ROOT = Path(__file__).resolve().parent.parent
PAGE_MARKERS = ("<!-- config: written by `python -m config.reference` -->\n", "<!-- /config -->\n")
OBJECTS: tuple[tuple[str, type[Model]], ...] = (
    ("`blue` and `green`", ColorSettings),
    ("`alarms`", AlarmSettings),
    ("`vpn`", VpnSettings),
)
PULUMI_MARKER = "  # From here on written by `python -m config.reference`.\n"


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of the config; `type` is Pulumi's."""

    name: str
    type: str
    description: str
    default: Any


def entries() -> list[Key]:
    alarms, colors = AlarmSettings(), ColorSettings.config_keys()
    return [
        *_section(DeploymentSettings),
        _object("blue", f"Blue's release: {', '.join(colors)}. Without a release the color is off."),
        _object("green", "Green's release, as for blue."),
        *_section(NetworkSettings),
        _object(
            "vpn",
            "Site-to-site VPN to a remote network: customerGatewayIp, remoteCidrs, routing (static or bgp), bgpAsn, "
            "amazonAsn, insideCidrs (two /30), gateway (vgw or tgw), startupAction (add or start), allow (a list of "
            "port and protocol that the remote network reaches on the instances), presharedKeys (two, secret). Empty "
            "creates none.",
        ),
        *_section(LogSettings),
        *_section(InstanceSettings),
        *_section(AppSettings),
        *_section(LoadBalancerSettings),
        *_section(AlertSettings),
        _object(
            "alarms",
            f"When a release counts as bad: errorRatePercent ({alarms.error_rate_percent}), latencyMilliseconds "
            f"({alarms.latency_milliseconds}, p99), minRequests ({alarms.min_requests} a minute, fewer are not "
            f"evaluated), minutes ({alarms.minutes} in a row).",
        ),
        *_section(StackSettings),
    ]


def _section(model: type[Model]) -> Iterator[Key]:
    schemas = model.model_json_schema()["properties"]
    for (name, schema), field in zip(schemas.items(), model.model_fields, strict=True):
        if name not in ELSEWHERE:
            # A default from a factory is an empty object.
            yield Key(
                name=name, type=schema["type"], description=_docs(model)[field], default=schema.get("default", {})
            )


def _docs(model: type[Model]) -> dict[str, str]:
    """The docstring below each field, in one line."""
    body = ast.parse(inspect.getsource(model)).body[0].body  # type: ignore[attr-defined]
    return {
        ast.unparse(field.target): " ".join(ast.literal_eval(text.value).split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def _object(name: str, description: str) -> Key:
    return Key(name=name, type="object", description=description, default={})


def table() -> str:
    """As docs/reference/config.md shows it."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key in entries():
        lines.append(f"| `{key.name}` | {key.type} | `{_shown(key.default)}` | {key.description} |")
    return "\n".join(lines) + "\n"


def object_tables() -> str:
    """Keys of the objects in the config, each with what is allowed."""
    parts = list[str]()
    for title, model in OBJECTS:
        parts += [f"\n## Keys of {title}\n", "| key | default | allowed |", "|---|---|---|"]
        for field in model.model_fields.values():
            allowed = next(rule.allowed for rule in field.metadata if isinstance(rule, ValueRule))
            parts.append(f"| `{field.validation_alias}` | `{_shown(field.default)}` | {allowed} |")
    return "\n".join(parts) + "\n"


def _shown(default: Any) -> str:
    return (default if isinstance(default, str) else json.dumps(default)) or "(empty)"


def declarations() -> str:
    """The declarations for Pulumi.yaml, below its `config`."""
    lines: list[str] = []
    for key in entries():
        lines += [
            f"  {key.name}:",
            f"    type: {key.type}",
            *(("    items:", "      type: string") if key.type == "array" else ()),
            f"    description: {json.dumps(key.description, ensure_ascii=False)}",
            f"    default: {json.dumps(key.default)}",
        ]
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with the tables as they are now."""
    begin, end = PAGE_MARKERS
    before, _, rest = text.partition(begin)
    return f"{before}{begin}{table()}{object_tables()}{end}{rest.partition(end)[2]}"


def pulumi_yaml(text: str) -> str:
    """Pulumi.yaml with the current declarations."""
    return f"{text.partition(PULUMI_MARKER)[0]}{PULUMI_MARKER}{declarations()}"


if __name__ == "__main__":
    for name, write in (("docs/reference/config.md", page), ("Pulumi.yaml", pulumi_yaml)):
        file = ROOT / name
        file.write_text(write(file.read_text()))
