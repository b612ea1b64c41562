"""The example consumer with a fake chat, and what SNS, EventBridge and CloudWatch send it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from ami.boot.messages import Message, body
from examples.webhook.consumer import SNS_URL, WebhookConfig, chat_text, server
from scripts.ci.message_reference import EXAMPLES, PAGE

TOPIC = "arn:aws:sns:eu-central-1:123456789012:alerts-1a2b3c4"
PATH = "/0123456789abcdef"
# As SNS's guide, "Parsing Amazon SNS message formats", shows them.
ENVELOPE = {
    "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    "TopicArn": TOPIC,
    "Timestamp": "2026-11-21T10:47:30.466Z",
    "SignatureVersion": "1",
    "Signature": "EXAMPLEw6JRN…",
    "SigningCertURL": "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem",
}


@dataclass(kw_only=True)
class FakeServer:
    """A server that records requests and answers with one status: the chat, and SNS's own address."""

    url: str = ""
    status: int = 200
    requests: list[tuple[str, str, Any]] = field(default_factory=list)


@contextmanager
def served(listening: ThreadingHTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_address[1]}"
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture
def chat() -> Iterator[FakeServer]:
    found = FakeServer()

    class Answers(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            found.requests.append((self.command, self.path, json.loads(self.rfile.read(length) or "null")))
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = answer  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: Any) -> None:
            return

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Answers)) as found.url:
        yield found


@pytest.fixture
def webhook(chat: FakeServer) -> Iterator[str]:
    """The consumer's address, without its path. SNS's own address is the chat's server."""
    sns = re.compile(re.escape(f"{chat.url}/?Action="))
    config = WebhookConfig(path=PATH, topic_arn=TOPIC, chat_url=f"{chat.url}/chat", sns_url=sns)
    with served(server(config, 0, "127.0.0.1")) as url:
        yield url


def send(url: str, kind: str, /, path: str = PATH, **content: Any) -> int:
    """As SNS does; the answer's status."""
    headers = {"x-amz-sns-message-type": kind, "Content-Type": "text/plain; charset=UTF-8"}
    envelope = json.dumps({"Type": kind, **ENVELOPE, **content})
    return requests.post(url + path, data=envelope.encode(), headers=headers, timeout=10).status_code


def confirmation(url: str) -> dict[str, str]:
    said = f"You have chosen to subscribe to the topic {TOPIC}.\nTo confirm the subscription, visit the SubscribeURL"
    return {
        "Token": "2336412f37",
        "Message": said,
        "SubscribeURL": f"{url}/?Action=ConfirmSubscription&Token=2336412f37",
    }


def test_a_subscription_is_confirmed_once_by_its_url(webhook: str, chat: FakeServer) -> None:
    assert send(webhook, "SubscriptionConfirmation", **confirmation(chat.url)) == 200
    assert chat.requests == [("GET", "/?Action=ConfirmSubscription&Token=2336412f37", None)]


def test_a_subscription_that_leads_elsewhere_or_is_of_another_topic_is_not_confirmed(
    webhook: str, chat: FakeServer
) -> None:
    elsewhere = confirmation("http://169.254.169.254")
    assert send(webhook, "SubscriptionConfirmation", **elsewhere) == 403
    other = {**confirmation(chat.url), "TopicArn": f"{TOPIC}-2"}
    assert send(webhook, "SubscriptionConfirmation", **other) == 403
    assert chat.requests == []


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription", True),
        ("https://sns.cn-north-1.amazonaws.com.cn/?Action=ConfirmSubscription", True),
        ("http://sns.eu-central-1.amazonaws.com/", False),
        ("https://sns.eu-central-1.amazonaws.com.example.org/", False),
        ("https://sns.eu-central-1.amazonaws.com@example.org/", False),
        ("https://example.org/https://sns.eu-central-1.amazonaws.com/", False),
    ],
)
def test_only_sns_urls_are_confirmed(url: str, ours: bool) -> None:
    assert bool(SNS_URL.match(url)) is ours


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.kind)
def test_each_message_reaches_the_chat_with_its_subject_and_its_sentence(
    webhook: str, chat: FakeServer, message: Message
) -> None:
    assert send(webhook, "Notification", Subject=message.subject, Message=body(message)) == 200
    [(method, path, content)] = chat.requests
    assert (method, path) == ("POST", "/chat")
    subject, error = content["text"].splitlines()[:2]
    assert (subject, error) == (message.subject, getattr(message, "error", ""))


