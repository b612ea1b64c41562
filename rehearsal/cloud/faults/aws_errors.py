"""AWS error responses by protocol: format, error code and message."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from http import HTTPStatus
from xml.sax.saxutils import escape

MAX_SKEW = timedelta(minutes=15)  # between a request's clock and AWS's
STAMP = "%Y%m%dT%H%M%SZ"


class Protocol(Enum):
    """Wire protocol of a service's responses."""

    REST_XML = auto()
    EC2 = auto()
    QUERY = auto()
    JSON = auto()
    CBOR = auto()


@dataclass(frozen=True, kw_only=True)
class ErrorResponse:
    status: HTTPStatus
    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class SignatureTime:
    """When a request was signed; `valid` is set for a presigned one, which may live longer than 15 minutes."""

    at: datetime
    valid: timedelta | None = None


def unavailable_error(protocol: Protocol) -> ErrorResponse:
    code = {
        Protocol.EC2: "Unavailable",
        Protocol.JSON: "ServiceUnavailableException",
        Protocol.CBOR: "ServiceUnavailableException",
    }.get(protocol, "ServiceUnavailable")
    return ErrorResponse(
        status=HTTPStatus.SERVICE_UNAVAILABLE, code=code, message="The service can't answer at the moment."
    )


def clock_skew_error(protocol: Protocol, signed: SignatureTime, now: datetime) -> ErrorResponse | None:
    """None when a service whose clock shows `now` accepts the request."""
    if signed.valid is not None:
        return _presigned_error(signed.at, signed.valid, now)
    if abs(now - signed.at) <= MAX_SKEW:
        return None
    match protocol:
        case Protocol.REST_XML:
            message = "The difference between the request time and the current time is too large."
            return ErrorResponse(status=HTTPStatus.FORBIDDEN, code="RequestTimeTooSkewed", message=message)
        case Protocol.EC2:
            return ErrorResponse(status=HTTPStatus.BAD_REQUEST, code="RequestExpired", message="Request has expired.")
        case Protocol.QUERY:
            message = _skew_message(signed.at, now)
            return ErrorResponse(status=HTTPStatus.FORBIDDEN, code="SignatureDoesNotMatch", message=message)
        case Protocol.JSON | Protocol.CBOR:
            message = _skew_message(signed.at, now)
            return ErrorResponse(status=HTTPStatus.BAD_REQUEST, code="InvalidSignatureException", message=message)


def _presigned_error(at: datetime, valid: timedelta, now: datetime) -> ErrorResponse | None:
    if now > at + valid:
        return ErrorResponse(status=HTTPStatus.FORBIDDEN, code="AccessDenied", message="Request has expired")
    if now < at - MAX_SKEW:
        return ErrorResponse(status=HTTPStatus.FORBIDDEN, code="AccessDenied", message="Request is not valid yet")
    return None


def _skew_message(at: datetime, now: datetime) -> str:
    minutes = int(MAX_SKEW.total_seconds()) // 60
    if at < now:
        bound = f"{now - MAX_SKEW:{STAMP}} ({now:{STAMP}} - {minutes} min.)"
        return f"Signature expired: {at:{STAMP}} is now earlier than {bound}"
    bound = f"{now + MAX_SKEW:{STAMP}} ({now:{STAMP}} + {minutes} min.)"
    return f"Signature not yet current: {at:{STAMP}} is still later than {bound}"


def render(protocol: Protocol, error: ErrorResponse) -> tuple[list[tuple[str, str]], bytes]:
    """(headers without the length, body)."""
    number = str(uuid.uuid4())
    headers = [("x-amz-request-id", number), ("x-amzn-RequestId", number)]
    if protocol in (Protocol.JSON, Protocol.CBOR):
        return [*headers, *_json_headers(protocol, error)], _json_body(protocol, error)
    fault = "Receiver" if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "Sender"
    content = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
    body = {
        Protocol.REST_XML: f"<Error>{content}<RequestId>{number}</RequestId></Error>",
        Protocol.EC2: f"<Response><Errors><Error>{content}</Error></Errors><RequestID>{number}</RequestID></Response>",
        Protocol.QUERY: f"<ErrorResponse><Error><Type>{fault}</Type>{content}</Error>"
        f"<RequestId>{number}</RequestId></ErrorResponse>",
    }[protocol]
    return [*headers, ("Content-Type", "text/xml")], f'<?xml version="1.0" encoding="UTF-8"?>{body}'.encode()


def _json_headers(protocol: Protocol, error: ErrorResponse) -> list[tuple[str, str]]:
    if protocol is Protocol.CBOR:
        return [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]
    return [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", error.code)]


def _json_body(protocol: Protocol, error: ErrorResponse) -> bytes:
    content = {"__type": error.code, "message": error.message}
    if protocol is Protocol.JSON:
        return json.dumps(content).encode()
    return bytes([0xA0 + len(content)]) + b"".join(_cbor(text) for pair in content.items() for text in pair)


def _cbor(text: str) -> bytes:
    """A text string of at most 65535 bytes: major type 3, its length in two bytes."""
    encoded = text.encode()
    return b"\x79" + len(encoded).to_bytes(2, "big") + encoded
