"""A stack under the embedded engine, with the names of Pulumi's Automation API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pulumi.automation import (
    ConfigMap,
    ConfigValue,
    Deployment,
    DestroyResult,
    EngineEvent,
    OutputMap,
    OutputValue,
    PreviewResult,
    RefreshResult,
    UpdateSummary,
    UpResult,
)
from pulumi.automation._cmd import CommandResult
from pulumi.automation.errors import CommandError, StackAlreadyExistsError, StackNotFoundError, create_command_error

from . import lock
from .project import ConfigError, Project, StackConfig, who
from .run import CHANGES_PROPOSED, Asked, Run
from .state import STACK, Resource, State
from .values import from_json, has_secret, plain, to_json

T = TypeVar("T")
OnOutput = Callable[[str], Any]
OnEvent = Callable[[EngineEvent], Any]
STATE_DIR = "BLUEGREEN_STATE_DIR"
_REPOSITORY = Path(__file__).resolve().parents[2]
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


def open_stack(stack_name: str) -> Stack:
    """The stack of this repository's program whose state is in the folder that BLUEGREEN_STATE_DIR names."""
    return Stack(stack_name, project=_REPOSITORY, state_dir=_state_dir())


def create_stack(stack_name: str) -> Stack:
    """Start a stack with the values of the repository's Pulumi.<stack>.yaml, or with none."""
    return Stack.create(stack_name, project=_REPOSITORY, state_dir=_state_dir())


def _state_dir() -> Path:
    folder = os.environ.get(STATE_DIR)
    if not folder:
        raise _error(f"{STATE_DIR} is not set: it names the folder in which the embedded engine keeps its stacks.")
    return Path(folder)


def _error(message: str, stdout: str = "") -> CommandError:
    return create_command_error(CommandResult(stdout, message, 255))


