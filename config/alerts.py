"""Settings of alerts: their subscribers, and the thresholds above which a release counts as bad."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from config.values import HIDDEN, Emails, Entries, Model, Text, WholeNumber
from fleet.command_lines import pulumi

# Without user or password: SNS would store and show them.
WEBHOOK = re.compile(
    r"https://([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?(:[1-9]\d{0,4})?(/[^\s#]*)?"
)


def _is_webhook(entry: str) -> bool:
    try:
        return bool(WEBHOOK.fullmatch(entry)) and urlsplit(entry).port != 0  # a port above 65535 raises
    except ValueError:
        return False


class _Webhook(Text):
    """A URL whose path is never shown, as it usually contains a secret."""

    def shown(self, value: Any) -> str:
        """Scheme, host and port as configured, to identify the entry."""
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
    """Subscribers of the alerts, who must confirm their subscription; webhooks are secrets."""

    emails: Emails = Field(default=(), validation_alias="alertEmails")
    """E-mail addresses that receive the alerts. Each must confirm its subscription once."""
    webhooks: Webhooks = Field(default=(), validation_alias="alertWebhooks", repr=False)
    """URLs (https) that receive the alerts as JSON, such as an on-call service's. Each must confirm its subscription
    once. Best set with --secret."""

    @property
    def has_no_subscribers(self) -> bool:
        return not (self.emails or self.webhooks)


class AlarmSettings(Model):
    """Alarms of errors and latency need `minutes` in a row, each with at least `min_requests`."""

    renamed: ClassVar = {"leastRequests": "minRequests"}

    error_rate_percent: Annotated[int, WholeNumber(1, 100)] = 5
    latency_milliseconds: Annotated[int, WholeNumber(1, 60_000)] = 2000
    min_requests: Annotated[int, WholeNumber(1, 1_000_000)] = 20
    # CloudWatch evaluates a day at most.
    minutes: Annotated[int, WholeNumber(1, 60)] = 3


def without_subscribers(stack: str) -> str:
    """A warning, not an error: a stack may be monitored elsewhere."""
    address = pulumi("config", "set", "--path", "'alertEmails[0]'", "ops@example.org", stack=stack)
    return (
        f"nobody is notified of alarms and failures of {stack}: alertEmails and alertWebhooks are both empty; "
        f"{address} and {pulumi('up', stack=stack)} add an address"
    )
