"""A stack as rules see it: resources as plain data, of which previews don't know everything yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

# What stands in the engine's messages for a value that only the update will know, one for each kind of value.
UNKNOWN_TEXTS: Final = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",  # string
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)


class Unknown:
    """A value that only the update will know. No rule is broken by it."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource as registered; `props` by the provider's names, inputs or, as far as they are known, outputs.

    `tagsAll` among them is what the cloud gets, the provider's default tags included. `dependencies` are URNs.
    """

    urn: str
    type: str
    name: str
    props: Mapping[str, Any]
    protect: bool = False
    parent: str = ""
    dependencies: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Stack:
    """All resources of a stack; `protected` says whether losing it would hurt, as production's loss does."""

    resources: Sequence[Resource]
    protected: bool = False

    def all(self, *types: str) -> list[Resource]:
        return [each for each in self.resources if each.type in types]

    @cached_property
    def _by_urn(self) -> dict[str, Resource]:
        return {each.urn: each for each in self.resources}

    @cached_property
    def _reached(self) -> dict[str, frozenset[str]]:
        return {}

    def reached(self, start: Resource) -> frozenset[str]:
        """URNs of all that a resource depends on, directly or by way of others."""
        if start.urn not in self._reached:
            found: set[str] = set()
            open_ends = list(start.dependencies)
            while open_ends:
                urn = open_ends.pop()
                if urn not in found:
                    found.add(urn)
                    open_ends += self._by_urn[urn].dependencies if urn in self._by_urn else ()
            self._reached[start.urn] = frozenset(found)
        return self._reached[start.urn]

    def refers(self, one: Resource, key: str, other: Resource) -> bool:
        """Whether a property (an id, an ARN, or a list of them) means the other resource.

        Where a preview does not know the ids yet, a dependency has to do.
        """
        given = one.props.get(key)
        values = given if isinstance(given, list | tuple) else [given]
        names = [other.props.get(kind, UNKNOWN) for kind in ("id", "arn")]
        if any(known(value) and value in names for value in values):
            return True
        undecided = any(not known(value) for value in (*values, *names))
        return undecided and other.urn in self.reached(one)


@dataclass(frozen=True, kw_only=True)
class Violation:
    """The message is one sentence that names the value and what is allowed."""

    rule: str
    urn: str
    message: str


# Resources that break a rule, each with the sentence that says how.
Findings = Iterator[tuple[Resource, str]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`alone` rules look at one resource at a time, so that each is judged before it is made."""

    name: str
    description: str
    find: Callable[[Stack], Findings]
    alone: bool = True

    def check(self, stack: Stack) -> Iterator[Violation]:
        for resource, message in self.find(stack):
            yield Violation(rule=self.name, urn=resource.urn, message=message)


def known(value: Any) -> bool:
    return not isinstance(value, Unknown) and not (isinstance(value, str) and value in UNKNOWN_TEXTS)


def at(value: Any, *path: str) -> Any:
    """What stands at a path of nested properties: None where there is nothing, UNKNOWN below what is unknown."""
    for key in path:
        if not known(value):
            return UNKNOWN
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if known(value) else UNKNOWN


def items(value: Any) -> list[Any]:
    """A list's known entries; of what is no list, or unknown, none."""
    return [each for each in value if known(each)] if isinstance(value, list | tuple) else []


def is_on(value: Any) -> bool:
    """Some of the provider's switches are texts."""
    return value is True or value == "true"


def shown(value: Any) -> str:
    """A value as people write it in a config."""
    if value is None or value == "":
        return "not set"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
