"""Webhook consumer: posts what a stack publishes to a chat. With the standard library alone, to start yours from.

Config comes from the environment: PORT, WEBHOOK_PATH (a secret: whoever knows it can write to the chat), TOPIC_ARN
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

MAX_BODY = 4 << 20  # SNS takes 256 KiB, and escapes them once more within its envelope
TIMEOUT_S = 5.0  # SNS waits for 15
LINES = 5
SNS_URL = re.compile(r"https://sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/")

log = logging.getLogger("webhook")


@dataclass(frozen=True, kw_only=True)
class Config:
    """`sns_url`: what a SubscribeURL must begin with, or anybody could have this process request what he likes."""

    path: str
    topic_arn: str
    chat_url: str
    sns_url: re.Pattern[str] = SNS_URL


def chat_text(subject: str, text: str) -> str:
    """What people read of one notification: of the stack's own messages, of CloudWatch's alarms, of any other text."""
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
    """Traffic is where it should not be: somebody must act, whatever the hour."""
    return "@channel " if message.get("outcome") == "rollback_failed" else ""


def _details(message: dict[str, Any]) -> list[str]:
    """By the fields that are there: of kinds that this doesn't know, too."""
    found = [message.get("error") or message.get("reason") or ""]
    match message:
        case {"zone": str(zone)} | {"details": {"Availability Zone": str(zone)}} if zone:
            found.append(f"zone: {zone}")
    match message:
        case {"lines": list(lines)} | {"boot_failure": {"lines": list(lines)}}:
            found += [f"> {line}" for line in lines[-LINES:]]
    return [str(each) for each in found if each]


class Handler(BaseHTTPRequestHandler):
    """Answers SNS: 200 for what is done, 502 for what SNS is to send again, else 4xx."""

    protocol_version = "HTTP/1.1"
    timeout = 15.0
    config: Config

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
        """Nothing: a request's line has the path, which is a secret."""


def _post(url: str, content: dict[str, str]) -> None:
    """Raises OSError unless it is taken, whatever the chat answers."""
    body, headers = json.dumps(content).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - this process's own config
    with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310
        pass


def server(config: Config, port: int, host: str = "") -> ThreadingHTTPServer:
    """Listens; `serve_forever` answers. Empty host: on all addresses."""
    return ThreadingHTTPServer((host, port), type("ConfiguredHandler", (Handler,), {"config": config}))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = Config(path=os.environ["WEBHOOK_PATH"], topic_arn=os.environ["TOPIC_ARN"], chat_url=os.environ["CHAT_URL"])
    server(found, int(os.environ.get("PORT", "8080"))).serve_forever()
