"""WSGI middleware that applies faults to requests before moto handles them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from rehearsal.cloud.faults.aws_errors import (
    STAMP,
    ErrorResponse,
    Protocol,
    SignatureTime,
    clock_skew_error,
    render,
    unavailable_error,
)
from rehearsal.cloud.faults.injection import AwsFault, FaultInjector, Mode, Service

SCOPE = re.compile(r"Credential=[^/,]+/\d{8}/[^/,]+/([^/,]+)/aws4_request")
CLOCK = threading.local()  # `.ahead`: seconds by which the Date of this thread's response is off
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def with_faults(application: Application, faults: FaultInjector) -> Application:
    """The application with the faults that are active at each request."""

    def faulty(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        CLOCK.ahead = 0.0
        service = service_of(environ)
        wrapped = application
        for fault in faults.apply_to(service, environ["REMOTE_ADDR"]):
            wrapped = _with_fault(fault, wrapped, faults)
        return wrapped(environ, start_response)

    return faulty


def service_of(environ: dict[str, Any]) -> str:
    """Signing name of the request's service; empty for a request that isn't signed."""
    if match := SCOPE.search(environ.get("HTTP_AUTHORIZATION", "")):
        return match.group(1)
    scope = _query_parameter(environ, "X-Amz-Credential").split("/")
    return scope[3] if len(scope) == 5 else ""


def _with_fault(fault: AwsFault, application: Application, faults: FaultInjector) -> Application:
    def respond(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        protocol = _protocol(fault.service, environ)
        match fault.mode:
            case Mode.DOWN:
                return _send_error(unavailable_error(protocol), protocol, environ, start_response)
            case Mode.SLOW:
                faults.hold(fault)
                return application(environ, start_response)
            case Mode.CUT:
                return _truncate(application, environ, start_response)
            case Mode.SKEWED:
                CLOCK.ahead = fault.seconds
                signed = _signature_time(environ)
                now = datetime.now(UTC) + timedelta(seconds=fault.seconds)
                error = clock_skew_error(protocol, signed, now) if signed else None
                if error:
                    return _send_error(error, protocol, environ, start_response)
                return application(environ, start_response)

    return respond


def _send_error(error: ErrorResponse, protocol: Protocol, environ: dict[str, Any], start_response: Any) -> list[bytes]:
    # A client that is still sending would report a closed connection instead of the response.
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    headers, body = render(protocol, error)
    status = HTTPStatus(error.status)
    start_response(f"{status.value} {status.phrase}", [*headers, ("Content-Length", str(len(body)))])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def _truncate(application: Application, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """Half of the body with the full Content-Length: the connection closes early."""
    started: list[Any] = []
    body = b"".join(application(environ, lambda status, headers, *_: started.extend((status, headers))))
    status, headers = started
    others = [(name, value) for name, value in headers if name.lower() != "content-length"]
    length = next((value for name, value in headers if name.lower() == "content-length"), str(len(body)))
    start_response(status, [*others, ("Content-Length", length)])
    yield body[: len(body) // 2]


def _protocol(service: Service, environ: dict[str, Any]) -> Protocol:
    if service is Service.S3:
        return Protocol.REST_XML
    if service is Service.EC2:
        return Protocol.EC2
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        return Protocol.CBOR
    return Protocol.JSON if "HTTP_X_AMZ_TARGET" in environ else Protocol.QUERY


def _signature_time(environ: dict[str, Any]) -> SignatureTime | None:
    if stamp := environ.get("HTTP_X_AMZ_DATE"):
        return SignatureTime(at=_timestamp(stamp))
    stamp, valid = _query_parameter(environ, "X-Amz-Date"), _query_parameter(environ, "X-Amz-Expires")
    return SignatureTime(at=_timestamp(stamp), valid=timedelta(seconds=int(valid))) if stamp and valid else None


def _timestamp(stamp: str) -> datetime:
    return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)


def _query_parameter(environ: dict[str, Any], key: str) -> str:
    parameters: dict[str, list[str]] = parse_qs(environ.get("QUERY_STRING", ""))
    return parameters.get(key, [""])[0]
