"""Deploy of a release to new instances of the idle color, which get no traffic.

Bounded: after `max_failed_launches` instances that failed to launch the group launches no more, and the deploy ends at
once with what the instances logged of their boots, which goes to the alerts topic too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, NoReturn

import typer

from ami.boot.messages import (
    BootFailed,
    ChangeRecord,
    ColorSnapshot,
    DeploymentFailed,
    FailedLaunch,
    Kind,
    content,
    sanitized,
)
from ami.boot.user_data import MAX_VERSION, VERSION, Release
from config.colors import AMI, AMI_ALLOWED, ColorSettings
from fleet.colors import Color
from fleet.command_lines import bluegreen
from fleet.gates import not_ready
from fleet.launches import LaunchesStoppedError
from fleet.state import Fleet, client
from fleet.waiting import tolerate_transient_errors, wait_until
from scripts.cli.display import Display, exit_codes, update_error
from scripts.cli.exits import RefusedError, UsageError
from scripts.cli.interrupts import shielded, terminate_like_ctrl_c
from scripts.cli.notifier import PUBLISHED, publish, secrets_of
from scripts.cli.options import BreakLockOption, JsonOption, StackOption, app, seconds
from scripts.releases.bucket import bundle_url, require
from scripts.rollout.deployment_watch import Delivery, DeliveryFailedError, Follower, following
from scripts.rollout.failure_report import Boots, boot_failures, console, gather
from scripts.rollout.traffic import require_agreement
from scripts.stack.automation import Stack, StackFacts, changed_resources, color_values, open_stack, read_facts
from scripts.stack.config_change import apply, changed_nothing, require_allowed
from scripts.stack.lock import who
from scripts.stack.runs import Run, changing, snapshot

READY_DEADLINE_S = 900.0
# The first may be AWS's fault and the second chance; a third says that the release can't boot.
MAX_FAILED_LAUNCHES = 3
# AWS is asked for the last 100 activities, and a machine that comes to nothing makes two.
MOST_COUNTED = 50
NEWEST = "newest"
# As ami/ names what it builds.
IMAGE_NAMES = "bluegreen-debian-12-*"


@dataclass(frozen=True, kw_only=True)
class DeployArgs:
    """What to deploy, and where.

    No version means the one that is live, no AMI the one already in config, no color the idle one.
    """

    version: str = ""
    ami: str = ""
    color: Color | None = None
    break_lock: bool = False
    deadline_s: float = READY_DEADLINE_S
    max_failed_launches: int = MAX_FAILED_LAUNCHES


def deploy(stack: Stack, args: DeployArgs, display: Display) -> ChangeRecord | None:
    """Write the release into the color's config, `up`, and wait for its instances; the live color is not touched."""
    facts = read_facts(stack)
    with changing(facts, Kind.DEPLOY, break_lock=args.break_lock) as run:
        with display.stage("reconcile: read the stack and the fleet"):
            fleet = facts.fleet()
            require_agreement(stack, facts, fleet)
            args = replace(args, version=args.version or serving_release(fleet))
            color = choose_color(facts, fleet, args)
            wanted = wanted_config(facts, color, args)
            refuse_another_image(fleet, color, wanted.ami)
            if args.ami == wanted.ami:
                require_image(facts, wanted.ami)
            require_allowed(facts, color_values(color, wanted))
            run.source = snapshot(fleet, color)
            run.target = ColorSnapshot(color=color, release=args.version, ami=wanted.ami)
        delivery = Delivery(
            stack=stack.name,
            color=color,
            release=args.version,
            ami=wanted.ami,
            max_failed_launches=args.max_failed_launches,
        )
        with following(facts.session, delivery, display.note) as follower:
            try:
                with display.stage(f"scale up: new instances of {color} with release {args.version}") as say:
                    bring_up(stack, color, wanted, run, say)
                with display.stage(f"wait until {color} is ready"):
                    wait_ready(facts, follower, args, wanted)
            except KeyboardInterrupt:
                leave(follower, display)
                raise
            except Exception as error:
                if changed_nothing(error):
                    raise  # no machine was launched, nobody need be told
                give_account(facts, follower, error, run, display)
        fleet = facts.fleet()
        run.target = snapshot(fleet, color)
        if weight := fleet.colors[color].weight:
            run.figures = {"weight": weight, "url": facts.url}
    return run.record


