"""Reference of the messages: docs/messages.md and its JSON schema, generated from ami/boot/messages.py.

`.venv/bin/python -m scripts.ci.message_reference` writes both; a test holds them current.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from ami.boot.messages import (
    CHANGES,
    MAX_SUBJECT,
    TYPES,
    AppExited,
    BootFailed,
    ChangeRecord,
    ColorSnapshot,
    DeploymentFailed,
    DockerFailed,
    FailedLaunch,
    InstanceLost,
    Kind,
    LaunchFailed,
    Message,
    Outcome,
    content,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, SCHEMA = DOCS / "messages.md", DOCS / "messages.schema.json"
GENERATED = "<!-- Generated from ami/boot/messages.py, from here on. -->\n"

_BOTH, _TOPIC = "alerts topic, boot log", "alerts topic"
_CHANGED = "alerts topic unless refused, history"
WHEN: Mapping[Kind, tuple[str, str]] = {
    Kind.BOOT_FAILED: ("an instance aborted its boot, within 5 s", _BOTH),
    Kind.APP_EXITED: (
        "the app's container exited on an instance that was in service, and was not stopped on purpose; within 5 s, at "
        "most once in 5 minutes for an instance",
        _BOTH,
    ),
    Kind.DOCKER_FAILED: ("the same for Docker's daemon: once it is back, or after a minute without it", _BOTH),
    Kind.INSTANCE_LOST: ("an Auto Scaling group terminated an instance because it was unhealthy", _TOPIC),
    Kind.LAUNCH_FAILED: (
        "an Auto Scaling group could not launch an instance, or one never reported; not after `boot_failed`",
        _TOPIC,
    ),
    Kind.DEPLOYMENT_FAILED: ("`bluegreen deploy` failed after it had launched instances", _TOPIC),
    Kind.CUTOVER: ("`bluegreen cutover` ended", _CHANGED),
    Kind.CANARY: ("`bluegreen canary` ended", _CHANGED),
    Kind.ROLLBACK: ("`bluegreen rollback` ended", _CHANGED),
    Kind.DIRECT_ROLLBACK: ("`bluegreen rollback --direct` ended", _CHANGED),
    Kind.DEPLOY: ("`bluegreen deploy` ended", "history"),
    Kind.RESTART: ("`bluegreen restart` ended", "history"),
    Kind.RETIRE: ("`bluegreen retire` ended", "history"),
    Kind.UP: ("`bluegreen up` ended", "history"),
}

_STACK = {"stack": "prod", "region": "eu-central-1"}
_INSTANCE = {"color": "green", "release": "v2", "instance": "i-0123456789abcdef0", "zone": "eu-central-1a", **_STACK}
_GROUP = {
    **_STACK,
    "color": "green",
    "group": "prod-green-v2-1a2b",
    "instance": "i-0123456789abcdef0",
    "details": {"Availability Zone": "eu-central-1a", "Subnet ID": "subnet-0123456789abcdef0"},
}
_BOOT = BootFailed(
    **_INSTANCE,  # type: ignore[arg-type]
    time="2026-11-21T10:47:30.120Z",
    error="the container exited with 1 before it was ready",
    step="ready",
    step_seconds={"identity": 0.012, "settings": 0.008, "run": 0.41, "ready": 3.5},
    lines=("start step=ready", "app: ValueError: no database at ***"),
)
EXAMPLES: tuple[Message, ...] = (
    _BOOT,
    AppExited(
        **_INSTANCE,  # type: ignore[arg-type]
        time="2026-11-21T10:47:30.120Z",
        error="the app exited unexpectedly with code 137 (out of memory); Docker restarted it (restarts since boot: 1)",
        exit_code=137,
        out_of_memory=True,
        restarts=1,
        lines=("GET /report 200",),
    ),
    DockerFailed(
        **_INSTANCE,  # type: ignore[arg-type]
        time="2026-11-21T10:47:30.120Z",
        error="the Docker daemon crashed and was down for 2.1 s; the app kept running",
        lines=("GET /report 200",),
    ),
    InstanceLost(
        **_GROUP,  # type: ignore[arg-type]
        time="2026-11-21T10:49:02Z",
        error="At 2026-11-21T10:48:30Z an instance was taken out of service in response to an EC2 health check "
        "indicating it has been terminated or stopped.",
    ),
    LaunchFailed(
        **{**_GROUP, "instance": ""},  # type: ignore[arg-type]
        time="2026-11-21T10:49:02Z",
        error="We currently do not have sufficient t3.small capacity in the Availability Zone you requested "
        "(eu-central-1a). Launching EC2 instance failed.",
        cause="At 2026-11-21T10:48:58Z an instance was started in response to a difference between desired and actual "
        "capacity, increasing the capacity from 1 to 2.",
        status="Failed",
    ),
    DeploymentFailed(
        **_STACK,  # type: ignore[arg-type]
        time="2026-11-21T10:48:10.001Z",
        color="green",
        release="v2",
        ami="ami-0123456789abcdef0",
        who="ann",
        error="release v2 did not become healthy on green: 3 instances failed to launch",
        launches_stopped=("prod-green-v2-1a2b",),
        failed_launches=(
            FailedLaunch(
                instance="i-0123456789abcdef0",
                reason="Instance failed to complete user's Lifecycle Action: Lifecycle Action Completed with ABANDON "
                "Result",
            ),
        ),
        boot_failure=_BOOT,
        evidence=("prod-green-v2-1a2b: release v2, desired 2, 0 healthy",),
    ),
    ChangeRecord(
        **_STACK,  # type: ignore[arg-type]
        kind=Kind.CUTOVER,
        time="2026-11-21T11:02:10.500Z",
        outcome=Outcome.ROLLED_BACK,
        seconds=48.2,
        source=ColorSnapshot(color="blue", release="v1", ami="ami-0123456789abcdef0", asg="prod-blue-v1-9z8y"),
        target=ColorSnapshot(color="green", release="v2", ami="ami-0123456789abcdef0", asg="prod-green-v2-1a2b"),
        error="traffic is back on blue; the release on green was bad: 2 of 40 probes failed",
        reason="2 of 40 probes failed",
        changed_resources=2,
        figures={"probes": 40, "probes_failed": 2, "stages": {"production traffic shift": 9.1, "bake": 21.4}},
        who="ann",
        host="laptop",
    ),
)


def schema() -> dict[str, Any]:
    """JSON schema (2020-12) of every message, a definition a type. Consumers must accept further fields."""
    kinds = list(dict.fromkeys(TYPES.values()))
    definitions = {each.__name__: _definition(each) for each in (*kinds, ColorSnapshot, FailedLaunch)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "bluegreen's messages",
        "oneOf": [{"$ref": f"#/$defs/{each.__name__}"} for each in kinds],
        "$defs": definitions,
    }


def _definition(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    properties = {
        one.name: {**_typed(hints[one.name]), "description": _meaning(kind, one.name)} for one in fields(kind)
    }
    if issubclass(kind, Message):
        kinds = [each for each, found in TYPES.items() if found is kind]
        first = {
            "kind": {"enum": [str(each) for each in kinds], "description": properties.pop("kind")["description"]},
            "subject": {
                "type": "string",
                "maxLength": MAX_SUBJECT,
                "description": "one line for people, printable ASCII; where a message has a subject of SNS, it is this",
            },
        }
        properties = {**first, **properties}
        properties["time"]["format"] = "date-time"
    required = [name for name in properties if name != "left_out"]
    return {
        "type": "object",
        "description": " ".join((kind.__doc__ or "").split()),
        "properties": properties,
        "required": required,
    }


def _meaning(kind: type, field: str) -> str:
    """The annotation of a field, in its class or a base class."""
    for each in kind.__mro__:
        hint = get_type_hints(each, include_extras=True).get(field) if is_dataclass(each) else None
        if get_origin(hint) is Annotated:
            return str(get_args(hint)[1])
    raise LookupError(f"{kind.__name__}.{field} has no description")


def _typed(hint: Any) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _typed(arguments[0])
    if origin is UnionType:
        return {"anyOf": [_typed(each) for each in arguments]}
    if origin is tuple:
        return {"type": "array", "items": _typed(arguments[0])}
    if origin is not None:  # a mapping
        return {"type": "object", "additionalProperties": _typed(arguments[1])}
    if is_dataclass(hint):
        return {"$ref": f"#/$defs/{getattr(hint, '__name__', '')}"}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [str(each) for each in hint]}
    plain = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
    return {"type": plain[hint]} if hint in plain else {}


def page(prose: str) -> str:
    """The page: its prose up to the marker, and the generated part below it."""
    parts = [prose.partition(GENERATED)[0] + GENERATED, _table(), *(_section(each) for each in EXAMPLES)]
    return "\n".join([*parts, _part(ColorSnapshot), _part(FailedLaunch)])


def _table() -> str:
    rows = [f"| `{kind}` | {when} | {where} |" for kind, (when, where) in WHEN.items()]
    return "\n".join(["## Kinds\n", "| `kind` | sent when | to |", "|---|---|---|", *rows, ""])


def _section(example: Message) -> str:
    kind = type(example)
    title = "Changes: " + ", ".join(f"`{each}`" for each in CHANGES) if kind is ChangeRecord else f"`{example.kind}`"
    shown = json.dumps(content(example), indent=2, ensure_ascii=False)
    return f"## {title}\n\n{_text(kind)}\n{_fields(kind)}\n\n```json\n{shown}\n```\n"


def _part(kind: type) -> str:
    return f"## {kind.__name__}\n\n{_text(kind)}\n{_fields(kind)}\n"


def _text(kind: type) -> str:
    return f"{' '.join((kind.__doc__ or '').split())}\n"


def _fields(kind: type) -> str:
    properties = _definition(kind)["properties"]
    rows = [f"| `{name}` | {_type_text(each)} | {each['description']} |" for name, each in properties.items()]
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])


def _type_text(found: Mapping[str, Any]) -> str:
    """A schema's type as the tables write it."""
    if "anyOf" in found:
        return " or ".join(_type_text(each) for each in found["anyOf"])
    if "enum" in found:
        return " or ".join(f"`{each}`" for each in found["enum"])
    if "$ref" in found:
        return str(found["$ref"]).rpartition("/")[2]
    if found.get("type") == "array":
        return f"list of {_type_text(found['items'])}"
    if found.get("type") == "object" and found["additionalProperties"]:
        return f"object of {_type_text(found['additionalProperties'])}"
    return str(found.get("format") or found.get("type", "any"))


def schema_text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def write() -> None:
    """Write both files."""
    PAGE.write_text(page(PAGE.read_text()))
    SCHEMA.write_text(schema_text())


if __name__ == "__main__":
    write()
