"""What was published is read back, with its time, also when its topic is gone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from rehearsal.cloud.client import CloudClient
from tests.rehearsal.cloud.fleet import Running


def test_notices_come_in_their_order_with_their_times(cloud: Running) -> None:
    client, sns = CloudClient(control=cloud.control), cloud.client("sns")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    began = datetime.now(UTC)
    sns.publish(TopicArn=topic, Subject="boot failed", Message="step=download")
    between = datetime.now(UTC)
    entries = [{"Id": "1", "Message": "one"}, {"Id": "2", "Message": "two", "Subject": "second"}]
    sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    sns.delete_topic(TopicArn=topic)
    told = client.notices(since=began)
    assert [(notice.topic, notice.subject, notice.message) for notice in told] == [
        (topic, "boot failed", "step=download"),
        (topic, "", "one"),
        (topic, "second", "two"),
    ]
    assert [notice.number for notice in told] == list(range(told[0].number, told[0].number + 3))
    assert began <= told[0].time <= between <= told[1].time
    assert client.notices(since=between) == told[1:]
    assert client.notices_after(told[0].number) == told[1:]
    assert client.notices_after(told[2].number) == []


def test_what_the_service_refused_is_no_notice(cloud: Running) -> None:
    client, sns = CloudClient(control=cloud.control), cloud.client("sns")
    topic, began = sns.create_topic(Name="alerts")["TopicArn"], datetime.now(UTC)
    client.set_fault("sns", "down")
    try:
        with pytest.raises(ClientError, match="ServiceUnavailable"):
            sns.publish(TopicArn=topic, Message="unheard")
    finally:
        client.clear_faults()
    assert client.notices(since=began) == []