def serving_release(fleet: Fleet) -> str:
    if fleet.serving is None:
        raise UsageError("no release is live yet, so there is none to deploy again: name a VERSION")
    return fleet.colors[fleet.serving].release


def choose_color(facts: StackFacts, fleet: Fleet, args: DeployArgs) -> Color:
    """The idle color; before the first release both are, and the active one is meant."""
    color = args.color or (fleet.serving or facts.active.other).other
    if fleet.colors[color].weight and fleet.colors[color.other].weight:
        raise RefusedError(
            f"{color} has {fleet.colors[color].weight} % of the traffic, a canary, and {color.other} the rest; end it "
            f"first: {bluegreen('canary', '0', stack=facts.stack)}"
        )
    if fleet.colors[color].weight and fleet.colors[color].release != args.version:
        raise RefusedError(
            f"{color} is live with release {fleet.colors[color].release}, which is never changed in place; "
            f"deploy {args.version} to {color.other}, then cut over to it"
        )
    return color


def refuse_another_image(fleet: Fleet, color: Color, ami: str) -> None:
    """Before config names it: the program would refuse it in every later `up`."""
    side = fleet.colors[color]
    if side.weight and side.group and side.group.ami != ami:
        raise RefusedError(
            f"{color} is live on {side.group.ami}, which is never changed in place; "
            f"deploy {side.release} on {ami} to {color.other}, then cut over to it"
        )


def wanted_config(facts: StackFacts, color: Color, args: DeployArgs) -> ColorSettings:
    release = require(facts.s3, facts.bucket, args.version)
    before = facts.colors[color]
    ami = newest_image(facts) if args.ami == NEWEST else args.ami or before.ami or facts.colors[color.other].ami
    if not ami:
        raise UsageError("no color has an AMI yet: name the one that Packer made with --ami")
    bundle = Release(version=release.version, url=bundle_url(facts.bucket, release.version), sha256=release.sha256)
    return before.with_release(bundle, ami)


def require_arguments(args: DeployArgs) -> None:
    """Raise UsageError for what the program would refuse, before a stack is read."""
    if args.version and not VERSION.fullmatch(args.version):
        raise UsageError(
            f"VERSION {args.version!r}: allowed is a release's name, letters, digits and . _ -, "
            f"beginning with a letter or digit, at most {MAX_VERSION}"
        )
    if args.ami not in ("", NEWEST) and not AMI.fullmatch(args.ami):
        raise UsageError(f"--ami {args.ami}: allowed is {AMI_ALLOWED}, or {NEWEST}")


def require_image(facts: StackFacts, ami: str) -> None:
    """Raise UsageError unless EC2 has this image ready for the account: an Auto Scaling group would only find out."""
    from botocore.exceptions import ClientError

    try:
        found = client(facts.session, "ec2").describe_images(ImageIds=[ami])["Images"]
    except ClientError as error:
        if not error.response["Error"]["Code"].startswith("InvalidAMIID"):
            raise
        found = []
    if not found:
        raise UsageError(
            f"--ami {ami}: {facts.region} has no such image for this account; allowed is one that it has, or {NEWEST}"
        )
    if (state := found[0].get("State", "available")) != "available":
        raise UsageError(f"--ami {ami}: the image is {state}; allowed is one that is available, or {NEWEST}")


def newest_image(facts: StackFacts) -> str:
    """The AMI that `packer build` made last in the stack's region and account."""
    found = newest_of(client(facts.session, "ec2"))
    if not found:
        raise UsageError(f"there is no image named {IMAGE_NAMES} in {facts.region} yet: build one, see ami/README.md")
    return str(found["ImageId"])


