"""A subscriber of the alerts topic, as a person's mail program is one: what reached it, and when it was sent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

QUEUE = "drills"
AT_A_TIME = 10  # SQS hands out no more


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One message; `at` is when SNS took it, in seconds since the epoch."""

    at: float
    subject: str
    message: str

    @property
    def facts(self) -> dict[str, Any]:
        """The message as JSON; empty for one that is a text for people."""
        try:
            found = json.loads(self.message)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(kw_only=True)
class Inbox:
    """`sqs` is a client; `url` names the queue that is subscribed."""

    sqs: Any
    url: str
    _kept: list[Notice] = field(default_factory=list)

    @classmethod
    def subscribe(cls, sqs: Any, sns: Any, topic: str) -> Inbox:
        url = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
        asked = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=asked["Attributes"]["QueueArn"])
        return cls(sqs=sqs, url=url)

    def since(self, moment: float) -> list[Notice]:
        """All that were sent from this moment on (seconds since the epoch), in their order."""
        while self._fetch():
            pass
        return sorted((notice for notice in self._kept if notice.at >= moment), key=lambda notice: notice.at)

    def _fetch(self) -> int:
        found = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=AT_A_TIME).get("Messages", [])
        for message in found:
            self._kept.append(notice_of(message["Body"]))
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return len(found)


def notice_of(body: str) -> Notice:
    """From the envelope in which SNS delivers to a queue."""
    envelope = json.loads(body)
    at = datetime.fromisoformat(envelope["Timestamp"]).timestamp()
    return Notice(at=at, subject=envelope.get("Subject") or "", message=envelope["Message"])
