"""EventBridge events of Auto Scaling groups: rules, input transformers, and SNS topics as targets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from components import instance_events
from fleet.colors import Color
from rehearsal.cloud.additions.events import message
from rehearsal.cloud.client import CloudClient
from tests.messages import require_valid
from tests.rehearsal.cloud.fleet import BOOT, DRAIN, REGION, Fleet, Maker, Running, wait

ACCOUNT = "123456789012"
TERMINATED, NOT_LAUNCHED = "EC2 Instance Terminate Successful", "EC2 Instance Launch Unsuccessful"


@dataclass(frozen=True, kw_only=True)
class Topics:
    """Two topics: a target of the program's rules for blue, and a target, notified later, of a rule for all events."""

    client: CloudClient
    began: datetime
    notification_topic: str
    other_topic: str

    def notifications(self) -> list[dict[str, Any]]:
        found = self._messages(self.notification_topic)
        for one in found:
            require_valid(one)
        return found

    def first_notification(self) -> dict[str, Any]:
        wait(lambda: None if self.notifications() else "no notification yet", "the notification")
        return self.notifications()[0]

    def events(self, number: int) -> list[dict[str, Any]]:
        """All events, once there are this many. An event is notified before it is listed here."""

        def reason() -> str | None:
            count = len(self._messages(self.other_topic))
            return None if count >= number else f"{count} events"

        wait(reason, f"{number} events")
        return self._messages(self.other_topic)

    def _messages(self, topic: str) -> list[dict[str, Any]]:
        messages = self.client.sns_messages(since=self.began)
        return [json.loads(message.message) for message in messages if message.topic == topic]


@pytest.fixture
def topics(cloud: Running) -> Topics:
    sns, events = cloud.client("sns"), cloud.client("events")
    notifications, other = (sns.create_topic(Name=name)["TopicArn"] for name in ("notifications", "everything"))
    for kind in instance_events.ALL:
        events.put_rule(Name=kind.name, EventPattern=instance_events.pattern(kind, "dev", Color.BLUE))
        template = instance_events.template(kind, "dev", Color.BLUE)
        transformer = {"InputPathsMap": kind.paths, "InputTemplate": template}
        events.put_targets(Rule=kind.name, Targets=[{"Id": "1", "Arn": notifications, "InputTransformer": transformer}])
    events.put_rule(Name="everything", EventPattern='{"source": ["aws.autoscaling"]}')
    events.put_targets(Rule="everything", Targets=[{"Id": "1", "Arn": other}])
    client = CloudClient(control=cloud.control)
    return Topics(client=client, began=datetime.now(UTC), notification_topic=notifications, other_topic=other)


def kind(notification: dict[str, Any]) -> tuple[str, str, str]:
    return notification["event"], notification["instance"], notification["status"]


def serving(make_fleet: Maker, **changes: Any) -> tuple[Fleet, str]:
    fleet = make_fleet(**{"LifecycleHookSpecificationList": [DRAIN]} | changes)
    fleet.wait_for(["InService"])
    return fleet, fleet.member()


def test_an_unhealthy_instance_is_notified_once_it_is_terminated(topics: Topics, make_fleet: Maker) -> None:
    fleet, lost = serving(make_fleet)
    zone = fleet.members()[0]["AvailabilityZone"]
    fleet.cloud.client("autoscaling").set_instance_health(InstanceId=lost, HealthStatus="Unhealthy")
    fleet.wait_for(["InService", "Terminating:Wait"])
    assert topics.notifications() == []
    fleet.complete(lost, "drain", "CONTINUE")
    (event,) = topics.events(1)
    assert event["detail-type"] == TERMINATED
    assert (event["account"], event["region"], event["source"]) == (ACCOUNT, REGION, "aws.autoscaling")
    assert event["resources"][1] == f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{lost}"
    assert event["detail"]["Description"] == f"Terminating EC2 instance: {lost}"
    assert event["detail"]["StartTime"] < event["detail"]["EndTime"]
    notification = topics.first_notification()
    assert notification.pop("details").pop("Availability Zone") == zone
    assert notification.pop("error").endswith(
        "Z an instance was taken out of service in response to a user health-check."
    )
    assert notification == {
        "kind": "instance_lost",
        "subject": f"Instance lost: dev blue {lost}",
        "stack": "dev",
        "region": REGION,
        "time": event["time"],
        "color": "blue",
        "group": fleet.group,
        "instance": lost,
    }


def test_a_planned_termination_is_not_notified(topics: Topics, make_fleet: Maker) -> None:
    fleet, _ = serving(make_fleet, LifecycleHookSpecificationList=[], MinSize=0, DesiredCapacity=1)
    fleet.cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName=fleet.group, DesiredCapacity=0)
    (event,) = topics.events(1)
    assert event["detail"]["Cause"].endswith("shrinking the capacity from 1 to 0.")
    fleet.cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName=fleet.group, DesiredCapacity=1)
    fleet.wait_for(["InService"])
    fleet.cloud.client("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=fleet.member(), ShouldDecrementDesiredCapacity=True
    )
    assert topics.events(2)[1]["detail"]["Cause"].endswith("in response to a user request.")
    assert topics.notifications() == []


