"""Errors as AWS words them: each protocol has its own shape, and each service its own name for the same trouble."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from http import HTTPStatus
from xml.sax.saxutils import escape

MOST_SKEW = timedelta(minutes=15)  # between a request's clock and AWS's
STAMP = "%Y%m%dT%H%M%SZ"


class Protocol(Enum):
    """How a service's answers are written."""

    REST_XML = auto()
    EC2 = auto()
    QUERY = auto()
    JSON = auto()
    CBOR = auto()


@dataclass(frozen=True, kw_only=True)
class Refusal:
    status: HTTPStatus
    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Signed:
    """What a request says of its own time; `valid` is set for a presigned one, which lives longer than 15 minutes."""

    at: datetime
    valid: timedelta | None = None


def unavailable(protocol: Protocol) -> Refusal:
    code = {
        Protocol.EC2: "Unavailable",
        Protocol.JSON: "ServiceUnavailableException",
        Protocol.CBOR: "ServiceUnavailableException",
    }.get(protocol, "ServiceUnavailable")
    return Refusal(status=HTTPStatus.SERVICE_UNAVAILABLE, code=code, message="The service can't answer at the moment.")


def skewed(protocol: Protocol, signed: Signed, now: datetime) -> Refusal | None:
    """None when a service whose clock shows `now` takes the request."""
    if signed.valid is not None:
        return _out_of_its_time(signed.at, signed.valid, now)
    if abs(now - signed.at) <= MOST_SKEW:
        return None
    match protocol:
        case Protocol.REST_XML:
            words = "The difference between the request time and the current time is too large."
            return Refusal(status=HTTPStatus.FORBIDDEN, code="RequestTimeTooSkewed", message=words)
        case Protocol.EC2:
            return Refusal(status=HTTPStatus.BAD_REQUEST, code="RequestExpired", message="Request has expired.")
        case Protocol.QUERY:
            words = _compared(signed.at, now)
            return Refusal(status=HTTPStatus.FORBIDDEN, code="SignatureDoesNotMatch", message=words)
        case Protocol.JSON | Protocol.CBOR:
            words = _compared(signed.at, now)
            return Refusal(status=HTTPStatus.BAD_REQUEST, code="InvalidSignatureException", message=words)


def _out_of_its_time(at: datetime, valid: timedelta, now: datetime) -> Refusal | None:
    if now > at + valid:
        return Refusal(status=HTTPStatus.FORBIDDEN, code="AccessDenied", message="Request has expired")
    if now < at - MOST_SKEW:
        return Refusal(status=HTTPStatus.FORBIDDEN, code="AccessDenied", message="Request is not valid yet")
    return None


def _compared(at: datetime, now: datetime) -> str:
    minutes = int(MOST_SKEW.total_seconds()) // 60
    if at < now:
        limit = f"{now - MOST_SKEW:{STAMP}} ({now:{STAMP}} - {minutes} min.)"
        return f"Signature expired: {at:{STAMP}} is now earlier than {limit}"
    limit = f"{now + MOST_SKEW:{STAMP}} ({now:{STAMP}} + {minutes} min.)"
    return f"Signature not yet current: {at:{STAMP}} is still later than {limit}"


def written(protocol: Protocol, refusal: Refusal) -> tuple[list[tuple[str, str]], bytes]:
    """(headers without the length, body)."""
    number = str(uuid.uuid4())
    headers = [("x-amz-request-id", number), ("x-amzn-RequestId", number)]
    if protocol in (Protocol.JSON, Protocol.CBOR):
        return [*headers, *_typed(protocol, refusal)], _object(protocol, refusal)
    fault = "Receiver" if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "Sender"
    told = f"<Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>"
    body = {
        Protocol.REST_XML: f"<Error>{told}<RequestId>{number}</RequestId></Error>",
        Protocol.EC2: f"<Response><Errors><Error>{told}</Error></Errors><RequestID>{number}</RequestID></Response>",
        Protocol.QUERY: f"<ErrorResponse><Error><Type>{fault}</Type>{told}</Error>"
        f"<RequestId>{number}</RequestId></ErrorResponse>",
    }[protocol]
    return [*headers, ("Content-Type", "text/xml")], f'<?xml version="1.0" encoding="UTF-8"?>{body}'.encode()


def _typed(protocol: Protocol, refusal: Refusal) -> list[tuple[str, str]]:
    if protocol is Protocol.CBOR:
        return [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]
    return [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", refusal.code)]


def _object(protocol: Protocol, refusal: Refusal) -> bytes:
    said = {"__type": refusal.code, "message": refusal.message}
    if protocol is Protocol.JSON:
        return json.dumps(said).encode()
    return bytes([0xA0 + len(said)]) + b"".join(_cbor(each) for pair in said.items() for each in pair)


def _cbor(text: str) -> bytes:
    """A text string of at most 65535 bytes: major type 3, its length in two bytes."""
    encoded = text.encode()
    return b"\x79" + len(encoded).to_bytes(2, "big") + encoded
