"""Between the emulated AWS's port and moto: a request that a fault hits gets its trouble here."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from rehearsal.cloud.faults.aws_errors import STAMP, Protocol, Refusal, Signed, skewed, unavailable, written
from rehearsal.cloud.faults.injection import Fault, Faults, Mode, Service

SCOPE = re.compile(r"Credential=[^/,]+/\d{8}/[^/,]+/([^/,]+)/aws4_request")
CLOCK = threading.local()  # `.ahead`: seconds by which the Date of this thread's answer is off
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def troubled(application: Application, faults: Faults) -> Application:
    """The application as the faults let it be seen."""

    def seen(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        CLOCK.ahead = 0.0
        service = service_of(environ)
        answer = application
        for fault in faults.hitting(service, environ["REMOTE_ADDR"]):
            answer = _with(fault, answer, faults)
        return answer(environ, start_response)

    return seen


def service_of(environ: dict[str, Any]) -> str:
    """By what the request is signed for; empty for one that isn't signed."""
    if found := SCOPE.search(environ.get("HTTP_AUTHORIZATION", "")):
        return found.group(1)
    scope = _asked(environ, "X-Amz-Credential").split("/")
    return scope[3] if len(scope) == 5 else ""


def _with(fault: Fault, application: Application, faults: Faults) -> Application:
    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        protocol = _protocol(fault.service, environ)
        match fault.mode:
            case Mode.DOWN:
                return _refuse(unavailable(protocol), protocol, environ, start_response)
            case Mode.SLOW:
                faults.hold(fault)
                return application(environ, start_response)
            case Mode.CUT:
                return _cut(application, environ, start_response)
            case Mode.SKEWED:
                CLOCK.ahead = fault.seconds
                signed = _signed(environ)
                now = datetime.now(UTC) + timedelta(seconds=fault.seconds)
                refusal = skewed(protocol, signed, now) if signed else None
                if refusal:
                    return _refuse(refusal, protocol, environ, start_response)
                return application(environ, start_response)

    return answer


def _refuse(refusal: Refusal, protocol: Protocol, environ: dict[str, Any], start_response: Any) -> list[bytes]:
    # A client that still sends would take the end of the connection for the answer.
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    headers, body = written(protocol, refusal)
    status = HTTPStatus(refusal.status)
    start_response(f"{status.value} {status.phrase}", [*headers, ("Content-Length", str(len(body)))])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def _cut(application: Application, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """Half of the body under the whole one's length: the connection ends early, as when one breaks."""
    told: list[Any] = []
    body = b"".join(application(environ, lambda status, headers, *_: told.extend((status, headers))))
    status, headers = told
    kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
    length = next((value for name, value in headers if name.lower() == "content-length"), str(len(body)))
    start_response(status, [*kept, ("Content-Length", length)])
    yield body[: len(body) // 2]


def _protocol(service: Service, environ: dict[str, Any]) -> Protocol:
    if service is Service.S3:
        return Protocol.REST_XML
    if service is Service.EC2:
        return Protocol.EC2
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        return Protocol.CBOR
    return Protocol.JSON if "HTTP_X_AMZ_TARGET" in environ else Protocol.QUERY


def _signed(environ: dict[str, Any]) -> Signed | None:
    if stamp := environ.get("HTTP_X_AMZ_DATE"):
        return Signed(at=_moment(stamp))
    stamp, valid = _asked(environ, "X-Amz-Date"), _asked(environ, "X-Amz-Expires")
    return Signed(at=_moment(stamp), valid=timedelta(seconds=int(valid))) if stamp and valid else None


def _moment(stamp: str) -> datetime:
    return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)


def _asked(environ: dict[str, Any], key: str) -> str:
    asked: dict[str, list[str]] = parse_qs(environ.get("QUERY_STRING", ""))
    return asked.get(key, [""])[0]
