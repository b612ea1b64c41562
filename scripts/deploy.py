"""Deploy of a release to new instances of the idle color, which get no traffic.

Aborted after `max_failed_launches` failed launches: the group launches no more instances, and the boot logs of those
that failed are printed and published to the alerts topic.
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
from scripts.cli.interrupts import handle_sigterm, uninterruptible
from scripts.cli.notifier import PUBLISHED, publish, secrets_of
from scripts.cli.options import BreakLockOption, JsonOption, StackOption, app, seconds
from scripts.releases.bucket import bundle_url, require
from scripts.rollout.deployment_watch import DeploymentFailedError, LaunchWatch, WatchedDeployment, watching_launches
from scripts.rollout.failure_report import Boots, boot_failures, console, gather
from scripts.rollout.traffic import require_agreement
from scripts.stack.automation import Stack, StackFacts, changed_resources, color_values, open_stack, read_facts
from scripts.stack.config_change import apply, changed_nothing, require_allowed
from scripts.stack.lock import who
from scripts.stack.runs import Run, changing, snapshot

READY_DEADLINE_S = 900.0
# The first may be AWS's fault and the second bad luck; after a third the release can't boot.
MAX_FAILED_LAUNCHES = 3
# The last 100 activities are read, and a failed launch makes two.
MAX_COUNTED_LAUNCHES = 50
NEWEST = "newest"
# As in ami/.
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
            desired = desired_config(facts, color, args)
            require_same_image(fleet, color, desired.ami)
            if args.ami == desired.ami:
                require_image(facts, desired.ami)
            require_allowed(facts, color_values(color, desired))
            run.source = snapshot(fleet, color)
            run.target = ColorSnapshot(color=color, release=args.version, ami=desired.ami)
        deployment = WatchedDeployment(
            stack=stack.name,
            color=color,
            release=args.version,
            ami=desired.ami,
            max_failed_launches=args.max_failed_launches,
        )
        with watching_launches(facts.session, deployment, display.note) as launch_watch:
            try:
                with display.stage(f"scale up: new instances of {color} with release {args.version}") as update:
                    bring_up(stack, color, desired, run, update)
                with display.stage(f"wait until {color} is ready"):
                    wait_ready(facts, launch_watch, args, desired)
            except KeyboardInterrupt:
                stop_on_interrupt(launch_watch, display)
                raise
            except Exception as error:
                if changed_nothing(error):
                    raise  # no instance was launched: nothing to report
                report_failure(facts, launch_watch, error, run, display)
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
    """The idle color, or the active one before the first release."""
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


def require_same_image(fleet: Fleet, color: Color, ami: str) -> None:
    """Raise RefusedError for another AMI on a live color, which the program would refuse in every later `up`."""
    side = fleet.colors[color]
    if side.weight and side.group and side.group.ami != ami:
        raise RefusedError(
            f"{color} is live on {side.group.ami}, which is never changed in place; "
            f"deploy {side.release} on {ami} to {color.other}, then cut over to it"
        )


def desired_config(facts: StackFacts, color: Color, args: DeployArgs) -> ColorSettings:
    release = require(facts.s3, facts.bucket, args.version)
    before = facts.colors[color]
    ami = newest_image(facts) if args.ami == NEWEST else args.ami or before.ami or facts.colors[color.other].ami
    if not ami:
        raise UsageError(f"no color has an AMI yet: add --ami {NEWEST}, the one that Packer built last, or an image id")
    bundle = Release(version=release.version, url=bundle_url(facts.bucket, release.version), sha256=release.sha256)
    return before.with_release(bundle, ami)


def require_arguments(args: DeployArgs) -> None:
    """Raise UsageError for values that the program would refuse, before the stack is read."""
    if not args.version and not args.ami:
        raise UsageError(
            "name a VERSION; without one --ami says on which other image the live release is deployed to the idle color"
        )
    if args.version and not VERSION.fullmatch(args.version):
        raise UsageError(
            f"VERSION {args.version!r}: allowed is a release's name, letters, digits and . _ -, "
            f"beginning with a letter or digit, at most {MAX_VERSION}"
        )
    if args.ami not in ("", NEWEST) and not AMI.fullmatch(args.ami):
        raise UsageError(f"--ami {args.ami}: allowed is {AMI_ALLOWED}, or {NEWEST}")


def require_image(facts: StackFacts, ami: str) -> None:
    """Raise UsageError unless EC2 has this image available: otherwise the Auto Scaling group's launches would fail."""
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
    """The newest AMI of `packer build` in the stack's region and account."""
    found = newest_of(client(facts.session, "ec2"))
    if not found:
        raise UsageError(f"there is no image named {IMAGE_NAMES} in {facts.region} yet: build one, see ami/README.md")
    return str(found["ImageId"])


