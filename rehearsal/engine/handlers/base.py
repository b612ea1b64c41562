"""What every kind of resource shares: how it is made, read, changed and removed, and how it is named and tagged."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rehearsal.engine.cloud import Client, Cloud
from rehearsal.engine.drift import settled
from rehearsal.engine.values import Props

_GONE = re.compile(r"NotFound|NoSuch|DoesNotExist|Unknown(Image|Repository)|\.Gone|^404$")
_BUSY = re.compile(
    r"DependencyViolation|ResourceInUse|DeleteConflict|InUse$|ScalingActivityInProgress|OperationAborted"
)
_TAKEN = re.compile(r"AlreadyExists|Duplicate|AlreadyOwned|EntityAlready")
_ABSENT_TEXT = re.compile(r"not found|does not exist|doesn't exist|no such", re.IGNORECASE)
_HEX_DIGITS = 7  # as in Pulumi's own names
# A name's end by which it was drawn, not chosen.
GENERATED = re.compile(rf"[0-9a-f]{{{_HEX_DIGITS}}}$")


@dataclass(frozen=True, kw_only=True)
class Naming:
    """Where a physical name stands among the inputs, and how long it may be."""

    key: str = "name"
    prefix_key: str = "namePrefix"
    limit: int = 255
    lower: bool = False

    def complete(self, logical: str, inputs: Props, old: Props | None) -> Props:
        """The inputs with a name: the given one, the one that the resource already has, or a new one."""
        if inputs.get(self.key) is not None:
            return inputs
        prefix = inputs.get(self.prefix_key)
        if old is not None and self.key in old and prefix == old.get(self.prefix_key):
            return inputs | {self.key: old[self.key]}
        return inputs | {self.key: self.fresh(f"{logical}-" if prefix is None else str(prefix))}

    def fresh(self, prefix: str) -> str:
        kept = prefix[: self.limit - _HEX_DIGITS]
        name = f"{kept}{secrets.token_hex(4)[:_HEX_DIGITS]}"
        return name.lower() if self.lower else name


@dataclass(frozen=True, kw_only=True)
class Created:
    """A new resource's id, and the outputs that only its creation could tell."""

    id: str
    outputs: Props = field(default_factory=dict)


class FailedCreationError(Exception):
    """The resource exists under this id, but is not what was asked for."""

    def __init__(self, id: str, message: str) -> None:
        super().__init__(message)
        self.id = id


class Handler:
    """One type of resource. The inputs it gets are complete (name, tagsAll), plain, and in Pulumi's names."""

    pulumi_type: ClassVar[str]
    naming: ClassVar[Naming | None] = None
    tagged: ClassVar[bool] = False
    defaults: ClassVar[Mapping[str, Any]] = {}
    # Inputs whose change needs another resource, as in the Terraform provider's ForceNew.
    force_new: ClassVar[frozenset[str]] = frozenset()
    # Two of a kind can't stand side by side: the old one goes first.
    delete_first: ClassVar[bool] = False
    # Outputs that any update changes, so that a preview can't know them.
    moving: ClassVar[frozenset[str]] = frozenset()
    secret_outputs: ClassVar[frozenset[str]] = frozenset()

    def check(self, inputs: Props) -> None:
        """Raise ValueError on inputs that the cloud would refuse only after other work was done."""

    def create(self, cloud: Cloud, new: Props) -> Created:
        raise NotImplementedError

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        """Outputs beyond the inputs; None when the resource is gone."""
        return {}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        """What stands in the cloud in place of the inputs, in Pulumi's names: only a refresh asks.

        `tagsAll` holds every tag. None for a value that is gone; a key that is left out counts as unchanged.
        Shapes may be AWS's (true for "true", any order): drift.settled compares. None when the resource is gone.
        """
        return {}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        raise ValueError(f"{self.pulumi_type} can't be changed in place: {', '.join(changed(old, new))}.")

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        raise NotImplementedError

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        """Ids of what a killed creation with these inputs may have left. Empty where making it again does no harm."""
        return []

    def stands(self, cloud: Cloud, id: str, inputs: Props) -> bool:
        """Whether the cloud has just this: for `find` of kinds that bear no tags, and whose id the inputs tell."""
        try:
            found = self.current(cloud, id, inputs)
        except Exception as error:
            if is_gone(error):
                return False
            raise
        shared = {} if found is None else {key: value for key, value in found.items() if inputs.get(key) is not None}
        return bool(shared) and all(settled(inputs[key], value, key) == inputs[key] for key, value in shared.items())


