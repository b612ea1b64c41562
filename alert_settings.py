"""Who is told of what goes wrong, and when something does: the config's `alarms` and `alertWebhooks`, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from checks.hints import pulumi
from components.alarm_options import AlarmOptions
from config_reader import ConfigReader

ALARM_KEYS = ("errorRatePercent", "latencyMilliseconds", "leastRequests", "minutes")
# Without user or password: SNS would keep and show them.
WEBHOOK = re.compile(
    r"https://([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?(:[1-9]\d{0,4})?(/[^\s#]*)?"
)


def without_subscribers(stack: str) -> str:
    """A warning, not an error: a stack may be looked at elsewhere."""
    address = pulumi("config", "set", "--path", "'alertEmails[0]'", "ops@example.org", stack=stack)
    return (
        f"nobody is notified of alarms and failures of {stack}: alertEmails and alertWebhooks are both empty; "
        f"{address} and {pulumi('up', stack=stack)} add an address"
    )


class AlertReader(ConfigReader):
    """Knows the shapes of alerts; never tells a webhook's path, which is the secret of most."""

    def webhooks(self, key: str) -> tuple[str, ...]:
        value = self._json(key, [])
        each = "https://host/path with the host in lower case, without user, password, fragment or space"
        if not isinstance(value, list):
            return self._refuse(key, "(hidden)", f"a list, each entry {each}", ())
        for place, entry in enumerate(value):
            if not isinstance(entry, str) or not _is_webhook(entry):
                self._refuse(key, _without_secret(entry), each, ())
            elif entry in value[:place]:
                self._refuse(key, _without_secret(entry), f"{each}, each only once", ())
        return () if key in self.bad else tuple(value)

    def alarms(self, key: str) -> AlarmOptions:
        value = self._json(key, {})
        if not isinstance(value, dict):
            return self._refuse(key, value, f"an object with {', '.join(ALARM_KEYS)}", AlarmOptions())
        inner = ConfigReader(_without_nulls(value), f"{key}.")
        options = _options(inner, AlarmOptions())
        inner.refuse_unknown()
        self.problems += inner.problems
        return options


def _options(reader: ConfigReader, usual: AlarmOptions) -> AlarmOptions:
    return AlarmOptions(
        error_rate_percent=reader.number("errorRatePercent", usual.error_rate_percent, (1, 100)),
        latency_milliseconds=reader.number("latencyMilliseconds", usual.latency_milliseconds, (1, 60_000)),
        least_requests=reader.number("leastRequests", usual.least_requests, (1, 1_000_000)),
        # CloudWatch looks back a day at most.
        minutes=reader.number("minutes", usual.minutes, (1, 60)),
    )


def _without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: given for key, given in value.items() if given is not None}


def _is_webhook(entry: str) -> bool:
    try:
        return bool(WEBHOOK.fullmatch(entry)) and urlsplit(entry).port != 0  # a port above 65535 raises
    except ValueError:
        return False


def _without_secret(entry: Any) -> str:
    """Scheme, host and port as they were given, by which one knows the entry again."""
    try:
        parts = urlsplit(str(entry))
    except ValueError:
        return "(hidden)"
    scheme, host = str(entry)[: len(parts.scheme)], parts.netloc.rpartition("@")[2]
    return f"{scheme}://{host}/(hidden)" if scheme and host else "(hidden)"
