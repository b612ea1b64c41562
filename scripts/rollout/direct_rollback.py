"""Direct rollback: sets the live rule's weights by the AWS API, where Pulumi's CLI, lock or backend is broken."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ami.boot.messages import ChangeRecord, Kind, content
from config.colors import ColorSettings
from fleet import launches
from fleet.colors import ALL_TRAFFIC, Color
from fleet.command_lines import bluegreen, pulumi
from fleet.deployments import Deployment
from fleet.gates import capacity_needed, not_ready
from fleet.smoke_test import failures, smoke
from fleet.state import ADDRESS_TAG, BUCKET_TAG, TOPIC_TAG, ColorState, Fleet, Group, client, describe, live_weights
from scripts.cli.display import Display
from scripts.cli.exits import RefusedError, RollbackFailedError, ScriptError, UsageError
from scripts.cli.interrupts import defer_signals
from scripts.cli.options import SMOKE_DEADLINE_S
from scripts.releases.bucket import breaking_between
from scripts.rollout.traffic import format_weights
from scripts.stack.automation import NAMESPACE, ROOT, StackFacts
from scripts.stack.config_file import StackFileError, read_config, write_config
from scripts.stack.runs import Run, changing, snapshot

# In the order in which the SDKs read them.
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
REGION_KEY = "aws:region"
ACTIVE_KEY, CANARY_KEY = f"{NAMESPACE}:activeColor", f"{NAMESPACE}:canaryPercent"
# Seconds of AWS calls: in an outage, the SDK's default of a minute for a connection is too long.
CONNECT_S, READ_S, ATTEMPTS = 2, 5, 3
# With traffic on both colors, the one with at least so many percent counts as live, and the other one as the canary.
# Below that, the operator must name the color.
MIN_LIVE_PERCENT = 75
IN_A_ROW = 3
# Targets in these states get no requests.
OUT_OF_SERVICE = ("unregistered", "draining")


@dataclass(frozen=True, kw_only=True)
class DirectArgs:
    """The target color, the checks, and where the stack's region and config are."""

    to: Color | None = None
    """None means the idle color, or, with a canary, the one that has most of the traffic."""
    region: str = ""
    config_file: Path | None = None
    """None means Pulumi.<stack>.yaml of this checkout."""
    with_checks: bool = True
    accept_breaking_migration: bool = False
    break_lock: bool = False
    reason: str = ""
    preview_deadline_s: float = 5.0
    public_deadline_s: float = SMOKE_DEADLINE_S


@dataclass(frozen=True, kw_only=True)
class DirectResult:
    """Weights before and after, and the command to reconcile Pulumi's state afterwards."""

    record: ChangeRecord | None
    before: Mapping[Color, int]
    after: Mapping[Color, int]
    moved_seconds: float
    config: str
    reconcile: str

    def as_json(self) -> dict[str, Any]:
        return {
            **(content(self.record) if self.record else {}),
            "weights": {"before": dict(self.before), "after": dict(self.after)},
            "moved_seconds": self.moved_seconds,
            "config": self.config,
            "reconcile": self.reconcile,
        }


@dataclass(kw_only=True)
class DirectRollback:
    """One direct rollback while it happens."""

    fleet: Fleet
    facts: StackFacts
    target: Color
    args: DirectArgs
    display: Display
    run: Run
    config_file: Path
    began: float
    config: str = field(default="", init=False)
    moved_seconds: float = field(default=0.0, init=False)

    @property
    def source(self) -> Color:
        return self.target.other

    @property
    def side(self) -> ColorState:
        return self.fleet.colors[self.target]

    @property
    def weights(self) -> dict[Color, int]:
        return {color: ALL_TRAFFIC if color == self.target else 0 for color in Color}


def roll_back(stack: str, args: DirectArgs, display: Display) -> DirectResult:
    """Shift all traffic to the target color by one AWS API call; a failure before it changes nothing."""
    began = time.monotonic()
    config_file = args.config_file or ROOT / f"Pulumi.{stack}.yaml"
    with display.stage(f"reconcile: find stack {stack} in AWS by its tags"):
        fleet, session = find(stack, region_of(stack, args.region, config_file))
        facts = facts_of(fleet, session)
    if not facts.bucket:
        display.warn(f"the load balancer has no tag {BUCKET_TAG}, which an `up` sets: neither lock nor history")
    with changing(
        facts,
        Kind.DIRECT_ROLLBACK,
        break_lock=args.break_lock,
        reason=args.reason,
        display=display,
        lock_required=False,
    ) as run:
        target = target_color(fleet, args.to)
        rollback = DirectRollback(
            fleet=fleet,
            facts=facts,
            target=target,
            args=args,
            display=display,
            run=run,
            config_file=config_file,
            began=began,
        )
        run.started = began
        run.source, run.target = snapshot(fleet, rollback.source), snapshot(fleet, target)
        with display.stage(f"test traffic: check {target} {rollback.side.release}"):
            check(rollback)
        with display.stage(f"production traffic shift: {rollback.source} to {target}"):
            defer_signals(lambda: shift(rollback))
        with display.stage("smoke test: of the public endpoint"):
            verify(rollback)
    return DirectResult(
        record=run.record,
        before=fleet.weights,
        after=rollback.weights,
        moved_seconds=rollback.moved_seconds,
        config=rollback.config,
        reconcile=f"pulumi up --refresh --stack {stack}",
    )


