"""What stands before the machines in tests of the whole program: an HTTP server that answers as they would."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Client = Callable[[str], Any]


class Front:
    """What users and previews get: answers by the live rule's weights, or by the color in the preview header."""

    def __init__(self, aws: Client) -> None:
        self.aws = aws
        self.releases = {"blue": "v1", "green": "v2"}
        self.broken: set[str] = set()
        front = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                front.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        color = str(request.headers.get("X-Bluegreen-Preview", "")).rpartition("-")[2] or self._live()
        release = self.releases[color]
        bad = color in self.broken
        body = json.dumps(
            {"status": "ok", "release": release, "checks": {"database": "down" if bad else "ok"}}
        ).encode()
        request.send_response(503 if bad else 200)
        for key, value in {"Content-Length": len(body), "X-Release": release, "X-Color": color}.items():
            request.send_header(key, str(value))
        request.end_headers()
        request.wfile.write(body)

    def _live(self) -> str:
        elb = self.aws("elbv2")
        balancer = elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
        listener = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"][0]["ListenerArn"]
        rule = next(each for each in elb.describe_rules(ListenerArn=listener)["Rules"] if each["Priority"] == "100")
        groups = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
        serving = next(each["TargetGroupArn"] for each in groups if int(each["Weight"]) > 0)
        return "blue" if "/blue" in serving else "green"
