"""What a stack asks of the process that runs its program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .values import Props


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the parent asks for."""

    action: str
    stack: str
    project: str
    root: Path
    main: Path
    state: Path
    config: Mapping[str, str]
    secret_keys: list[str]

    @property
    def dry_run(self) -> bool:
        return self.action == "preview"

    def encode(self) -> str:
        return json.dumps({key: str(value) if isinstance(value, Path) else value for key, value in vars(self).items()})

    @classmethod
    def decode(cls, text: str) -> Run:
        data: dict[str, Any] = json.loads(text)
        return cls(**data | {key: Path(data[key]) for key in ("root", "main", "state")})

    def provider_config(self) -> dict[str, Props]:
        """The settings of default providers: `aws:region` is the aws provider's region."""
        found: dict[str, Props] = {}
        for key, value in self.config.items():
            package, _, name = key.partition(":")
            if package != self.project:
                found.setdefault(package, {})[name] = value
        return found