def region_of(stack: str, option: str, config_file: Path) -> str:
    """The region: of the option, else of the stack's config, else of the environment."""
    try:
        own = str(read_config(config_file).get(REGION_KEY) or "")
    except StackFileError:
        own = ""
    region = option or own or next((os.environ[name] for name in REGION_VARIABLES if os.environ.get(name)), "")
    if not region:
        raise UsageError(
            f"the region of stack {stack} is not known: {config_file.name} has no {REGION_KEY}, and neither "
            f"{' nor '.join(REGION_VARIABLES)} is set; name it with --region"
        )
    return region


def find(stack: str, region: str) -> tuple[Fleet, Any]:
    """The stack's fleet in AWS, and the session that read it."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        session = _session(region)
        return describe(stack, session), session
    except (BotoCoreError, ClientError) as error:
        raise ScriptError(
            f"AWS does not say what stack {stack} is in {region}, nothing was changed: {error}"
        ) from error


def _session(region: str) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.session import get_session

    core = get_session()
    retries = {"total_max_attempts": ATTEMPTS, "mode": "standard"}
    core.set_default_client_config(Config(connect_timeout=CONNECT_S, read_timeout=READ_S, retries=retries))
    return boto3.Session(region_name=region, botocore_session=core)


def facts_of(fleet: Fleet, session: Any) -> StackFacts:
    """The stack's outputs and config as far as AWS's tags and resources hold them."""
    active = fleet.serving or Color.BLUE
    value = next((side.preview_value.removesuffix(f"-{side.color}") for side in fleet.colors.values()), "")
    return StackFacts(
        stack=fleet.stack,
        outputs={
            "region": session.region_name,
            "artifactsBucket": fleet.tags.get(BUCKET_TAG, ""),
            "alertsTopicArn": fleet.tags.get(TOPIC_TAG, ""),
            "url": fleet.tags.get(ADDRESS_TAG) or fleet.url,
            "healthPath": next((side.health_path for side in fleet.colors.values()), "/health"),
            "previewHeader": fleet.preview_header,
            "previewToken": value,
        },
        desired=Deployment(
            active=active,
            colors={
                color: ColorSettings.from_output({"release": side.release}) for color, side in fleet.colors.items()
            },
        ),
        opened=session,
        impatient=True,
    )


def target_color(fleet: Fleet, to: Color | None) -> Color:
    """The color that gets all traffic. Raises RefusedError where there is none, or where it is ambiguous."""
    serving = fleet.serving
    if serving is None or set(fleet.colors) != set(Color):
        raise RefusedError("no release is live yet, so there is none to roll back")
    total = sum(fleet.weights.values())
    percent = {color: round(100 * weight / total) for color, weight in fleet.weights.items()}
    if to is None and fleet.weights[serving.other] > 0 and percent[serving] < MIN_LIVE_PERCENT:
        raise RefusedError(
            f"both colors have traffic ({format_weights(percent)}), and which of them is the canary AWS does not say: "
            f"name the color that gets all of it with --to"
        )
    target = to or (serving if fleet.weights[serving.other] else serving.other)
    if fleet.weights[target] and not fleet.weights[target.other]:
        raise RefusedError(f"{target} has all traffic already, with release {fleet.colors[target].release}")
    return target


def check(rollback: DirectRollback) -> None:
    """Raise RefusedError unless the target color can take all traffic, by the checks of a cutover."""
    if reason := off(rollback.side):
        raise RefusedError(reason)
    with ThreadPoolExecutor(2) as pool:
        migration = pool.submit(migration_refusal, rollback)
        readiness = pool.submit(not_ready_reason, rollback)
        reasons = [readiness.result(), migration.result()]
    if reason := next((one for one in (reasons[1], reasons[0]) if one), None):
        raise RefusedError(reason)
    # Without a lock, another run may have shifted the traffic meanwhile.
    if (now := live_weights(rollback.fleet, rollback.facts.session)) != rollback.fleet.weights:
        raise RefusedError(
            f"the weights were changed at this moment, from {format_weights(rollback.fleet.weights)} to "
            f"{format_weights(now)}, by another run; run the same command again if that was not intended"
        )


def off(side: ColorState) -> str | None:
    """Why every request would fail, which --without-checks does not override; or None."""
    targets = [one for group in side.groups for one in group.instances if one.health not in OUT_OF_SERVICE]
    if targets or side.unknown_targets:
        return None
    return f"{side.color} is off, no instance is registered with its target group: every request would get a 503"


def not_ready_reason(rollback: DirectRollback) -> str | None:
    """Why the target's release should not get all traffic, or None. With --without-checks that is a warning."""
    reason = _not_ready(rollback) or (_smoke(rollback) if rollback.args.with_checks else None)
    if reason is None or rollback.args.with_checks:
        return reason and f"{reason}; --without-checks shifts the traffic all the same"
    rollback.display.warn(f"going on without the checks, although {reason}")
    return None


