"""What the account's load balancer is told is what users get, and target health is what checks find.

The fleet's network is made of loopback addresses, so that a thread here can be the app on an instance.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from tests.rehearsal.cloud.fleet import (
    Fleet,
    Running,
    balancer,
    create_group,
    create_target_group,
    network,
    start,
    stop,
    wait,
)

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy")

CHECK = {
    "HealthCheckPath": "/health",
    "HealthCheckIntervalSeconds": 2,
    "HealthCheckTimeoutSeconds": 1,
    "HealthyThresholdCount": 2,
    "UnhealthyThresholdCount": 2,
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("cloud")
    process, running = start(
        folder,
        *("--listen", "127.0.0.1", "--front-door", "127.0.0.1"),
        environment={"PATH": "/usr/sbin:/usr/bin:/bin"},
    )
    yield running
    stop(process, folder)


@pytest.fixture
def door(cloud: Running) -> str:
    requests.post(f"{cloud.aws}/moto-api/reset", timeout=10).raise_for_status()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


class App(BaseHTTPRequestHandler):
    server: Instance

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.server.asked.set()
            self.server.answer.wait(timeout=20)
        body = self.server.words.encode()
        self.send_response(self.server.status if self.path != "/health" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Health checks come every second."""


class Instance(ThreadingHTTPServer):
    """The app on one instance; `answer` lets the slow requests go."""

    daemon_threads = True

    def __init__(self, address: str, words: str) -> None:
        super().__init__((address, 8080), App)
        self.words, self.status = words, 200
        self.asked, self.answer = threading.Event(), threading.Event()


@contextmanager
def serving(address: str, words: str) -> Iterator[Instance]:
    instance = Instance(address, words)
    thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield instance
    finally:
        instance.shutdown()
        instance.server_close()
        thread.join()


def wait_for_targets(fleet: Fleet, expected: list[str]) -> None:
    def reason() -> str | None:
        found = sorted(fleet.targets().values())
        return None if found == expected else f"found {found}"

    wait(reason, f"targets {expected}")


def wait_for_answer(door: str, expected: str, headers: dict[str, str] | None = None) -> None:
    def reason() -> str | None:
        try:
            found = requests.get(f"{door}/", headers=headers, timeout=2).text
        except requests.RequestException as error:
            return str(error)
        return None if found == expected else f"found {found!r}"

    wait(reason, f"the answer {expected!r}")


def fleet_behind(cloud: Running, door: str) -> Fleet:
    subnets = network(cloud)
    target_group, listener = balancer(cloud, subnets, int(door.rpartition(":")[2]), **CHECK)
    group = create_group(
        cloud,
        subnets,
        target_group,
        LifecycleHookSpecificationList=[],
        HealthCheckGracePeriod=1,
        MinSize=0,
        DesiredCapacity=1,
    )
    return Fleet(cloud=cloud, group=group, target_group=target_group, listener=listener)


def test_a_target_is_healthy_once_it_answers_and_finishes_its_requests_before_it_goes(
    cloud: Running, door: str
) -> None:
    fleet = fleet_behind(cloud, door)
    address = cloud.row(fleet.member())["address"]
    with serving(address, "hello") as app:
        wait_for_targets(fleet, ["healthy"])
        wait_for_answer(door, "hello")
        slow: list[requests.Response] = []
        user = threading.Thread(target=lambda: slow.append(requests.get(f"{door}/slow", timeout=20)))
        user.start()
        assert app.asked.wait(timeout=5)
        cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName=fleet.group, DesiredCapacity=0)
        wait_for_targets(fleet, ["draining"])
        assert fleet.states() == ["Terminating"]
        app.answer.set()
        user.join()
        assert [response.text for response in slow] == ["hello"]
        fleet.wait_for([])
    wait_for_targets(fleet, [])


def test_an_instance_that_stops_answering_is_replaced(cloud: Running, door: str) -> None:
    fleet = fleet_behind(cloud, door)
    first = fleet.member()
    with serving(cloud.row(first)["address"], "hello"):
        wait_for_targets(fleet, ["healthy"])

    def reason() -> str | None:
        found = [member["InstanceId"] for member in fleet.members()]
        return f"found {found}" if not found or first in found else None

    wait(reason, "another instance")
    gone = cloud.row(first)
    assert "ELB system health check failure" in gone["cause"]


