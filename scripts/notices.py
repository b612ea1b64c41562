"""People have heard by the stack's alerts topic what a script did, or it is known why they have not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ami.boot.cloud import was_refused
from ami.boot.masking import Secrets
from ami.boot.retrying import Deadline, retry
from scripts.lock import who

if TYPE_CHECKING:
    from scripts.stacks import StackFacts

TOLD = "told"
# What SNS takes: 100 printable ASCII characters for a subject, 256 KiB for a message.
SUBJECT_LENGTH = 100
MESSAGE_BYTES = 250_000
LINE_LENGTH = 2_000
# Seconds: two tries, the second only when SNS refused the first or was out of reach, so that a notice never holds up
# what it is of for longer than 10. A message whose answer is late may have been sent already.
CONNECT_SECONDS, READ_SECONDS, TRIES = 2, 6, 2


def tell(facts: StackFacts, subject: str, /, **content: Any) -> str:
    """Publish `content` as one JSON object to the stack's alerts topic, beside the stack's name and who runs this.

    Returns TOLD, or "not told: " and the reason, within 10 s; never raises, as this is told beside something that
    matters more. Secrets that the stack's outputs hold, and credentials in URLs, stand as *** in it.
    """
    topic = str(facts.outputs.get("alertsTopicArn") or "")
    if not topic:
        return "not told: the stack has no alerts topic"
    try:
        secrets = Secrets([str(facts.outputs.get("previewToken", ""))])
        masked = _masked({"subject": subject, "stack": facts.stack, "who": who(), **content}, secrets)
        arguments = {"TopicArn": topic, "Subject": _subject(masked["subject"]), "Message": _message(masked)}
        sns = _client(facts)
        deadline = Deadline(CONNECT_SECONDS)
        retry(lambda: sns.publish(**arguments), what="notice", deadline=deadline, may_pass=was_refused, attempts=TRIES)
    except Exception as error:
        return f"not told: {str(error) or type(error).__name__}"
    return TOLD


def _client(facts: StackFacts) -> Any:
    from botocore.config import Config

    patience = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": 1})
    return facts.session.client("sns", config=patience)


def _subject(text: str) -> str:
    printable = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)
    return printable[:SUBJECT_LENGTH]


def _message(content: Mapping[str, Any]) -> str:
    whole = json.dumps(content, indent=2, default=str)
    if len(whole.encode()) <= MESSAGE_BYTES:
        return whole
    # Better the sentences without their evidence than a message that SNS refuses.
    short = {key: value[:LINE_LENGTH] for key, value in content.items() if isinstance(value, str)}
    return json.dumps({**short, "left_out": sorted(content.keys() - short.keys())}, indent=2)


def _masked(value: Any, secrets: Secrets) -> Any:
    if isinstance(value, str):
        return secrets.mask(value)
    if isinstance(value, Mapping):
        return {str(key): _masked(one, secrets) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(one, secrets) for one in value]
    return value
