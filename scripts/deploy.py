"""A release stands ready on the color without users after this ran: fresh machines, healthy, judged by nobody yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from checks.colors import Color
from checks.fleet import Fleet, client, describe
from checks.gates import not_ready
from checks.waiting import wait_until
from scripts.display import Display, exit_codes
from scripts.evidence import gather
from scripts.exits import RefusedError, UsageError
from scripts.history import Place, Record
from scripts.interrupts import terminate_like_ctrl_c, to_the_end
from scripts.options import BreakLockOption, JsonOption, StackOption, app
from scripts.releases import bundle_url, require
from scripts.runs import Run, changing, place
from scripts.stacks import ColorConfig, Stack, StackFacts, changed_resources, open_stack, read_facts, set_color

READY_DEADLINE_S = 900.0
NEWEST = "newest"
# As ami/ names what it builds.
IMAGE_NAMES = "bluegreen-debian-12-*"


@dataclass(frozen=True, kw_only=True)
class DeployArgs:
    """What to deliver, and where.

    No version means the one that serves, no AMI the one already in config, no color the one without users.
    """

    version: str = ""
    ami: str = ""
    color: Color | None = None
    break_lock: bool = False
    deadline_s: float = READY_DEADLINE_S


def deploy(stack: Stack, args: DeployArgs, display: Display) -> Record | None:
    """Write the release into the color's config, `up`, and wait for its machines; users notice nothing."""
    facts = read_facts(stack)
    with changing(facts, "deploy", break_lock=args.break_lock) as run:
        with display.stage("reconcile: read the stack and the fleet"):
            fleet = describe(stack.name, facts.session)
            args = replace(args, version=args.version or serving_release(fleet))
            color = choose_color(facts, fleet, args)
            wanted = wanted_config(facts, color, args)
            run.source = place(fleet, color)
            run.target = Place(color=color, release=args.version, ami=wanted.ami)
        try:
            with display.stage(f"scale up: new machines of {color} with release {args.version}") as tell:
                bring_up(stack, color, wanted, run, tell)
            with display.stage(f"wait until {color} is ready"):
                wait_ready(facts, color, args, wanted)
        except Exception:
            show_evidence(facts, color, display)
            raise
        run.target = place(describe(stack.name, facts.session), color)
    return run.record


def serving_release(fleet: Fleet) -> str:
    if fleet.serving is None:
        raise UsageError("nothing serves users yet, so there is no release to deliver anew: name a VERSION")
    return fleet.sides[fleet.serving].release


def choose_color(facts: StackFacts, fleet: Fleet, args: DeployArgs) -> Color:
    """The color without users; before the first release nobody has any, and the active one is meant."""
    color = args.color or (fleet.serving or facts.active.other).other
    if fleet.sides[color].weight and fleet.sides[color].release != args.version:
        raise RefusedError(
            f"{color} serves users with release {fleet.sides[color].release}, which is never changed in place; "
            f"deliver {args.version} to {color.other}, then cut over to it"
        )
    return color


def wanted_config(facts: StackFacts, color: Color, args: DeployArgs) -> ColorConfig:
    release = require(facts.s3, facts.bucket, args.version)
    before = facts.colors[color]
    ami = newest_image(facts) if args.ami == NEWEST else args.ami or before.ami or facts.colors[color.other].ami
    if not ami:
        raise UsageError("no color has an AMI yet: name the one that Packer made with --ami")
    return replace(
        before,
        release=release.version,
        release_url=bundle_url(facts.bucket, release.version),
        sha256=release.sha256,
        ami=ami,
    )


def newest_image(facts: StackFacts) -> str:
    """The AMI that `packer build` made last in the stack's region and account."""
    named = [{"Name": "name", "Values": [IMAGE_NAMES]}, {"Name": "state", "Values": ["available"]}]
    found = client(facts.session, "ec2").describe_images(Owners=["self"], Filters=named)["Images"]
    if not found:
        raise UsageError(f"there is no image named {IMAGE_NAMES} in {facts.region} yet: build one, see ami/README.md")
    # Their names end in the time of their build.
    return str(max(found, key=lambda image: (image["CreationDate"], image["Name"]))["ImageId"])


def bring_up(stack: Stack, color: Color, wanted: ColorConfig, run: Run, tell: Callable[[str], None]) -> None:
    # Config keeps what was asked for even when this fails: the same command again goes on from there.
    set_color(stack, color, wanted)
    run.state = f"config says {color} holds {wanted.release}; run the same command again, or retire {color}"
    run.changed_resources = changed_resources(to_the_end(lambda: stack.up(on_output=tell)))


def wait_ready(facts: StackFacts, color: Color, args: DeployArgs, wanted: ColorConfig) -> None:
    wait_until(
        lambda: not_ready(
            describe(facts.stack, facts.session), color, release=args.version, minimum=wanted.min_size, weight=0
        ),
        what=f"release {args.version} on {color}",
        deadline_s=args.deadline_s,
    )


def show_evidence(facts: StackFacts, color: Color, display: Display) -> None:
    side = describe(facts.stack, facts.session).sides.get(color)
    for line in gather(facts.session, side) if side else ():
        display.note(line)
    topic = facts.outputs.get("alertsTopicArn", "")
    display.note(f"users were not touched; each machine's own report went to the alerts topic {topic}")


cli = app()


@cli.command()
def main(
    version: Annotated[str, typer.Argument(help="A published release; default: the one that serves users.")] = "",
    stack: StackOption = "dev",
    ami: Annotated[
        str, typer.Option(help="The machine image, or `newest`; default: the one in the stack's config.")
    ] = "",
    color: Annotated[Color | None, typer.Option(help="Default: the color without users.")] = None,
    deadline: Annotated[
        float, typer.Option(help="Seconds within which the machines must be ready.")
    ] = READY_DEADLINE_S,
    break_lock: BreakLockOption = False,
    as_json: JsonOption = False,
) -> None:
    """Deliver release VERSION to fresh machines of the color without users, and wait until they are ready.

    The first release of a stack goes to the active color. No user sees the release before a cutover.
    """
    terminate_like_ctrl_c()
    display = Display(as_json=as_json)
    args = DeployArgs(version=version, ami=ami, color=color, break_lock=break_lock, deadline_s=deadline)
    with exit_codes(display):
        record = deploy(open_stack(stack), args, display)
        if record:
            display.result({"ok": True, **record.as_json(), "stages": display.stages})
            _say(display, stack, record)


def _say(display: Display, stack: str, record: Record) -> None:
    color = record.target.color
    display.say(f"{color} holds release {record.target.release} on {record.target.ami}, after {record.seconds:.1f} s")
    display.say(f"judge it:  python -m scripts.smoke_test --stack {stack} --color {color}")
    display.say(f"then:      python -m scripts.cutover {color} --stack {stack}")


if __name__ == "__main__":
    cli()