def newest_of(ec2: Any) -> Mapping[str, Any]:
    """The newest image of `packer build`, as EC2 describes it; empty where there is none."""
    named = [{"Name": "name", "Values": [IMAGE_NAMES]}, {"Name": "state", "Values": ["available"]}]
    found = ec2.describe_images(Owners=["self"], Filters=named)["Images"]
    # The names end in the build time.
    return max(found, key=lambda image: (image["CreationDate"], image["Name"]), default={})


def bring_up(stack: Stack, color: Color, desired: ColorSettings, run: Run, on_output: Callable[[str], None]) -> None:
    def up() -> Any:
        run.state = f"config says {color} holds {desired.version}; run the same command again, or retire {color}"
        return stack.up(on_output=on_output)

    run.changed_resources = changed_resources(apply(stack, color_values(color, desired), up))


def wait_ready(facts: StackFacts, launch_watch: LaunchWatch, args: DeployArgs, desired: ColorSettings) -> None:
    def reason() -> str | None:
        if launch_watch.has_aborted:
            raise LaunchesStoppedError(f"{', '.join(launch_watch.stopped_groups)} may launch no more instances")
        fleet = facts.fleet()
        return not_ready(
            fleet, launch_watch.deployment.color, release=args.version, minimum=desired.min_size, weight=0
        ) or other_image(fleet, launch_watch.deployment)

    wait_until(
        tolerate_transient_errors(reason),
        what=f"release {args.version} on {launch_watch.deployment.color}",
        deadline_s=args.deadline_s,
    )


def other_image(fleet: Fleet, deployment: WatchedDeployment) -> str | None:
    """Why the color's instances have the release on another AMI, or None."""
    groups = fleet.colors[deployment.color].groups
    others = [group.ami for group in groups if group.ami != deployment.ami]
    return f"{deployment.color} still has instances of {', '.join(others)}, not of {deployment.ami}" if others else None


def stop_on_interrupt(launch_watch: LaunchWatch, display: Display) -> None:
    """On an interrupt, a deploy without failed launches continues in AWS; one with failed launches stops launching."""
    with uninterruptible():
        launch_watch.poll()  # an instance may have failed since the last one
        if launch_watch.failed_launches and (stopped := launch_watch.stop_launches()):
            display.note(f"{', '.join(stopped)} launches no more instances until the next deploy")


def report_failure(
    facts: StackFacts, launch_watch: LaunchWatch, error: Exception, run: Run, display: Display
) -> NoReturn:
    """Print and publish the evidence, then raise: the error itself, or DeploymentFailedError for an aborted deploy."""
    launch_watch.poll()
    stopped = launch_watch.stop_launches()
    deployment = launch_watch.deployment
    failed = [loss.instance for loss in launch_watch.failed_launches if loss.instance]
    boots = Boots(stack=deployment.stack, color=deployment.color, release=deployment.release)
    failures = boot_failures(facts.session, boots, failed)
    summary = abort_message(launch_watch, failures) if launch_watch.has_aborted else update_error(str(error))
    log_lines = last_log_lines(facts, launch_watch, failures)
    evidence = show_evidence(facts, deployment.color, display)
    message = DeploymentFailed(
        stack=facts.stack,
        region=facts.region,
        color=deployment.color,
        release=deployment.release,
        ami=deployment.ami,
        who=who(),
        error=summary,
        launches_stopped=tuple(launch_watch.stopped_groups or stopped),
        failed_launches=tuple(
            FailedLaunch(instance=loss.instance, reason=loss.reason) for loss in launch_watch.failed_launches
        ),
        boot_failure=next(reversed(failures.values()), None),
        evidence=tuple(evidence),
    )
    run.notification = publish(facts, sanitized(message, secrets_of(facts)))
    if run.notification != PUBLISHED:
        display.note(run.notification)
    if not launch_watch.has_aborted:
        if stopped:
            display.note(f"{', '.join(stopped)} launches no more instances until the next deploy")
        for line in log_lines:
            display.note(line)
        raise error
    details = {
        "failed_launches": [loss.instance for loss in launch_watch.failed_launches],
        "boot_failures": [content(failure) for failure in failures.values()],
    }
    raise DeploymentFailedError("\n".join([summary, *log_lines]), details) from error


