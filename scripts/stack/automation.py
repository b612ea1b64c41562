"""Pulumi stack of a command: opened through the Automation API, with its outputs and config read once."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from config.alerts import AlarmSettings
from config.colors import ColorSettings
from config.context import PROJECT
from config.settings import read
from fleet.colors import Color
from fleet.command_lines import pulumi
from fleet.deployments import Deployment
from fleet.gates import GateArgs
from fleet.state import Arns, Fleet, client, describe
from scripts.cli.display import update_error
from scripts.cli.exits import ScriptError, UsageError

if TYPE_CHECKING:
    from pulumi.automation import EngineEvent

# Symbolic links are not followed, as for a program that Pulumi runs.
ROOT = Path(__file__).absolute().parents[2]
NAMESPACE = PROJECT


class Value(Protocol):
    """A config value or an output."""

    @property
    def value(self) -> Any: ...


class Stack(Protocol):
    """The part of `pulumi.automation.Stack` that the commands use."""

    name: str

    def get_all_config(self) -> Mapping[str, Value]: ...

    def set_config(self, key: str, value: Any, *, path: bool = False) -> None: ...

    def outputs(self) -> Mapping[str, Value]: ...

    def up(self, *, on_output: Callable[[str], Any] | None = None, refresh: bool = False) -> Any: ...


class PreviewedStack(Stack, Protocol):
    """A stack that also says what an `up` would do."""

    def preview(
        self,
        *,
        diff: bool,
        refresh: bool = False,
        policy_packs: list[str],
        on_output: Callable[[str], Any] | None,
        on_event: Callable[[EngineEvent], Any],
    ) -> Any: ...


class NoPulumiError(UsageError):
    """The Pulumi CLI is not installed."""


class BrokenPulumiError(ScriptError):
    """Pulumi's CLI or the state backend fails."""


NO_STACK = (
    "no stack is named, and none is selected: select one with `pulumi stack select NAME`, or name it with --stack NAME "
    "(or BLUEGREEN_STACK)"
)
NO_CLI = "pulumi is not on the PATH; install the Pulumi CLI, 3.238 or later: https://www.pulumi.com/docs/install/"


def selected_stack() -> str:
    """The stack that is selected in this checkout. Raises UsageError where there is none."""
    argv = ["pulumi", "stack", "--show-name", "--non-interactive"]
    try:
        done = subprocess.run(
            argv, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False
        )
    except FileNotFoundError as error:
        raise NoPulumiError(NO_CLI) from error
    if done.returncode == 0:
        return done.stdout.strip()
    if "no stack selected" in done.stderr:
        raise UsageError(NO_STACK)
    raise BrokenPulumiError(f"Pulumi does not say which stack is selected: {update_error(done.stderr)}")


def selected_stack_on_disk() -> str:
    """As `selected_stack`, from the file in which Pulumi keeps it, for when its CLI or its backend is broken.

    Reads only the selection for the current backend: that of another one may be another stack.
    """
    if named := os.environ.get("PULUMI_STACK"):
        return named
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    # Pulumi names the file by the project and a hash of its path, symbolic links followed.
    digest = hashlib.sha1(str(ROOT.resolve() / "Pulumi.yaml").encode(), usedforsecurity=False).hexdigest()
    try:
        workspace = json.loads((home / "workspaces" / f"{NAMESPACE}-{digest}-workspace.json").read_text())
        backend = os.environ.get("PULUMI_BACKEND_URL") or json.loads((home / "credentials.json").read_text())["current"]
        selected = str(workspace["stacks"][backend])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "which stack is selected is not known without Pulumi: name it with --stack NAME (or BLUEGREEN_STACK)"
        ) from error
    return selected.rpartition("/")[2]


def open_stack(name: str) -> PreviewedStack:
    """The stack of this name, else the selected one, by the CLI and the backend that this host is logged in to."""
    from pulumi import automation as auto

    name = name or selected_stack()
    try:
        return cast(PreviewedStack, auto.select_stack(stack_name=name, work_dir=str(ROOT)))
    except auto.StackNotFoundError as error:
        raise UsageError(
            f"there is no stack {name}: `pulumi stack ls` lists those that exist; README.md says how one is created"
        ) from error
    except FileNotFoundError as error:
        raise NoPulumiError(NO_CLI) from error


