"""Reader of a config into models, which collects all problems for one message."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import ValidationError

from config.values import HIDDEN, Model, from_json

M = TypeVar("M", bound=Model)


class Reader:
    """Parses models from a raw config by their keys; a default replaces each invalid value.

    `problems` are sentences that name key, value and what is allowed; `bad` are the keys, those inside an object as
    `blue.minSize`.
    """

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw, self._known = raw, set[str]()
        self.problems: list[str] = []
        self.bad: set[str] = set()

    def section(self, model: type[M], elsewhere: Mapping[str, Any] | None = None) -> M:
        """A model whose keys are at the top of the config; those in `elsewhere` come from there instead."""
        own = set(model.config_keys()) - set(elsewhere or {})
        self._known |= own
        return self._read(model, {**{key: self._raw[key] for key in own & set(self._raw)}, **(elsewhere or {})}, "")

    def object(self, key: str, model: type[M]) -> M | None:
        """A model that is an object of the config; None for none, or for an empty one."""
        self._known.add(key)
        value = from_json(self._raw.get(key, {}))
        if not isinstance(value, dict):
            reason = f"allowed is an object with {', '.join(model.config_keys())}"
            self._add(key, HIDDEN if model.is_secret else value, reason)
            return None
        values = {name: each for name, each in value.items() if each is not None}
        return self._read(model, values, f"{key}.") if values else None

    def refuse_unknown(self) -> None:
        for key in sorted(set(self._raw) - self._known):
            self._add(key, self._raw[key], _unknown(key, self._known))

    def add(self, problems: Iterable[str], needs: Iterable[str] = (), ignore: Iterable[str] = ()) -> None:
        """Add problems of combinations of valid values, which begin with a key.

        Not those about a key that is bad itself or in `ignore`, and none where one of `needs` is bad: its value is only
        the default.
        """
        if not self.bad.intersection(needs):
            skipped = tuple(f"{key}:" for key in (*self.bad, *ignore))
            self.problems += [problem for problem in problems if not problem.startswith(skipped)]

    def _read(self, model: type[M], values: dict[str, Any], prefix: str) -> M:
        try:
            return model.model_validate(values, by_alias=True, by_name=False)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                key = str(each["loc"][0])
                if each["type"] == "extra_forbidden":
                    shown = HIDDEN if model.is_secret else each["input"]
                    self._add(f"{prefix}{key}", shown, _unknown(key, model.config_keys(), model.renamed))
                else:
                    for value, reason in each["ctx"]["error"].problems:
                        self._add(f"{prefix}{key}", value, reason)
                values.pop(key, None)
        return model.model_validate(values, by_alias=True, by_name=False)

    def _add(self, key: str, value: Any, reason: str) -> None:
        shown = value if isinstance(value, str) and value.isprintable() else json.dumps(value, default=str)
        self.bad.add(key)
        self.problems.append(f"{key}: {shown or '(not set)'}: {reason}")


def own_keys(namespace: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a namespace in a config by full keys; unknown keys too."""
    return {
        key.removeprefix(f"{namespace}:"): value for key, value in config.items() if key.startswith(f"{namespace}:")
    }


def _unknown(key: str, known: Iterable[str], renamed: Mapping[str, str] | None = None) -> str:
    """The problem of an unknown key, with the nearest known one."""
    if new := (renamed or {}).get(key):
        return f"this key is called {new} now"
    nearest = get_close_matches(key, sorted(known), n=1)
    return "there is no such key; " + (
        f"did you mean {nearest[0]}?" if nearest else f"allowed are {', '.join(sorted(known))}"
    )
