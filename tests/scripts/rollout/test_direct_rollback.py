from __future__ import annotations

import functools
import importlib
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, NoCredentialsError
from pulumi.automation._cmd import CommandResult
from pulumi.automation.errors import CommandError
from typer.testing import CliRunner, Result

from fleet.colors import Color
from fleet.deployments import Deployment
from fleet.smoke_test import smoke
from fleet.state import ADDRESS_TAG, BUCKET_TAG, TOPIC_TAG, client, describe
from scripts.canary import CanaryArgs, set_weight
from scripts.cli.display import Display
from scripts.cli.exits import Exit, InterruptedByUserError, RefusedError
from scripts.cli.interrupts import SIGNALS
from scripts.cutover import CutoverArgs, cut_over
from scripts.deploy import DeployArgs
from scripts.releases.bucket import Migration
from scripts.retire import RetireArgs, retire
from scripts.rollout import direct_rollback
from scripts.rollout.traffic import unreconciled
from scripts.stack.automation import read_facts
from scripts.stack.history import read
from scripts.stack.lock import holder, locked
from scripts.status import read_status, show
from scripts.sync_config import SyncArgs, sync_config
from scripts.up import UpArgs, bring_up
from tests.scripts.world import BUCKET, OPEN, REGION, STACK, World, WorldStack
from tests.scripts.world import two_colors as stand

BLUE, GREEN = Color.BLUE, Color.GREEN
CONFIG = f"# ours\nconfig:\n  aws:region: {REGION}\n  bluegreen:activeColor: green\n"
QUIET = Display(as_json=True)


def no_pulumi(**stack: str) -> WorldStack:
    raise AssertionError(f"Pulumi was asked for the stack {stack}")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(autouse=True)
def _without_pulumi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Neither Pulumi's CLI nor its Automation API is there."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr("pulumi.automation.select_stack", no_pulumi)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    OPEN.clear()


@pytest.fixture
def stack(world: World) -> WorldStack:
    """Green has all users; the state says so, and goes on saying so."""
    stack = stand(world)
    stack.config["activeColor"] = "green"
    world.set_weights({BLUE: 0, GREEN: 100})
    stack.config["revision"] = stack.desired().next_revision(Deployment())
    stack.applied = json.loads(json.dumps(stack.config))
    stack.recorded = {BLUE: 0, GREEN: 100}
    world.calls.clear()
    return stack


@pytest.fixture
def run(stack: WorldStack, file: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    script = importlib.import_module("scripts.rollback")
    monkeypatch.setattr(script, "DirectArgs", functools.partial(direct_rollback.DirectArgs, preview_deadline_s=0.3))

    def invoke(*words: str) -> Result:
        options = ["--direct", "--config-file", str(file), "--smoke-deadline", "0.3", *words]
        return CliRunner().invoke(script.cli, options)

    return invoke


def answer(result: Result) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(result.stdout)
    return told


class Calls:
    """The requests that a client of this session makes to AWS, as `service:Operation`."""

    def __init__(self, session: Any) -> None:
        self.made: list[str] = []
        self.clients = [
            client(session, service, fail_fast=impatient)
            for service in ("elbv2", "autoscaling", "s3", "sns")
            for impatient in (False, True)
        ]

    def __enter__(self) -> Calls:
        for each in self.clients:
            each.meta.events.register("before-send.*.*", self._note, unique_id="calls")
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.clients:
            each.meta.events.unregister("before-send.*.*", self._note, unique_id="calls")

    def _note(self, event_name: str, **_: Any) -> None:
        self.made.append(":".join(event_name.split(".")[1:]))


def break_call(
    monkeypatch: pytest.MonkeyPatch, session: Any, service: str, operations: tuple[str, ...], error: Exception
) -> None:
    """These calls of the service fail from now on, whichever client of the session makes them."""
    for impatient in (False, True):
        for operation in operations:

            def fail(*_: Any, **__: Any) -> None:
                raise error

            monkeypatch.setattr(client(session, service, fail_fast=impatient), operation, fail)


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "not authorized"}}, "ModifyRule")


