"""What somebody published to a topic of the emulated SNS."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Notice:
    """`number` rises by one from notice to notice; `topic` is an ARN, `subject` may be empty."""

    number: int
    time: datetime
    topic: str
    subject: str
    message: str
