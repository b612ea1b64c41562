"""Release of a folder in one command: publish, deploy to the idle color, cut over to it, bake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ami.boot.messages import ChangeRecord, content
from ami.boot.unpack import BundleKind
from fleet.colors import ALL_TRAFFIC, Color
from fleet.command_lines import bluegreen_line
from fleet.smoke_test import failures, smoke
from fleet.state import describe
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import RollbackFailedError, RolledBackError, ScriptError
from scripts.cli.interrupts import handle_sigterm
from scripts.cli.options import (
    SMOKE_DEADLINE_S,
    BakeOption,
    BreakLockOption,
    JsonOption,
    ReasonOption,
    StackOption,
    app,
)
from scripts.cutover import CutoverArgs, cut_over
from scripts.deploy import AmiOption, DeployArgs, deploy, require_arguments
from scripts.publish_release import (
    FolderArgument,
    KindOption,
    MigrationOption,
    PublishArgs,
    VersionOption,
    git_commit,
    git_version,
    publish,
)
from scripts.releases.bucket import Migration
from scripts.rollout.bake import BAKE_S
from scripts.stack.automation import ROOT, Stack, StackFacts, open_stack, read_facts


@dataclass(frozen=True, kw_only=True)
class ReleaseArgs:
    """Options of all steps."""

    publishing: PublishArgs
    ami: str = ""
    bake_s: float = BAKE_S
    reason: str = ""
    break_lock: bool = False

    @property
    def version(self) -> str:
        return self.publishing.version


def release(stack: Stack, args: ReleaseArgs, display: Display) -> dict[str, Any]:
    """Run each step like its own command, with its own lock and record; returns the JSON document of all."""
    facts = read_facts(stack)
    with continued_by(display, again(args, facts)):
        args = replace(args, publishing=replace(args.publishing, bucket=facts.bucket))
        published = publish(facts.s3, args.publishing, display)
    done = {"ok": True, "version": args.version, "sha256": published.release.sha256, "url": published.url}
    if color := live_color(facts, args.version):
        # A second deploy would replace the release to roll back to.
        return {**done, "color": color, "was_live": True, "stages": display.stages}
    with continued_by(display, bluegreen_line("deploy", args.version, *ami_options(args), stack=facts.stack)):
        deployed = deploy(stack, DeployArgs(version=args.version, ami=args.ami, break_lock=args.break_lock), display)
    color = target_of(deployed)
    if deployed and deployed.figures.get("weight"):
        with continued_by(display, bluegreen_line("smoke-test", stack=facts.stack)):
            check_first(facts, args, display)
        return {**done, "color": color, "first": True, "deploy": content(deployed), "stages": display.stages}
    cutover = CutoverArgs(
        target=color, release=args.version, bake_s=args.bake_s, reason=args.reason, break_lock=args.break_lock
    )
    with continued_by(display, cutover_command(args, color, facts)):
        record = switch(stack, cutover, facts, display)
    return {
        **done,
        "color": color,
        "deploy": content(deployed) if deployed else None,
        "cutover": content(record) if record else None,
        **({"warnings": display.warnings} if display.warnings else {}),
        "stages": display.stages,
    }


@contextmanager
def continued_by(display: Display, command: str) -> Iterator[None]:
    """A step; when it fails, `command` continues from there."""
    display.next_command = command
    yield
    display.next_command = ""


def switch(stack: Stack, args: CutoverArgs, facts: StackFacts, display: Display) -> ChangeRecord | None:
    """The cutover. No command continues after a rollback, and a failed rollback names its own."""
    own = Display(as_json=display.as_json)  # its record holds its own stages only
    try:
        return cut_over(stack, args, own)
    except RolledBackError:
        display.next_command = bluegreen_line("logs", "--color", str(args.target), "--since", "30m", stack=facts.stack)
        raise
    except RollbackFailedError:
        display.next_command = ""
        raise
    finally:
        display.stages += own.stages
        display.warnings += own.warnings


def live_color(facts: StackFacts, version: str) -> Color | None:
    """The color that has all traffic with this release, if one does."""
    sides = describe(facts.stack, facts.session).colors.values()
    return next((side.color for side in sides if side.weight == ALL_TRAFFIC and side.release == version), None)


def target_of(record: ChangeRecord | None) -> Color:
    if record is None or not record.target.color:
        raise ScriptError("the deploy left no record of its color")
    return Color(record.target.color)


def check_first(facts: StackFacts, args: ReleaseArgs, display: Display) -> None:
    """A stack's first release has all traffic once it is deployed: there is nothing to cut over from."""
    with display.stage("smoke test: of the public endpoint"):
        results = smoke(
            facts.url, expect_release=args.version, health_path=facts.health_path, deadline=SMOKE_DEADLINE_S
        )
        if reason := failures(results):
            raise ScriptError(f"release {args.version} is live and fails its smoke test: {reason}")


def again(args: ReleaseArgs, facts: StackFacts) -> str:
    """The same command again, with every option that affects the bundle: other bytes would be refused."""
    publishing = args.publishing
    folder = publishing.folder if Path.cwd() == ROOT else publishing.folder.absolute()
    kind = ("--kind", publishing.kind) if publishing.kind is not BundleKind.SOURCE else ()
    migration = ("--migration", publishing.migration) if publishing.migration is not Migration.NONE else ()
    arguments = (str(folder), "--version", args.version, *kind, *migration, *ami_options(args))
    return bluegreen_line("release", *arguments, stack=facts.stack)


def cutover_command(args: ReleaseArgs, color: Color, facts: StackFacts) -> str:
    # After a Ctrl-C in the bake the color has the traffic already.
    return bluegreen_line("cutover", color, "--release", args.version, "--if-needed", stack=facts.stack)


def ami_options(args: ReleaseArgs) -> tuple[str, ...]:
    return ("--ami", args.ami) if args.ami else ()


cli = app()


@cli.command()
def main(
    folder: FolderArgument,
    stack: StackOption = "",
    version: VersionOption = "",
    kind: KindOption = BundleKind.SOURCE,
    migration: MigrationOption = Migration.NONE,
    ami: AmiOption = "",
    bake_seconds: BakeOption = BAKE_S,
    reason: ReasonOption = "",
    break_lock: BreakLockOption = False,
    as_json: JsonOption = False,
) -> None:
    """Publish FOLDER, deploy it to the idle color, cut over to it, and watch it with its traffic.

    The same steps as `publish`, `deploy` and `cutover`, with the same checks. When one fails, the command stops with
    its exit code and prints the command that continues from there. A release that turns out bad with its traffic is
    rolled back automatically. A stack's first release is live once it is deployed.
    """
    handle_sigterm()
    display = Display(as_json=as_json)
    with exit_codes(display):
        require_arguments(DeployArgs(version=version, ami=ami))
        version = version or git_version(folder)
        args = ReleaseArgs(
            publishing=PublishArgs(
                folder=folder, bucket="", version=version, commit=git_commit(folder), kind=kind, migration=migration
            ),
            ami=ami,
            bake_s=bake_seconds,
            reason=reason,
            break_lock=break_lock,
        )
        opened = open_stack(stack)
        done = release(opened, args, display)
        display.result(done)
        display.say(sentence(done))


def sentence(done: dict[str, Any]) -> str:
    if done.get("was_live"):
        return f"release {done['version']} is live on {done['color']} already; nothing was changed"
    if done.get("first"):
        return f"release {done['version']} is live on {done['color']}, the first one of the stack"
    return (
        f"release {done['version']} is live on {done['color']}; {Color(done['color']).other} stays ready for a rollback"
    )


if __name__ == "__main__":
    cli()
