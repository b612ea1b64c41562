"""Load balancer stub for tests of the program: an HTTP server that responds as the instances would."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Client = Callable[[str], Any]


class LoadBalancerStub:
    """Responds for a healthy instance of the color that the live rule's weights or the preview header select.

    Of one stack, where an account holds two.
    """

    def __init__(self, aws: Client, stack: str = "") -> None:
        self.elb, self.ec2, self.stack = aws("elbv2"), aws("ec2"), stack
        self._stacks: dict[str, str] = {}
        self.broken: set[str] = set()
        self._counter = itertools.count()
        stub = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stub.respond(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def respond(self, request: BaseHTTPRequestHandler) -> None:
        color = str(request.headers.get("X-Bluegreen-Preview", "")).rpartition("-")[2] or self._choose_color()
        instance_ids = self.instance_ids(color)
        release = self._release(instance_ids[next(self._counter) % len(instance_ids)]) if instance_ids else ""
        bad = color in self.broken or not instance_ids
        body = json.dumps(
            {"status": "ok", "release": release, "checks": {"database": "down" if bad else "ok"}}
        ).encode()
        request.send_response(503 if bad else 200)
        for key, value in {"Content-Length": len(body), "X-Release": release, "X-Color": color}.items():
            request.send_header(key, str(value))
        request.end_headers()
        request.wfile.write(body)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def weights(self) -> dict[str, int]:
        """The live rule's, by color; empty while there is none."""
        for load_balancer in self._own("LoadBalancerArn", self.elb.describe_load_balancers()["LoadBalancers"]):
            for listener in self.elb.describe_listeners(LoadBalancerArn=load_balancer["LoadBalancerArn"])["Listeners"]:
                for rule in self.elb.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]:
                    if rule["Priority"] == "100":
                        groups = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
                        return {_color(each["TargetGroupArn"]): int(each["Weight"]) for each in groups}
        return {}

    def instance_ids(self, color: str) -> list[str]:
        """Ids of the color's healthy instances."""
        groups = self._own("TargetGroupArn", self.elb.describe_target_groups()["TargetGroups"])
        arns = [each["TargetGroupArn"] for each in groups if _color(each["TargetGroupArn"]) == color]
        targets = [
            each
            for arn in arns
            for each in self.elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        ]
        return sorted(each["Target"]["Id"] for each in targets if each["TargetHealth"]["State"] == "healthy")

    def _own(self, arn: str, described: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not self.stack:
            return described
        if new := [each[arn] for each in described if each[arn] not in self._stacks]:
            for each in self.elb.describe_tags(ResourceArns=new)["TagDescriptions"]:
                tags = {tag["Key"]: tag["Value"] for tag in each["Tags"]}
                self._stacks[each["ResourceArn"]] = tags.get("Stack", "")
        return [each for each in described if self._stacks[each[arn]] == self.stack]

    def _choose_color(self) -> str:
        """Each color gets its weight of any hundred requests."""
        choices = [color for color, weight in self.weights().items() for _ in range(weight)]
        return choices[next(self._counter) * 37 % len(choices)] if choices else ""

    def _release(self, instance_id: str) -> str:
        found = self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
        return next((tag["Value"] for tag in found.get("Tags", []) if tag["Key"] == "Release"), "")


def _color(target_group_arn: str) -> str:
    return target_group_arn.split("/")[1].partition("-")[0]
