from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from components import policy_documents
from components.alerts import Alerts
from config.alerts import AlertSettings
from tests.declared import CONTEXT, Declaration, declare

HOOK = "https://hooks.example.org:8443/integration/1a2b3c?key=4d5e"


def alerts(emails: Sequence[str] = (), webhooks: Sequence[str] = ()) -> Declaration:
    return declare(lambda: Alerts("alerts", CONTEXT, AlertSettings(emails=tuple(emails), webhooks=tuple(webhooks))))


def test_a_topic_stands_that_a_key_of_its_own_encrypts() -> None:
    declared = alerts()
    assert declared.table() == {("kms.Key", "alerts"), ("sns.Topic", "alerts")}
    key = declared.one("kms.Key")
    assert declared.one("sns.Topic").inputs == {"kmsMasterKeyId": key.arn, "tags": {"Stack": "dev"}}
    assert {name: value for name, value in key.inputs.items() if name != "policy"} == {
        "description": "Alerts of the stack dev",
        "enableKeyRotation": True,
        "deletionWindowInDays": 7,
        "tags": {"Stack": "dev", "Role": "alerts"},
    }
    assert json.loads(key.inputs["policy"]) == policy_documents.topic_key(CONTEXT)


def test_each_address_is_subscribed() -> None:
    declared = alerts(emails=["ops@example.org", "dev@example.org"])
    assert declared.all("sns.TopicSubscription").keys() == {"alerts-ops@example.org", "alerts-dev@example.org"}
    assert declared.one("sns.TopicSubscription", "alerts-ops@example.org").inputs == {
        "endpoint": "ops@example.org",
        "protocol": "email",
        "topic": declared.one("sns.Topic").arn,
    }


@pytest.mark.parametrize("more", [(), ("https://hooks.example.org:8443/other",)])
def test_a_webhook_is_a_secret_and_keeps_its_name_beside_others(more: tuple[str, ...]) -> None:
    declared = alerts(webhooks=[*more, HOOK])
    subscribed = declared.one("sns.TopicSubscription", "alerts-hooks.example.org-022fe95a")
    assert subscribed.secrets == {"endpoint"}
    assert subscribed.inputs == {"endpoint": HOOK, "protocol": "https", "topic": declared.one("sns.Topic").arn}
    assert len(declared.all("sns.TopicSubscription")) == 1 + len(more)
