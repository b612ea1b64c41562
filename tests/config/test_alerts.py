from __future__ import annotations

import json
from typing import Any

import pytest

from config.alerts import AlarmSettings
from config.errors import SettingsError
from config.settings import Settings, parse

pytestmark = pytest.mark.usefixtures("offline")
HOOK = "https://hooks.example.org/integration/1a2b3c/enqueue"


def read(**raw: Any) -> Settings:
    return parse("dev", {"aws:region": "eu-central-1", **{f"bluegreen:{key}": value for key, value in raw.items()}})


def test_nobody_is_called_and_the_usual_thresholds_hold() -> None:
    assert (read().alerts.webhooks, read().alarms) == ((), AlarmSettings())


@pytest.mark.parametrize("url", [HOOK, "https://hooks.example.org", "https://h1:8443/a?key=b"])
def test_a_webhook_is_taken_as_it_is(url: str) -> None:
    assert read(alertWebhooks=json.dumps([url])).alerts.webhooks == (url,)


def test_all_thresholds_are_read() -> None:
    given = {"errorRatePercent": 2, "latencyMilliseconds": 750, "minRequests": 100, "minutes": 5}
    assert read(alarms=json.dumps(given)).alarms == AlarmSettings(
        error_rate_percent=2, latency_milliseconds=750, min_requests=100, minutes=5
    )
    assert read(alarms={"minutes": "1"}).alarms == AlarmSettings(minutes=1)


EACH = "https://host/path with the host in lower case, without user, password, fragment or space"
BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"alertWebhooks": ["http://hooks.example.org/1a2b"]},
        f"alertWebhooks: http://hooks.example.org/(hidden): allowed is {EACH}",
    ),
    (
        {"alertWebhooks": ["https://me:1a2b@hooks.example.org/"]},
        f"alertWebhooks: https://hooks.example.org/(hidden): allowed is {EACH}",
    ),
    (
        {"alertWebhooks": ["https://Hooks.example.org/1a2b"]},
        f"alertWebhooks: https://Hooks.example.org/(hidden): allowed is {EACH}",
    ),
    (
        {"alertWebhooks": ["https://hooks.example.org:65536/1a2b"]},
        f"alertWebhooks: https://hooks.example.org:65536/(hidden): allowed is {EACH}",
    ),
    (
        {"alertWebhooks": ["https://hooks..org/1a2b", HOOK, "ftp://hooks.example.org/1a2b"]},
        f"alertWebhooks: https://hooks..org/(hidden): allowed is {EACH}\n"
        f"  alertWebhooks: ftp://hooks.example.org/(hidden): allowed is {EACH}",
    ),
    ({"alertWebhooks": ["1a2b"]}, f"alertWebhooks: (hidden): allowed is {EACH}"),
    ({"alertWebhooks": ["https://[1a2b"]}, f"alertWebhooks: (hidden): allowed is {EACH}"),
    *(
        ({"alertEmails": [address]}, f"alertEmails: {address}: allowed is an e-mail address alone, as ops@example.org")
        for address in (
            *("ops", "ops@example", "ops@example.org.", "ops@example..org", "mailto:ops@example.org"),
            *("ops@example.org,it", "Ops <ops@example.org>", f"{'o' * 65}@example.org"),
        )
    ),
    ({"alertWebhooks": [3]}, f"alertWebhooks: (hidden): allowed is {EACH}"),
    ({"alertWebhooks": "1a2b"}, f"alertWebhooks: (hidden): allowed is a list, each entry {EACH}"),
    (
        {"alertWebhooks": [HOOK, HOOK]},
        f"alertWebhooks: https://hooks.example.org/(hidden): allowed is {EACH}, each only once",
    ),
    (
        {"alarms": 5},
        "alarms: 5: allowed is an object with errorRatePercent, latencyMilliseconds, minRequests, minutes",
    ),
    ({"alarms": {"errorRatePercent": 0}}, "alarms.errorRatePercent: 0: allowed is a whole number from 1 to 100"),
    (
        {"alarms": {"latencyMilliseconds": 0.5}},
        "alarms.latencyMilliseconds: 0.5: allowed is a whole number from 1 to 60000",
    ),
    ({"alarms": {"minRequests": 0}}, "alarms.minRequests: 0: allowed is a whole number from 1 to 1000000"),
    ({"alarms": {"minutes": 61}}, "alarms.minutes: 61: allowed is a whole number from 1 to 60"),
    (
        {"alarms": {"minuets": 2}},
        "alarms.minuets: 2: there is no such key; did you mean minutes?",
    ),
    ({"alarms": {"leastRequests": 5}}, "alarms.leastRequests: 5: this key is called minRequests now"),
]


@pytest.mark.parametrize(("raw", "told"), BAD)
def test_what_is_not_allowed_is_told_without_secrets(raw: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(**raw)
    assert str(caught.value) == f"The stack's config can't be used:\n  {told}"
    assert "1a2b" not in told
