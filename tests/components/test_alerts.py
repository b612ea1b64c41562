from __future__ import annotations

from components.alerts import Alerts, AlertsArgs
from tests.declared import Declaration, declare


def alerts(*emails: str) -> Declaration:
    return declare(lambda: Alerts("alerts", AlertsArgs(stack="dev", emails=emails, log_retention_days=7)))


def test_a_topic_and_the_apps_log_group_stand() -> None:
    declared = alerts()
    assert declared.table() == {("sns.Topic", "alerts"), ("cloudwatch.LogGroup", "alerts-app")}
    assert declared.one("sns.Topic").inputs == {"kmsMasterKeyId": "alias/aws/sns", "tags": {"Stack": "dev"}}
    assert declared.one("cloudwatch.LogGroup").inputs == {
        "name": "/bluegreen/dev/app",
        "retentionInDays": 7,
        "tags": {"Stack": "dev"},
    }


def test_each_address_is_subscribed() -> None:
    declared = alerts("ops@example.org", "dev@example.org")
    assert declared.all("sns.TopicSubscription").keys() == {"alerts-ops@example.org", "alerts-dev@example.org"}
    assert declared.one("sns.TopicSubscription", "alerts-ops@example.org").inputs == {
        "endpoint": "ops@example.org",
        "protocol": "email",
        "topic": declared.one("sns.Topic").arn,
    }
