"""SNS topics and their subscriptions."""

from __future__ import annotations

from typing import ClassVar

from .base import (
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    differs,
    from_answer,
    rename_keys,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
)


class Topic(Handler):
    pulumi_type = "aws:sns/topic:Topic"
    naming = Naming(limit=256)
    tagged = True
    force_new = frozenset({"name"})
    _NAMES: ClassVar = {"kmsMasterKeyId": "KmsMasterKeyId"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        attributes = rename_keys(new, self._NAMES)
        created = cloud.client("sns").create_topic(Name=new["name"], Attributes=attributes, Tags=tag_list(tags_of(new)))
        return Created(id=created["TopicArn"])

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        cloud.client("sns").get_topic_attributes(TopicArn=id)
        return {"arn": id}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        sns = cloud.client("sns")
        tags = sns.list_tags_for_resource(ResourceArn=id)["Tags"]
        found = sns.get_topic_attributes(TopicArn=id)["Attributes"]
        return from_answer(found, self._NAMES) | {"tags": tag_map(tags)}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        sns = cloud.client("sns")
        for ours, theirs in self._NAMES.items():
            if differs(old, new, ours):
                sns.set_topic_attributes(TopicArn=id, AttributeName=theirs, AttributeValue=new.get(ours) or "")
        gone, present = tag_changes(old, new)
        if gone:
            sns.untag_resource(ResourceArn=id, TagKeys=gone)
        if present:
            sns.tag_resource(ResourceArn=id, Tags=tag_list(present))

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("sns").delete_topic(TopicArn=id)


class TopicSubscription(Handler):
    pulumi_type = "aws:sns/topicSubscription:TopicSubscription"
    force_new = frozenset({"topic", "protocol", "endpoint"})
    _NAMES: ClassVar = {"topic": "TopicArn", "protocol": "Protocol", "endpoint": "Endpoint"}

    def create(self, cloud: Cloud, new: Props) -> Created:
        created = cloud.client("sns").subscribe(**rename_keys(new, self._NAMES), ReturnSubscriptionArn=True)
        return Created(id=created["SubscriptionArn"], outputs={"arn": created["SubscriptionArn"]})

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        cloud.client("sns").get_subscription_attributes(SubscriptionArn=id)
        return {}

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("sns").unsubscribe(SubscriptionArn=id)
