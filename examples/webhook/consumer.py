"""Webhook consumer that posts a stack's alerts to a chat; a template, with the standard library alone.

Config comes from the environment: PORT, WEBHOOK_PATH (a secret: it gives write access to the chat), TOPIC_ARN
(the output alertsTopicArn) and CHAT_URL (an incoming webhook that takes {"text": …}, as Slack's and Mattermost's).
The messages are those of docs/messages.md.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import re
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_BODY = 4 << 20  # SNS's 256 KiB, escaped once more within its envelope
TIMEOUT_S = 5.0  # SNS waits for 15
LINES = 5
SNS_URL = re.compile(r"https://sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/")

log = logging.getLogger("webhook")


@dataclass(frozen=True, kw_only=True)
class WebhookConfig:
    """`sns_url`: prefix of a valid SubscribeURL; without it, a forged message could have any URL requested."""

    path: str
    topic_arn: str
    chat_url: str
    sns_url: re.Pattern[str] = SNS_URL


def chat_text(subject: str, text: str) -> str:
    """The chat's text for a notification: the stack's own messages, CloudWatch's alarms, or any other text."""
    try:
        message = json.loads(text)
    except ValueError:
        message = None
    match message:
        case {"AlarmName": str(name), "NewStateValue": str(state), "NewStateReason": str(reason)}:
            return f"{state}: {name}\n{reason}"
        case {"kind": str(), "subject": str(own)}:
            return "\n".join([f"{_mark(message)}{own}", *_details(message)])
    return f"{subject}\n{text}".strip()


def _mark(message: dict[str, Any]) -> str:
    """Mentions the channel when traffic is on the wrong release: on-call must act now."""
    return "@channel " if message.get("outcome") == "rollback_failed" else ""


def _details(message: dict[str, Any]) -> list[str]:
    """Lines for the fields that exist, also of unknown kinds."""
    details = [message.get("error") or message.get("reason") or ""]
    match message:
        case {"zone": str(zone)} | {"details": {"Availability Zone": str(zone)}} if zone:
            details.append(f"zone: {zone}")
    match message:
        case {"lines": list(lines)} | {"boot_failure": {"lines": list(lines)}}:
            details += [f"> {line}" for line in lines[-LINES:]]
    return [str(each) for each in details if each]


class WebhookHandler(BaseHTTPRequestHandler):
    """Responds to SNS: 200 when done, 502 for a retry, else 4xx."""

    protocol_version = "HTTP/1.1"
    timeout = 15.0
    config: WebhookConfig

    def do_POST(self) -> None:
        try:
            status = self._handle()
        except OSError as error:  # urllib's errors are some of these
            log.error("forward failed error=%s", error)
            status = HTTPStatus.BAD_GATEWAY
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def _handle(self) -> HTTPStatus:
        length = self.headers.get("Content-Length", "")
        if not hmac.compare_digest(self.path.encode(), self.config.path.encode()):
            return HTTPStatus.NOT_FOUND
        if not length.isdecimal() or int(length) > MAX_BODY:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        try:
            envelope = json.loads(self.rfile.read(int(length)))
        except ValueError:
            return HTTPStatus.BAD_REQUEST
        match envelope:
            case {"TopicArn": topic} if topic != self.config.topic_arn:
                return HTTPStatus.FORBIDDEN
            case {"TopicArn": _, "Type": "SubscriptionConfirmation", "SubscribeURL": str(url)}:
                return self._confirm(url)
            case {"TopicArn": _, "Type": "Notification", "Message": str(text)}:
                _post(self.config.chat_url, {"text": chat_text(str(envelope.get("Subject") or ""), text)})
                return HTTPStatus.OK
            case {"TopicArn": _, "Type": "UnsubscribeConfirmation"}:
                return HTTPStatus.OK
        return HTTPStatus.BAD_REQUEST

    def _confirm(self, url: str) -> HTTPStatus:
        if not self.config.sns_url.match(url):
            return HTTPStatus.FORBIDDEN
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):  # noqa: S310 - https only, by the pattern
            log.info("confirm subscription topic=%s", self.config.topic_arn)
        return HTTPStatus.OK

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: a request line has the path, which is a secret."""


def _post(url: str, content: dict[str, str]) -> None:
    """Raises OSError unless the chat accepts it."""
    body, headers = json.dumps(content).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - from this process's config
    with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310
        pass


def server(config: WebhookConfig, port: int, host: str = "") -> ThreadingHTTPServer:
    """A listening server, to be run by `serve_forever`. Empty host: all addresses."""
    return ThreadingHTTPServer((host, port), type("ConfiguredHandler", (WebhookHandler,), {"config": config}))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = WebhookConfig(
        path=os.environ["WEBHOOK_PATH"], topic_arn=os.environ["TOPIC_ARN"], chat_url=os.environ["CHAT_URL"]
    )
    server(config, int(os.environ.get("PORT", "8080"))).serve_forever()
