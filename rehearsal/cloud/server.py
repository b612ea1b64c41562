"""HTTP server of the AWS emulator, with its control API under /_rehearsal/."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from rehearsal.cloud.additions.actions import CALLER, CALLS, LOCK, Call
from rehearsal.cloud.faults.injection import FaultInjector
from rehearsal.cloud.faults.middleware import CLOCK, with_faults

CONTROL = "/_rehearsal/"
RESET = "/moto-api/reset"
SHUTDOWN_S = 0.1  # how often a listening thread checks whether it was shut down
ControlResponse = tuple[HTTPStatus, dict[str, Any]]
ControlHandler = Callable[[str, str, dict[str, Any]], ControlResponse]  # method, path below CONTROL, body


class AwsServer:
    """Listens from construction until `close`, with a thread per request."""

    def __init__(self, address: str, port: int, control: ControlHandler, faults: FaultInjector) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line per request
        app = _application(DomainDispatcherApplication(create_backend_app), control, faults)
        self._server = make_server(address, port, app, threaded=True, request_handler=_AwsHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(SHUTDOWN_S,), name="aws", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _AwsHandler(MotoRequestHandler):
    """Its Date header is that of AWS's clock, which a fault can skew."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        now = time.time() + getattr(CLOCK, "ahead", 0.0)
        return str(super().date_time_string(now if timestamp is None else timestamp))


def _application(
    moto: Any, control: ControlHandler, faults: FaultInjector
) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    def emulated(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        CALLER.address = environ["REMOTE_ADDR"]
        if "/s3/aws4_request" in environ.get("HTTP_AUTHORIZATION", ""):
            CALLS[Call(caller=CALLER.address, service="s3", action=environ["REQUEST_METHOD"])] += 1
        # A reset empties the account and sets it up again: the controller must not read it meanwhile.
        with LOCK if environ.get("PATH_INFO") == RESET else contextlib.nullcontext():
            response: Iterable[bytes] = moto(environ, start_response)
        return response

    aws = with_faults(emulated, faults)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(CONTROL):
            return _control_response(control, path.removeprefix(CONTROL), environ, start_response)
        return aws(environ, start_response)

    return application


def _control_response(
    control: ControlHandler, path: str, environ: dict[str, Any], start_response: Any
) -> Iterable[bytes]:
    status, content = _call_control(control, path, environ)
    text = json.dumps(content, default=str).encode()
    start_response(
        f"{status.value} {status.phrase}",
        [("Content-Type", "application/json"), ("Content-Length", str(len(text)))],
    )
    return [text]


def _call_control(control: ControlHandler, path: str, environ: dict[str, Any]) -> ControlResponse:
    text = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    try:
        body = json.loads(text) if text else {}
    except ValueError as error:
        return HTTPStatus.BAD_REQUEST, {"error": f"the body isn't JSON: {error}"}
    if not isinstance(body, dict):
        return HTTPStatus.BAD_REQUEST, {"error": f"the body {body!r}: allowed is a JSON object"}
    try:
        return control(environ["REQUEST_METHOD"], path, body)
    except ValueError as error:
        return HTTPStatus.BAD_REQUEST, {"error": str(error)}
