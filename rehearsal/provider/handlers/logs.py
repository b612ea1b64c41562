"""CloudWatch log groups and their subscription filters."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import (
    AwsClients,
    Created,
    Handler,
    Naming,
    Props,
    describe_one,
    differs,
    from_response,
    rename_keys,
    tag_changes,
    tags_of,
)


class LogGroupHandler(Handler):
    pulumi_type = "aws:cloudwatch/logGroup:LogGroup"
    naming = Naming(max_length=512)
    tagged = True
    force_new = frozenset({"name", "namePrefix"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        tags = tags_of(new)
        aws.client("logs").create_log_group(logGroupName=new["name"], **({"tags": tags} if tags else {}))
        return Created(id=new["name"])

    def complete(self, aws: AwsClients, id: str, new: Props) -> None:
        self._retain(aws, new)

    def _retain(self, aws: AwsClients, new: Props) -> None:
        logs, days = aws.client("logs"), new.get("retentionInDays")
        if days:
            logs.put_retention_policy(logGroupName=new["name"], retentionInDays=days)
        else:
            logs.delete_retention_policy(logGroupName=new["name"])

    def _arn(self, aws: AwsClients, name: str) -> str:
        return aws.arn("logs", f"log-group:{name}")

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        return {"arn": self._arn(aws, id)} if self._describe(aws, id) else None

    def _describe(self, aws: AwsClients, name: str) -> dict[str, Any] | None:
        """The call filters by prefix, and lists the exact name first."""
        actual = describe_one(aws.client("logs").describe_log_groups, "logGroups", logGroupNamePrefix=name)
        return actual if actual and actual["logGroupName"] == name else None

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = self._describe(aws, id)
        if actual is None:
            return None
        tags = aws.client("logs").list_tags_log_group(logGroupName=id)["tags"]
        return {"retentionInDays": actual.get("retentionInDays"), "tags": tags}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        if differs(old, new, "retentionInDays"):
            self._retain(aws, new)
        logs = aws.client("logs")
        removed, updated = tag_changes(old, new)
        if removed:
            logs.untag_log_group(logGroupName=id, tags=removed)
        if updated:
            logs.tag_log_group(logGroupName=id, tags=updated)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("logs").delete_log_group(logGroupName=id)


class LogSubscriptionFilterHandler(Handler):
    pulumi_type = "aws:cloudwatch/logSubscriptionFilter:LogSubscriptionFilter"
    naming = Naming(max_length=512)
    force_new = frozenset({"name", "logGroup", "destinationArn"})
    _NAMES: ClassVar = {
        "filterPattern": "filterPattern",
        "destinationArn": "destinationArn",
        "roleArn": "roleArn",
    }

    def create(self, aws: AwsClients, new: Props) -> Created:
        self._put(aws, new)
        return Created(id=self._id(new))

    def _id(self, props: Props) -> str:
        return f"{props['logGroup']}|{props['name']}"

    def _put(self, aws: AwsClients, new: Props) -> None:
        aws.client("logs").put_subscription_filter(
            logGroupName=new["logGroup"], filterName=new["name"], **rename_keys(new, self._NAMES)
        )

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        """The call filters by prefix; a log group has two filters at most."""
        actual = aws.client("logs").describe_subscription_filters(
            logGroupName=inputs["logGroup"], filterNamePrefix=inputs["name"]
        )["subscriptionFilters"]
        exact = [filter_ for filter_ in actual if filter_["filterName"] == inputs["name"]]
        return from_response(exact[0], self._NAMES) if exact else None

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        self._put(aws, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("logs").delete_subscription_filter(logGroupName=state["logGroup"], filterName=state["name"])