def _not_ready(rollback: DirectRollback) -> str | None:
    side = rollback.side
    # With a weight of 0, since the message on too few instances differs here.
    reason = not_ready(rollback.fleet, side.color, release=side.release, minimum=0, weight=0)
    if reason or side.group is None:
        return reason
    group, needed = side.group, _needed(rollback, side.group)
    if group.healthy >= needed:
        return None
    unhealthy = [f"{one.id} is {one.health} {one.reason}".strip() for one in group.instances if not one.is_healthy]
    room = f" --max-size {needed}" if needed > group.maximum else ""
    return (
        f"{side.color} has {group.healthy} of {needed} healthy instances of release {group.release}"
        + (f" ({'; '.join(unhealthy)})" if unhealthy else "")
        + f"; `aws autoscaling update-auto-scaling-group --region {rollback.facts.region} --auto-scaling-group-name "
        + f"{group.name}{room} --desired-capacity {needed}` starts the rest"
    )


def _needed(rollback: DirectRollback, group: Group) -> int:
    return capacity_needed(rollback.fleet, rollback.target, minimum=group.minimum, weight=ALL_TRAFFIC)


def _smoke(rollback: DirectRollback) -> str | None:
    side = rollback.side
    if not side.preview_value:
        return f"no preview rule leads to {side.color}, so that its release {side.release} can't be tested"
    results = smoke(
        rollback.facts.url,
        headers=rollback.fleet.preview(side.color),
        expect_release=side.release,
        health_path=side.health_path,
        deadline=rollback.args.preview_deadline_s,
    )
    reason = failures(results)
    return reason and f"the release {side.release} of {side.color} fails its smoke test: {reason}"


def migration_refusal(rollback: DirectRollback) -> str | None:
    """Why the target's release can't run on the present one's database, or that this is not known; or None."""
    from botocore.exceptions import BotoCoreError, ClientError

    args, facts = rollback.args, rollback.facts
    if args.accept_breaking_migration:
        return None
    older, newer = rollback.side.release, rollback.fleet.colors[rollback.source].release
    try:
        if not facts.bucket:
            raise LookupError("the artifacts bucket is not known")
        breaking = breaking_between(facts.s3, facts.bucket, older, newer)
    except (BotoCoreError, ClientError, LookupError, ValueError) as error:
        unknown = f"whether release {older} can run on the database that {newer} left is not known: {error}"
        if args.with_checks:
            return f"{unknown}; when you know that it can, say --accept-breaking-migration"
        rollback.display.warn(unknown)
        return None
    if not breaking:
        return None
    return (
        f"{rollback.target} holds release {older}, which can't run on the database that {', '.join(breaking)} left "
        "(migration: breaking); in a planned window, and after undoing the migration, say --accept-breaking-migration"
    )


def shift(rollback: DirectRollback) -> None:
    """Set the weights, then the config file and the group's capacity."""
    set_weights(rollback)
    run, target = rollback.run, rollback.target
    rollback.moved_seconds = round(time.monotonic() - rollback.began, 3)
    run.figures["moved_seconds"] = rollback.moved_seconds
    run.changed_resources = 1
    run.state = f"traffic is on {target}, Pulumi's state does not know of it yet"
    rollback.config = set_config(rollback)
    run.state += f"; {rollback.config}"
    prepare_group(rollback)


