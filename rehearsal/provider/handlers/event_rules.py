"""EventBridge rules and their targets."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import (
    AwsClients,
    Created,
    Handler,
    Naming,
    Props,
    first,
    from_response,
    rename_keys,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
)


class EventRuleHandler(Handler):
    pulumi_type = "aws:cloudwatch/eventRule:EventRule"
    naming = Naming(max_length=64)
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

    def create(self, aws: AwsClients, new: Props) -> Created:
        created = aws.client("events").put_rule(**rename_keys(new, self._NAMES), Tags=tag_list(tags_of(new)))
        return Created(id=new["name"], outputs={"arn": created["RuleArn"]})

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        events = aws.client("events")
        actual = events.describe_rule(Name=inputs["name"])
        tags = events.list_tags_for_resource(ResourceARN=actual["Arn"])["Tags"]
        return from_response(actual, self._NAMES) | {"tags": tag_map(tags)}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        """PutRule removes what is left out, but accepts tags of a new rule only."""
        events = aws.client("events")
        arn = events.put_rule(**rename_keys(new, self._NAMES))["RuleArn"]
        removed, updated = tag_changes(old, new)
        if removed:
            events.untag_resource(ResourceARN=arn, TagKeys=removed)
        if updated:
            events.tag_resource(ResourceARN=arn, Tags=tag_list(updated))

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("events").delete_rule(Name=state["name"])


class EventTargetHandler(Handler):
    pulumi_type = "aws:cloudwatch/eventTarget:EventTarget"
    naming = Naming(key="targetId", max_length=64)
    force_new = frozenset({"rule", "targetId"})
    _NAMES: ClassVar = {"targetId": "Id", "arn": "Arn", "roleArn": "RoleArn"}
    _TRANSFORMER: ClassVar = {"inputPaths": "InputPathsMap", "inputTemplate": "InputTemplate"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        self._put(aws, new)
        return Created(id=f"{new['rule']}-{new['targetId']}")

    def _put(self, aws: AwsClients, new: Props) -> None:
        response = aws.client("events").put_targets(Rule=new["rule"], Targets=[self._target(new)])
        # A refused target is listed in the response, which is no error.
        if refused := response["FailedEntries"]:
            raise ValueError(f"target {new['targetId']} of rule {new['rule']}: {refused[0]['ErrorMessage']}")

    def _target(self, new: Props) -> dict[str, Any]:
        transformer = rename_keys(new.get("inputTransformer") or {}, self._TRANSFORMER)
        return rename_keys(new, self._NAMES) | ({"InputTransformer": transformer} if transformer else {})

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        return None if self._read_target(aws, inputs) is None else {}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = self._read_target(aws, inputs)
        if actual is None:
            return None
        return {
            **from_response(actual, self._NAMES),
            "inputTransformer": from_response(actual.get("InputTransformer") or {}, self._TRANSFORMER),
        }

    def _read_target(self, aws: AwsClients, inputs: Props) -> dict[str, Any] | None:
        targets = aws.client("events").list_targets_by_rule(Rule=inputs["rule"])["Targets"]
        return first(target for target in targets if target["Id"] == inputs["targetId"])

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        self._put(aws, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("events").remove_targets(Rule=state["rule"], Ids=[state["targetId"]])