def unreachable() -> ConnectTimeoutError:
    return ConnectTimeoutError(endpoint_url="https://s3")


# -- the way itself ------------------------------------------------------------------------------------------------


def test_all_users_go_to_the_other_color_without_a_word_to_pulumi(
    run: Callable[..., Result], world: World, file: Path
) -> None:
    result = run("--json", "--reason", "500s")
    assert result.exit_code == Exit.OK, result.output
    assert world.weights() == {BLUE: 100, GREEN: 0}
    assert file.read_text() == CONFIG.replace(": green", ": blue")
    told = answer(result)
    assert told["weights"] == {"before": {"blue": 0, "green": 100}, "after": {"blue": 100, "green": 0}}
    assert told["config"] == "Pulumi.dev.yaml says activeColor blue now"
    assert told["reconcile"] == "pulumi up --refresh --stack dev"
    assert told["warnings"] == []
    assert 0 < told["moved_seconds"] <= told["seconds"]
    assert [stage["name"].split(":")[0] for stage in told["stages"]] == [
        "reconcile",
        "test traffic",
        "production traffic shift",
        "smoke test",
    ]


def test_it_is_recorded_told_and_the_lock_given_back(run: Callable[..., Result], world: World) -> None:
    assert run("--reason", "500s").exit_code == Exit.OK
    [record] = read(world.s3, BUCKET, STACK)
    assert (record.kind, record.outcome, record.reason, record.notification) == (
        "direct_rollback",
        "ok",
        "500s",
        "published",
    )
    assert (str(record.source), str(record.target)) == ("green v2", "blue v1")
    assert record.changed_resources == 1
    [(subject, content)] = world.heard()
    assert subject == "Direct rollback: ok, dev green v2 to blue v1"
    assert content["reason"] == "500s"
    assert holder(world.s3, BUCKET, STACK) is None


def test_a_person_reads_what_was_what_is_and_what_is_left_to_do(run: Callable[..., Result]) -> None:
    said = " ".join(run().stdout.split())
    assert "blue v1 has all traffic: blue 100 %, green 0 % (before: blue 0 %, green 100 %)" in said
    assert "`pulumi up --refresh --stack dev` reconciles it once Pulumi works again" in said
    assert "in any other checkout `./bluegreen sync-config --stack dev` comes first" in said


def test_the_target_is_judged_through_the_preview_and_users_get_its_release_three_times(
    run: Callable[..., Result], world: World
) -> None:
    run()
    assert world.requests == ["preview blue /health?deep=1", *["public blue /health"] * 3]


def test_few_calls_of_aws_come_before_the_shift_and_none_of_another_service(
    run: Callable[..., Result], world: World
) -> None:
    with Calls(world.session) as calls:
        run()
    before = calls.made[: calls.made.index("elastic-load-balancing-v2:ModifyRule")]
    services = [call.split(":")[0] for call in before]
    assert {name: services.count(name) for name in sorted(set(services))} == {
        "auto-scaling": 1,
        # Balancers, their tags, listeners, rules, their tags; target groups, their tags, the health of both; the
        # weights once more. One is the front's, which asks for the rule to answer the smoke test.
        "elastic-load-balancing-v2": 11,
        # The lock; a listing, the manifests of both releases, and those of all three as old.
        "s3": 7,
    }


# -- which color ---------------------------------------------------------------------------------------------------


def test_a_canary_ends_with_the_color_that_has_most_users(run: Callable[..., Result], world: World, file: Path) -> None:
    world.set_weights({BLUE: 10, GREEN: 90})
    file.write_text(CONFIG + '  bluegreen:canaryPercent: "10"\n')
    result = run("--json")
    assert result.exit_code == Exit.OK
    assert world.weights() == {BLUE: 0, GREEN: 100}
    assert (answer(result)["source"]["release"], answer(result)["target"]["release"]) == ("v1", "v2")
    assert file.read_text() == CONFIG + "  bluegreen:canaryPercent: 0\n"


