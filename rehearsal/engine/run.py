"""What a stack asks of the process that runs its program."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .values import Props

# How the process of a run ends, and Pulumi's CLI, when no changes were expected but there are some.
CHANGES_PROPOSED = 7


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to do: `action` is up, refresh or destroy. With `refresh` the state is first set by what the cloud has."""

    action: str
    dry_run: bool = False
    refresh: bool = False
    expect_no_changes: bool = False
    policy_packs: list[str] = dataclasses.field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the parent asks for, and of which stack."""

    asked: Asked
    tells_events: bool = False
    stack: str
    project: str
    root: Path
    main: Path
    state: Path
    config: Mapping[str, str]
    secret_keys: list[str]

    def encode(self) -> str:
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def decode(cls, text: str) -> Run:
        data: dict[str, Any] = json.loads(text)
        paths = {key: Path(data[key]) for key in ("root", "main", "state")}
        return cls(**data | paths | {"asked": Asked(**data["asked"])})

    def provider_config(self) -> dict[str, Props]:
        """The settings of default providers: `aws:region` is the aws provider's region."""
        found: dict[str, Props] = {}
        for key, value in self.config.items():
            package, _, name = key.partition(":")
            if package != self.project:
                found.setdefault(package, {})[name] = value
        return found
