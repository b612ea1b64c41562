"""A release that is watched with its users: what takes them from it again, and what does not."""

from __future__ import annotations

import re
import socket
import threading
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import boto3
import pytest

from fleet import state
from fleet.colors import Color
from fleet.error_budget import RequestCounts
from fleet.state import client, describe
from scripts.canary import CanaryArgs, set_weight
from scripts.cli.display import Display
from scripts.cli.exits import RollbackFailedError, RolledBackError
from scripts.cli.notifier import PUBLISHED
from scripts.cutover import CutoverArgs, cut_over
from scripts.rollout import bake, probes
from scripts.stack.automation import read_facts
from scripts.stack.history import read
from tests.scripts.world import BUCKET, REGION, STACK, World, WorldStack, two_colors

QUIET = Display(as_json=True)
ALARM = f"{STACK}-green-bad"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bake, "EVERY_S", 0.05)
    monkeypatch.setattr(probes, "PER_SECOND", 200.0)


class HalfPast(datetime):
    """The middle of this minute, however long a test takes: metrics are told by the minute."""

    moment = datetime.now(UTC).replace(second=30, microsecond=0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return cls.moment


@pytest.fixture
def _one_probe_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """For figures that tell the watcher's own requests from the users'."""
    monkeypatch.setattr(HalfPast, "moment", datetime.now(UTC).replace(second=30, microsecond=0))
    monkeypatch.setattr(bake, "datetime", HalfPast)
    monkeypatch.setattr(probes, "datetime", HalfPast)
    monkeypatch.setattr(probes, "PER_SECOND", 0.001)
    monkeypatch.setattr(bake, "EVERY_S", 60.0)


def look(world: World, stack: WorldStack, seconds: float = 20, **options: Any) -> tuple[bake.BakeReport, list[str]]:
    """At green; an failure ends it long before the time is over."""
    notes: list[str] = []
    facts = read_facts(stack)
    release = bake.watched_release(facts, describe(STACK, facts.session), Color.GREEN, **options)
    return bake.watch(release, seconds, notes.append), notes


def serving_green(world: World) -> WorldStack:
    stack = two_colors(world)
    cut_over(stack, CutoverArgs(target=Color.GREEN), QUIET)
    world.heard()
    return stack


def put(world: World, stack: WorldStack, **sums: float) -> None:
    """What the balancer told of green in this minute."""
    facts = read_facts(stack)
    dimensions = bake.watched_release(facts, describe(STACK, facts.session), Color.GREEN).dimensions
    assert dimensions["TargetGroup"].startswith("targetgroup/dev-green/")
    assert dimensions["LoadBalancer"].startswith("app/dev/")
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    data = [
        {"MetricName": name, "Dimensions": named, "Value": value, "Timestamp": HalfPast.now()}
        for name, value in sums.items()
    ]
    client(world.session, "cloudwatch").put_metric_data(Namespace="AWS/ApplicationELB", MetricData=data)


def alarm(world: World, state: str) -> None:
    cloudwatch = client(world.session, "cloudwatch")
    # A plain one: moto makes no composite ones by itself.
    cloudwatch.put_metric_alarm(
        AlarmName=ALARM, Namespace="n", MetricName="m", ComparisonOperator="GreaterThanThreshold", EvaluationPeriods=1
    )
    cloudwatch.set_alarm_state(AlarmName=ALARM, StateValue=state, StateReason="a test")


@pytest.mark.usefixtures("_one_probe_one_look")
def test_a_good_release_is_watched_to_the_end_and_counted(world: World) -> None:
    stack = serving_green(world)
    put(world, stack, RequestCount=501, HTTPCode_Target_5XX_Count=2, TargetResponseTime=0.25)
    alarm(world, "OK")
    report, notes = look(world, stack, 1)
    assert (report.failure, notes, report.alarm, report.unread) == (None, [], "OK", {})
    assert (report.traffic, report.p99_ms) == (RequestCounts(requests=500, errors=2), 250.0)
    assert report.probes == RequestCounts(requests=1)
    assert report.seconds >= 1


@pytest.mark.usefixtures("_one_probe_one_look")
def test_errors_of_users_beyond_the_budget_are_an_objection(world: World) -> None:
    stack = serving_green(world)
    # One of the balancer's requests is the watcher's own probe.
    put(world, stack, RequestCount=101, HTTPCode_Target_5XX_Count=4, TargetConnectionErrorCount=3)
    report, _ = look(world, stack, 1)
    assert report.failure == "7 of 100 requests failed (7.0 %, allowed are 5 %)"
    assert report.first_bad is not None


@pytest.mark.usefixtures("_one_probe_one_look")
def test_the_budget_is_the_stacks_own(world: World) -> None:
    stack = serving_green(world)
    stack.config["alarms"] = {"errorRatePercent": 10, "minRequests": 200}
    put(world, stack, RequestCount=199, HTTPCode_Target_5XX_Count=199)
    assert look(world, stack, 0.3)[0].failure is None
    put(world, stack, RequestCount=1, HTTPCode_Target_5XX_Count=1)
    assert look(world, stack, 0.3)[0].failure == "200 of 200 requests failed (100.0 %, allowed are 10 %)"


def test_one_bad_answer_in_ten_shows_without_any_metric(world: World) -> None:
    stack = serving_green(world)
    world.apps["v2"].fails_one_in = 10
    report, _ = look(world, stack)
    assert report.failure is not None
    assert "probes failed" in report.failure
    assert report.first_bad is not None
    assert report.first_bad <= time.monotonic()


def test_an_alarm_that_comes_on_is_an_objection(world: World) -> None:
    stack = serving_green(world)
    alarm(world, "OK")
    asked: list[str] = []

    def comes_on(text: str) -> None:
        asked.append(text)

    facts = read_facts(stack)
    release = bake.watched_release(facts, describe(STACK, facts.session), Color.GREEN)
    began = bake._BakeChecks.begin

    def begin(look: bake._BakeChecks) -> None:
        began(look)
        alarm(world, "ALARM")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bake._BakeChecks, "begin", begin)
        report = bake.watch(release, 20, comes_on)
    assert (report.failure, asked) == (f"the alarm {ALARM} is on", [])


