"""The state file: every resource of a stack, written whole after each step, so that a killed run loses nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .values import Props, from_json, plain, to_json

VERSION = 1
STACK = "pulumi:pulumi:Stack"


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource as it was last left. `superseded` ones were replaced and wait for deletion;
    an `incomplete` one exists but its creation did not end well, so the next run makes it anew."""

    urn: str
    type: str
    name: str
    custom: bool
    id: str = ""
    parent: str = ""
    provider: str = ""
    inputs: Props = field(default_factory=dict)
    outputs: Props = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, list[str]] = field(default_factory=dict)
    deleted_with: str = ""
    protect: bool = False
    retain: bool = False
    superseded: bool = False
    incomplete: bool = False
    hooks: Mapping[str, list[str]] = field(default_factory=dict)
    additional_secret_outputs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """A superseded resource stands beside the one that took over its URN."""
        return f"{self.urn}#{self.id}" if self.superseded else self.urn

    @property
    def plain_inputs(self) -> Props:
        return dict(plain(self.inputs))

    @property
    def plain_outputs(self) -> Props:
        return dict(plain(self.outputs))

    def needs(self) -> set[str]:
        """URNs that must outlive this resource."""
        named = {*self.dependencies, self.parent, self.provider.rpartition("::")[0], self.deleted_with}
        return {urn for urn in named if urn}

    def encode(self) -> dict[str, Any]:
        return {
            key: to_json(value) if key in {"inputs", "outputs"} else value
            for key, value in dataclasses.asdict(self).items()
            if value or key in {"urn", "type", "name", "custom"}
        } | {"inputs": to_json(self.inputs), "outputs": to_json(self.outputs)}

    @classmethod
    def decode(cls, data: Mapping[str, Any]) -> Resource:
        values = dict(data)
        for key in ("inputs", "outputs"):
            values[key] = from_json(values.get(key, {}))
        for key in ("dependencies", "additional_secret_outputs"):
            values[key] = tuple(values.get(key, ()))
        return cls(**values)


class State:
    """A stack's resources in the order of their creation. Safe to use from many threads."""

    def __init__(self, path: Path, *, kept: bool = True) -> None:
        """Not `kept`, it lives in memory alone: what a preview learns is forgotten."""
        self.path = path
        self._kept = kept
        self._lock = threading.Lock()
        self._resources: dict[str, Resource] = {}
        self._encoded: dict[str, str] = {}
        self._begun: dict[str, Any] = {}
        self.outputs: Props = {}
        self.serial = 0
        if path.exists():
            self._load(json.loads(path.read_text()))

    def _load(self, data: Mapping[str, Any]) -> None:
        if data.get("version") != VERSION:
            raise ValueError(
                f"{self.path}: state version {data.get('version')!r}; this engine reads version {VERSION}."
            )
        for entry in data["resources"]:
            self._remember(Resource.decode(entry))
        self._begun = dict(data["begun"])
        self.outputs = from_json(data["outputs"])
        self.serial = data["serial"]

    def _remember(self, resource: Resource) -> None:
        self._resources[resource.key] = resource
        self._encoded[resource.key] = json.dumps(resource.encode(), separators=(",", ":"))

    def get(self, urn: str) -> Resource | None:
        return self._resources.get(urn)

    def all(self) -> list[Resource]:
        with self._lock:
            return list(self._resources.values())

    def begun(self) -> dict[str, Any]:
        """Creations that were announced but never reported done: a killed run left them."""
        with self._lock:
            return dict(self._begun)

    def begin(self, urn: str, provider: str, inputs: Props) -> None:
        """Announce a creation, so that a kill between the cloud's answer and `put` leaves a trace."""
        with self._lock:
            self._begun[urn] = {"provider": provider, "inputs": to_json(inputs)}
            self._write()

    def end(self, urn: str) -> None:
        """Take an announcement back: nothing of it is left."""
        with self._lock:
            if self._begun.pop(urn, None) is not None:
                self._write()

    def put(self, *resources: Resource) -> None:
        """Record resources in one write: a kill leaves all of them or none."""
        with self._lock:
            for resource in resources:
                self._begun.pop(resource.urn, None)
                self._remember(resource)
            self._write()

    def drop(self, key: str) -> None:
        with self._lock:
            self._resources.pop(key, None)
            self._encoded.pop(key, None)
            self._write()

    def set_outputs(self, outputs: Props) -> None:
        with self._lock:
            if outputs != self.outputs:
                self.outputs = outputs
                self._write()

    def _write(self) -> None:
        self.serial += 1
        if not self._kept:
            return
        head = json.dumps({"version": VERSION, "serial": self.serial, "begun": self._begun})
        text = (
            f'{head[:-1]}, "outputs": {json.dumps(to_json(self.outputs))},\n"resources": [\n'
            + ",\n".join(self._encoded.values())
            + "\n]}\n"
        )
        write_private(self.path, text)


def write_private(path: Path, text: str) -> None:
    """Replace a file at once; only its owner may read it, for it holds secrets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    beside.replace(path)