@dataclass(frozen=True, kw_only=True)
class StackFacts:
    """Outputs and config of a stack at one moment, typed."""

    stack: str
    outputs: Mapping[str, Any]
    config: Mapping[str, str] = field(default_factory=dict)
    """All values, as texts by full key."""
    desired: Deployment
    """The deployment that the config asks for; where it can't be read, the one that the last update left."""
    alarms: AlarmSettings = field(default_factory=AlarmSettings)
    opened: Any = field(default=None, compare=False, repr=False)
    """An existing boto3 session; None creates one."""
    impatient: bool = False
    """Whether S3 gets a single attempt of seconds, for a rollback in an outage."""

    @property
    def last(self) -> Deployment:
        """The deployment that the stack's last update left."""
        return Deployment.from_outputs(self.outputs)

    @property
    def active(self) -> Color:
        return self.desired.active

    @property
    def canary_percent(self) -> int:
        return self.desired.canary_percent

    @property
    def colors(self) -> Mapping[Color, ColorSettings]:
        return self.desired.colors

    @property
    def revision(self) -> str:
        """The stack's change that this config knows (fleet/deployments.py)."""
        return self.desired.revision

    @property
    def region(self) -> str:
        return str(self.outputs["region"])

    @property
    def bucket(self) -> str:
        return str(self.outputs["artifactsBucket"])

    @property
    def url(self) -> str:
        return str(self.outputs["url"])

    @property
    def health_path(self) -> str:
        return str(self.outputs.get("healthPath", "/health"))

    @cached_property
    def session(self) -> Any:
        import boto3

        return self.opened or boto3.Session(region_name=self.region)

    @cached_property
    def s3(self) -> Any:
        return client(self.session, "s3", fail_fast=self.impatient)

    def fleet(self) -> Fleet:
        """The stack's fleet in AWS now. Raises NoSuchStack."""
        return describe(self.stack, self.session, Arns.from_outputs(self.outputs))

    @property
    def gate(self) -> GateArgs:
        return GateArgs(
            stack=self.stack,
            region=self.region,
            colors=self.colors,
            health_path=self.health_path,
            base_url=self.url,
        )

    def metric_dimensions(self, color: Color) -> dict[str, str]:
        """Of the load balancer's metrics of this color; empty without the stack's outputs."""
        own = {
            "TargetGroup": self.outputs.get("colors", {}).get(color, {}).get("targetGroupArnSuffix", ""),
            "LoadBalancer": self.outputs.get("loadBalancerArnSuffix", ""),
        }
        return own if all(own.values()) else {}

    def preview_headers(self, color: Color) -> dict[str, str]:
        return {str(self.outputs["previewHeader"]): f"{self.outputs['previewToken']}-{color}"}


def read_facts(stack: Stack, *, required: bool = True) -> StackFacts:
    """Outputs and config, read concurrently: each is a run of the CLI. Raises UsageError without the `required`
    outputs of an update."""
    with ThreadPoolExecutor(2) as pool:
        reads = pool.submit(stack.outputs), pool.submit(stack.get_all_config)
        outputs = {name: output.value for name, output in reads[0].result().items()}
        full = {key: value.value for key, value in reads[1].result().items()}
    if required and "artifactsBucket" not in outputs:
        raise UsageError(f"stack {stack.name} has no outputs yet: run {pulumi('up', stack=stack.name)} first")
    settings, reader = read(stack.name.rpartition("/")[2], full)
    desired = settings.deployment()
    if {*desired.traffic, *Color} & {key.partition(".")[0] for key in reader.bad}:
        # The program refuses them (config_change.problem), so the values of the last update are used.
        desired = replace(Deployment.from_outputs(outputs), revision=settings.deployed.revision)
    return StackFacts(stack=stack.name, outputs=outputs, config=full, desired=desired, alarms=settings.alarms)


def set_value(stack: Stack, key: str, value: str, *, path: bool = False) -> None:
    from pulumi.automation import ConfigValue

    # Plain text, not a StrEnum's member: YAML would write Python's type.
    stack.set_config(f"{NAMESPACE}:{key}", ConfigValue(value=str(value)), path=path)


def color_values(color: Color, desired: ColorSettings) -> dict[str, str]:
    """A color's release and AMI, by path in the config; its sizes stay as they are."""
    return {f"{color}.{key}": value for key, value in desired.deployed.items()}


def changed_resources(result: Any) -> int:
    """Number of resources that an `up` created, updated, replaced or deleted."""
    changes = result.summary.resource_changes or {}
    return sum(count for kind, count in changes.items() if kind not in ("same", "read", "refresh"))