def changed(old: Mapping[str, Any], new: Mapping[str, Any], keys: Iterable[str] | None = None) -> list[str]:
    names = dict.fromkeys([*old, *new]) if keys is None else keys
    return [key for key in names if old.get(key) != new.get(key)]


def differs(old: Mapping[str, Any], new: Mapping[str, Any], *keys: str) -> bool:
    return bool(changed(old, new, keys))


def given(**values: Any) -> dict[str, Any]:
    """Arguments of a call without those that have no value: boto3 refuses None."""
    return {key: value for key, value in values.items() if value is not None}


def picked(source: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of a call from properties: {"cidrBlock": "CidrBlock"}."""
    return {theirs: source[ours] for ours, theirs in names.items() if source.get(ours) is not None}


def capitalized(value: Any) -> Any:
    """Nested properties with AWS's capitals: {"fieldName": 1} becomes {"FieldName": 1}."""
    if isinstance(value, Mapping):
        return {key[:1].upper() + key[1:]: capitalized(item) for key, item in value.items() if item is not None}
    return [capitalized(item) for item in value] if isinstance(value, list) else value


def lowered(value: Any) -> Any:
    """AWS's answer in Pulumi's names: the reverse of `capitalized`."""
    if isinstance(value, Mapping):
        return {key[:1].lower() + key[1:]: lowered(item) for key, item in value.items()}
    return [lowered(item) for item in value] if isinstance(value, list) else value


def taken(source: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Properties from AWS's answer, None for what it lacks: {"cidrBlock": "CidrBlock"}."""
    return {ours: source.get(theirs) for ours, theirs in names.items()}


def tag_map(tags: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """AWS's list of tags as the map that programs give."""
    return {str(tag["Key"]): str(tag.get("Value", "")) for tag in tags or ()}


def tags_of(props: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in (props.get("tagsAll") or {}).items()}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_changes(old: Props, new: Props) -> tuple[list[str], dict[str, str]]:
    """Keys to remove, and tags to set."""
    was, now = tags_of(old), tags_of(new)
    return [key for key in was if key not in now], {key: value for key, value in now.items() if was.get(key) != value}


def error_code(error: Exception) -> str:
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def is_gone(error: Exception) -> bool:
    code = error_code(error)
    return bool(_GONE.search(code)) or (code == "ValidationError" and bool(_ABSENT_TEXT.search(str(error))))


def is_taken(error: Exception) -> bool:
    return bool(_TAKEN.search(error_code(error)))


def is_busy(error: Exception) -> bool:
    return bool(_BUSY.search(error_code(error)))


def until(reason: Callable[[], str | None], *, what: str, deadline_s: float, pause_s: float = 0.2) -> None:
    """Ask until there is no objection left; TimeoutError with the last one otherwise."""
    end = time.monotonic() + deadline_s
    while (objection := reason()) is not None:
        if time.monotonic() >= end:
            raise TimeoutError(f"waited {deadline_s:g} s for {what}: {objection}")
        time.sleep(pause_s)


def first(items: Iterable[Any]) -> Any | None:
    return next(iter(items), None)


def looked_up(call: Callable[..., Any], result: str, /, **query: Any) -> Any | None:
    """The first item that a describe call answers; None when AWS says that there is no such thing."""
    from botocore.exceptions import ClientError

    try:
        return first(call(**query)[result])
    except ClientError as error:
        if is_gone(error):
            return None
        raise


__all__ = ["Client", "Cloud", "Created", "FailedCreationError", "Handler", "Naming", "Props"]