def test_an_alarm_that_was_on_before_is_named_and_no_objection(world: World) -> None:
    stack = serving_green(world)
    alarm(world, "ALARM")
    report, notes = look(world, stack, 0.3)
    assert (report.failure, report.alarm) == (None, "ALARM")
    assert notes[0] == f"the alarm {ALARM} was on already: it counts once it has been off"


def test_a_smoke_test_must_fail_three_times_in_a_row(world: World) -> None:
    stack = serving_green(world)
    world.apps["v2"].fails_with_users = True
    failure = look(world, stack)[0].failure or ""
    # Whichever is sooner: both see the same 503.
    assert re.match(
        r"the smoke test failed 3 times in a row: health: GET /health answered 503|\d+ of \d+ probes", failure
    )


def test_a_database_that_both_colors_need_is_no_reason_to_go_back(world: World) -> None:
    stack = serving_green(world)
    world.apps["v2"].database = "down"
    assert look(world, stack, 0.5)[0].failure is None


def test_what_cant_be_read_is_told_once_and_the_rest_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = serving_green(world)
    from botocore.exceptions import ClientError

    def denied(*_: Any, **__: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not for you"}}, "GetMetricData")

    cloudwatch = client(world.session, "cloudwatch", fail_fast=True)
    monkeypatch.setattr(cloudwatch, "get_metric_data", denied, raising=False)
    alarm(world, "OK")
    world.apps["v2"].fails_one_in = 5
    report, notes = look(world, stack)
    assert [
        note for note in notes if note.startswith("the metrics can't be read, the bake goes on with the rest: ")
    ] == notes
    assert len(notes) == 1
    assert list(report.unread) == ["metrics"]
    assert report.failure is not None


@pytest.mark.usefixtures("_one_probe_one_look")
def test_a_watch_that_saw_no_alarm_no_metric_and_no_user_says_so(world: World) -> None:
    stack = serving_green(world)
    report, notes = look(world, stack, 0.3)
    missing = f"there is no alarm {ALARM}"
    assert (report.failure, report.alarm, report.unread) == (None, "unknown", {"alarm": missing})
    assert notes == [
        f"the alarm can't be read, the bake goes on with the rest: {missing}",
        "the load balancer has reported 0 requests to green so far, fewer than minRequests (20): its release was "
        "checked by 1 probes",
    ]
    notes.clear()
    facts = read_facts(stack)
    blind = bake.WatchedRelease(color=Color.GREEN, release="v2", facts=facts, dimensions={})
    report = bake.watch(blind, 0.3, notes.append)
    assert report.unread["metrics"] == "the target group of green or the live rule is not known"
    assert report.as_json()["unread"] == report.unread


@pytest.mark.usefixtures("_one_probe_one_look")
def test_metrics_that_cloudwatch_keeps_from_us_are_no_good_news(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = serving_green(world)
    cloudwatch = client(world.session, "cloudwatch", fail_fast=True)
    results = [{"Id": id, "Timestamps": [], "Values": [], "StatusCode": "Forbidden"} for id in bake.METRICS]
    monkeypatch.setattr(cloudwatch, "get_metric_data", lambda **_: {"MetricDataResults": results}, raising=False)
    assert look(world, stack, 0.3)[0].unread["metrics"] == "CloudWatch answers Forbidden for RequestCount"


def test_an_app_that_hangs_is_met_by_enough_probes_to_judge_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its health path answers: only probes see it, and each of them waits for its timeout."""
    monkeypatch.setattr(probes, "PER_SECOND", 20.0)
    monkeypatch.setattr(probes, "TIMEOUT_S", 0.5)
    stack = serving_green(world)
    world.apps["v2"].hangs = threading.Event()
    report, _ = look(world, stack, 6)
    world.apps["v2"].hangs.set()
    assert (report.failure or "").endswith("probes failed (100.0 %, allowed are 5 %)")
    assert report.probes.requests >= bake.MIN_PROBES


def test_a_bake_too_short_for_the_budget_still_sees_that_everything_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "PER_SECOND", 10.0)
    monkeypatch.setattr(bake, "SMOKES_IN_A_ROW", 1000)
    stack = serving_green(world)
    world.apps["v2"].fails_one_in = 1
    report, _ = look(world, stack, 1)
    assert 3 <= report.probes.requests < bake.MIN_PROBES
    n = report.probes.requests
    assert report.failure == f"{n} of {n} probes failed (100.0 %, allowed are 50 %)"
    assert report.first_bad is not None


def test_cloudwatch_that_never_answers_holds_up_no_judgement(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(state, "READ_TIMEOUT_S", 0.3)
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", f"http://127.0.0.1:{silent.getsockname()[1]}")
        stack = serving_green(world)
        facts = read_facts(stack)
        facts.__dict__["session"] = boto3.session.Session(region_name=REGION)
        release = bake.watched_release(facts, describe(STACK, facts.session), Color.GREEN)
        world.apps["v2"].fails_one_in = 5
        report = bake.watch(release, 60, lambda _: None)
    assert "probes failed" in (report.failure or "")
    assert "Read timeout on endpoint URL" in report.unread["alarm"]
    assert report.seconds < 10


def test_an_alarm_that_is_first_read_when_it_has_come_on_is_news(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import EndpointConnectionError

    stack = serving_green(world)
    cloudwatch = client(world.session, "cloudwatch", fail_fast=True)
    describe_alarms = cloudwatch.describe_alarms
    failures: list[int] = []

    def away_at_first(**asked: Any) -> Any:
        if not failures:
            failures.append(1)
            alarm(world, "ALARM")
            raise EndpointConnectionError(endpoint_url="http://away")
        return describe_alarms(**asked)

    monkeypatch.setattr(cloudwatch, "describe_alarms", away_at_first, raising=False)
    report, _ = look(world, stack)
    assert (report.failure, report.unread) == (f"the alarm {ALARM} is on", {})


@pytest.mark.parametrize(("on_since_s", "failure"), [(-60, None), (0, f"the alarm {ALARM} is on")])
def test_an_alarm_first_read_late_counts_by_when_it_came_on(world: World, on_since_s: int, failure: str | None) -> None:
    facts = read_facts(serving_green(world))
    notes: list[str] = []
    look = bake._BakeChecks(
        release=bake.watched_release(facts, describe(STACK, facts.session), Color.GREEN),
        report=bake.BakeReport(),
        probes=probes.Probes("http://127.0.0.1:1", {}),
        since=(since := datetime.now(UTC)),
        note=notes.append,
        begun=True,
    )
    look._remember_alarm({"StateValue": "ALARM", "StateTransitionedTimestamp": since + timedelta(seconds=on_since_s)})
    alarm(world, "ALARM")
    assert look._alarm() == failure


def test_an_old_alarm_that_lost_its_data_counts_when_it_comes_on_again(world: World) -> None:
    stack = serving_green(world)
    alarm(world, "ALARM")
    facts = read_facts(stack)
    look = bake._BakeChecks(
        release=bake.watched_release(facts, describe(STACK, facts.session), Color.GREEN),
        report=bake.BakeReport(),
        probes=probes.Probes("http://127.0.0.1:1", {}),
        since=datetime.now(UTC),
        note=lambda _: None,
    )
    look.begin()
    states = []
    for value in ("ALARM", "INSUFFICIENT_DATA", "ALARM"):
        alarm(world, value)
        states.append(look._alarm())
    assert states == [None, None, f"the alarm {ALARM} is on"]


def test_a_bad_release_loses_its_users_and_people_hear_why(world: World) -> None:
    stack = two_colors(world)
    world.apps["v2"].fails_one_in = 5
    args = CutoverArgs(target=Color.GREEN, bake_s=20, reason="the weekly release")
    with pytest.raises(
        RolledBackError, match=r"traffic is back on blue; the release on green was bad: .* probes failed"
    ):
        cut_over(stack, args, QUIET)
    assert (world.served(), stack.config["activeColor"]) == ("v1", "blue")
    [record] = read(world.s3, BUCKET, STACK)
    assert (record.outcome, record.notification) == ("rolled_back", PUBLISHED)
    assert "probes failed" in record.reason
    assert record.figures["probes_failed"] >= 2
    assert record.figures["first_bad_to_back_seconds"] < 20
    assert {"reconcile", "production traffic shift", "bake"} <= record.figures["stages"].keys()
    [(subject, told)] = world.heard()
    assert subject == "Cutover: rolled back, dev blue v1 to green v2"
    assert (told["reason"], told["figures"], told["who"]) == (record.reason, record.figures, record.who)
    assert (told["source"]["release"], told["target"]["release"]) == ("v1", "v2")


def test_a_good_cutover_is_told_with_its_reason(world: World) -> None:
    stack = two_colors(world)
    record = cut_over(stack, CutoverArgs(target=Color.GREEN, bake_s=1, reason="the weekly release"), QUIET)
    assert record is not None
    assert (record.outcome, record.reason, record.notification) == ("ok", "the weekly release", PUBLISHED)
    assert record.figures["probes"] > 0
    [(subject, told)] = world.heard()
    assert (subject, told["reason"]) == ("Cutover: ok, dev blue v1 to green v2", "the weekly release")


def test_a_bad_canary_is_ended(world: World) -> None:
    stack = two_colors(world)
    world.apps["v2"].fails_one_in = 5
    with pytest.raises(RolledBackError, match="the canary on green is ended; the release on green was bad: "):
        set_weight(stack, CanaryArgs(percent=5, bake_s=20), QUIET)
    assert world.weights() == {Color.BLUE: 100, Color.GREEN: 0}
    assert stack.config["canaryPercent"] == "0"
    assert any(asked == "preview green /" for asked in world.requests)
    [(subject, _)] = world.heard()
    assert subject == "Canary: rolled back, dev blue v1 to green v2"


def test_a_cutover_that_is_turned_back_leaves_no_canary_on_the_bad_release(world: World) -> None:
    stack = two_colors(world)
    set_weight(stack, CanaryArgs(percent=10), QUIET)
    world.apps["v2"].fails_one_in = 5
    with pytest.raises(RolledBackError, match="traffic is back on blue"):
        cut_over(stack, CutoverArgs(target=Color.GREEN, bake_s=20), QUIET)
    assert world.weights() == {Color.BLUE: 100, Color.GREEN: 0}
    assert (stack.config["activeColor"], stack.config["canaryPercent"]) == ("blue", "0")


def test_users_go_back_though_the_color_that_they_leave_has_grown(world: World) -> None:
    """Its gate asks for as many machines as serve now."""
    stack = two_colors(world)
    world.apps["v2"].fails_one_in = 5
    ups: list[int] = []

    def grow() -> None:
        ups.append(1)
        if len(ups) == 2:
            group = world.machines_of(Color.GREEN)[0]["group"]
            world.autoscaling.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=3)

    stack.before_up = grow
    with pytest.raises(RolledBackError, match="traffic is back on blue"):
        cut_over(stack, CutoverArgs(target=Color.GREEN, bake_s=20), QUIET)
    assert (world.served(), len(world.machines_of(Color.BLUE)), len(ups)) == ("v1", 3, 3)


def test_a_way_back_that_fails_too_is_an_emergency(world: World) -> None:
    stack = two_colors(world)
    world.apps["v2"].fails_one_in = 5
    fail_second_up(stack, world)
    with pytest.raises(RollbackFailedError, match="Act now: config says blue already"):
        cut_over(stack, CutoverArgs(target=Color.GREEN, bake_s=20), QUIET)
    [(subject, _)] = world.heard()
    assert subject == "Cutover: rollback failed, dev blue v1 to green v2"


def fail_second_up(stack: WorldStack, world: World) -> None:
    ups: list[int] = []

    def count() -> None:
        ups.append(1)
        if len(ups) == 2:
            world.apps["v1"].answers = False

    stack.before_up = count
