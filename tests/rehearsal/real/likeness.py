"""Two engines' records of one program, without what no two runs have in common: ids, addresses, drawn names."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rehearsal.engine.handlers import handler_for

SECRET = "4dabf18193072939515e22adb298388d"  # the key that marks a secret in an exported state
PROVIDER = "pulumi:providers:"
# What another resource may take over; the first that fits names it, since an ARN can also be an id.
TAKEN = (
    *("arn", "id", "bucket", "bucketRegionalDomainName", "bucketDomainName", "name", "dnsName", "zoneId", "arnSuffix"),
    *("keyId", "repositoryUrl", "registryId", "latestVersion", "publicIp", "value", "allocationId"),
)
OPTIONS = ("type", "parent", "protect", "custom", "retainOnDelete")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One engine's state, by URN."""

    resources: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, deployment: Mapping[str, Any]) -> Recorded:
        kept = [each for each in deployment["resources"] if not each["type"].startswith(PROVIDER)]
        return cls(resources={each["urn"]: each for each in kept})

    def defaults(self) -> dict[str, set[str]]:
        """By URN: the inputs that a provider added, as names and other defaults."""
        return {urn: set(each.get("inputs", {}).get("__defaults", ())) for urn, each in self.resources.items()}

    def alike(self, defaults: Mapping[str, set[str]]) -> dict[str, Any]:
        """By name: what the program asked for, other resources' values replaced by where they came from."""
        known = self.resources.items()
        return {urn.split("::", 2)[2]: self._alike(each, defaults.get(urn, set())) for urn, each in known}

    def _alike(self, each: Mapping[str, Any], defaults: set[str]) -> dict[str, Any]:
        inputs = {key: self._replaced(each, key, value) for key, value in _asked(each, defaults).items()}
        found = {option: each[option] for option in OPTIONS if each.get(option)}
        return found | {"inputs": inputs, "dependencies": sorted(each.get("dependencies", ()))}

    def _replaced(self, each: Mapping[str, Any], key: str, value: Any) -> Any:
        given: dict[str, str] = {}
        for urn in each.get("propertyDependencies", {}).get(key) or ():
            if urn in self.resources:
                given |= _taken(self.resources[urn])
        return _with_names(value, sorted(given.items(), key=lambda pair: -len(pair[0])))


def handler_defaults(type_: str) -> Mapping[str, Any]:
    """What the embedded engine adds by itself where the program says nothing."""
    return handler_for(type_).defaults if "/" in type_ else {}


def _asked(each: Mapping[str, Any], defaults: set[str]) -> dict[str, Any]:
    """Inputs of the program itself."""
    inputs = dict(each.get("inputs") or {})
    if "tagsAll" in inputs:  # the provider writes its default tags among the others, this engine beside them
        inputs["tags"] = inputs["tagsAll"]
    left_out = defaults | {"__defaults", "tagsAll"} | set(handler_defaults(each["type"]))
    if "namePrefix" in inputs:  # whoever completes it writes the name beside it or not
        left_out |= {"name"}
    return {key: _without_marks(value) for key, value in inputs.items() if key not in left_out and value is not None}


def _without_marks(value: Any) -> Any:
    if isinstance(value, Mapping):
        if SECRET in value:
            return _without_marks(json.loads(value["plaintext"]))
        return {key: _without_marks(item) for key, item in value.items() if key != "__defaults" and item is not None}
    return [_without_marks(item) for item in value] if isinstance(value, list) else value


def _taken(resource: Mapping[str, Any]) -> dict[str, str]:
    outputs = {"id": resource.get("id")} | dict(resource.get("outputs") or {})
    name = resource["urn"].rpartition("::")[2]
    found: dict[str, str] = {}
    for key in TAKEN:
        if value := _without_marks(outputs.get(key)):
            found.setdefault(str(value), f"<{name}.{key}>")
    return found


def _with_names(value: Any, names: Sequence[tuple[str, str]]) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_names(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_names(item, names) for item in value]
    if not isinstance(value, str) or not names:
        return value
    text = _decoded(value)
    for given, name in names:
        text = text.replace(given, name)
    return text


def _decoded(text: str) -> str:
    """User data is text in base64."""
    try:
        return base64.b64decode(text, validate=True).decode() if len(text) > 100 else text
    except ValueError:
        return text


def misplaced(resources: Mapping[str, Mapping[str, Any]], deleted: Sequence[str]) -> Iterator[str]:
    """Deletions that came before those of what depends on them."""
    position = {urn: number for number, urn in enumerate(deleted)}
    for urn, each in resources.items():
        for other in each.get("dependencies", ()):
            if urn in position and other in position and position[other] < position[urn]:
                yield f"{other} went before {urn}, which depends on it"