@dataclass
class _Outcome:
    """What one run left: its lines, and the result that it reported at its end."""

    lines: list[str] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    noise: list[str] = field(default_factory=list)
    code: int = 0

    @property
    def cli_code(self) -> int:
        """What Pulumi's CLI would end with: 7 for changes where none were expected, 255 for the rest."""
        return CHANGES_PROPOSED if self.code == CHANGES_PROPOSED else 255

    @property
    def stdout(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def stderr(self) -> str:
        return "".join(self.noise)

    def outputs(self) -> OutputMap:
        found = from_json(self.result.get("outputs", {}))
        return {key: OutputValue(plain(value), has_secret(value)) for key, value in found.items()}


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who hears of a run while it goes on."""

    on_output: OnOutput | None = None
    on_event: OnEvent | None = None

    def line(self, text: str) -> None:
        if self.on_output:
            self.on_output(f"{text}\n")

    def event(self, data: dict[str, Any]) -> None:
        if self.on_event:
            self.on_event(EngineEvent.from_json(data))


class Stack:
    """One named environment of a project. Its methods do what pulumi.automation.Stack's do."""

    def __init__(self, name: str, *, project: Path, state_dir: Path) -> None:
        self.name = name
        self.project = Project.load(project)
        self.folder = state_dir / name
        self.config = StackConfig(self.project, state_dir / f"Pulumi.{name}.yaml", name)
        template = project / f"Pulumi.{name}.yaml"
        if not self.config.path.exists():
            if not template.exists():
                raise StackNotFoundError(CommandResult("", f"no stack named '{name}' found", 255))
            self.config.create(template)

    @classmethod
    def create(cls, name: str, *, project: Path, state_dir: Path) -> Stack:
        path = state_dir / f"Pulumi.{name}.yaml"
        if path.exists():
            raise StackAlreadyExistsError(CommandResult("", f"stack '{name}' already exists", 255))
        StackConfig(Project.load(project), path, name).create(project / f"Pulumi.{name}.yaml")
        return cls(name, project=project, state_dir=state_dir)

    # -- config -------------------------------------------------------------------------------------------------

    def get_config(self, key: str, *, path: bool = False) -> ConfigValue:
        return self._configured(lambda: self.config.get(key, path=path))

    def get_all_config(self) -> ConfigMap:
        return self._configured(self.config.values)

    def set_config(self, key: str, value: ConfigValue, *, path: bool = False) -> None:
        self._configured(lambda: self.config.set(key, value, path=path))

    def set_all_config(self, config: ConfigMap, *, path: bool = False) -> None:
        for key, value in config.items():
            self.set_config(key, value, path=path)

    def remove_config(self, key: str, *, path: bool = False) -> None:
        self._configured(lambda: self.config.remove(key, path=path))

    def _configured(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except ConfigError as error:
            raise _error(f"error: {error}") from error

    # -- runs ---------------------------------------------------------------------------------------------------

    def up(
        self,
        *,
        message: str | None = None,
        on_output: OnOutput | None = None,
        on_event: OnEvent | None = None,
        refresh: bool = False,
        expect_no_changes: bool = False,
        policy_packs: Sequence[str] = (),
    ) -> UpResult:
        """With policy packs, or when no changes are expected, a preview comes first: a bad plan changes nothing."""
        if policy_packs or expect_no_changes:
            self.preview(refresh=refresh, expect_no_changes=expect_no_changes, policy_packs=policy_packs)
        heard = Listener(on_output=on_output, on_event=on_event)
        outcome, summary = self._update(Asked(action="up", refresh=refresh), "update", message, heard)
        return UpResult(outcome.stdout, outcome.stderr, summary, outcome.outputs())

    def destroy(
        self, *, message: str | None = None, on_output: OnOutput | None = None, on_event: OnEvent | None = None
    ) -> DestroyResult:
        heard = Listener(on_output=on_output, on_event=on_event)
        outcome, summary = self._update(Asked(action="destroy"), "destroy", message, heard)
        return DestroyResult(outcome.stdout, outcome.stderr, summary)

    def refresh(
        self,
        *,
        message: str | None = None,
        on_output: OnOutput | None = None,
        on_event: OnEvent | None = None,
        expect_no_changes: bool = False,
    ) -> RefreshResult:
        """As with Pulumi, the state is set by the cloud even where no changes were expected."""
        asked = Asked(action="refresh", expect_no_changes=expect_no_changes)
        heard = Listener(on_output=on_output, on_event=on_event)
        outcome, summary = self._update(asked, "refresh", message, heard)
        return RefreshResult(outcome.stdout, outcome.stderr, summary)

    def preview(
        self,
        *,
        message: str | None = None,
        on_output: OnOutput | None = None,
        on_event: OnEvent | None = None,
        diff: bool = False,
        refresh: bool = False,
        expect_no_changes: bool = False,
        policy_packs: Sequence[str] = (),
    ) -> PreviewResult:
        """Takes no lock: a preview can't hold up a deployment. Each line has its paths, so `diff` adds nothing."""
        asked = Asked(
            action="up",
            dry_run=True,
            refresh=refresh,
            expect_no_changes=expect_no_changes,
            policy_packs=[str((self.project.root / pack).resolve()) for pack in policy_packs],
        )
        return self._previewed(asked, Listener(on_output=on_output, on_event=on_event))

    def preview_refresh(
        self,
        *,
        message: str | None = None,
        on_output: OnOutput | None = None,
        on_event: OnEvent | None = None,
        expect_no_changes: bool = False,
    ) -> PreviewResult:
        """What a refresh would record; the state stays as it is."""
        asked = Asked(action="refresh", dry_run=True, expect_no_changes=expect_no_changes)
        return self._previewed(asked, Listener(on_output=on_output, on_event=on_event))

    def _previewed(self, asked: Asked, heard: Listener) -> PreviewResult:
        outcome = self._run(asked, heard)
        self._raise_if_failed(outcome)
        return PreviewResult(outcome.stdout, outcome.stderr, outcome.result["changes"])

    def _update(self, asked: Asked, kind: str, message: str | None, heard: Listener) -> tuple[_Outcome, UpdateSummary]:
        started = datetime.now(UTC)
        try:
            with lock.Lock(self.folder / "lock.json", kind) as held:
                if held.took_over:
                    heard.line(f"warning: took over the lock of {held.took_over}: that process is gone")
                outcome = self._run(asked, heard)
                entry = self._record(kind, message or "", started, outcome)
        except lock.LockedError as error:
            raise _error(f"error: {error}. Wait for it, or run `cancel` if it hangs.") from error
        self._raise_if_failed(outcome)
        return outcome, _summary(entry)

    def _run(self, asked: Asked, heard: Listener) -> _Outcome:
        values, secret_keys = self._configured(self.config.runtime)
        run = Run(
            asked=asked,
            tells_events=heard.on_event is not None,
            stack=self.name,
            project=self.project.name,
            root=self.project.root,
            main=self.project.main,
            state=self.folder / "state.json",
            config=values,
            secret_keys=secret_keys,
        )
        path = os.pathsep.join([str(_REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        with subprocess.Popen(
            [sys.executable, "-m", "rehearsal.engine.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        ) as process:
            return _followed(process, run, heard)

    def _raise_if_failed(self, outcome: _Outcome) -> None:
        if outcome.result.get("result") == "succeeded":
            return
        found = "\n".join(outcome.result.get("diagnostics", []))
        if not outcome.result:
            found = f"error: the update's process ended with code {outcome.code}; run it again to converge"
        told = f"{found}\n{outcome.stderr}".strip()
        raise create_command_error(CommandResult(outcome.stdout, told, outcome.cli_code))

    # -- what is recorded -----------------------------------------------------------------------------------------

    def outputs(self) -> OutputMap:
        found = State(self.folder / "state.json").outputs
        return {key: OutputValue(plain(value), has_secret(value)) for key, value in found.items()}

    def export_stack(self) -> Deployment:
        state = State(self.folder / "state.json")
        return Deployment(version=3, deployment={"resources": [_exported(each, state) for each in state.all()]})

    def history(self, page_size: int | None = None, page: int | None = None) -> list[UpdateSummary]:
        """Newest first."""
        path = self.folder / "history.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        entries = [_summary(json.loads(line)) for line in reversed(lines)]
        if page_size is None:
            return entries
        first = ((page or 1) - 1) * page_size
        return entries[first : first + page_size]

    def info(self) -> UpdateSummary | None:
        return next(iter(self.history(page_size=1)), None)

    def cancel(self) -> None:
        """Take the lock from whoever has it. As with Pulumi's own file backends, a running update is not stopped."""
        (self.folder / "lock.json").unlink(missing_ok=True)

    def _record(self, kind: str, message: str, started: datetime, outcome: _Outcome) -> dict[str, Any]:
        path = self.folder / "history.jsonl"
        version = len(path.read_text().splitlines()) + 1 if path.exists() else 1
        entry = {
            "kind": kind,
            "version": version,
            "message": message,
            "environment": dict(who()),
            "config": {key: _shown(value) for key, value in self.config.values().items()},
            "result": outcome.result.get("result", "failed"),
            "startTime": started.strftime(_TIME),
            "endTime": datetime.now(UTC).strftime(_TIME),
            "resourceChanges": outcome.result.get("changes", {}),
        }
        with path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        return entry


def _exported(resource: Resource, state: State) -> dict[str, Any]:
    """As `pulumi stack export --show-secrets` has it."""
    found = {
        "urn": resource.urn,
        "custom": resource.custom,
        "delete": resource.superseded,
        "id": resource.id,
        "type": resource.type,
        "inputs": to_json(resource.inputs),
        "outputs": to_json(state.outputs if resource.type == STACK else resource.outputs),
        "parent": resource.parent,
        "protect": resource.protect,
        "dependencies": list(resource.dependencies),
        "provider": resource.provider,
        "propertyDependencies": dict(resource.property_dependencies),
        "retainOnDelete": resource.retain,
    }
    return {key: value for key, value in found.items() if value or key in ("urn", "custom", "type")}


def _shown(value: ConfigValue) -> dict[str, Any]:
    return {"secret": True} if value.secret else {"value": value.value, "secret": False}


def _summary(entry: Mapping[str, Any]) -> UpdateSummary:
    return UpdateSummary(
        kind=entry["kind"],
        start_time=datetime.strptime(entry["startTime"], _TIME),
        end_time=datetime.strptime(entry["endTime"], _TIME),
        message=entry["message"],
        environment=entry["environment"],
        config=entry["config"],
        result=entry["result"],
        version=entry["version"],
        resource_changes=entry["resourceChanges"],
    )


def _followed(process: subprocess.Popen[str], run: Run, heard: Listener) -> _Outcome:
    outcome = _Outcome()
    assert process.stdin is not None  # noqa: S101 - all three are pipes
    assert process.stdout is not None  # noqa: S101
    noise = threading.Thread(target=lambda: outcome.noise.extend(process.stderr or ()), daemon=True)
    noise.start()
    try:
        process.stdin.write(run.encode() + "\n")
        process.stdin.close()
        for text in process.stdout:
            event = json.loads(text)
            if "result" in event:
                outcome.result = event
                continue
            if "engine" in event:
                heard.event(event["engine"])
                continue
            outcome.lines.append(event["line"])
            heard.line(event["line"])
    except BaseException:
        process.kill()  # an interrupted caller wants no half-hidden update to go on
        raise
    outcome.code = process.wait()
    noise.join(timeout=5)
    return outcome
