"""SNS topic for alerts, encrypted with a KMS key that CloudWatch alarms may use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit

import pulumi
from pulumi_aws import kms, sns

from components import policy_documents
from config.alerts import AlertSettings
from config.context import StackContext

DELETION_DAYS = 7  # KMS's minimum: a topic keeps no messages that would need the key
DIGEST_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class Topic:
    """The alerts topic, and its key, which publishers must be allowed to use."""

    arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]


class Alerts(pulumi.ComponentResource):
    """Outputs: `topic`."""

    topic: Topic

    def __init__(
        self, name: str, context: StackContext, settings: AlertSettings, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bluegreen:observability:Alerts", name, {}, opts)
        self._name, self._context, self._settings = name, context, settings
        self._child = pulumi.ResourceOptions(parent=self)
        key = self._key()
        topic = sns.Topic(name, kms_master_key_id=key.arn, tags={"Stack": context.stack}, opts=self._child)
        self._subscriptions(topic)
        self.topic = Topic(arn=topic.arn, key_arn=key.arn)
        self.register_outputs({"topic_arn": topic.arn, "key_arn": key.arn})

    def _key(self) -> kms.Key:
        """A customer managed key: the AWS managed key's policy admits no CloudWatch alarms and can't be changed."""
        return kms.Key(
            self._name,
            description=f"Alerts of the stack {self._context.stack}",
            policy=policy_documents.text(policy_documents.topic_key(self._context)),
            enable_key_rotation=True,
            deletion_window_in_days=DELETION_DAYS,
            tags={"Stack": self._context.stack, "Role": policy_documents.TOPIC_KEY_ROLE},
            opts=self._child,
        )

    def _subscriptions(self, topic: sns.Topic) -> None:
        for email in self._settings.emails:
            self._subscription(email, topic, "email", email)
        for url in self._settings.webhooks:
            self._subscription(_name_of(url), topic, "https", pulumi.Output.secret(url))

    def _subscription(self, suffix: str, topic: sns.Topic, protocol: str, endpoint: pulumi.Input[str]) -> None:
        sns.TopicSubscription(
            f"{self._name}-{suffix}", topic=topic.arn, protocol=protocol, endpoint=endpoint, opts=self._child
        )


def _name_of(url: str) -> str:
    """A webhook's host, and a digest in place of its path, which usually is the secret."""
    return f"{urlsplit(url).hostname}-{hashlib.sha256(url.encode()).hexdigest()[:DIGEST_DIGITS]}"
