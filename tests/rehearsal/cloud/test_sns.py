"""SNS messages: their record, also of a deleted topic, and webhooks on this host only."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rehearsal.cloud.additions import sns as sns_addition
from rehearsal.cloud.client import CloudClient
from tests.rehearsal.cloud.fleet import Running


def test_messages_are_listed_in_order_with_their_times(cloud: Running) -> None:
    client, sns = CloudClient(control=cloud.control), cloud.client("sns")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    began = datetime.now(UTC)
    sns.publish(TopicArn=topic, Subject="boot failed", Message="step=download")
    between = datetime.now(UTC)
    entries = [{"Id": "1", "Message": "one"}, {"Id": "2", "Message": "two", "Subject": "second"}]
    sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    sns.delete_topic(TopicArn=topic)
    messages = client.sns_messages(since=began)
    assert [(message.topic, message.subject, message.message) for message in messages] == [
        (topic, "boot failed", "step=download"),
        (topic, "", "one"),
        (topic, "second", "two"),
    ]
    assert [message.number for message in messages] == list(range(messages[0].number, messages[0].number + 3))
    assert began <= messages[0].time <= between <= messages[1].time
    assert client.sns_messages(since=between) == messages[1:]
    assert client.sns_messages_after(messages[0].number) == messages[1:]
    assert client.sns_messages_after(messages[2].number) == []


def test_a_publish_that_sns_refused_is_not_recorded(cloud: Running) -> None:
    client, sns = CloudClient(control=cloud.control), cloud.client("sns")
    topic, began = sns.create_topic(Name="alerts")["TopicArn"], datetime.now(UTC)
    client.set_fault("sns", "down")
    try:
        with pytest.raises(ClientError, match="ServiceUnavailable"):
            sns.publish(TopicArn=topic, Message="refused")
    finally:
        client.clear_faults()
    assert client.sns_messages(since=began) == []


class Webhook:
    """A server on loopback that records paths and subjects of its requests, and redirects `/away` elsewhere."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        recorded = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                recorded.append((self.path, body.get("Subject")))
                self.send_response(307 if self.path == "/away" else 204)
                self.send_header("Location", "http://hooks.example.org/")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    created = Webhook()
    thread = threading.Thread(target=created.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield created
    created.server.shutdown()
    created.server.server_close()
    thread.join()


def test_webhooks_on_other_hosts_are_not_called_and_recorded_as_undelivered(cloud: Running, webhook: Webhook) -> None:
    client, sns, began = CloudClient(control=cloud.control), cloud.client("sns"), datetime.now(UTC)
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    elsewhere = {
        "http": [f"http://localhost.example.org:{webhook.port}/", "http://192.0.2.1/", "http://[2001:db8::1]/"],
        "https": ["https://user:pass@hooks.example.org:8443/token"],
    }
    here = [f"http://127.0.0.1:{webhook.port}/number", f"http://localhost:{webhook.port}/name"]
    for protocol, urls in [("http", here), *elsewhere.items()]:
        for url in urls:
            sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=url)
    sns.publish(TopicArn=topic, Subject="boot failed", Message="step=download")
    assert sorted(webhook.requests) == [("/name", "boot failed"), ("/number", "boot failed")]
    (message,) = client.sns_messages(since=began)
    why = "is neither localhost nor a loopback address"
    assert sorted(message.undelivered) == [
        f"http://192.0.2.1: not sent, 192.0.2.1 {why}",
        f"http://[2001:db8::1]: not sent, [2001:db8::1] {why}",
        f"http://localhost.example.org:{webhook.port}: not sent, localhost.example.org {why}",
        f"https://hooks.example.org:8443: not sent, hooks.example.org {why}",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/",
        "http://127.0.0.1.example.org/",
        "http://hooks.example.org\\@127.0.0.1/",
        "http://127.0.0.1@hooks.example.org/",
        "http://127.1/",
        "http://0.0.0.0/",
    ],
)
def test_the_name_of_a_webhook_on_another_host_is_not_resolved(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"resolved {args}")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", resolve)
    sns_addition._post(url, json={})


def test_a_local_webhook_is_called_without_a_proxy_and_its_redirect_is_not_followed(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:9")
    sns_addition._post(f"http://127.0.0.1:{webhook.port}/away", json={"Subject": "moved"})
    assert webhook.requests == [("/away", "moved")]
