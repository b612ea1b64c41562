"""EventBridge rules that publish lost instances and failed launches of a color to the alerts topic."""

from __future__ import annotations

import pulumi
from pulumi_aws import cloudwatch

from components import machine_news, policy_documents
from components.alerts import Topic
from components.machine_news import News
from components.service_role import service_role
from config.context import StackContext
from fleet.colors import Color


class MachineEvents(pulumi.ComponentResource):
    """Rules of the account's own bus, two a color, whatever release it runs. No outputs."""

    def __init__(
        self, name: str, context: StackContext, topic: Topic, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bluegreen:observability:MachineEvents", name, {}, opts)
        self._name, self._context, self._topic = name, context, topic
        self._child = pulumi.ResourceOptions(parent=self)
        asked = [(color, news) for color in Color for news in machine_news.ALL]
        rules = [self._rule(color, news) for color, news in asked]
        role = self._role(rules)
        for (color, news), rule in zip(asked, rules, strict=True):
            self._target(color, news, rule, role)
        self.register_outputs({})

    def _rule(self, color: Color, news: News) -> cloudwatch.EventRule:
        stack = self._context.stack
        return cloudwatch.EventRule(
            self._named(color, news),
            description=f"{stack} {color}: {news.message.kind}",
            event_pattern=machine_news.pattern(news, stack, color),
            tags={"Stack": stack},
            opts=self._child,
        )

    def _role(self, rules: list[cloudwatch.EventRule]) -> pulumi.Output[str]:
        """Taken for these rules only. In a topic's own policy EventBridge knows no condition: it would let in any rule.

        (EventBridge's user guide, "Using resource-based policies": Condition blocks can't be used for SNS topics; SNS's
        guide, "Encryption key management": nor source conditions in the key's policy.)
        """
        trust = pulumi.Output.all(*(rule.arn for rule in rules)).apply(
            lambda arns: policy_documents.assumed_by("events.amazonaws.com", for_things=arns)
        )
        policy = pulumi.Output.all(self._topic.arn, self._topic.key_arn).apply(
            lambda arns: policy_documents.events_teller(self._context, topic_arn=arns[0], key_arn=arns[1])
        )
        return service_role(self._name, self._context, trust=trust, policy=policy, opts=self._child)

    def _target(self, color: Color, news: News, rule: cloudwatch.EventRule, role: pulumi.Output[str]) -> None:
        """EventBridge tries for 24 hours, 185 times, by itself."""
        cloudwatch.EventTarget(
            self._named(color, news),
            rule=rule.name,
            target_id="alerts",
            arn=self._topic.arn,
            role_arn=role,
            input_transformer=cloudwatch.EventTargetInputTransformerArgs(
                input_paths=dict(news.paths),
                input_template=machine_news.template(news, self._context.stack, color),
            ),
            opts=self._child,
        )

    def _named(self, color: Color, news: News) -> str:
        return f"{self._name}-{color}-{news.name}"
