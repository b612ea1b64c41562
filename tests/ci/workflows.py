"""The workflows as data: files, jobs and steps, with matrices unfolded and composite actions resolved."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
OWN = "./"
FILES = sorted(path.name for path in WORKFLOWS.glob("*.yml"))


def read(path: Path) -> dict[str, Any]:
    """A workflow or an action. YAML 1.1 takes the key `on` for true."""
    found: dict[Any, Any] = yaml.safe_load(path.read_text())
    return {("on" if key is True else str(key)): value for key, value in found.items()}


def workflow(name: str) -> dict[str, Any]:
    return read(WORKFLOWS / name)


def triggers(name: str) -> dict[str, Any]:
    found = workflow(name)["on"]
    return found if isinstance(found, dict) else dict.fromkeys([found] if isinstance(found, str) else found)


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each job of each file: file, id, content."""
    for file in FILES:
        for name, job in workflow(file)["jobs"].items():
            yield file, name, job


def steps_of(job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A job's steps in order, those of the project's own actions in the place of their call."""
    for step in job.get("steps", ()):
        yield step
        if step.get("uses", "").startswith(OWN):
            yield from steps_of(read(ROOT / step["uses"] / "action.yml")["runs"])


def matrix_of(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    axes: dict[str, list[Any]] = job.get("strategy", {}).get("matrix", {})
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def in_order(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Job ids, each after those that it needs."""
    ordered: list[str] = []

    def add(name: str) -> None:
        for needed in needs_of(found[name]):
            add(needed)
        if name not in ordered:
            ordered.append(name)

    for name in found:
        add(name)
    return ordered


def needs_of(job: Mapping[str, Any]) -> list[str]:
    needs: str | list[str] = job.get("needs", [])
    return [needs] if isinstance(needs, str) else needs
