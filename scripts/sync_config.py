"""Update of a checkout's config to the stack: live color, the release of each color, the last change.

Git holds the settings of an environment. What deploys and cutovers change is in the stack's own state, so that neither
a laptop nor CI must commit after each; this brings it into a checkout. Traffic that was shifted since the last update,
without Pulumi, stays where AWS has it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from config.values import from_json
from fleet.colors import Color
from fleet.deployments import Deployment
from fleet.state import Fleet
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import RefusedError, UsageError
from scripts.cli.options import JsonOption, StackOption, app
from scripts.rollout.traffic import fleet_if_any, recorded
from scripts.stack.automation import NAMESPACE, ROOT, Stack, StackFacts, color_values, open_stack, read_facts, set_value
from scripts.stack.config_file import StackFileError, parse_config

GIT_TIMEOUT_S = 30.0

# Config values by key, a color's as `green.release`; what is not set is empty.
Values = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class SyncArgs:
    """`git`: keep the values that Git changed since CI last applied a commit, for the next `up`."""

    git: bool = False
    force: bool = False


def sync_config(stack: Stack, args: SyncArgs) -> dict[str, str]:
    """Write the values that differ into the stack's config; returns them by key. Raises RefusedError."""
    facts = read_facts(stack, required=False)
    if "artifactsBucket" not in facts.outputs:
        return {}
    config = {path: str(value) for path, value in config_values(facts.config).items() if value is not None}
    present = values(Deployment()) | config
    desired = values(facts.last) | shifted_traffic(facts, fleet_if_any(facts))
    lost = [color for color in Color if present[f"{color}.release"] and facts.last.is_off]
    if lost and not args.force:
        raise RefusedError(
            f"by its last update stack {facts.stack} holds no release, but this config names "
            f"{' and '.join(present[f'{color}.release'] + ' on ' + color for color in lost)}: --force writes that "
            "nothing is deployed"
        )
    written = dict[str, str]()
    if args.git:
        committed = git_values(facts.stack)
        desired |= git_changes(committed, facts.last.committed)
        if committed != facts.last.committed:
            set_committed(stack, committed)
    for key, value in desired.items():
        if value != present[key]:
            set_value(stack, key, value, path="." in key)
            color, dot, _ = key.partition(".")
            written[color] = (
                f"{desired[f'{color}.release'] or 'off'} {desired[f'{color}.amiId']}".strip() if dot else value
            )
    if facts.revision != facts.last.revision:
        set_value(stack, "revision", facts.last.revision)
    return written


def values(deployment: Deployment) -> Values:
    """A deployment by the keys of the stack's config."""
    found = {key: str(value) for key, value in deployment.traffic.items()}
    for color, held in deployment.colors.items():
        found |= color_values(color, held)
    return found


def shifted_traffic(facts: StackFacts, fleet: Fleet | None) -> Values:
    """Actual traffic, where it was shifted since the stack's last update: the next one must not shift it back."""
    if fleet is None or fleet.serving is None or fleet.weights == recorded(facts):
        return {}
    actual = Deployment(active=fleet.serving, canary_percent=fleet.weights[fleet.serving.other])
    return {key: str(value) for key, value in actual.traffic.items()}


def git_changes(committed: Mapping[str, str], before: Mapping[str, str]) -> Values:
    """Values that Git changed since CI last applied a commit; a key that Git doesn't set is unchanged."""
    return {key: value for key, value in committed.items() if value and value != before.get(key, "")}


def git_values(stack: str) -> Values:
    """The deployment keys that the commit holds in Pulumi.<stack>.yaml. Raises UsageError without Git."""
    argv = ["git", "-C", str(ROOT), "show", f"HEAD:./Pulumi.{stack}.yaml"]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True
        )
        config = parse_config(done.stdout)
    except FileNotFoundError as error:
        raise UsageError("--git needs git on the PATH") from error
    except (subprocess.SubprocessError, StackFileError) as error:
        output = getattr(error, "stderr", "") or str(error)
        raise UsageError(f"--git: `{' '.join(argv)}` failed: {output.strip()}") from error
    return {path: str(value) for path, value in config_values(config).items() if value is not None}


def config_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The deployment's keys in a config, unvalidated; None for a key that is not set."""
    found: dict[str, Any] = {}
    for path in values(Deployment()):
        key, _, inner = path.partition(".")
        value = from_json(config.get(f"{NAMESPACE}:{key}")) if inner else config.get(f"{NAMESPACE}:{key}")
        found[path] = (value.get(inner) if isinstance(value, dict) else None) if inner else value
    return found


def set_committed(stack: Stack, committed: Values) -> None:
    """Set the commit's values for the next update, which stores them in the stack."""
    set_value(stack, "committed", json.dumps(committed))


cli = app()


@cli.command()
def main(
    stack: StackOption = "",
    git: Annotated[
        bool,
        typer.Option(
            "--git",
            envvar="BLUEGREEN_SYNC_CONFIG_GIT",
            help="Keep what Git changed since CI last applied a commit: the next `up` applies it. For CI, on main.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write that nothing is deployed over a config that names releases.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Update this checkout's config to the stack: active color, canary, both colors' releases, revision.

    Run it first in a fresh checkout. All other keys stay as Git has them. After a direct rollback the active
    color is the one that AWS sends the traffic to.
    """
    display = Display(as_json=as_json)
    with exit_codes(display):
        written = sync_config(open_stack(stack), SyncArgs(git=git, force=force))
        display.result({"ok": True, "written": written})
        changed = ", ".join(f"{key} {value}" for key, value in written.items())
        display.say(f"written into the config: {changed}" if changed else "the config is up to date with the stack")


if __name__ == "__main__":
    cli()
