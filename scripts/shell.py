"""Shell on an instance of a color, by AWS Systems Manager's Session Manager: no open port, no key."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from fleet.colors import Color
from fleet.state import Fleet
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import ScriptError, UsageError
from scripts.cli.options import RegionOption, StackOption, app
from scripts.rollout.direct_rollback import find, region_of
from scripts.stack.automation import ROOT, selected_stack

TOOLS = {
    "aws": (
        "the AWS CLI is not on the PATH; install version 2: "
        "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
    ),
    "session-manager-plugin": (
        "the AWS CLI's Session Manager plugin is not on the PATH; install it: "
        "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html"
    ),
}


@dataclass(frozen=True, kw_only=True)
class ShellTarget:
    """An instance to open a shell on."""

    instance: str
    color: Color
    release: str
    healthy: bool


def require_tools() -> None:
    """Raise UsageError for the first one that is missing."""
    for name, sentence in TOOLS.items():
        if shutil.which(name) is None:
            raise UsageError(sentence)


def targets(fleet: Fleet) -> list[ShellTarget]:
    """The healthy ones first."""
    found = [
        ShellTarget(instance=one.id, color=side.color, release=group.release, healthy=one.is_healthy)
        for side in fleet.colors.values()
        for group in side.groups
        for one in group.instances
    ]
    return sorted(found, key=lambda each: not each.healthy)


def choose(fleet: Fleet, color: Color | None, instance: str) -> ShellTarget:
    """The named instance, else the first of the color, which is the live one by default. Raises UsageError."""
    found = targets(fleet)
    if instance:
        named = [each for each in found if each.instance == instance and color in (None, each.color)]
        if not named:
            known = ", ".join(each.instance for each in found if color in (None, each.color)) or "none"
            raise UsageError(
                f"--instance {instance}: {color or f'stack {fleet.stack}'} has no such instance, it has {known}"
            )
        return named[0]
    color = color or fleet.serving
    if color is None:
        raise UsageError(f"no release is live on stack {fleet.stack}: name a color with --color, or an --instance")
    of_color = [each for each in found if each.color == color]
    if not of_color:
        raise UsageError(f"{color} has no instances")
    return of_color[0]


def command(target: ShellTarget, region: str) -> list[str]:
    return ["aws", "ssm", "start-session", "--target", target.instance, "--region", region]


def run(argv: Sequence[str]) -> int:
    """Run the session; returns its exit code. Ctrl-C goes to the session, and must not end this program before it."""
    # A handler, since the AWS CLI would inherit SIG_IGN and ignore Ctrl-C even while it connects.
    before = signal.signal(signal.SIGINT, lambda _signal, _frame: None)
    try:
        return subprocess.run(argv, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


cli = app()


@cli.command()
def main(
    stack: StackOption = "",
    color: Annotated[Color | None, typer.Option(help="An instance of this color; default: of the live one.")] = None,
    instance: Annotated[str, typer.Option(help="This instance; default: the first healthy one of the color.")] = "",
    region: RegionOption = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Open nothing: print the instance and the command as one JSON document.")
    ] = False,
) -> None:
    """Open a shell on an instance: `aws ssm start-session`, with the instance found by the stack's tags.

    Needs the AWS CLI with its Session Manager plugin, and the right to ssm:StartSession. On the instance,
    `sudo docker logs app` has the app's lines and `journalctl -u bluegreen-boot` what the boot did.
    """
    display = Display(as_json=as_json)
    with exit_codes(display):
        if not as_json:
            require_tools()
        name = stack or selected_stack()
        region = region_of(name, region, ROOT / f"Pulumi.{name}.yaml")
        fleet, _ = find(name, region)
        target = choose(fleet, color, instance)
        argv = command(target, region)
        display.result({"ok": True, "stack": name, **asdict(target), "command": argv})
        if as_json:
            return
        display.note(f"{target.instance} of {target.color}, release {target.release}")
        if code := run(argv):
            raise ScriptError(f"`{shlex.join(argv)}` ended with exit code {code}")


if __name__ == "__main__":
    cli()
