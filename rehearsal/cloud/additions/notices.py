"""Every message that was published to a topic, with its time, in the order in which they came."""

from __future__ import annotations

import itertools
from collections import deque
from datetime import UTC, datetime
from typing import Any

from moto.sns.models import Topic

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import put_into
from rehearsal.cloud.notice import Notice

GAPS = [
    Gap(
        service="sns",
        action="Publish",
        reason="moto keeps what was sent without its time, and forgets it with the topic; here it stays, to be read",
    ),
]

MOST = 5000  # kept; a rehearsal sends some dozens

NOTICES: deque[Notice] = deque(maxlen=MOST)

_numbers = itertools.count(1)
_publish_plain = Topic.publish


def extend() -> None:
    put_into(Topic, publish=_publish)


def _publish(self: Any, message: str, subject: str | None = None, *args: Any, **kwargs: Any) -> str:
    # Written down first: a webhook that can't be reached makes moto's own part fail or take long.
    told = Notice(number=next(_numbers), time=datetime.now(UTC), topic=self.arn, subject=subject or "", message=message)
    NOTICES.append(told)
    return _publish_plain(self, message, subject, *args, **kwargs)
