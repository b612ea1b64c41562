"""Rows of the page, and log entries of their changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from rehearsal.cloud.sns_message import SnsMessage
from rehearsal.playground import overview


def state_row(**changes: Any) -> dict[str, Any]:
    return {
        "instance": "i-1",
        "color": "blue",
        "release": "v1",
        "zone": "eu-central-1a",
        "address": "10.64.0.4",
        "lifecycle": "InService",
        "targets": {"arn": "healthy"},
        "cause": "",
        "boot": {"state": "ready", "steps": {"image": 3.0, "run": 0.4}},
        "transitions": [{"state": "Pending", "at": 100.0}],
        **changes,
    }


def instance(**changes: Any) -> dict[str, Any]:
    return overview.instance_row(state_row(**changes))


def changes_between(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[tuple[str, str]]:
    return list(
        overview.instance_changes({before["id"]: before} if before else {}, {after["id"]: after} if after else {})
    )


def test_an_instance_row_shows_the_boot_outcome() -> None:
    row = instance()
    assert (row["id"], row["health"], row["boot"], row["since"]) == ("i-1", "healthy", "booted in 3.4 s", 100.0)


@pytest.mark.parametrize(
    ("boot", "text"),
    [
        ({}, ""),
        ({"state": "booting", "step": "image"}, "boot step image"),
        ({"state": "booting", "step": ""}, "boot step begins"),
        ({"state": "failed", "step": "run", "error": "no such image"}, "boot failed at run: no such image"),
    ],
)
def test_a_boot_is_shown_by_its_step(boot: dict[str, Any], text: str) -> None:
    assert overview.boot_text(boot) == text


@pytest.mark.parametrize(
    ("lifecycle", "state", "booting"),
    [
        ("Pending:Wait", "", True),
        ("InService", "booting", True),
        ("InService", "ready", False),
        ("Pending:Wait", "failed", False),
        ("Terminating:Wait", "booting", False),
    ],
)
def test_a_boot_record_is_read_again_while_it_may_change(lifecycle: str, state: str, booting: bool) -> None:
    assert overview.is_booting(state_row(lifecycle=lifecycle, boot={"state": state})) is booting


def test_an_instance_in_no_target_group_is_unused() -> None:
    assert instance(targets={})["health"] == "unused"


def test_the_log_follows_an_instance_from_launch_to_end() -> None:
    pending, serving = instance(lifecycle="Pending", targets={}, boot={}), instance()
    unhealthy = instance(targets={"arn": "unhealthy"})
    leaving = instance(lifecycle="Terminating", cause=f"{overview.OUT_OF_SERVICE}it was unhealthy")
    assert changes_between(None, pending) == [("launch", "i-1 launched: blue v1 in eu-central-1a")]
    assert changes_between(pending, serving) == [("instance", "i-1 (blue v1) is in service, booted in 3.4 s")]
    assert changes_between(serving, serving) == []
    assert changes_between(serving, unhealthy) == [("bad", "i-1 (blue v1) is unhealthy for the load balancer")]
    assert changes_between(unhealthy, leaving) == [("instance", "i-1 (blue v1) is being terminated: it was unhealthy")]
    assert changes_between(leaving, None) == [("end", "i-1 ended: blue v1")]


def test_both_colors_have_a_row_and_the_one_with_most_traffic_is_live() -> None:
    groups = [{"color": "blue", "release": "v1", "desired": 2}, {"color": "green", "release": "v2", "desired": 1}]
    blue, green = overview.color_rows([instance()], {"blue": 90, "green": 10}, groups)
    assert (blue["color"], blue["live"], blue["weight"], blue["healthy"], blue["desired"]) == ("blue", True, 90, 1, 2)
    assert (green["live"], green["releases"], green["instances"]) == (False, ["v2"], [])


@pytest.mark.parametrize("weights", [{}, {"blue": 0, "green": 0}])
def test_before_the_first_release_no_color_is_live(weights: dict[str, int]) -> None:
    assert [row["live"] for row in overview.color_rows([], weights, [])] == [False, False]


def test_weights_are_percent_whatever_the_rule_counts_in() -> None:
    targets = [{"TargetGroupArn": "b", "Weight": 1}, {"TargetGroupArn": "g", "Weight": 3}]
    rule = {"Actions": [{"Type": "forward", "ForwardConfig": {"TargetGroups": targets}}]}
    assert overview.weights_of(rule, {"b": "blue", "g": "green"}) == {"blue": 25, "green": 75}
    targets[0]["Weight"] = targets[1]["Weight"] = 0
    assert overview.weights_of(rule, {"b": "blue", "g": "green"}) == {"blue": 0, "green": 0}


def test_a_change_of_weights_is_one_line() -> None:
    before, after = {"blue": 100, "green": 0}, {"blue": 0, "green": 100}
    assert list(overview.weight_change(before, after)) == [("traffic", "traffic: blue 0 %, green 100 %")]
    assert list(overview.weight_change(after, after)) == []


def test_only_the_stacks_own_groups_count_and_none_that_is_being_deleted() -> None:
    def group(stack: str, **more: Any) -> dict[str, Any]:
        tags = {"Stack": stack, "Color": "blue", "Release": "v1"}
        return {"Tags": [{"Key": key, "Value": tags[key]} for key in tags], "DesiredCapacity": 2, **more}

    groups = [group("playground"), group("other"), group("playground", Status="Delete in progress")]
    assert overview.group_rows(groups, "playground") == [{"color": "blue", "release": "v1", "desired": 2}]


def test_firing_alarms_come_first_and_changes_are_logged() -> None:
    def alarm(name: str, state: str) -> dict[str, Any]:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return {"AlarmName": name, "StateValue": state, "StateReason": "why", "StateUpdatedTimestamp": at}

    rows = overview.alarm_rows({"MetricAlarms": [alarm("a", "OK"), alarm("c", "ALARM")], "CompositeAlarms": []})
    assert [row["name"] for row in rows] == ["c", "a"]
    assert list(overview.alarm_changes({"a": "ALARM", "c": "OK"}, rows)) == [
        ("bad", "alarm c is on: why"),
        ("good", "alarm a is off"),
    ]
    assert list(overview.alarm_changes(None, rows)) == [("bad", "alarm c is on: why")]


@pytest.mark.parametrize(
    ("subject", "message", "shown", "text"),
    [
        ("down", json.dumps({"error": "<b>no image</b>", "why": "x"}), "down", "<b>no image</b>"),
        ("", json.dumps({"subject": "Instance lost", "error": "a failure"}), "Instance lost", "a failure"),
        ("", "plain words", "message", "plain words"),
        ("list", "[1]", "list", "[1]"),
        ("long", "x" * 1000, "long", "x" * overview.MESSAGE_LENGTH),
    ],
)
def test_a_notification_shows_its_subject_and_its_reason(subject: str, message: str, shown: str, text: str) -> None:
    row = overview.notification_row(3, 5.0, subject, message)
    assert row == {"number": 3, "time": 5.0, "subject": shown, "text": text}


def test_an_update_shows_its_changes() -> None:
    update = {"kind": "update", "result": "succeeded", "startTime": 10, "endTime": 14}
    changes = {"resourceChanges": {"same": 3, "update": 1}}
    assert overview.update_text({**update, **changes}) == "pulumi up succeeded after 4 s: 1 update"
    assert overview.update_text({**update, "kind": "refresh"}) == "pulumi refresh succeeded after 4 s: no change"


def test_a_second_of_traffic_by_color() -> None:
    counts = {"requests": 50, "failed": 2, "colors": {"blue": 48}, "releases": {"v1": 48}}
    status = {"time": 5.0, "p50_ms": 1.0, "p99_ms": 9.0, **counts}
    row = overview.traffic_row(status, {"blue": 90, "green": 10})
    assert (row["blue"], row["green"], row["requests"], row["failed"], row["p99"]) == (48, 0, 50, 2, 9.0)


def test_responses_without_a_color_count_for_the_color_with_all_traffic() -> None:
    status = {"time": 5.0, "p50_ms": 1.0, "p99_ms": 9.0, "requests": 50, "failed": 2, "colors": {}, "releases": {}}
    alone = overview.traffic_row(status, {"blue": 0, "green": 100})
    shared = overview.traffic_row(status, {"blue": 90, "green": 10})
    assert [(row["blue"], row["green"]) for row in (alone, shared)] == [(0, 48), (0, 0)]


def test_a_webhook_that_was_not_notified_is_in_the_log() -> None:
    message: dict[str, Any] = {
        "number": 1,
        "time": datetime.now(UTC),
        "topic": "alerts",
        "subject": "",
        "message": "any",
    }
    notices = [SnsMessage(**message), SnsMessage(**message, undelivered=("https://hooks.example.org: not sent, why",))]
    assert list(overview.undelivered(notices)) == [("bad", "webhook https://hooks.example.org: not sent, why")]
