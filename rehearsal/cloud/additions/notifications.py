"""Every message that was published to a topic, with its time, in order; webhooks get it on this machine only."""

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
from rehearsal.cloud.additions.patching import put_into
from rehearsal.cloud.notification import Notice

GAPS = [
    Gap(
        service="sns",
        action="Publish",
        reason="moto keeps what was sent without its time, and forgets it with the topic; here it stays, to be read",
    ),
    Gap(
        service="sns",
        action="Publish (http, https)",
        reason="a webhook gets messages at localhost or a loopback address only: a rehearsal looks up and notifies "
        "nobody else, and keeps with the message why it was not delivered. As AWS, it follows no redirect",
    ),
]

WEBHOOKS = ("http", "https")
DELIVERY_S = 15.0  # as AWS waits for an answer
MOST = 5000  # kept; a rehearsal sends some dozens

NOTICES: deque[Notice] = deque(maxlen=MOST)

_numbers = itertools.count(1)
_publish_plain = Topic.publish


def extend() -> None:
    put_into(Topic, publish=_publish)
    setattr(models, "requests", SimpleNamespace(post=_post))  # noqa: B010 - a module's name, which mypy would refuse


def _publish(self: Any, message: str, subject: str | None = None, *args: Any, **kwargs: Any) -> str:
    # Written down first: a webhook that can't be reached makes moto's own part fail or take long.
    told = Notice(
        number=next(_numbers),
        time=datetime.now(UTC),
        topic=self.arn,
        subject=subject or "",
        message=message,
        undelivered=_undelivered(self),
    )
    NOTICES.append(told)
    return _publish_plain(self, message, subject, *args, **kwargs)


def _undelivered(topic: Any) -> tuple[str, ...]:
    subscriptions, _ = topic.sns_backend.list_subscriptions_by_topic(topic_arn=topic.arn)
    targets = [parse_url(one.endpoint) for one in subscriptions if one.protocol in WEBHOOKS]
    return tuple(
        f"{target.scheme}://{target.netloc}: not sent, {target.host} is neither localhost nor a loopback address"
        for target in targets
        if not _is_here(target)
    )


def _is_here(target: Url) -> bool:
    """By the literal host: no name but localhost is looked up, wherever it may lead."""
    host = (target.host or "").strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _post(url: str, **arguments: Any) -> None:
    """In the place of moto's, which goes to any host, by way of proxies and redirects too, and waits for ever."""
    if not _is_here(parse_url(url)):
        return
    with requests.Session() as session:
        session.trust_env = False
        session.post(url, **arguments, allow_redirects=False, timeout=DELIVERY_S)
