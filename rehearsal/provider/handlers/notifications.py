"""SNS topics and their subscriptions."""

from __future__ import annotations

from typing import ClassVar

from .base import (
    AwsClients,
    Created,
    Handler,
    Naming,
    Props,
    differs,
    from_response,
    rename_keys,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
)


class TopicHandler(Handler):
    pulumi_type = "aws:sns/topic:Topic"
    naming = Naming(max_length=256)
    tagged = True
    force_new = frozenset({"name"})
    _NAMES: ClassVar = {"kmsMasterKeyId": "KmsMasterKeyId"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        attributes = rename_keys(new, self._NAMES)
        created = aws.client("sns").create_topic(Name=new["name"], Attributes=attributes, Tags=tag_list(tags_of(new)))
        return Created(id=created["TopicArn"])

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        aws.client("sns").get_topic_attributes(TopicArn=id)
        return {"arn": id}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        sns = aws.client("sns")
        tags = sns.list_tags_for_resource(ResourceArn=id)["Tags"]
        actual = sns.get_topic_attributes(TopicArn=id)["Attributes"]
        return from_response(actual, self._NAMES) | {"tags": tag_map(tags)}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        sns = aws.client("sns")
        for ours, theirs in self._NAMES.items():
            if differs(old, new, ours):
                sns.set_topic_attributes(TopicArn=id, AttributeName=theirs, AttributeValue=new.get(ours) or "")
        removed, updated = tag_changes(old, new)
        if removed:
            sns.untag_resource(ResourceArn=id, TagKeys=removed)
        if updated:
            sns.tag_resource(ResourceArn=id, Tags=tag_list(updated))

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("sns").delete_topic(TopicArn=id)


class TopicSubscriptionHandler(Handler):
    pulumi_type = "aws:sns/topicSubscription:TopicSubscription"
    force_new = frozenset({"topic", "protocol", "endpoint"})
    _NAMES: ClassVar = {"topic": "TopicArn", "protocol": "Protocol", "endpoint": "Endpoint"}

    def create(self, aws: AwsClients, new: Props) -> Created:
        created = aws.client("sns").subscribe(**rename_keys(new, self._NAMES), ReturnSubscriptionArn=True)
        return Created(id=created["SubscriptionArn"], outputs={"arn": created["SubscriptionArn"]})

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        aws.client("sns").get_subscription_attributes(SubscriptionArn=id)
        return {}

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("sns").unsubscribe(SubscriptionArn=id)
