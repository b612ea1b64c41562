"""Base of resource handlers: create, read, update, delete; auto-naming, tags, AWS's errors."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rehearsal.provider.aws_clients import AwsClients, Client
from rehearsal.provider.operation import until
from rehearsal.provider.values import Props

_NOT_FOUND = re.compile(r"NotFound|NoSuch|DoesNotExist|Unknown(Image|Repository)|\.Gone|^404$")
_BUSY = re.compile(
    r"DependencyViolation|ResourceInUse|DeleteConflict|InUse$|ScalingActivityInProgress|OperationAborted"
)
_NOT_FOUND_TEXT = re.compile(r"not found|does not exist|doesn't exist|no such", re.IGNORECASE)
_HEX_DIGITS = 7  # as in Pulumi's own names


@dataclass(frozen=True, kw_only=True)
class Naming:
    """Auto-naming of a resource type: the input with the physical name, and its maximum length."""

    key: str = "name"
    prefix_key: str = "namePrefix"
    max_length: int = 255
    lower: bool = False

    def complete(self, inputs: Props, *, proposed: str, old: Props | None, seed: bytes = b"") -> Props:
        """Inputs with a name: the program's, the resource's current one, or `proposed` and a suffix.

        The suffix is derived from Pulumi's `seed`, so that an update uses the name of its preview.
        """
        if inputs.get(self.key) is not None:
            return inputs
        prefix = inputs.get(self.prefix_key)
        if old is not None and self.key in old and prefix == old.get(self.prefix_key):
            return inputs | {self.key: old[self.key]}
        return inputs | {self.key: self.fresh(f"{proposed}-" if prefix is None else str(prefix), seed)}

    def fresh(self, prefix: str, seed: bytes = b"") -> str:
        suffix = hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(_HEX_DIGITS)
        name = f"{prefix[: self.max_length - _HEX_DIGITS]}{suffix[:_HEX_DIGITS]}"
        return name.lower() if self.lower else name


@dataclass(frozen=True, kw_only=True)
class Created:
    """Id of a new resource, and outputs that only the response to its creation has."""

    id: str
    outputs: Props = field(default_factory=dict)


class Handler:
    """One resource type. Its inputs are complete (name, default tags), without secret marks, and in Pulumi's names."""

    pulumi_type: ClassVar[str]
    naming: ClassVar[Naming | None] = None
    tagged: ClassVar[bool] = False
    defaults: ClassVar[Mapping[str, Any]] = {}
    # Inputs whose change replaces the resource, as ForceNew in the Terraform provider.
    force_new: ClassVar[frozenset[str]] = frozenset()
    # Old and new resource can't exist at once.
    delete_before_replace: ClassVar[bool] = False
    # Outputs that any update changes: unknown in a preview.
    volatile_outputs: ClassVar[frozenset[str]] = frozenset()
    secret_outputs: ClassVar[frozenset[str]] = frozenset()

    def check(self, inputs: Props) -> None:
        """Raise ValueError for inputs that AWS would refuse during the deployment."""

    def create(self, aws: AwsClients, new: Props) -> Created:
        """Only the call that creates the resource: Pulumi records it also when `complete` fails."""
        raise NotImplementedError

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        """The rest of a creation: further calls, and waiting."""

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        """Outputs other than the inputs; None when the resource doesn't exist."""
        return {}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        """Actual values of the inputs, in Pulumi's names, for a refresh. None when the resource doesn't exist.

        `tags` holds every tag. A value of None was removed; a key that is left out counts as unchanged. Types and order
        may be AWS's (true for "true"): see drift.normalize.
        """
        return {}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        raise ValueError(f"{self.pulumi_type} can't be changed in place: {', '.join(changed(old, new))}.")

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        raise NotImplementedError


def changed(old: Mapping[str, Any], new: Mapping[str, Any], keys: Iterable[str] | None = None) -> list[str]:
    names = dict.fromkeys([*old, *new]) if keys is None else keys
    return [key for key in names if old.get(key) != new.get(key)]


def differs(old: Mapping[str, Any], new: Mapping[str, Any], *keys: str) -> bool:
    return bool(changed(old, new, keys))


def drop_none(**values: Any) -> dict[str, Any]:
    """Arguments without None, which boto3 refuses."""
    return {key: value for key, value in values.items() if value is not None}


def rename_keys(source: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of a call from properties, by names as {"cidrBlock": "CidrBlock"}; without None."""
    return {theirs: source[ours] for ours, theirs in names.items() if source.get(ours) is not None}


def to_aws_keys(value: Any) -> Any:
    """Nested properties in AWS's CamelCase: {"fieldName": 1} becomes {"FieldName": 1}."""
    if isinstance(value, Mapping):
        return {key[:1].upper() + key[1:]: to_aws_keys(item) for key, item in value.items() if item is not None}
    return [to_aws_keys(item) for item in value] if isinstance(value, list) else value


def to_pulumi_keys(value: Any) -> Any:
    """AWS's response in Pulumi's camelCase: the reverse of `to_aws_keys`."""
    if isinstance(value, Mapping):
        return {key[:1].lower() + key[1:]: to_pulumi_keys(item) for key, item in value.items()}
    return [to_pulumi_keys(item) for item in value] if isinstance(value, list) else value


def from_response(source: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Properties from AWS's response, the reverse of `rename_keys`; None for missing ones."""
    return {ours: source.get(theirs) for ours, theirs in names.items()}


def tag_map(tags: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """AWS's list of tags as a map."""
    return {str(tag["Key"]): str(tag.get("Value", "")) for tag in tags or ()}


def tags_of(props: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in (props.get("tags") or {}).items()}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_changes(old: Props, new: Props) -> tuple[list[str], dict[str, str]]:
    """Keys to remove, and tags to set."""
    was, now = tags_of(old), tags_of(new)
    return [key for key in was if key not in now], {key: value for key, value in now.items() if was.get(key) != value}


def error_code(error: Exception) -> str:
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def is_not_found(error: Exception) -> bool:
    code = error_code(error)
    return bool(_NOT_FOUND.search(code)) or (code == "ValidationError" and bool(_NOT_FOUND_TEXT.search(str(error))))


def is_busy(error: Exception) -> bool:
    return bool(_BUSY.search(error_code(error)))


def first(items: Iterable[Any]) -> Any | None:
    return next(iter(items), None)


def describe_one(call: Callable[..., Any], result: str, /, **query: Any) -> Any | None:
    """First item of a describe call's response; None when there is no such resource."""
    from botocore.exceptions import ClientError

    try:
        return first(call(**query)[result])
    except ClientError as error:
        if is_not_found(error):
            return None
        raise


__all__ = ["AwsClients", "Client", "Created", "Handler", "Naming", "Props", "until"]