def test_with_many_users_on_both_colors_a_person_says_which(run: Callable[..., Result], world: World) -> None:
    world.set_weights({BLUE: 40, GREEN: 60})
    result = run()
    assert result.exit_code == Exit.REFUSED
    assert "both colors have traffic (blue 40 %, green 60 %)" in result.stderr
    assert "name the color that gets all of it with --to" in result.stderr
    assert world.weights() == {BLUE: 40, GREEN: 60}
    assert run("--to", "blue").exit_code == Exit.OK
    assert world.weights() == {BLUE: 100, GREEN: 0}


def test_a_color_that_has_all_users_already_is_refused(run: Callable[..., Result], world: World) -> None:
    result = run("--to", "green")
    assert (result.exit_code, "green has all traffic already, with release v2" in result.stderr) == (Exit.REFUSED, True)


def test_before_the_first_release_there_is_nothing_to_roll_back(world: World, file: Path) -> None:
    with pytest.raises(RefusedError, match="no release is live yet"):
        direct_rollback.roll_back(STACK, direct_rollback.DirectArgs(config_file=file), QUIET)


# -- the judgment --------------------------------------------------------------------------------------------------


def test_a_release_that_fails_its_smoke_test_gets_no_users_unless_insisted(
    run: Callable[..., Result], world: World
) -> None:
    world.apps["v1"].database = "down"
    result = run("--json")
    assert result.exit_code == Exit.REFUSED
    assert answer(result)["error"].startswith("the release v1 of blue fails its smoke test: health: ")
    assert "; database: down; " in answer(result)["error"]
    assert answer(result)["error"].endswith("; --without-checks shifts the traffic all the same")
    assert world.weights() == {BLUE: 0, GREEN: 100}
    assert read(world.s3, BUCKET, STACK)[0].outcome == "refused"
    world.requests.clear()
    assert run("--without-checks", "--json").exit_code == Exit.OK
    assert world.requests == ["public blue /health"] * 3
    assert world.weights() == {BLUE: 100, GREEN: 0}


def test_too_few_instances_are_refused_with_the_command_that_starts_more(
    run: Callable[..., Result], world: World
) -> None:
    ill = world.machines_of(BLUE)[0]
    world.ill.add(ill["instance"])
    result = run("--json")
    assert result.exit_code == Exit.REFUSED
    error = answer(result)["error"]
    assert f"blue has 1 of 2 healthy instances of release v1 ({ill['instance']} is unhealthy" in error
    assert (
        f"`aws autoscaling update-auto-scaling-group --region {REGION} --auto-scaling-group-name {ill['group']} "
        "--desired-capacity 2` starts the rest" in error
    )
    moved = run("--without-checks", "--json")
    assert moved.exit_code == Exit.OK
    assert answer(moved)["warnings"][0].startswith("going on without the checks, although blue has 1 of 2 healthy")


def test_a_group_that_shrank_grows_after_the_shift_and_launches_again(run: Callable[..., Result], world: World) -> None:
    group = world.machines_of(BLUE)[0]["group"]
    world.autoscaling.update_auto_scaling_group(AutoScalingGroupName=group, MinSize=1, DesiredCapacity=1)
    world.autoscaling.suspend_processes(AutoScalingGroupName=group, ScalingProcesses=["Launch"])
    assert len(world.machines_of(BLUE)) == 1
    assert run().exit_code == Exit.REFUSED
    result = run("--without-checks")
    assert result.exit_code == Exit.OK, result.output
    assert len(world.machines_of(BLUE)) == 2
    blue = describe(STACK, world.session).colors[BLUE].group
    assert blue is not None
    assert not blue.is_stopped


