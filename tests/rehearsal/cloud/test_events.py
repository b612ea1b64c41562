"""What a group did to its machines reaches the topics whose rules ask for it, in the form that they ask for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from checks.colors import Color
from components import machine_news
from rehearsal.cloud.additions.events import message
from rehearsal.cloud.client import CloudClient
from tests.messages import require_valid
from tests.rehearsal.cloud.fleet import BOOT, DRAIN, REGION, Fleet, Maker, Running, wait

ACCOUNT = "123456789012"
TERMINATED, NOT_LAUNCHED = "EC2 Instance Terminate Successful", "EC2 Instance Launch Unsuccessful"


@dataclass(frozen=True, kw_only=True)
class Ears:
    """Two topics: one hears by the program's own rules for blue, the other, after it, of everything."""

    client: CloudClient
    began: datetime
    news_topic: str
    other_topic: str

    def news(self) -> list[dict[str, Any]]:
        found = self._told(self.news_topic)
        for each in found:
            require_valid(each)
        return found

    def first_news(self) -> dict[str, Any]:
        wait(lambda: None if self.news() else "nobody was told", "the news")
        return self.news()[0]

    def events(self, number: int) -> list[dict[str, Any]]:
        """All of them once there are so many: of these, what is no news by now never will be."""

        def reason() -> str | None:
            found = len(self._told(self.other_topic))
            return None if found >= number else f"{found} events"

        wait(reason, f"{number} events")
        return self._told(self.other_topic)

    def _told(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(one.message) for one in self.client.notices(since=self.began) if one.topic == topic]


@pytest.fixture
def ears(cloud: Running) -> Ears:
    sns, events = cloud.client("sns"), cloud.client("events")
    news, other = (sns.create_topic(Name=name)["TopicArn"] for name in ("news", "everything"))
    for kind in machine_news.ALL:
        events.put_rule(Name=kind.name, EventPattern=machine_news.pattern(kind, "dev", Color.BLUE))
        template = machine_news.template(kind, "dev", Color.BLUE)
        transformer = {"InputPathsMap": kind.paths, "InputTemplate": template}
        events.put_targets(Rule=kind.name, Targets=[{"Id": "1", "Arn": news, "InputTransformer": transformer}])
    events.put_rule(Name="everything", EventPattern='{"source": ["aws.autoscaling"]}')
    events.put_targets(Rule="everything", Targets=[{"Id": "1", "Arn": other}])
    client = CloudClient(control=cloud.control)
    return Ears(client=client, began=datetime.now(UTC), news_topic=news, other_topic=other)


def serving(make_fleet: Maker, **changes: Any) -> tuple[Fleet, str]:
    fleet = make_fleet(**{"LifecycleHookSpecificationList": [DRAIN]} | changes)
    fleet.wait_for(["InService"])
    return fleet, fleet.member()


def test_a_machine_that_was_ill_is_told_once_it_is_gone(ears: Ears, make_fleet: Maker) -> None:
    fleet, lost = serving(make_fleet)
    zone = fleet.members()[0]["AvailabilityZone"]
    fleet.cloud.client("autoscaling").set_instance_health(InstanceId=lost, HealthStatus="Unhealthy")
    fleet.wait_for(["InService", "Terminating:Wait"])
    assert ears.news() == []
    fleet.complete(lost, "drain", "CONTINUE")
    (event,) = ears.events(1)
    assert event["detail-type"] == TERMINATED
    assert (event["account"], event["region"], event["source"]) == (ACCOUNT, REGION, "aws.autoscaling")
    assert event["resources"][1] == f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{lost}"
    assert event["detail"]["Description"] == f"Terminating EC2 instance: {lost}"
    assert event["detail"]["StartTime"] < event["detail"]["EndTime"]
    told = ears.first_news()
    assert told.pop("details").pop("Availability Zone") == zone
    assert told.pop("error").endswith("Z an instance was taken out of service in response to a user health-check.")
    assert told == {
        "kind": "instance_lost",
        "subject": f"Instance lost: dev blue {lost}",
        "stack": "dev",
        "region": REGION,
        "time": event["time"],
        "color": "blue",
        "group": fleet.group,
        "instance": lost,
    }


def test_a_planned_end_is_no_news(ears: Ears, make_fleet: Maker) -> None:
    fleet, _ = serving(make_fleet, LifecycleHookSpecificationList=[], MinSize=0, DesiredCapacity=1)
    fleet.cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName=fleet.group, DesiredCapacity=0)
    (event,) = ears.events(1)
    assert event["detail"]["Cause"].endswith("shrinking the capacity from 1 to 0.")
    fleet.cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName=fleet.group, DesiredCapacity=1)
    fleet.wait_for(["InService"])
    fleet.cloud.client("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=fleet.member(), ShouldDecrementDesiredCapacity=True
    )
    assert ears.events(2)[1]["detail"]["Cause"].endswith("in response to a user request.")
    assert ears.news() == []


