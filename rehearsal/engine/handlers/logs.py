"""CloudWatch log groups, and who gets what is written to them."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import Cloud, Created, Handler, Naming, Props, differs, looked_up, picked, tag_changes, tags_of, taken


class LogGroup(Handler):
    pulumi_type = "aws:cloudwatch/logGroup:LogGroup"
    naming = Naming(limit=512)
    tagged = True
    force_new = frozenset({"name", "namePrefix", "logGroupClass"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        logs = cloud.client("logs")
        names = {"name": "logGroupName", "kmsKeyId": "kmsKeyId", "logGroupClass": "logGroupClass"}
        tags = tags_of(new)
        logs.create_log_group(**picked(new, names), **({"tags": tags} if tags else {}))
        self._retain(cloud, new)
        return Created(id=new["name"])

    def _retain(self, cloud: Cloud, new: Props) -> None:
        logs, days = cloud.client("logs"), new.get("retentionInDays")
        if days:
            logs.put_retention_policy(logGroupName=new["name"], retentionInDays=int(days))
        else:
            logs.delete_retention_policy(logGroupName=new["name"])

    def _arn(self, cloud: Cloud, name: str) -> str:
        return cloud.arn("logs", f"log-group:{name}")

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        return {"arn": self._arn(cloud, id)} if self._described(cloud, id) else None

    def _described(self, cloud: Cloud, name: str) -> dict[str, Any] | None:
        """The call takes beginnings of names, and the whole name comes first."""
        found = looked_up(cloud.client("logs").describe_log_groups, "logGroups", logGroupNamePrefix=name)
        return found if found and found["logGroupName"] == name else None

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self._described(cloud, id)
        if found is None:
            return None
        tags = cloud.client("logs").list_tags_log_group(logGroupName=id)["tags"]
        return {
            "retentionInDays": found.get("retentionInDays"),
            "kmsKeyId": found.get("kmsKeyId"),
            "logGroupClass": found.get("logGroupClass"),
            "tagsAll": tags,
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        if differs(old, new, "retentionInDays"):
            self._retain(cloud, new)
        logs = cloud.client("logs")
        gone, present = tag_changes(old, new)
        if gone:
            logs.untag_log_group(logGroupName=id, tags=gone)
        if present:
            logs.tag_log_group(logGroupName=id, tags=present)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        if not state.get("skipDestroy"):
            cloud.client("logs").delete_log_group(logGroupName=id)

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        logs, name = cloud.client("logs"), inputs["name"]
        if self._described(cloud, name) is None:
            return []
        return [name] if logs.list_tags_log_group(logGroupName=name)["tags"] == tags_of(inputs) else []


class LogSubscriptionFilter(Handler):
    pulumi_type = "aws:cloudwatch/logSubscriptionFilter:LogSubscriptionFilter"
    naming = Naming(limit=512)
    force_new = frozenset({"name", "logGroup"})
    _NAMES: ClassVar = {
        "filterPattern": "filterPattern",
        "destinationArn": "destinationArn",
        "roleArn": "roleArn",
        "distribution": "distribution",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        return Created(id=self._id(new))

    def _id(self, props: Props) -> str:
        return f"{props['logGroup']}|{props['name']}"

    def _put(self, cloud: Cloud, new: Props) -> None:
        cloud.client("logs").put_subscription_filter(
            logGroupName=new["logGroup"], filterName=new["name"], **picked(new, self._NAMES)
        )

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        """The call takes beginnings of names; a group has two filters at most."""
        found = cloud.client("logs").describe_subscription_filters(
            logGroupName=inputs["logGroup"], filterNamePrefix=inputs["name"]
        )["subscriptionFilters"]
        own = [each for each in found if each["filterName"] == inputs["name"]]
        return taken(own[0], self._NAMES) if own else None

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("logs").delete_subscription_filter(logGroupName=state["logGroup"], filterName=state["name"])

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        return [self._id(inputs)] if self.stands(cloud, self._id(inputs), inputs) else []
