"""Resources of a stack as plain data, with unknown values in previews."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

# The engine's placeholders for unknown values, one for each type.
UNKNOWN_PLACEHOLDERS: Final = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",  # string
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)


class Unknown:
    """A value that is known only after the update. It violates no rule."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One registered resource; `props` by the provider's names: inputs or, where known, outputs.

    `tagsAll` among them includes the provider's default tags. `dependencies` are URNs.
    """

    urn: str
    type: str
    name: str
    props: Mapping[str, Any]
    protect: bool = False
    parent: str = ""
    dependencies: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class StackResources:
    """All resources of a stack; `protected` for stacks such as production."""

    resources: Sequence[Resource]
    protected: bool = False

    def all(self, *types: str) -> list[Resource]:
        return [each for each in self.resources if each.type in types]

    @cached_property
    def _by_urn(self) -> dict[str, Resource]:
        return {each.urn: each for each in self.resources}

    @cached_property
    def _dependency_cache(self) -> dict[str, frozenset[str]]:
        return {}

    def dependencies_of(self, start: Resource) -> frozenset[str]:
        """URNs of all direct and transitive dependencies."""
        if start.urn not in self._dependency_cache:
            found: set[str] = set()
            pending = list(start.dependencies)
            while pending:
                urn = pending.pop()
                if urn not in found:
                    found.add(urn)
                    pending += self._by_urn[urn].dependencies if urn in self._by_urn else ()
            self._dependency_cache[start.urn] = frozenset(found)
        return self._dependency_cache[start.urn]

    def refers(self, resource: Resource, key: str, other: Resource) -> bool:
        """Whether a property (an id, an ARN, or a list of them) refers to the other resource.

        While a preview does not know the ids, a dependency counts.
        """
        value = resource.props.get(key)
        values = value if isinstance(value, list | tuple) else [value]
        names = [other.props.get(kind, UNKNOWN) for kind in ("id", "arn")]
        if any(known(each) and each in names for each in values):
            return True
        undecided = any(not known(each) for each in (*values, *names))
        return undecided and other.urn in self.dependencies_of(resource)


@dataclass(frozen=True, kw_only=True)
class RuleViolation:
    """A violated rule; the message is a sentence that names the value and what is allowed."""

    rule: str
    urn: str
    message: str


# Resources that violate a rule, each with a message.
Findings = Iterator[tuple[Resource, str]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule; `per_resource` rules check one resource at a time, before it is created."""

    name: str
    description: str
    find: Callable[[StackResources], Findings]
    per_resource: bool = True

    def check(self, stack: StackResources) -> Iterator[RuleViolation]:
        for resource, message in self.find(stack):
            yield RuleViolation(rule=self.name, urn=resource.urn, message=message)


def known(value: Any) -> bool:
    return not isinstance(value, Unknown) and not (isinstance(value, str) and value in UNKNOWN_PLACEHOLDERS)


def at(value: Any, *path: str) -> Any:
    """The value at a path of nested properties: None if missing, UNKNOWN below an unknown value."""
    for key in path:
        if not known(value):
            return UNKNOWN
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if known(value) else UNKNOWN


def items(value: Any) -> list[Any]:
    """A list's known entries; empty for anything else."""
    return [each for each in value if known(each)] if isinstance(value, list | tuple) else []


def is_on(value: Any) -> bool:
    """Whether a flag is true; some of the provider's flags are strings."""
    return value is True or value == "true"


def shown(value: Any) -> str:
    """A value as in a config file."""
    if value is None or value == "":
        return "not set"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
