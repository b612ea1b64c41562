"""SNS topics, their policies and subscriptions."""

from __future__ import annotations

from typing import ClassVar

from .base import (
    Cloud,
    Created,
    Handler,
    Naming,
    Props,
    differs,
    picked,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
    taken,
)


class Topic(Handler):
    pulumi_type = "aws:sns/topic:Topic"
    naming = Naming(limit=256)
    tagged = True
    force_new = frozenset({"name", "namePrefix", "fifoTopic"})
    _NAMES: ClassVar = {
        "displayName": "DisplayName",
        "kmsMasterKeyId": "KmsMasterKeyId",
        "policy": "Policy",
        "deliveryPolicy": "DeliveryPolicy",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        attributes = picked(new, self._NAMES)
        made = cloud.client("sns").create_topic(Name=new["name"], Attributes=attributes, Tags=tag_list(tags_of(new)))
        return Created(id=made["TopicArn"])

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        id = cloud.arn("sns", inputs["name"])
        return [id] if self.stands(cloud, id, inputs) else []

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        cloud.client("sns").get_topic_attributes(TopicArn=id)
        return {"arn": id, "owner": id.split(":")[4]}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        sns = cloud.client("sns")
        tags = sns.list_tags_for_resource(ResourceArn=id)["Tags"]
        found = sns.get_topic_attributes(TopicArn=id)["Attributes"]
        return taken(found, self._NAMES) | {"tagsAll": tag_map(tags)}

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


class TopicPolicy(Handler):
    pulumi_type = "aws:sns/topicPolicy:TopicPolicy"
    force_new = frozenset({"arn"})
    delete_first = True

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._put(cloud, new)
        return Created(id=new["arn"], outputs={"owner": new["arn"].split(":")[4]})

    def _put(self, cloud: Cloud, new: Props) -> None:
        cloud.client("sns").set_topic_attributes(
            TopicArn=new["arn"], AttributeName="Policy", AttributeValue=new["policy"]
        )

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("sns").get_topic_attributes(TopicArn=inputs["arn"])["Attributes"]
        return {"policy": found.get("Policy")}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        """The topic's own default comes back with the topic; an absent policy is not something that SNS knows."""


class TopicSubscription(Handler):
    pulumi_type = "aws:sns/topicSubscription:TopicSubscription"
    force_new = frozenset({"topic", "protocol", "endpoint"})
    _NAMES: ClassVar = {
        "filterPolicy": "FilterPolicy",
        "rawMessageDelivery": "RawMessageDelivery",
        "deliveryPolicy": "DeliveryPolicy",
        "redrivePolicy": "RedrivePolicy",
    }

    def create(self, cloud: Cloud, new: Props) -> Created:
        names = {"topic": "TopicArn", "protocol": "Protocol", "endpoint": "Endpoint"}
        attributes = {key: _text(value) for key, value in picked(new, self._NAMES).items()}
        made = cloud.client("sns").subscribe(**picked(new, names), Attributes=attributes, ReturnSubscriptionArn=True)
        pending = new["protocol"] in ("email", "email-json", "http", "https")
        return Created(
            id=made["SubscriptionArn"], outputs={"arn": made["SubscriptionArn"], "pendingConfirmation": pending}
        )

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("sns").get_subscription_attributes(SubscriptionArn=id)["Attributes"]
        return taken(found, self._NAMES)

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        for ours, theirs in self._NAMES.items():
            if differs(old, new, ours):
                cloud.client("sns").set_subscription_attributes(
                    SubscriptionArn=id, AttributeName=theirs, AttributeValue=_text(new.get(ours, ""))
                )

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("sns").unsubscribe(SubscriptionArn=id)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
