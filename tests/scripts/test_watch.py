"""A release that is watched with its users: what takes them from it again, and what does not."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from checks.budget import Answers
from checks.colors import Color
from checks.fleet import client, describe
from scripts import probes, watch
from scripts.canary import CanaryArgs, share
from scripts.cutover import CutoverArgs, cut_over
from scripts.display import Display
from scripts.exits import StuckError, TurnedBackError
from scripts.history import read
from scripts.notices import TOLD
from scripts.stacks import read_facts
from tests.scripts.world import BUCKET, STACK, World, WorldStack, two_colors

QUIET = Display(as_json=True)
ALARM = f"{STACK}-green-bad"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EVERY_S", 0.05)
    monkeypatch.setattr(probes, "PER_SECOND", 200.0)


def look(world: World, stack: WorldStack, seconds: float = 20, **options: Any) -> tuple[watch.Account, list[str]]:
    """At green; an objection ends it long before the time is over."""
    notes: list[str] = []
    facts = read_facts(stack)
    watched = watch.watched(facts, describe(STACK, facts.session), Color.GREEN, **options)
    return watch.watch(watched, seconds, notes.append), notes


def serving_green(world: World) -> WorldStack:
    stack = two_colors(world)
    cut_over(stack, CutoverArgs(target=Color.GREEN), QUIET)
    world.heard()
    return stack


def put(world: World, stack: WorldStack, **sums: float) -> None:
    """What the balancer told of green in this minute."""
    facts = read_facts(stack)
    dimensions = watch.watched(facts, describe(STACK, facts.session), Color.GREEN).dimensions
    assert dimensions["TargetGroup"].startswith("targetgroup/dev-green/")
    assert dimensions["LoadBalancer"].startswith("app/dev/")
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    data = [
        {"MetricName": name, "Dimensions": named, "Value": value, "Timestamp": datetime.now(UTC)}
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


def test_a_good_release_is_watched_to_the_end_and_counted(world: World) -> None:
    stack = serving_green(world)
    put(world, stack, RequestCount=500, HTTPCode_Target_5XX_Count=2, TargetResponseTime=0.25)
    alarm(world, "OK")
    account, notes = look(world, stack, 2)
    assert (account.objection, notes, account.alarm, account.unread) == (None, [], "OK", {})
    assert (account.users, account.p99_ms) == (Answers(requests=500, errors=2), 250.0)
    assert account.probes.errors == 0
    assert account.probes.requests > 0
    assert account.seconds >= 2


def test_errors_of_users_beyond_the_budget_are_an_objection(world: World) -> None:
    stack = serving_green(world)
    put(world, stack, RequestCount=100, HTTPCode_Target_5XX_Count=4, TargetConnectionErrorCount=3)
    account, _ = look(world, stack)
    assert account.objection == "7 of 100 users' requests failed (7.0 %, allowed are 5 %)"
    assert account.first_bad is not None


def test_the_budget_is_the_stacks_own(world: World) -> None:
    stack = serving_green(world)
    stack.config["alarms"] = {"errorRatePercent": 10, "leastRequests": 200}
    put(world, stack, RequestCount=199, HTTPCode_Target_5XX_Count=199)
    assert look(world, stack, 0.3)[0].objection is None
    put(world, stack, RequestCount=1, HTTPCode_Target_5XX_Count=1)
    assert look(world, stack)[0].objection == "200 of 200 users' requests failed (100.0 %, allowed are 10 %)"


def test_one_bad_answer_in_ten_shows_without_any_metric(world: World) -> None:
    stack = serving_green(world)
    world.apps["v2"].fails_one_in = 10
    account, _ = look(world, stack)
    assert account.objection is not None
    assert "probes failed" in account.objection
    assert account.first_bad is not None
    assert account.first_bad <= time.monotonic()


def test_an_alarm_that_comes_on_is_an_objection(world: World) -> None:
    stack = serving_green(world)
    alarm(world, "OK")
    asked: list[str] = []

    def comes_on(text: str) -> None:
        asked.append(text)

    facts = read_facts(stack)
    watched = watch.watched(facts, describe(STACK, facts.session), Color.GREEN)
    began = watch._Look.begin

    def begin(look: watch._Look) -> None:
        began(look)
        alarm(world, "ALARM")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch._Look, "begin", begin)
        account = watch.watch(watched, 20, comes_on)
    assert (account.objection, asked) == (f"the alarm {ALARM} is on", [])


def test_an_alarm_that_was_on_before_is_named_and_no_objection(world: World) -> None:
    stack = serving_green(world)
    alarm(world, "ALARM")
    account, notes = look(world, stack, 0.3)
    assert (account.objection, account.alarm) == (None, "ALARM")
    assert notes == [f"the alarm {ALARM} was on already: it counts once it has been off"]


def test_a_smoke_test_must_fail_three_times_in_a_row(world: World) -> None:
    stack = serving_green(world)
    world.apps["v2"].fails_with_users = True
    objection = look(world, stack)[0].objection or ""
    # Whichever is sooner: both see the same 503.
    assert re.match(
        r"the smoke test failed 3 times in a row: health: GET /health answered 503|\d+ of \d+ probes", objection
    )


def test_a_database_that_both_colors_need_is_no_reason_to_go_back(world: World) -> None:
    stack = serving_green(world)
    world.apps["v2"].database = "down"
    assert look(world, stack, 0.5)[0].objection is None


def test_what_cant_be_read_is_told_once_and_the_rest_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = serving_green(world)
    from botocore.exceptions import ClientError

    def denied(*_: Any, **__: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not for you"}}, "GetMetricData")

    monkeypatch.setattr(client(world.session, "cloudwatch"), "get_metric_data", denied, raising=False)
    world.apps["v2"].fails_one_in = 5
    account, notes = look(world, stack)
    assert [note for note in notes if note.startswith("the metrics can't be read, the rest is watched on: ")] == notes
    assert len(notes) == 1
    assert list(account.unread) == ["metrics"]
    assert account.objection is not None


def test_a_bad_release_loses_its_users_and_people_hear_why(world: World) -> None:
    stack = two_colors(world)
    world.apps["v2"].fails_one_in = 5
    args = CutoverArgs(target=Color.GREEN, bake_s=20, reason="the weekly release")
    with pytest.raises(
        TurnedBackError, match=r"users are back on blue; green failed with users on it: .* probes failed"
    ):
        cut_over(stack, args, QUIET)
    assert (world.served(), stack.config["activeColor"]) == ("v1", "blue")
    [record] = read(world.s3, BUCKET, STACK)
    assert (record.outcome, record.notice) == ("turned back", TOLD)
    assert "probes failed" in record.why
    assert record.figures["probes_failed"] >= 2
    assert record.figures["first_bad_to_back_seconds"] < 20
    assert {"reconcile", "production traffic shift", "bake"} <= record.figures["stages"].keys()
    [(subject, told)] = world.heard()
    assert subject == "cutover turned back: dev blue v1 to green v2"
    assert (told["why"], told["figures"], told["who"]) == (record.why, record.figures, record.who)
    assert (told["from"]["release"], told["to"]["release"]) == ("v1", "v2")


def test_a_good_cutover_is_told_with_its_reason(world: World) -> None:
    stack = two_colors(world)
    record = cut_over(stack, CutoverArgs(target=Color.GREEN, bake_s=1, reason="the weekly release"), QUIET)
    assert record is not None
    assert (record.outcome, record.why, record.notice) == ("ok", "the weekly release", TOLD)
    assert record.figures["probes"] > 0
    [(subject, told)] = world.heard()
    assert (subject, told["why"]) == ("cutover ok: dev blue v1 to green v2", "the weekly release")


def test_a_bad_canary_is_ended(world: World) -> None:
    stack = two_colors(world)
    world.apps["v2"].fails_one_in = 5
    with pytest.raises(TurnedBackError, match="the share of green is ended; green failed with users on it: "):
        share(stack, CanaryArgs(percent=5, bake_s=20), QUIET)
    assert world.weights() == {Color.BLUE: 100, Color.GREEN: 0}
    assert stack.config["canaryPercent"] == "0"
    assert any(asked == "preview green /" for asked in world.requests)
    [(subject, _)] = world.heard()
    assert subject == "canary turned back: dev blue v1 to green v2"


def test_a_way_back_that_fails_too_is_an_emergency(world: World) -> None:
    stack = two_colors(world)
    world.apps["v2"].fails_one_in = 5
    fail_second_up(stack, world)
    with pytest.raises(StuckError, match="Act now: config says blue already"):
        cut_over(stack, CutoverArgs(target=Color.GREEN, bake_s=20), QUIET)
    [(subject, _)] = world.heard()
    assert subject == "cutover stuck: dev blue v1 to green v2"


def fail_second_up(stack: WorldStack, world: World) -> None:
    ups: list[int] = []

    def count() -> None:
        ups.append(1)
        if len(ups) == 2:
            world.apps["v1"].answers = False

    stack.before_up = count
