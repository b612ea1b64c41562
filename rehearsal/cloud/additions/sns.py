"""SNS messages with their time, in order; webhooks are called on this host only."""

from __future__ import annotations

import itertools
from collections import deque
from datetime import UTC, datetime
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import requests
from moto.sns import models
from moto.sns.models import Topic
from urllib3.util import Url, parse_url

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import replace_methods
from rehearsal.cloud.sns_message import SnsMessage

GAPS = [
    Gap(
        service="sns",
        action="Publish",
        reason="moto stores messages without their time, and drops them with the topic; here they stay readable",
    ),
    Gap(
        service="sns",
        action="Publish (http, https)",
        reason="only webhooks at localhost or a loopback address are called: a rehearsal contacts no other host, "
        "resolves no other name, and records why the message was not sent. As on AWS, redirects are not followed",
    ),
]

WEBHOOKS = ("http", "https")
DELIVERY_TIMEOUT_S = 15.0  # AWS's
MAX_MESSAGES = 5000  # a rehearsal sends some dozens

MESSAGES: deque[SnsMessage] = deque(maxlen=MAX_MESSAGES)

_numbers = itertools.count(1)
_publish_plain = Topic.publish


def extend() -> None:
    replace_methods(Topic, publish=_publish)
    setattr(models, "requests", SimpleNamespace(post=_post))  # noqa: B010 - a module's name, which mypy would refuse


def _publish(self: Any, message: str, subject: str | None = None, *args: Any, **kwargs: Any) -> str:
    # Recorded first: moto's own call fails or takes long when a webhook can't be reached.
    sns_message = SnsMessage(
        number=next(_numbers),
        time=datetime.now(UTC),
        topic=self.arn,
        subject=subject or "",
        message=message,
        undelivered=_undelivered(self),
    )
    MESSAGES.append(sns_message)
    return _publish_plain(self, message, subject, *args, **kwargs)


def _undelivered(topic: Any) -> tuple[str, ...]:
    subscriptions, _ = topic.sns_backend.list_subscriptions_by_topic(topic_arn=topic.arn)
    targets = [parse_url(subscription.endpoint) for subscription in subscriptions if subscription.protocol in WEBHOOKS]
    return tuple(
        f"{target.scheme}://{target.netloc}: not sent, {target.host} is neither localhost nor a loopback address"
        for target in targets
        if not _is_local(target)
    )


def _is_local(target: Url) -> bool:
    """By the literal host: no name but localhost is resolved."""
    host = (target.host or "").strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _post(url: str, **arguments: Any) -> None:
    """Replaces moto's, which contacts any host, also by proxies and redirects, and has no timeout."""
    if not _is_local(parse_url(url)):
        return
    with requests.Session() as session:
        session.trust_env = False
        session.post(url, **arguments, allow_redirects=False, timeout=DELIVERY_TIMEOUT_S)