def set_weights(rollback: DirectRollback) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    sides = rollback.fleet.colors
    groups = [
        {"TargetGroupArn": sides[color].target_group_arn, "Weight": weight}
        for color, weight in rollback.weights.items()
    ]
    action = {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
    try:
        client(rollback.facts.session, "elbv2").modify_rule(RuleArn=rollback.fleet.live_rule_arn, Actions=[action])
    except (BotoCoreError, ClientError) as error:
        # The call may have succeeded although its response was lost.
        if _actual(rollback, error) != rollback.weights:
            raise ScriptError(
                f"AWS did not set the weights, nothing was changed, the traffic stays where it was "
                f"({format_weights(rollback.fleet.weights)}): {error}"
            ) from error


def _actual(rollback: DirectRollback, error: Exception) -> dict[Color, int]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return live_weights(rollback.fleet, rollback.facts.session)
    except (BotoCoreError, ClientError) as unknown:
        rule, region = rollback.fleet.live_rule_arn, rollback.facts.region
        raise RollbackFailedError(
            f"setting the weights failed ({error}), and AWS does not say where the traffic goes now: {unknown}. "
            f"Act now: `aws elbv2 describe-rules --region {region} --rule-arns {rule}`, then run the same command again"
        ) from error


def set_config(rollback: DirectRollback) -> str:
    """Write the target into the config file, so that no `up` shifts the traffic back; returns the outcome."""
    file, target, stack = rollback.config_file, rollback.target, rollback.facts.stack
    desired = {ACTIVE_KEY: str(target)}
    try:
        # Left out, it is 0.
        if CANARY_KEY in read_config(file):
            desired[CANARY_KEY] = "0"
        changed = write_config(file, desired)
    except StackFileError as error:
        rollback.display.warn(
            f"{file.name} could not be set ({error}): before the next `up`, run "
            f"{bluegreen('sync-config', stack=stack)}, or {pulumi('config set activeColor', target, stack=stack)} and "
            f"{pulumi('config set canaryPercent 0', stack=stack)}"
        )
        return f"{file.name} was not changed"
    if not changed:
        return f"{file.name} says activeColor {target} already"
    return f"{file.name} says activeColor {target} now"


def prepare_group(rollback: DirectRollback) -> None:
    """Let the live group replace lost instances, and scale it to as many instances as served before."""
    group = rollback.side.group
    if group is None:
        return
    scaling, needed = client(rollback.facts.session, "autoscaling"), min(_needed(rollback, group), group.maximum)
    if group.is_stopped:
        _best_effort(
            rollback,
            f"{group.name} may launch instances again, which a failed deploy had stopped",
            lambda: launches.resume(scaling, group.name),
        )
    if group.desired < needed:
        _best_effort(
            rollback,
            f"{group.name} launches {needed - group.desired} more instances, to the {needed} that served before",
            lambda: scaling.set_desired_capacity(
                AutoScalingGroupName=group.name, DesiredCapacity=needed, HonorCooldown=False
            ),
        )


def _best_effort(rollback: DirectRollback, what: str, act: Callable[[], Any]) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        act()
    except (BotoCoreError, ClientError) as error:
        rollback.display.warn(f"not done: {what}: {error}")
        return
    rollback.display.note(what)


def verify(rollback: DirectRollback) -> None:
    """Raise RollbackFailedError unless the rule has the weights and the public smoke test passes repeatedly."""
    from botocore.exceptions import BotoCoreError, ClientError

    side, facts = rollback.side, rollback.facts
    with ThreadPoolExecutor(1) as pool:
        read_back = pool.submit(live_weights, rollback.fleet, facts.session)
        # Shallow: what both colors depend on would fail on either of them.
        results = smoke(
            facts.url,
            expect_release=side.release,
            health_path=side.health_path,
            deep=False,
            deadline=rollback.args.public_deadline_s,
            in_a_row=IN_A_ROW,
        )
    try:
        now = read_back.result()
    except (BotoCoreError, ClientError) as error:
        rollback.display.warn(f"the live rule could not be read back: {error}")
        now = rollback.weights
    recheck = f"{bluegreen('smoke-test', '--url', facts.url, '--release', side.release)} shows when that is over"
    if now != rollback.weights:
        raise RollbackFailedError(
            f"the weights were set, and are {format_weights(now)} again: another run sets them too. Act now: {recheck}"
        )
    if reason := failures(results):
        raise RollbackFailedError(
            f"all traffic was sent to {side.color}, with release {side.release}, and its public smoke test fails: "
            f"{reason}. Act now: {recheck}; --to {rollback.source} sends it to {rollback.source}"
        )
