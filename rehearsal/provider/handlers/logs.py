"""CloudWatch log groups and their subscription filters."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import (
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    describe_one,
    differs,
    from_answer,
    rename_keys,
    tag_changes,
    tags_of,
)


class LogGroup(Handler):
    pulumi_type = "aws:cloudwatch/logGroup:LogGroup"
    naming = Naming(limit=512)
    tagged = True
    force_new = frozenset({"name", "namePrefix"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        tags = tags_of(new)
        cloud.client("logs").create_log_group(logGroupName=new["name"], **({"tags": tags} if tags else {}))
        return Created(id=new["name"])

    def complete(self, cloud: Cloud, id: str, new: Props) -> None:
        self._retain(cloud, new)

    def _retain(self, cloud: Cloud, new: Props) -> None:
        logs, days = cloud.client("logs"), new.get("retentionInDays")
        if days:
            logs.put_retention_policy(logGroupName=new["name"], retentionInDays=days)
        else:
            logs.delete_retention_policy(logGroupName=new["name"])

    def _arn(self, cloud: Cloud, name: str) -> str:
        return cloud.arn("logs", f"log-group:{name}")

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        return {"arn": self._arn(cloud, id)} if self._described(cloud, id) else None

    def _described(self, cloud: Cloud, name: str) -> dict[str, Any] | None:
        """The call takes beginnings of names, and the whole name comes first."""
        found = describe_one(cloud.client("logs").describe_log_groups, "logGroups", logGroupNamePrefix=name)
        return found if found and found["logGroupName"] == name else None

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = self._described(cloud, id)
        if found is None:
            return None
        tags = cloud.client("logs").list_tags_log_group(logGroupName=id)["tags"]
        return {"retentionInDays": found.get("retentionInDays"), "tags": tags}

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
        cloud.client("logs").delete_log_group(logGroupName=id)


class LogSubscriptionFilter(Handler):
    pulumi_type = "aws:cloudwatch/logSubscriptionFilter:LogSubscriptionFilter"
    naming = Naming(limit=512)
    force_new = frozenset({"name", "logGroup", "destinationArn"})
    _NAMES: ClassVar = {
        "filterPattern": "filterPattern",
        "destinationArn": "destinationArn",
        "roleArn": "roleArn",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        return Created(id=self._id(new))

    def _id(self, props: Props) -> str:
        return f"{props['logGroup']}|{props['name']}"

    def _put(self, cloud: Cloud, new: Props) -> None:
        cloud.client("logs").put_subscription_filter(
            logGroupName=new["logGroup"], filterName=new["name"], **rename_keys(new, self._NAMES)
        )

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        """The call takes beginnings of names; a group has two filters at most."""
        found = cloud.client("logs").describe_subscription_filters(
            logGroupName=inputs["logGroup"], filterNamePrefix=inputs["name"]
        )["subscriptionFilters"]
        own = [each for each in found if each["filterName"] == inputs["name"]]
        return from_answer(own[0], self._NAMES) if own else None

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("logs").delete_subscription_filter(logGroupName=state["logGroup"], filterName=state["name"])