def newest_of(ec2: Any) -> Mapping[str, Any]:
    """The image that `packer build` made last, as EC2 describes it; empty where there is none."""
    named = [{"Name": "name", "Values": [IMAGE_NAMES]}, {"Name": "state", "Values": ["available"]}]
    found = ec2.describe_images(Owners=["self"], Filters=named)["Images"]
    # Their names end in the time of their build.
    return max(found, key=lambda image: (image["CreationDate"], image["Name"]), default={})


def bring_up(stack: Stack, color: Color, wanted: ColorSettings, run: Run, tell: Callable[[str], None]) -> None:
    def up() -> Any:
        run.state = f"config says {color} holds {wanted.version}; run the same command again, or retire {color}"
        return stack.up(on_output=tell)

    run.changed_resources = changed_resources(apply(stack, color_values(color, wanted), up))


def wait_ready(facts: StackFacts, follower: Follower, args: DeployArgs, wanted: ColorSettings) -> None:
    def reason() -> str | None:
        if follower.gave_up:
            raise LaunchesStoppedError(f"{', '.join(follower.stopped)} may launch no more instances")
        fleet = facts.fleet()
        return not_ready(
            fleet, follower.delivery.color, release=args.version, minimum=wanted.min_size, weight=0
        ) or other_image(fleet, follower.delivery)

    wait_until(
        tolerate_transient_errors(reason),
        what=f"release {args.version} on {follower.delivery.color}",
        deadline_s=args.deadline_s,
    )


def other_image(fleet: Fleet, delivery: Delivery) -> str | None:
    """Why the color's machines are not those that were asked for, although their release is, or None."""
    groups = fleet.colors[delivery.color].groups
    others = [group.ami for group in groups if group.ami != delivery.ami]
    return f"{delivery.color} still has instances of {', '.join(others)}, not of {delivery.ami}" if others else None


def leave(follower: Follower, display: Display) -> None:
    """Interrupted: a delivery that goes well may go on by itself, one that has lost machines may not."""
    with shielded():
        if follower.lost and (stopped := follower.halt()):
            display.note(f"{', '.join(stopped)} launches no more instances until the next deploy")


def give_account(facts: StackFacts, follower: Follower, error: Exception, run: Run, display: Display) -> NoReturn:
    """Show and tell people what is known, then raise: the error itself, or that the delivery was given up."""
    follower.look_on()
    halted = follower.halt()
    delivery = follower.delivery
    lost = [loss.instance for loss in follower.lost if loss.instance]
    boots = Boots(stack=delivery.stack, color=delivery.color, release=delivery.release)
    failures = boot_failures(facts.session, boots, lost)
    summary = given_up(follower, failures) if follower.gave_up else update_error(str(error))
    words = last_words(facts, follower, failures)
    seen = show_evidence(facts, delivery.color, display)
    failed = DeploymentFailed(
        stack=facts.stack,
        region=facts.region,
        color=delivery.color,
        release=delivery.release,
        ami=delivery.ami,
        who=who(),
        error=summary,
        launches_stopped=tuple(follower.stopped or halted),
        failed_launches=tuple(FailedLaunch(instance=loss.instance, reason=loss.reason) for loss in follower.lost),
        boot_failure=next(reversed(failures.values()), None),
        evidence=tuple(seen),
    )
    run.notification = publish(facts, sanitized(failed, secrets_of(facts)))
    if run.notification != PUBLISHED:
        display.note(run.notification)
    if not follower.gave_up:
        if halted:
            display.note(f"{', '.join(halted)} launches no more instances until the next deploy")
        for line in words:
            display.note(line)
        raise error
    details = {
        "failed_launches": [loss.instance for loss in follower.lost],
        "boot_failures": [content(failure) for failure in failures.values()],
    }
    raise DeliveryFailedError("\n".join([summary, *words]), details) from error


