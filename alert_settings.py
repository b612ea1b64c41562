"""Who is told of what goes wrong, and when something does: the config's `alarms` and `alertWebhooks`, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from components.alarm_options import AlarmOptions
from config_reader import ConfigReader

ALARM_KEYS = ("errorRatePercent", "latencyMilliseconds", "leastRequests", "minutes")
# Without user or password: SNS would keep and show them.
WEBHOOK = re.compile(r"https://[a-z0-9][a-z0-9.-]*[a-z0-9](:\d{1,5})?(/[^\s#]*)?")


class AlertReader(ConfigReader):
    """Knows the shapes of alerts; never tells a webhook's path, which is the secret of most."""

    def webhooks(self, key: str) -> tuple[str, ...]:
        value = self._json(key, [])
        each = "an https URL without user, password or fragment"
        if not isinstance(value, list):
            return self._refuse(key, "(hidden)", f"a list, each entry {each}", ())
        for place, entry in enumerate(value):
            if not isinstance(entry, str) or not WEBHOOK.fullmatch(entry):
                return self._refuse(key, _without_secret(entry), each, ())
            if entry in value[:place]:
                return self._refuse(key, _without_secret(entry), f"{each}, each only once", ())
        return tuple(value)

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


def _without_secret(entry: Any) -> str:
    """Scheme and host, by which one knows the entry again."""
    try:
        parts = urlsplit(str(entry))
        return f"{parts.scheme}://{parts.hostname}/(hidden)" if parts.scheme and parts.hostname else "(hidden)"
    except ValueError:
        return "(hidden)"