def test_a_color_without_any_target_is_refused_whoever_insists(run: Callable[..., Result], world: World) -> None:
    world.stop_group(world.machines_of(BLUE)[0]["group"])
    for words in ((), ("--without-checks",)):
        result = run(*words)
        assert result.exit_code == Exit.REFUSED
        assert "blue is off, no instance is registered with its target group: every request would get a 503" in (
            result.stderr
        )
    assert world.weights() == {BLUE: 0, GREEN: 100}


def test_a_breaking_migration_is_refused_even_without_checks_but_not_when_accepted(
    run: Callable[..., Result], world: World
) -> None:
    world.publish("v2", Migration.BREAKING, second=1)
    for words in ((), ("--without-checks",)):
        result = run(*words)
        assert result.exit_code == Exit.REFUSED
        assert "v1, which can't run on the database that v2 left (migration: breaking)" in " ".join(
            result.stderr.split()
        )
    assert run("--accept-breaking-migration").exit_code == Exit.OK
    assert world.served() == "v1"


def test_weights_that_somebody_else_changes_at_this_moment_are_left_alone(
    run: Callable[..., Result], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*words: Any, **options: Any) -> Any:
        world.set_weights({BLUE: 10, GREEN: 90})
        return smoke(*words, **options)

    monkeypatch.setattr("scripts.rollout.direct_rollback.smoke", meanwhile)
    result = run()
    assert result.exit_code == Exit.REFUSED
    assert "the weights were changed at this moment, from blue 0 %, green 100 % to blue 10 %, green 90 %" in (
        result.stderr
    )
    assert world.weights() == {BLUE: 10, GREEN: 90}


# -- what is broken besides ----------------------------------------------------------------------------------------


def test_a_lock_that_another_run_holds_is_respected(run: Callable[..., Result], world: World) -> None:
    with locked(world.s3, BUCKET, STACK, "cutover") as other:
        result = run("--json")
        assert (result.exit_code, str(other) in answer(result)["error"]) == (Exit.LOCKED, True)
        assert world.weights() == {BLUE: 0, GREEN: 100}
        assert run("--break-lock").exit_code == Exit.OK
    assert read(world.s3, BUCKET, STACK)[0].lock_broken.endswith(f"for cutover since {other.since}")