def given_up(follower: Follower, failures: Mapping[str, BootFailed]) -> str:
    """One sentence that names the bound, the instances and, where one logged it, the failed step."""
    delivery = follower.delivery
    named = ", ".join(loss.instance or "one that EC2 never launched" for loss in follower.lost)
    count = f"{len(follower.lost)} instance{'s' if len(follower.lost) > 1 else ''}"
    said = [f"; the last failed at step {one.step}: {one.error}" for one in failures.values()][-1:]
    return (
        f"release {delivery.release} did not become healthy on {delivery.color}: {count} failed to launch ({named}), "
        f"and --max-failed-launches is {delivery.max_failed_launches}"
        f"{''.join(said)}. {', '.join(follower.stopped)} launches no more instances until the next deploy; "
        "the live color was not touched"
    )


def last_words(facts: StackFacts, follower: Follower, failures: Mapping[str, BootFailed]) -> list[str]:
    """What the last lost machine told, else its console and the group's reason; the others in a line each."""
    if not follower.lost:
        return []
    if failures:
        *others, last = failures.values()
        return [*(other.report[0] for other in others), *last.report]
    told = [f"{loss.instance or 'no machine'}: {loss.reason}" for loss in follower.lost]
    return [*told, *console(facts.session, follower.lost[-1].instance)]


def show_evidence(facts: StackFacts, color: Color, display: Display) -> list[str]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        side = facts.fleet().colors.get(color)
        lines = gather(facts.session, side) if side else []
    except (BotoCoreError, ClientError) as error:
        lines = [f"the fleet can't be read: {error}"]  # what failed matters more than this
    for line in lines:
        display.note(line)
    topic = facts.outputs.get("alertsTopicArn", "")
    display.note(f"the live color was not touched; each instance's own report went to the alerts topic {topic}")
    return lines


cli = app()


@cli.command()
def main(
    version: Annotated[str, typer.Argument(help="A published release; default: the one that is live.")] = "",
    stack: StackOption = "",
    ami: Annotated[
        str, typer.Option(help="The machine image, or `newest`; default: the one in the stack's config.")
    ] = "",
    color: Annotated[Color | None, typer.Option(help="The color to deploy to; default: the idle one.")] = None,
    deadline: Annotated[float, seconds(help="Seconds within which the instances must be healthy.")] = READY_DEADLINE_S,
    max_failed_launches: Annotated[
        int,
        typer.Option(min=1, max=MOST_COUNTED, help="Abort after this many failed launches."),
    ] = MAX_FAILED_LAUNCHES,
    break_lock: BreakLockOption = False,
    as_json: JsonOption = False,
) -> None:
    """Start release VERSION on new instances of the idle color, and wait until they are healthy.

    It gets no traffic before a cutover, with one exception: the first release of a stack goes to the active color and
    gets all traffic as soon as its instances are healthy.
    """
    terminate_like_ctrl_c()
    display = Display(as_json=as_json)
    args = DeployArgs(
        version=version,
        ami=ami,
        color=color,
        break_lock=break_lock,
        deadline_s=deadline,
        max_failed_launches=max_failed_launches,
    )
    with exit_codes(display):
        require_arguments(args)
        opened = open_stack(stack)
        record = deploy(opened, args, display)
        if record:
            display.result({"ok": True, **content(record), "stages": display.stages})
            _say(display, opened.name, record)


def _say(display: Display, stack: str, record: ChangeRecord) -> None:
    color = record.target.color
    display.say(f"{color} holds release {record.target.release} on {record.target.ami}, after {record.seconds:.1f} s")
    if weight := record.figures.get("weight"):
        display.say(f"it is live ({weight} % of the traffic): {record.figures['url']}")
        display.say(f"check it:  {bluegreen('smoke-test', stack=stack).strip('`')}")
        return
    display.say(f"check it:  {bluegreen('smoke-test', '--color', color, stack=stack).strip('`')}")
    display.say(f"then:      {bluegreen('cutover', color, stack=stack).strip('`')}")


if __name__ == "__main__":
    cli()