def test_weights_and_the_preview_header_choose_the_color(cloud: Running, door: str) -> None:
    subnets = network(cloud)
    blue, listener = balancer(cloud, subnets, int(door.rpartition(":")[2]), **CHECK)
    green = create_target_group(cloud, subnets, "green", **CHECK, TargetType="ip")
    elbv2 = cloud.client("elbv2")
    preview = {"HttpHeaderName": "X-Bluegreen-Preview", "Values": ["token-green"]}
    elbv2.create_rule(
        ListenerArn=listener,
        Priority=11,
        Conditions=[{"Field": "http-header", "HttpHeaderConfig": preview}],
        Actions=[_forward({green: 100, blue: 0})],
    )
    elbv2.register_targets(TargetGroupArn=green, Targets=[{"Id": "127.77.9.9", "Port": 8080}])
    rules = elbv2.describe_rules(ListenerArn=listener)["Rules"]
    (live,) = (rule["RuleArn"] for rule in rules if rule["Priority"] == "100")
    with serving("127.77.9.9", "green"):
        wait_for_answer(door, "green", {"X-Bluegreen-Preview": "token-green"})
        assert requests.get(door, headers={"X-Bluegreen-Preview": "guessed"}, timeout=2).status_code == 503
        elbv2.modify_rule(RuleArn=live, Actions=[_forward({blue: 0, green: 100})])
        wait_for_answer(door, "green")
        elbv2.modify_rule(RuleArn=live, Actions=[_forward({blue: 100, green: 0})])
        wait_for_status(door, 503)


def metrics(cloud: Running, **names: str) -> dict[str, float]:
    """Each metric of these dimensions with its sum (counts) or largest value (hosts, seconds) of the last minutes."""
    dimensions = [{"Name": name, "Value": value} for name, value in names.items()]
    cloudwatch, now = cloud.client("cloudwatch"), datetime.now(UTC)
    listed = cloudwatch.list_metrics(Namespace="AWS/ApplicationELB", Dimensions=dimensions)["Metrics"]
    found = {}
    for each in listed:
        if len(each["Dimensions"]) == len(dimensions):
            largest = "Host" in each["MetricName"] or "Time" in each["MetricName"]
            points = cloudwatch.get_metric_statistics(
                Namespace="AWS/ApplicationELB",
                MetricName=each["MetricName"],
                Dimensions=dimensions,
                StartTime=now - timedelta(minutes=2),
                EndTime=now + timedelta(minutes=1),
                Period=300,
                Statistics=["Maximum" if largest else "Sum"],
            )["Datapoints"]
            values = [point["Maximum" if largest else "Sum"] for point in points]
            found[each["MetricName"]] = max(values) if largest else sum(values)
    return found


def test_what_users_get_stands_in_the_balancers_metrics(cloud: Running, door: str) -> None:
    fleet = fleet_behind(cloud, door)
    elbv2 = cloud.client("elbv2")
    (loads,) = elbv2.describe_load_balancers()["LoadBalancers"]
    named = loads["LoadBalancerArn"].partition("loadbalancer/")[2]
    group = fleet.target_group.rpartition(":")[2]
    assert (named[:8], group[:17]) == ("app/app/", "targetgroup/blue/")
    with serving(cloud.row(fleet.member())["address"], "hello") as app:
        wait_for_targets(fleet, ["healthy"])
        for status in (200, 200, 200, 500, 404):
            app.status = status
            assert requests.get(door, timeout=5).status_code == status
        wait(lambda: _lacking(metrics(cloud, LoadBalancer=named), "RequestCount", 5), "the balancer's metrics")
        of_group = metrics(cloud, LoadBalancer=named, TargetGroup=group)
        assert 0 <= of_group.pop("TargetResponseTime") < 2
        assert of_group == {
            "RequestCount": 5,
            "HTTPCode_Target_2XX_Count": 3,
            "HTTPCode_Target_4XX_Count": 1,
            "HTTPCode_Target_5XX_Count": 1,
            "HealthyHostCount": 1,
            "UnHealthyHostCount": 0,
        }
    (live,) = (
        r["RuleArn"] for r in elbv2.describe_rules(ListenerArn=fleet.listener)["Rules"] if r["Priority"] == "100"
    )
    elbv2.delete_rule(RuleArn=live)
    wait_for_answer(door, "nothing here")
    wait(lambda: _lacking(metrics(cloud, LoadBalancer=named), "HTTP_Fixed_Response_Count", 1), "the fixed response")
    balancer = metrics(cloud, LoadBalancer=named)
    assert balancer["HTTPCode_ELB_5XX_Count"] == balancer["HTTPCode_ELB_503_Count"]
    assert balancer["HTTPCode_ELB_5XX_Count"] >= balancer["HTTP_Fixed_Response_Count"]
    assert balancer["HTTPCode_Target_5XX_Count"] == 1


def _lacking(found: dict[str, float], name: str, least: float) -> str | None:
    return None if found.get(name, 0) >= least else f"{name} is {found.get(name)}"


def wait_for_status(door: str, expected: int) -> None:
    def reason() -> str | None:
        found = requests.get(door, timeout=2).status_code
        return None if found == expected else f"found {found}"

    wait(reason, f"status {expected}")


def _forward(weights: dict[str, int]) -> dict[str, object]:
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.items()]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
