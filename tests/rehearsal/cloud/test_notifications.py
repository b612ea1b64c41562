"""What was published is read back, with its time, also when its topic is gone; webhooks stay on this machine."""

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

from rehearsal.cloud.additions import notifications
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


class Webhook:
    """A server on loopback that keeps the paths and subjects of what it gets, and sends `/away` somewhere else."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Any]] = []
        kept = self.got

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kept.append((self.path, body.get("Subject")))
                self.send_response(307 if self.path == "/away" else 204)
                self.send_header("Location", "http://hooks.example.org/")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.port = self.server.server_address[1]


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    made = Webhook()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_webhooks_elsewhere_get_nothing_and_the_notice_says_so(cloud: Running, webhook: Webhook) -> None:
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
    assert sorted(webhook.got) == [("/name", "boot failed"), ("/number", "boot failed")]
    (notice,) = client.notices(since=began)
    why = "is neither localhost nor a loopback address"
    assert sorted(notice.undelivered) == [
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
def test_the_name_of_a_webhook_elsewhere_is_not_even_looked_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"looked up {args}")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", resolve)
    notifications._post(url, json={})


def test_a_webhook_here_is_reached_without_a_proxy_and_leads_nowhere_else(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:9")
    notifications._post(f"http://127.0.0.1:{webhook.port}/away", json={"Subject": "moved"})
    assert webhook.got == [("/away", "moved")]
