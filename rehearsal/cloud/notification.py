"""What somebody published to a topic of the emulated SNS."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Notice:
    """`number` rises by one from notice to notice; `topic` is an ARN, `subject` may be empty.

    `undelivered`: webhooks that did not get it, each with the reason, and without its path, which is a secret.
    """

    number: int
    time: datetime
    topic: str
    subject: str
    message: str
    undelivered: tuple[str, ...] = ()
