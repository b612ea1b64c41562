"""EventBridge rules and their targets."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import (
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    given,
    picked,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
    taken,
)


class EventRule(Handler):
    pulumi_type = "aws:cloudwatch/eventRule:EventRule"
    naming = Naming(limit=64)
    tagged = True
    force_new = frozenset({"name", "namePrefix", "eventBusName"})
    defaults: ClassVar = {"state": "ENABLED"}
    _NAMES: ClassVar = {
        "name": "Name",
        "description": "Description",
        "eventPattern": "EventPattern",
        "scheduleExpression": "ScheduleExpression",
        "roleArn": "RoleArn",
        "state": "State",
        "eventBusName": "EventBusName",
    }

    def check(self, inputs: Props) -> None:
        if not (inputs.get("eventPattern") or inputs.get("scheduleExpression")):
            raise ValueError(f"rule {inputs['name']}: allowed is one with eventPattern, scheduleExpression or both")

    def create(self, cloud: Cloud, new: Props) -> Created:
        made = cloud.client("events").put_rule(**picked(new, self._NAMES), Tags=tag_list(tags_of(new)))
        return Created(id=_rule_id(new), outputs={"arn": made["RuleArn"]})

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        id = _rule_id(inputs)
        return [id] if self.stands(cloud, id, inputs) else []

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        events = cloud.client("events")
        found = events.describe_rule(Name=inputs["name"], **_bus(inputs))
        tags = events.list_tags_for_resource(ResourceARN=found["Arn"])["Tags"]
        return taken(found, self._NAMES) | {"tagsAll": tag_map(tags)}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        """All of it again: what is left out, AWS takes away. Only the tags of a rule that stands are changed apart."""
        events = cloud.client("events")
        arn = events.put_rule(**picked(new, self._NAMES))["RuleArn"]
        gone, present = tag_changes(old, new)
        if gone:
            events.untag_resource(ResourceARN=arn, TagKeys=gone)
        if present:
            events.tag_resource(ResourceARN=arn, Tags=tag_list(present))

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("events").delete_rule(Name=state["name"], **_bus(state))


class EventTarget(Handler):
    pulumi_type = "aws:cloudwatch/eventTarget:EventTarget"
    naming = Naming(key="targetId", limit=64)
    force_new = frozenset({"rule", "targetId", "eventBusName"})
    _NAMES: ClassVar = {
        "targetId": "Id",
        "arn": "Arn",
        "roleArn": "RoleArn",
        "input": "Input",
        "inputPath": "InputPath",
    }
    _TRANSFORMER: ClassVar = {"inputPaths": "InputPathsMap", "inputTemplate": "InputTemplate"}
    _RETRIES: ClassVar = {
        "maximumEventAgeInSeconds": "MaximumEventAgeInSeconds",
        "maximumRetryAttempts": "MaximumRetryAttempts",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        bus = [new["eventBusName"]] if _has_own_bus(new) else []
        return Created(id="-".join([*bus, new["rule"], new["targetId"]]))

    def _put(self, cloud: Cloud, new: Props) -> None:
        told = cloud.client("events").put_targets(Rule=new["rule"], Targets=[self._target(new)], **_bus(new))
        # A target that is refused is an answer, not an error.
        if refused := told["FailedEntries"]:
            raise ValueError(f"target {new['targetId']} of rule {new['rule']}: {refused[0]['ErrorMessage']}")

    def _target(self, new: Props) -> dict[str, Any]:
        nested = {
            "InputTransformer": picked(new.get("inputTransformer") or {}, self._TRANSFORMER),
            "RetryPolicy": picked(new.get("retryPolicy") or {}, self._RETRIES),
            "DeadLetterConfig": picked(new.get("deadLetterConfig") or {}, {"arn": "Arn"}),
        }
        return picked(new, self._NAMES) | {key: value for key, value in nested.items() if value}

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        return None if self._found(cloud, inputs) is None else {}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self._found(cloud, inputs)
        if found is None:
            return None
        return {
            **taken(found, self._NAMES),
            "inputTransformer": taken(found.get("InputTransformer") or {}, self._TRANSFORMER),
            "retryPolicy": taken(found.get("RetryPolicy") or {}, self._RETRIES),
            "deadLetterConfig": taken(found.get("DeadLetterConfig") or {}, {"arn": "Arn"}),
        }

    def _found(self, cloud: Cloud, inputs: Props) -> dict[str, Any] | None:
        told = cloud.client("events").list_targets_by_rule(Rule=inputs["rule"], **_bus(inputs))["Targets"]
        return next((each for each in told if each["Id"] == inputs["targetId"]), None)

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("events").remove_targets(Rule=state["rule"], Ids=[state["targetId"]], **_bus(state))


def _has_own_bus(props: Props) -> bool:
    return props.get("eventBusName") not in (None, "default")


def _rule_id(props: Props) -> str:
    return f"{props['eventBusName']}/{props['name']}" if _has_own_bus(props) else str(props["name"])


def _bus(props: Props) -> dict[str, str]:
    return given(EventBusName=props.get("eventBusName"))
