"""Notifications to the stack's alerts topic from a command, within seconds and without ever failing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ami.boot.cloud import is_safe_to_repeat
from ami.boot.masking import Secrets
from ami.boot.messages import Message, body
from ami.boot.retrying import Deadline, retry

if TYPE_CHECKING:
    from scripts.stack.automation import StackFacts

PUBLISHED = "published"
# Seconds: two attempts, the second only when SNS refused the first or was unreachable, so that a notification never
# delays a command by more than 10. A message whose response is late may have been sent already.
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 2, 6, 2


def secrets_of(facts: StackFacts) -> Secrets:
    """Secrets to mask in the messages of this stack's commands."""
    return Secrets([str(facts.outputs.get("previewToken", ""))])


def publish(facts: StackFacts, message: Message) -> str:
    """Publish a sanitized message to the stack's alerts topic.

    Returns PUBLISHED, or "not published: " and the reason, within 10 s. Never raises: a notification must not fail the
    command.
    """
    topic = str(facts.outputs.get("alertsTopicArn") or "")
    if not topic:
        return "not published: the stack has no alerts topic"
    try:
        arguments = {"TopicArn": topic, "Subject": message.subject, "Message": body(message)}
        sns = _client(facts)
        deadline = Deadline(CONNECT_SECONDS)
        retry(
            lambda: sns.publish(**arguments),
            what="notification",
            deadline=deadline,
            is_retryable=is_safe_to_repeat,
            attempts=ATTEMPTS,
        )
    except Exception as error:
        return f"not published: {str(error) or type(error).__name__}"
    return PUBLISHED


def _client(facts: StackFacts) -> Any:
    from botocore.config import Config

    timeouts = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": 1})
    return facts.session.client("sns", config=timeouts)