def test_a_termination_outside_the_group_is_notified(topics: Topics, make_fleet: Maker) -> None:
    fleet, lost = serving(make_fleet)
    fleet.cloud.client("ec2").terminate_instances(InstanceIds=[lost])
    notification = topics.first_notification()
    assert (notification["kind"], notification["instance"]) == ("instance_lost", lost)
    assert notification["error"].endswith("an EC2 health check indicating it has been terminated or stopped.")


def test_an_abandoned_boot_is_an_event_but_not_notified(topics: Topics, make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[BOOT])
    abandoned = fleet.member()
    fleet.complete(abandoned, "boot", "ABANDON")
    launch, end = sorted(topics.events(2), key=lambda event: str(event["detail-type"]))
    assert (launch["detail-type"], end["detail-type"]) == (NOT_LAUNCHED, TERMINATED)
    assert (launch["detail"]["EC2InstanceId"], launch["detail"]["StatusCode"]) == (abandoned, "Cancelled")
    assert topics.notifications() == []


def test_a_heartbeat_timeout_is_notified(topics: Topics, make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[BOOT | {"HeartbeatTimeout": 1}])
    silent = fleet.member()
    notification = topics.first_notification()
    assert (notification["kind"], notification["instance"], notification["status"]) == (
        "launch_failed",
        silent,
        "Cancelled",
    )
    assert notification["error"].endswith("was abandoned: Heartbeat Timeout")


def test_a_failed_launch_in_a_zone_is_notified(topics: Topics, make_fleet: Maker) -> None:
    fleet, _ = serving(make_fleet, LifecycleHookSpecificationList=[])
    (zone,) = {"eu-central-1a", "eu-central-1b"} - {fleet.members()[0]["AvailabilityZone"]}
    client = CloudClient(control=fleet.cloud.control)
    client.set_failed_zones(zone)
    try:
        fleet.cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName=fleet.group, DesiredCapacity=2)
        fleet.wait_for(["InService", "InService"])
    finally:
        client.set_failed_zones()
    notification = topics.first_notification()
    assert (notification["kind"], notification["instance"], notification["status"]) == ("launch_failed", "", "Failed")
    assert notification["subject"] == "Launch failed: dev blue"
    assert notification["details"]["Availability Zone"] == zone
    assert zone in notification["error"]


def test_rules_for_other_groups_disabled_rules_and_schedules_do_not_match(topics: Topics, make_fleet: Maker) -> None:
    fleet, lost = serving(make_fleet, LifecycleHookSpecificationList=[])
    events = fleet.cloud.client("events")
    events.disable_rule(Name="lost")
    events.put_rule(Name="green", EventPattern=instance_events.pattern(instance_events.LOST, "dev", Color.GREEN))
    events.put_rule(Name="hourly", ScheduleExpression="rate(1 hour)")
    (target,) = events.list_targets_by_rule(Rule="lost")["Targets"]
    for other in ("green", "hourly"):
        events.put_targets(Rule=other, Targets=[target])
    fleet.cloud.client("autoscaling").set_instance_health(InstanceId=lost, HealthStatus="Unhealthy")
    topics.events(1)
    assert topics.notifications() == []


EVENT = {"time": "noon", "detail": {"who": 'a "b"', "many": [1, 2], "deep": {"x y": None}}}


def transformed(template: str, **paths: str) -> str:
    return message({"InputTransformer": {"InputTemplate": template, "InputPathsMap": paths}}, EVENT)


def test_a_target_receives_the_event_a_part_of_it_or_a_constant() -> None:
    assert json.loads(message({}, EVENT)) == EVENT
    assert message({"InputPath": "$.detail.many"}, EVENT) == "[1, 2]"
    assert message({"Input": '{"always": "this"}'}, EVENT) == '{"always": "this"}'


def test_values_are_json_in_a_template_and_text_within_its_strings() -> None:
    message_text = transformed(
        '{"who": <who>, "all": <deep>, "text": "<who> at <t>, \\"<many>\\""}',
        who="$.detail.who",
        t="$.time",
        many="$.detail.many",
        deep="$.detail.deep",
    )
    assert json.loads(message_text) == {"who": 'a "b"', "all": {"x y": None}, "text": 'a "b" at noon, "[1, 2]"'}


def test_what_eventbridge_could_not_send_is_refused() -> None:
    with pytest.raises(ValueError, match=r"path \$\.detail\.whom: the event has nothing there"):
        transformed('{"who": <who>}', who="$.detail.whom")
    with pytest.raises(ValueError, match="Expecting"):
        transformed('{"who": }')
