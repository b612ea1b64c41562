"""An Auto Scaling group in the emulated account, with the program's hooks, and a mailbox for alerts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fleet.waiting import wait_until
from tests.messages import require_valid
from tests.rehearsal.cloud.fleet import BOOT, DRAIN, REGION, Running, network, template

GROUP = "dev-blue-v1"


@dataclass(frozen=True, kw_only=True)
class Group:
    """One group with one instance."""

    aws: Running
    instance: str

    @classmethod
    def create(cls, aws: Running) -> Group:
        aws.client("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            LaunchTemplate={"LaunchTemplateId": template(aws), "Version": "1"},
            MinSize=1,
            MaxSize=1,
            VPCZoneIdentifier=network(aws)[0],
            LifecycleHookSpecificationList=[BOOT, DRAIN],
        )
        (member,) = _members(aws)
        group = cls(aws=aws, instance=member["InstanceId"])
        group.wait_for("Pending:Wait")
        return group

    def state(self) -> str:
        found = {member["InstanceId"]: member["LifecycleState"] for member in _members(self.aws)}
        return str(found.get(self.instance, "gone"))

    def health(self) -> str:
        found = {member["InstanceId"]: member["HealthStatus"] for member in _members(self.aws)}
        return str(found.get(self.instance, "gone"))

    def wait_for(self, *states: str) -> None:
        def reason() -> str | None:
            return None if (state := self.state()) in states else f"it is {state}"

        wait_until(reason, what=f"{self.instance} {' or '.join(states)}", deadline_s=10)

    def into_service(self) -> None:
        self.aws.client("autoscaling").complete_lifecycle_action(
            AutoScalingGroupName=GROUP,
            LifecycleHookName="boot",
            InstanceId=self.instance,
            LifecycleActionResult="CONTINUE",
        )
        self.wait_for("InService")

    def suspended_for_restart(self) -> None:
        """As `restart` leaves the instance: not replaced, and unhealthy until a boot marks it healthy."""
        scaling = self.aws.client("autoscaling")
        scaling.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["HealthCheck", "ReplaceUnhealthy"])
        scaling.set_instance_health(InstanceId=self.instance, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False)
        assert self.health() == "Unhealthy"

    def terminate(self) -> None:
        self.aws.client("autoscaling").terminate_instance_in_auto_scaling_group(
            InstanceId=self.instance, ShouldDecrementDesiredCapacity=True
        )
        self.wait_for("Terminating:Wait")


def _members(aws: Running) -> list[Any]:
    answer = aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])
    found: list[Any] = answer["AutoScalingGroups"][0]["Instances"]
    return found


@dataclass(frozen=True, kw_only=True)
class Mailbox:
    """A queue that is subscribed to the alerts topic."""

    aws: Running
    topic: str
    queue: str

    @classmethod
    def create(cls, aws: Running) -> Mailbox:
        topic = aws.client("sns").create_topic(Name="alerts")["TopicArn"]
        queue = aws.client("sqs").create_queue(QueueName="mailbox")["QueueUrl"]
        arn = f"arn:aws:sqs:{REGION}:123456789012:mailbox"
        aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return cls(aws=aws, topic=topic, queue=queue)

    def read(self) -> list[tuple[str, Any]]:
        """Subjects and messages, each by its schema or an alarm's."""
        answer = self.aws.client("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        found = [(body["Subject"], json.loads(body["Message"])) for body in bodies]
        for subject, content in found:
            if "AlarmName" not in content:
                require_valid(content)
                assert subject == content["subject"]
        return found
