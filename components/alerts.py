"""A topic that tells people what failed, and where the app's own lines go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch, sns


@dataclass(frozen=True, kw_only=True)
class AlertsArgs:
    stack: str
    emails: Sequence[str] = ()
    log_retention_days: int = 30


class Alerts(pulumi.ComponentResource):
    """Outputs: `topic_arn` and `log_group`, the app's log group by name."""

    topic_arn: pulumi.Output[str]
    log_group: pulumi.Output[str]

    def __init__(self, name: str, args: AlertsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:observability:Alerts", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        tags = {"Stack": args.stack}
        topic = sns.Topic(name, kms_master_key_id="alias/aws/sns", tags=tags, opts=child)
        for email in args.emails:
            sns.TopicSubscription(f"{name}-{email}", topic=topic.arn, protocol="email", endpoint=email, opts=child)
        group = cloudwatch.LogGroup(
            f"{name}-app",
            # A name, not a prefix: machines are told it, and one that was deleted by hand must come back under it.
            name=f"/bluegreen/{args.stack}/app",
            retention_in_days=args.log_retention_days,
            tags=tags,
            opts=child,
        )
        self.topic_arn, self.log_group = topic.arn, group.name
        self.register_outputs({"topic_arn": self.topic_arn, "log_group": self.log_group})
