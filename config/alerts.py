"""Settings of alerts: who is notified of what goes wrong, and which figures make a release a bad one."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from config.values import HIDDEN, Emails, Entries, Model, Text, Whole
from fleet.command_lines import pulumi

# Without user or password: SNS would keep and show them.
WEBHOOK = re.compile(
    r"https://([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?(:[1-9]\d{0,4})?(/[^\s#]*)?"
)


def _is_webhook(entry: str) -> bool:
    try:
        return bool(WEBHOOK.fullmatch(entry)) and urlsplit(entry).port != 0  # a port above 65535 raises
    except ValueError:
        return False


class _Webhook(Text):
    """A URL of which the path is never shown: it is the secret of most."""

    def shown(self, value: Any) -> str:
        """Scheme, host and port as they were given, by which one knows the entry again."""
        try:
            parts = urlsplit(str(value))
        except ValueError:
            return HIDDEN
        scheme, host = str(value)[: len(parts.scheme)], parts.netloc.rpartition("@")[2]
        return f"{scheme}://{host}/(hidden)" if scheme and host else HIDDEN


Webhooks = Annotated[
    tuple[str, ...],
    Entries(
        _Webhook(
            _is_webhook, "https://host/path with the host in lower case, without user, password, fragment or space"
        )
    ),
]


class AlertSettings(Model):
    """Who gets the alerts, once they confirmed their subscription; webhooks are secrets."""

    emails: Emails = Field(default=(), validation_alias="alertEmails")
    """Addresses that get the alerts. Each must confirm its subscription once."""
    webhooks: Webhooks = Field(default=(), validation_alias="alertWebhooks", repr=False)
    """URLs (https) that get the alerts as JSON, such as an on-call service's. Each must confirm its subscription
    once. Best set with --secret."""

    @property
    def notifies_nobody(self) -> bool:
        return not (self.emails or self.webhooks)


class AlarmSettings(Model):
    """`minutes` in a row, each with at least `min_requests`, make an alarm of errors and latency."""

    renamed: ClassVar = {"leastRequests": "minRequests"}

    error_rate_percent: Annotated[int, Whole(1, 100)] = 5
    latency_milliseconds: Annotated[int, Whole(1, 60_000)] = 2000
    min_requests: Annotated[int, Whole(1, 1_000_000)] = 20
    # CloudWatch looks back a day at most.
    minutes: Annotated[int, Whole(1, 60)] = 3


def without_subscribers(stack: str) -> str:
    """A warning, not an error: a stack may be looked at elsewhere."""
    address = pulumi("config", "set", "--path", "'alertEmails[0]'", "ops@example.org", stack=stack)
    return (
        f"nobody is notified of alarms and failures of {stack}: alertEmails and alertWebhooks are both empty; "
        f"{address} and {pulumi('up', stack=stack)} add an address"
    )