def test_a_machine_that_ended_behind_its_group_is_told(ears: Ears, make_fleet: Maker) -> None:
    fleet, lost = serving(make_fleet)
    fleet.cloud.client("ec2").terminate_instances(InstanceIds=[lost])
    told = ears.first_news()
    assert (told["kind"], told["instance"]) == ("instance_lost", lost)
    assert told["error"].endswith("an EC2 health check indicating it has been terminated or stopped.")


def test_a_boot_that_was_given_up_is_an_event_and_no_news(ears: Ears, make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[BOOT])
    given_up = fleet.member()
    fleet.complete(given_up, "boot", "ABANDON")
    launch, end = sorted(ears.events(2), key=lambda event: str(event["detail-type"]))
    assert (launch["detail-type"], end["detail-type"]) == (NOT_LAUNCHED, TERMINATED)
    assert (launch["detail"]["EC2InstanceId"], launch["detail"]["StatusCode"]) == (given_up, "Cancelled")
    assert ears.news() == []


def test_a_machine_that_never_said_a_word_is_told(ears: Ears, make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[BOOT | {"HeartbeatTimeout": 1}])
    silent = fleet.member()
    told = ears.first_news()
    assert (told["kind"], told["instance"], told["status"]) == ("launch_failed", silent, "Cancelled")
    assert told["error"].endswith("was abandoned: Heartbeat Timeout")


def test_a_zone_without_room_is_told(ears: Ears, make_fleet: Maker) -> None:
    fleet, _ = serving(make_fleet, LifecycleHookSpecificationList=[])
    (zone,) = {"eu-central-1a", "eu-central-1b"} - {fleet.members()[0]["AvailabilityZone"]}
    asked = CloudClient(control=fleet.cloud.control)
    asked.set_zones_gone(zone)
    try:
        fleet.cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName=fleet.group, DesiredCapacity=2)
        fleet.wait_for(["InService", "InService"])
    finally:
        asked.set_zones_gone()
    told = ears.first_news()
    assert (told["kind"], told["instance"], told["status"]) == ("launch_failed", "", "Failed")
    assert told["subject"] == "Launch failed: dev blue"
    assert told["details"]["Availability Zone"] == zone
    assert zone in told["error"]


def test_who_asks_for_other_groups_or_for_nothing_hears_nothing(ears: Ears, make_fleet: Maker) -> None:
    fleet, lost = serving(make_fleet, LifecycleHookSpecificationList=[])
    events = fleet.cloud.client("events")
    events.disable_rule(Name="lost")
    events.put_rule(Name="green", EventPattern=machine_news.pattern(machine_news.LOST, "dev", Color.GREEN))
    events.put_rule(Name="hourly", ScheduleExpression="rate(1 hour)")
    (target,) = events.list_targets_by_rule(Rule="lost")["Targets"]
    for other in ("green", "hourly"):
        events.put_targets(Rule=other, Targets=[target])
    fleet.cloud.client("autoscaling").set_instance_health(InstanceId=lost, HealthStatus="Unhealthy")
    ears.events(1)
    assert ears.news() == []


EVENT = {"time": "noon", "detail": {"who": 'a "b"', "many": [1, 2], "deep": {"x y": None}}}


def transformed(template: str, **paths: str) -> str:
    return message({"InputTransformer": {"InputTemplate": template, "InputPathsMap": paths}}, EVENT)


def test_a_target_gets_the_event_a_part_of_it_or_a_constant() -> None:
    assert json.loads(message({}, EVENT)) == EVENT
    assert message({"InputPath": "$.detail.many"}, EVENT) == "[1, 2]"
    assert message({"Input": '{"always": "this"}'}, EVENT) == '{"always": "this"}'


def test_values_stand_in_a_template_as_json_and_within_texts_as_text() -> None:
    told = transformed(
        '{"who": <who>, "all": <deep>, "text": "<who> at <t>, \\"<many>\\""}',
        who="$.detail.who",
        t="$.time",
        many="$.detail.many",
        deep="$.detail.deep",
    )
    assert json.loads(told) == {"who": 'a "b"', "all": {"x y": None}, "text": 'a "b" at noon, "[1, 2]"'}


def test_what_eventbridge_could_not_send_is_refused() -> None:
    with pytest.raises(ValueError, match=r"path \$\.detail\.whom: the event has nothing there"):
        transformed('{"who": <who>}', who="$.detail.whom")
    with pytest.raises(ValueError, match="Expecting"):
        transformed('{"who": }')
