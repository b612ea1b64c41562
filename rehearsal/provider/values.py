"""Property values: JSON, secrets, and values that are unknown in a preview."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import struct_pb2

Props = dict[str, Any]

# Signatures of Pulumi's wire format: they mark a map as a secret, a reference, … (pulumi.runtime.rpc).
SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a public marker, not a credential
REFERENCE: Final = "5cf8f73096256a8f31e491e813e4eb8e"
UNKNOWN_TEXT: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


class UnknownValue:
    """A value that is known only after the deployment."""

    def __repr__(self) -> str:
        return "output<unknown>"


UNKNOWN: Final = UnknownValue()


@dataclass(frozen=True)
class Secret:
    """A value that must not be printed; equal to another secret of the same value."""

    value: Any

    def __repr__(self) -> str:
        return "[secret]"


def from_struct(struct: struct_pb2.Struct) -> Props:
    return {key: from_value(value) for key, value in struct.fields.items() if value.WhichOneof("kind") != "null_value"}


def from_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _from_map(value.struct_value)
    if kind == "list_value":
        return [from_value(item) for item in value.list_value.values]
    if kind == "number_value":
        return _number(value.number_value)
    if kind == "string_value":
        return UNKNOWN if value.string_value == UNKNOWN_TEXT else value.string_value
    return value.bool_value if kind == "bool_value" else None


def _number(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def _from_map(struct: struct_pb2.Struct) -> Any:
    signature = struct.fields[SIGNATURE].string_value if SIGNATURE in struct.fields else ""
    if signature == SECRET:
        return Secret(from_value(struct.fields["value"]))
    if signature == REFERENCE:
        return from_value(struct.fields["id"]) if "id" in struct.fields else struct.fields["urn"].string_value
    return from_struct(struct)


def to_struct(props: Mapping[str, Any]) -> struct_pb2.Struct:
    return struct_pb2.Struct(fields={key: to_value(value) for key, value in props.items() if value is not None})


def to_value(value: Any) -> struct_pb2.Value:
    if isinstance(value, Secret):
        marked = {SIGNATURE: to_value(SECRET), "value": to_value(value.value)}
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=marked))
    if isinstance(value, UnknownValue):
        return struct_pb2.Value(string_value=UNKNOWN_TEXT)
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=to_struct(value))
    if isinstance(value, (list, tuple)):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[to_value(item) for item in value]))
    return _scalar(value)


def _scalar(value: Any) -> struct_pb2.Value:
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, (int, float)):
        return struct_pb2.Value(number_value=value)
    return struct_pb2.Value(string_value=str(value))


def plain(value: Any) -> Any:
    """The same value without secret marks, for calls to AWS."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def has_unknown(value: Any) -> bool:
    return _any(value, UnknownValue)


def _any(value: Any, kind: type) -> bool:
    if isinstance(value, kind):
        return True
    if isinstance(value, Secret):
        return _any(value.value, kind)
    if isinstance(value, Mapping):
        return any(_any(item, kind) for item in value.values())
    return isinstance(value, (list, tuple)) and any(_any(item, kind) for item in value)