def test_what_eventbridge_publishes_has_no_subject_of_sns(webhook: str, chat: FakeServer) -> None:
    lost = next(example for example in EXAMPLES if example.kind == "instance_lost")
    assert send(webhook, "Notification", Message=body(lost)) == 200
    [(_, _, content)] = chat.requests
    assert content["text"].startswith("Instance lost: prod green i-0123456789abcdef0\nAt 2026")
    assert content["text"].endswith("\nzone: eu-central-1a")


def alarm() -> str:
    """The alarm in the docs page, as CloudWatch publishes it."""
    return next(
        found[1] for found in re.finditer(r"```json\n(.*?)```", PAGE.read_text(), re.S) if '"AlarmName"' in found[1]
    )


def test_an_alarm_is_shown_in_cloudwatchs_own_words(webhook: str, chat: FakeServer) -> None:
    assert send(webhook, "Notification", Subject='ALARM: "prod-green-bad" in EU (Frankfurt)', Message=alarm()) == 200
    [(_, _, content)] = chat.requests
    assert content["text"].startswith("ALARM: prod-green-bad\narn:aws:cloudwatch:eu-central-1:123456789012:alarm:prod-")


def test_lines_of_the_last_boot_are_shown_and_no_more_than_five() -> None:
    message = {
        "kind": "boot_failed",
        "subject": "Boot failed",
        "error": "no",
        "lines": [str(each) for each in range(9)],
    }
    assert chat_text("", json.dumps(message)) == "Boot failed\nno\n> 4\n> 5\n> 6\n> 7\n> 8"


def test_a_failed_rollback_mentions_the_channel() -> None:
    message = {
        "kind": "cutover",
        "subject": "Cutover: rollback failed",
        "outcome": "rollback_failed",
        "error": "Act now",
    }
    assert chat_text("", json.dumps(message)) == "@channel Cutover: rollback failed\nAct now"


@pytest.mark.parametrize("text", ["deployed by hand", '["no", "object"]', '{"kind": 7}'])
def test_other_messages_are_shown_as_they_are(text: str) -> None:
    assert chat_text("hello", text) == f"hello\n{text}"


def test_a_kind_that_is_new_is_shown_too() -> None:
    assert chat_text("", '{"kind": "weather", "subject": "Rain"}') == "Rain"
    other = {"kind": "weather", "subject": "Rain", "error": 7, "details": "cold", "lines": "wet", "boot_failure": [1]}
    assert chat_text("", json.dumps(other)) == "Rain\n7"


def test_an_unsubscription_needs_nothing(webhook: str, chat: FakeServer) -> None:
    assert send(webhook, "UnsubscribeConfirmation", **confirmation(chat.url)) == 200
    assert chat.requests == []


def test_sns_retries_what_the_chat_did_not_accept(webhook: str, chat: FakeServer) -> None:
    chat.status = 503
    assert send(webhook, "Notification", Message="{}") == 502
    assert len(chat.requests) == 1


def test_other_topics_and_malformed_requests_are_refused(webhook: str, chat: FakeServer) -> None:
    assert send(webhook, "Notification", path="/elsewhere", Message="{}") == 404
    assert send(webhook, "Notification", TopicArn=f"{TOPIC}-2", Message="{}") == 403
    assert send(webhook, "Weather", Message="{}") == 400
    assert requests.post(webhook + PATH, data=b"{", timeout=10).status_code == 400
    assert requests.post(webhook + PATH, data=b"7", timeout=10).status_code == 400
    huge = {"Content-Length": str(8 << 20)}
    assert requests.post(webhook + PATH, headers=huge, timeout=10).status_code == 413
    assert chat.requests == []
