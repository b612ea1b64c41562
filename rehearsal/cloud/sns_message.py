"""SNS message published to a topic of the emulator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class SnsMessage:
    """`number` is sequential; `topic` is an ARN, `subject` may be empty.

    `undelivered`: webhooks that it was not sent to, each with the reason, without the URL's path, which is a secret.
    """

    number: int
    time: datetime
    topic: str
    subject: str
    message: str
    undelivered: tuple[str, ...] = ()