def test_without_s3_nobody_knows_of_migrations_and_all_else_goes_on(
    run: Callable[..., Result], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = ("put_object", "get_object", "delete_object", "get_paginator")
    break_call(monkeypatch, world.session, "s3", operations, unreachable())
    result = run("--json")
    assert result.exit_code == Exit.REFUSED
    assert (
        "whether release v1 can run on the database that v2 left is not known: Connect timeout"
        in (answer(result)["error"])
    )
    assert answer(result)["error"].endswith("when you know that it can, say --accept-breaking-migration")
    assert world.weights() == {BLUE: 0, GREEN: 100}
    moved = run("--accept-breaking-migration", "--json")
    assert moved.exit_code == Exit.OK, moved.output
    assert world.weights() == {BLUE: 100, GREEN: 0}
    warnings = answer(moved)["warnings"]
    assert [text.split(":")[0].split(",")[0] for text in warnings] == [
        "going on without the stack's lock",
        "the history has no record of this run",
        "the stack's lock could not be released",
    ]
    assert [subject for subject, _ in world.heard()] == ["Direct rollback: ok, dev green v2 to blue v1"]


def test_a_balancer_without_the_tags_leads_to_neither_bucket_nor_topic_and_users_move(
    run: Callable[..., Result], world: World
) -> None:
    world.elbv2.remove_tags(ResourceArns=[world.balancer], TagKeys=[BUCKET_TAG, TOPIC_TAG])
    result = run("--accept-breaking-migration", "--json")
    assert result.exit_code == Exit.OK, result.output
    assert world.weights() == {BLUE: 100, GREEN: 0}
    assert answer(result)["warnings"] == [
        "the load balancer has no tag ArtifactsBucket, which an `up` sets: neither lock nor history",
        "not published: the stack has no alerts topic",
    ]
    assert (read(world.s3, BUCKET, STACK), world.heard()) == ([], [])


def test_a_call_that_aws_refuses_changed_nothing(
    run: Callable[..., Result], world: World, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_call(monkeypatch, world.session, "elbv2", ("modify_rule",), refused("AccessDenied"))
    result = run("--json")
    assert result.exit_code == Exit.FAILED
    assert answer(result)["error"] == (
        "AWS did not set the weights, nothing was changed, the traffic stays where it was (blue 0 %, green 100 %): "
        "An error occurred (AccessDenied) when calling the ModifyRule operation: not authorized"
    )
    assert (world.served(), file.read_text()) == ("v2", CONFIG)
    assert holder(world.s3, BUCKET, STACK) is None


def test_a_call_whose_answer_was_lost_counts_when_the_rule_says_so(
    run: Callable[..., Result], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    elbv2 = client(world.session, "elbv2")
    modify = elbv2.modify_rule

    def lose(**request: Any) -> None:
        modify(**request)
        raise unreachable()

    monkeypatch.setattr(elbv2, "modify_rule", lose)
    result = run("--json")
    assert result.exit_code == Exit.OK, result.output
    assert world.weights() == {BLUE: 100, GREEN: 0}


def test_when_aws_does_not_say_where_users_are_a_person_must_look(
    run: Callable[..., Result], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    elbv2 = client(world.session, "elbv2")
    describe_rules = elbv2.describe_rules

    def fall(**_: Any) -> None:
        monkeypatch.setattr(elbv2, "describe_rules", lambda **_: fall())
        raise unreachable()

    monkeypatch.setattr(elbv2, "modify_rule", fall)
    result = run("--json")
    monkeypatch.setattr(elbv2, "describe_rules", describe_rules)
    assert result.exit_code == Exit.ROLLBACK_FAILED
    assert "AWS does not say where the traffic goes now" in answer(result)["error"]
    assert f"`aws elbv2 describe-rules --region {REGION} --rule-arns {world.live}`" in answer(result)["error"]


def test_users_who_are_moved_to_a_release_that_fails_with_them_need_a_person(
    run: Callable[..., Result], world: World
) -> None:
    world.apps["v1"].fails_with_users = True
    result = run("--json")
    assert result.exit_code == Exit.ROLLBACK_FAILED
    assert answer(result)["error"].startswith(
        "all traffic was sent to blue, with release v1, and its public smoke test"
    )
    assert world.weights() == {BLUE: 100, GREEN: 0}
    [(subject, _)] = world.heard()
    assert subject == "Direct rollback: rollback failed, dev green v2 to blue v1"


def test_a_config_file_that_can_not_be_set_is_named_with_the_commands(
    run: Callable[..., Result], world: World, file: Path
) -> None:
    file.unlink()
    result = run("--json", "--region", REGION)
    assert result.exit_code == Exit.OK, result.output
    assert world.weights() == {BLUE: 100, GREEN: 0}
    assert answer(result)["config"] == "Pulumi.dev.yaml was not changed"
    assert answer(result)["warnings"] == [
        "Pulumi.dev.yaml could not be set (No such file or directory): before the next `up`, run "
        "`./bluegreen sync-config --stack dev`, or `pulumi config set activeColor blue --stack dev` and "
        "`pulumi config set canaryPercent 0 --stack dev`"
    ]


@pytest.mark.parametrize("stage", ["reconcile", "test traffic"])
def test_ctrl_c_before_the_shift_changes_nothing(
    stack: WorldStack, world: World, file: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    display = Display(as_json=True)
    working = display.working

    def interrupt(name: str) -> Any:
        if name.startswith(stage):
            signal.raise_signal(signal.SIGINT)
        return working(name)

    monkeypatch.setattr(display, "working", interrupt)
    with pytest.raises((InterruptedByUserError, KeyboardInterrupt)):
        direct_rollback.roll_back(STACK, direct_rollback.DirectArgs(config_file=file), display)
    assert (world.served(), file.read_text()) == ("v2", CONFIG)
    assert holder(world.s3, BUCKET, STACK) is None


def test_ctrl_c_at_the_shift_takes_effect_when_config_says_where_users_are_and_is_recorded(
    stack: WorldStack, world: World, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elbv2 = client(world.session, "elbv2")
    modify = elbv2.modify_rule

    def interrupted(**request: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return modify(**request)

    monkeypatch.setattr(elbv2, "modify_rule", interrupted)
    with pytest.raises(InterruptedByUserError, match="interrupted; traffic is on blue, Pulumi's state does not know"):
        direct_rollback.roll_back(STACK, direct_rollback.DirectArgs(config_file=file), QUIET)
    assert (world.served(), file.read_text()) == ("v1", CONFIG.replace(": green", ": blue"))
    [record] = read(world.s3, BUCKET, STACK)
    assert (record.kind, record.outcome, record.changed_resources) == ("direct_rollback", "interrupted", 1)
    assert holder(world.s3, BUCKET, STACK) is None


def test_status_tells_what_aws_has_where_pulumi_is_broken(
    stack: WorldStack, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: str) -> WorldStack:
        raise CommandError(CommandResult(stdout="", stderr="error: could not open the state: AccessDenied", code=255))

    world.set_weights({BLUE: 10, GREEN: 90})
    cli = importlib.import_module("scripts.status").cli
    monkeypatch.setattr("pulumi.automation.select_stack", broken)
    told = answer(CliRunner().invoke(cli, ["--json"]))
    assert told["without_pulumi"] == "could not open the state: AccessDenied"
    assert (told["serving"], told["unreconciled"], told["config_problem"]) == ("green", None, None)
    assert {color: each["weight"] for color, each in told["colors"].items()} == {"blue": 10, "green": 90}
    shown = CliRunner().invoke(cli, [])
    assert shown.exit_code == Exit.OK
    assert shown.stdout.splitlines()[-1] == (
        "Pulumi could not be read, this is from AWS alone: could not open the state: AccessDenied"
    )
    nope = CliRunner().invoke(cli, ["--stack", "nope"])
    assert (nope.exit_code, nope.stderr) == (Exit.FAILED, "could not open the state: AccessDenied\n")


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--without-checks"], ["--to", "blue"], ["--region", "x"], ["--config-file", "y"]])
def test_options_of_the_direct_way_need_it(words: list[str]) -> None:
    result = CliRunner().invoke(importlib.import_module("scripts.rollback").cli, words)
    assert result.exit_code == Exit.USAGE
    assert result.stderr == f"{words[0]}: only with --direct, which rolls back without Pulumi\n"


def test_a_stack_that_is_not_there_is_one_sentence(run: Callable[..., Result]) -> None:
    result = run("--stack", "nope")
    assert result.exit_code == Exit.USAGE
    assert result.stderr.splitlines()[-1].startswith(
        f"no load balancer has the tag Stack=nope in {REGION}; is this the right stack and region"
    )


def test_the_region_is_the_option_s_the_file_s_or_the_environment_s(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert direct_rollback.region_of(STACK, "eu-west-1", file) == "eu-west-1"
    assert direct_rollback.region_of(STACK, "", file) == REGION
    file.write_text("config: [")
    assert direct_rollback.region_of(STACK, "", file) == "us-east-1"
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert direct_rollback.region_of(STACK, "", file) == "us-west-2"


def test_no_region_is_one_sentence(run: Callable[..., Result], file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    file.unlink()
    result = run()
    assert result.exit_code == Exit.USAGE
    assert result.stderr.splitlines()[-1] == (
        "the region of stack dev is not known: Pulumi.dev.yaml has no aws:region, and neither AWS_REGION nor "
        "AWS_DEFAULT_REGION is set; name it with --region"
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoCredentialsError(), "Unable to locate credentials"),
        (EndpointConnectionError(endpoint_url="https://x"), "Could not connect to the endpoint URL"),
    ],
)
def test_aws_that_can_not_be_asked_is_one_sentence(
    run: Callable[..., Result], world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    break_call(monkeypatch, world.session, "elbv2", ("describe_listeners",), error)
    result = run()
    assert result.exit_code == Exit.FAILED
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"AWS does not say what stack dev is in {REGION}, nothing was changed: {words}")


def test_the_address_is_the_tag_s_or_the_balancer_s_own(stack: WorldStack, world: World) -> None:
    fleet = describe(STACK, world.session)
    assert direct_rollback.facts_of(fleet, world.session).url == world.url
    world.elbv2.remove_tags(ResourceArns=[world.balancer], TagKeys=[ADDRESS_TAG])
    fleet = describe(STACK, world.session)
    assert direct_rollback.facts_of(fleet, world.session).url == f"http://{fleet.dns_name}"


# -- afterwards ----------------------------------------------------------------------------------------------------


@pytest.fixture
def moved(run: Callable[..., Result], stack: WorldStack, world: World) -> WorldStack:
    """The stack after a direct rollback to blue, in a checkout whose config still says green: as it was."""
    assert run("--reason", "500s").exit_code == Exit.OK
    world.calls.clear()
    return stack


def test_config_that_follows_is_reconciled_by_a_plain_up_without_a_move(moved: WorldStack, world: World) -> None:
    moved.config["activeColor"] = "blue"
    world.requests.clear()
    moved.up()
    # The gate before has nobody to judge: no color gets more users than it has.
    assert [one for one in world.requests if one.startswith("preview")] == []
    assert world.weights() == {BLUE: 100, GREEN: 0}
    facts = read_facts(moved)
    assert unreconciled(facts, describe(STACK, world.session), []) is None


def test_config_that_follows_is_reconciled_by_a_refresh_without_a_change(moved: WorldStack, world: World) -> None:
    moved.config["activeColor"] = "blue"
    assert moved.up(refresh=True).summary.resource_changes["update"] == 0  # type: ignore[index]
    assert world.calls == ["up refreshed"]
    assert world.weights() == {BLUE: 100, GREEN: 0}


def test_a_plain_up_by_old_config_moves_nobody(moved: WorldStack, world: World) -> None:
    moved.up()
    assert (world.calls, world.weights()) == (["up"], {BLUE: 100, GREEN: 0})


@pytest.mark.parametrize(
    "change",
    [
        lambda stack: bring_up(stack, UpArgs(), Display(as_json=True)),
        lambda stack: retire(stack, RetireArgs(), Display(as_json=True)),
        lambda stack: importlib.import_module("scripts.deploy").deploy(stack, DeployArgs(version="v3"), QUIET),
    ],
    ids=["up", "retire", "deploy"],
)
def test_scripts_refuse_old_config_and_say_what_comes_first(
    moved: WorldStack, world: World, change: Callable[[WorldStack], Any]
) -> None:
    with pytest.raises(RefusedError) as said:
        change(moved)
    text = str(said.value)
    assert text.startswith(
        "AWS sends the traffic to blue 100 %, green 0 %, but the stack's last update left blue 0 %, green 100 %: "
        "direct rollback by "
    )
    assert text.endswith(
        "UTC (500s); config says blue 0 %, green 100 %: `./bluegreen sync-config --stack dev` takes over "
        "what AWS has, then `pulumi up --refresh --stack dev` reconciles the state; or "
        "`./bluegreen cutover green --stack dev` moves all traffic to green"
    )
    assert world.calls == []
    sync_config(moved, SyncArgs())
    moved.up(refresh=True)
    change(moved)
    assert world.weights() == {BLUE: 100, GREEN: 0}


def test_a_fresh_checkout_recalls_where_users_are(moved: WorldStack, world: World) -> None:
    assert sync_config(moved, SyncArgs()) == {"activeColor": "blue"}
    bring_up(moved, UpArgs(), Display(as_json=True))
    assert (sync_config(moved, SyncArgs()), world.weights()) == ({}, {BLUE: 100, GREEN: 0})


def test_a_canary_that_was_ended_is_recalled_as_ended(world: World, stack: WorldStack, file: Path) -> None:
    stack.config["canaryPercent"] = "10"
    stack.recorded = None
    stack.up()
    stack.recorded = world.weights()
    direct_rollback.roll_back(STACK, direct_rollback.DirectArgs(config_file=file), QUIET)
    assert world.weights() == {BLUE: 0, GREEN: 100}
    assert sync_config(stack, SyncArgs()) == {"canaryPercent": "0"}


@pytest.mark.parametrize("active", ["blue", "green"])
def test_a_cutover_after_it_moves_users_whatever_the_state_believes(
    moved: WorldStack, world: World, active: str
) -> None:
    moved.config["activeColor"] = active
    record = cut_over(moved, CutoverArgs(target=GREEN, preview_deadline_s=0.3, smoke_deadline_s=0.3), QUIET)
    assert record is not None
    assert (record.outcome, record.changed_resources) == ("ok", 1)
    assert world.weights() == {BLUE: 0, GREEN: 100}
    assert [call for call in world.calls if not call.startswith("config")] == [
        "up",
        "up refreshed",
        "weights blue=0 green=100",
    ]


def test_a_canary_after_it_waits_until_the_state_agrees(moved: WorldStack, world: World) -> None:
    moved.config["activeColor"] = "blue"
    moved.applied = moved.applied | {"activeColor": "blue", "canaryPercent": "10"}
    moved.recorded = {BLUE: 90, GREEN: 10}
    with pytest.raises(RefusedError, match=r"`pulumi up --refresh --stack dev` reconciles the state$"):
        set_weight(moved, CanaryArgs(percent=10), QUIET)
    moved.up(refresh=True)
    set_weight(moved, CanaryArgs(percent=10), QUIET)
    assert world.weights() == {BLUE: 90, GREEN: 10}


def test_a_canary_by_old_config_is_refused(moved: WorldStack) -> None:
    with pytest.raises(
        RefusedError,
        match=r"AWS sends the traffic to blue 100 %.*config says blue 0 %, green 100 %: `./bluegreen sync-config ",
    ):
        set_weight(moved, CanaryArgs(percent=10), QUIET)


def test_status_names_the_rollback_and_what_reconciles_it(
    moved: WorldStack, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    status = read_status(moved, 10)
    told = status.as_json()["unreconciled"]
    assert ": direct rollback by " in told
    assert "`./bluegreen sync-config --stack dev` takes over what AWS has" in told
    show(Display(), status)
    assert told in capsys.readouterr().out
    sync_config(moved, SyncArgs())
    told = read_status(moved, 10).as_json()["unreconciled"]
    assert told.endswith("UTC (500s); `pulumi up --refresh --stack dev` reconciles the state")
    moved.up()
    assert read_status(moved, 10).as_json()["unreconciled"] is None


def test_a_difference_that_no_direct_rollback_explains_bars_no_up(stack: WorldStack, world: World) -> None:
    """As after an `up` whose last gate failed: setting config back and another `up` is the way out of it."""
    stack.applied["activeColor"] = "blue"
    stack.recorded = None
    begun = stack.change().revision_at_begin
    stack.config |= {"activeColor": "blue", "revision": begun}
    assert "direct rollback" not in str(read_status(stack, 10).unreconciled)
    bring_up(stack, UpArgs(), Display(as_json=True))
    assert world.weights() == {BLUE: 100, GREEN: 0}


def test_a_later_cutover_makes_an_old_direct_rollback_history(moved: WorldStack, world: World) -> None:
    sync_config(moved, SyncArgs())
    cut_over(moved, CutoverArgs(target=GREEN, preview_deadline_s=0.3, smoke_deadline_s=0.3), QUIET)
    assert read_status(moved, 10).unreconciled is None