def abort_message(launch_watch: LaunchWatch, failures: Mapping[str, BootFailed]) -> str:
    """One sentence with the limit, the instances and, where one logged it, the failed boot step."""
    deployment = launch_watch.deployment
    named = ", ".join(loss.instance or "one that EC2 never launched" for loss in launch_watch.failed_launches)
    count = f"{len(launch_watch.failed_launches)} instance{'s' if len(launch_watch.failed_launches) > 1 else ''}"
    step = [f"; the last failed at step {one.step}: {one.error}" for one in failures.values()][-1:]
    return (
        f"release {deployment.release} did not become healthy on {deployment.color}: {count} failed to launch "
        f"({named}), and --max-failed-launches is {deployment.max_failed_launches}"
        f"{''.join(step)}. {', '.join(launch_watch.stopped_groups)} launches no more instances until the next deploy; "
        "the live color was not touched"
    )


def last_log_lines(facts: StackFacts, launch_watch: LaunchWatch, failures: Mapping[str, BootFailed]) -> list[str]:
    """The log of the last failed boot, else the instance's console; a line for each of the others."""
    if not launch_watch.failed_launches:
        return []
    if failures:
        *others, last = failures.values()
        return [*(other.report[0] for other in others), *last.report]
    reasons = [f"{loss.instance or 'no instance'}: {loss.reason}" for loss in launch_watch.failed_launches]
    return [*reasons, *console(facts.session, launch_watch.failed_launches[-1].instance)]


def show_evidence(facts: StackFacts, color: Color, display: Display) -> list[str]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        side = facts.fleet().colors.get(color)
        lines = gather(facts.session, side) if side else []
    except (BotoCoreError, ClientError) as error:
        lines = [f"the fleet can't be read: {error}"]  # the deploy's own error matters more
    for line in lines:
        display.note(line)
    topic = facts.outputs.get("alertsTopicArn", "")
    display.note(
        f"the live color was not touched; each instance has published its own report to the alerts topic {topic}"
    )
    return lines


# Also of `release`, which deploys as well.
AmiOption = Annotated[str, typer.Option(help="The machine image, or `newest`; default: the one in the stack's config.")]

cli = app()


@cli.command()
def main(
    version: Annotated[
        str, typer.Argument(help="A published release; default, with --ami: the one that is live.")
    ] = "",
    stack: StackOption = "",
    ami: AmiOption = "",
    color: Annotated[Color | None, typer.Option(help="The color to deploy to; default: the idle one.")] = None,
    deadline: Annotated[float, seconds(help="Seconds within which the instances must be healthy.")] = READY_DEADLINE_S,
    max_failed_launches: Annotated[
        int,
        typer.Option(min=1, max=MAX_COUNTED_LAUNCHES, help="Abort after this many failed launches."),
    ] = MAX_FAILED_LAUNCHES,
    break_lock: BreakLockOption = False,
    as_json: JsonOption = False,
) -> None:
    """Start release VERSION on new instances of the idle color, and wait until they are healthy.

    It gets no traffic before a cutover, with one exception: the first release of a stack goes to the active color and
    gets all traffic as soon as its instances are healthy.
    """
    handle_sigterm()
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
