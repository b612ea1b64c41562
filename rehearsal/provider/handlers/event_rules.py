"""EventBridge rules and their targets."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import (
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    first,
    from_answer,
    rename_keys,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
)


class EventRule(Handler):
    pulumi_type = "aws:cloudwatch/eventRule:EventRule"
    naming = Naming(limit=64)
    tagged = True
    force_new = frozenset({"name"})
    defaults: ClassVar = {"state": "ENABLED"}
    _NAMES: ClassVar = {
        "name": "Name",
        "description": "Description",
        "eventPattern": "EventPattern",
        "state": "State",
    }

    def check(self, inputs: Props) -> None:
        if not inputs.get("eventPattern"):
            raise ValueError(
                f"rule {inputs['name']}: eventPattern is required: the rehearsal's provider has no schedules"
            )

    def create(self, cloud: Cloud, new: Props) -> Created:
        created = cloud.client("events").put_rule(**rename_keys(new, self._NAMES), Tags=tag_list(tags_of(new)))
        return Created(id=new["name"], outputs={"arn": created["RuleArn"]})

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        events = cloud.client("events")
        found = events.describe_rule(Name=inputs["name"])
        tags = events.list_tags_for_resource(ResourceARN=found["Arn"])["Tags"]
        return from_answer(found, self._NAMES) | {"tags": tag_map(tags)}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        """The put removes what it leaves out; but it takes tags of a new rule only."""
        events = cloud.client("events")
        arn = events.put_rule(**rename_keys(new, self._NAMES))["RuleArn"]
        gone, present = tag_changes(old, new)
        if gone:
            events.untag_resource(ResourceARN=arn, TagKeys=gone)
        if present:
            events.tag_resource(ResourceARN=arn, Tags=tag_list(present))

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("events").delete_rule(Name=state["name"])


class EventTarget(Handler):
    pulumi_type = "aws:cloudwatch/eventTarget:EventTarget"
    naming = Naming(key="targetId", limit=64)
    force_new = frozenset({"rule", "targetId"})
    _NAMES: ClassVar = {"targetId": "Id", "arn": "Arn", "roleArn": "RoleArn"}
    _TRANSFORMER: ClassVar = {"inputPaths": "InputPathsMap", "inputTemplate": "InputTemplate"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        return Created(id=f"{new['rule']}-{new['targetId']}")

    def _put(self, cloud: Cloud, new: Props) -> None:
        answer = cloud.client("events").put_targets(Rule=new["rule"], Targets=[self._target(new)])
        # A target that is refused is an answer, not an error.
        if refused := answer["FailedEntries"]:
            raise ValueError(f"target {new['targetId']} of rule {new['rule']}: {refused[0]['ErrorMessage']}")

    def _target(self, new: Props) -> dict[str, Any]:
        transformer = rename_keys(new.get("inputTransformer") or {}, self._TRANSFORMER)
        return rename_keys(new, self._NAMES) | ({"InputTransformer": transformer} if transformer else {})

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        return None if self._found(cloud, inputs) is None else {}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self._found(cloud, inputs)
        if found is None:
            return None
        return {
            **from_answer(found, self._NAMES),
            "inputTransformer": from_answer(found.get("InputTransformer") or {}, self._TRANSFORMER),
        }

    def _found(self, cloud: Cloud, inputs: Props) -> dict[str, Any] | None:
        targets = cloud.client("events").list_targets_by_rule(Rule=inputs["rule"])["Targets"]
        return first(each for each in targets if each["Id"] == inputs["targetId"])

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("events").remove_targets(Rule=state["rule"], Ids=[state["targetId"]])
