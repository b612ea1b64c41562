"""Load balancers of the account with a running HAProxy: routing, target health, draining, metrics.

The fleet's network has loopback addresses, so that a thread here can be the app on an instance.
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
    create_group,
    create_target_group,
    load_balancer,
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
        *("--listen", "127.0.0.1", "--load-balancer", "127.0.0.1"),
        environment={"PATH": "/usr/sbin:/usr/bin:/bin"},
    )
    yield running
    stop(process, folder)


@pytest.fixture
def url(cloud: Running) -> str:
    requests.post(f"{cloud.aws}/moto-api/reset", timeout=10).raise_for_status()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


class App(BaseHTTPRequestHandler):
    server: Instance

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.server.requested.set()
            self.server.resume.wait(timeout=20)
        body = self.server.text.encode()
        self.send_response(self.server.status if self.path != "/health" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Health checks come every second."""


class Instance(ThreadingHTTPServer):
    """The app on one instance; `resume` releases the slow requests."""

    daemon_threads = True

    def __init__(self, address: str, text: str) -> None:
        super().__init__((address, 8080), App)
        self.text, self.status = text, 200
        self.requested, self.resume = threading.Event(), threading.Event()


@contextmanager
def serving(address: str, text: str) -> Iterator[Instance]:
    instance = Instance(address, text)
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


def wait_for_response(url: str, expected: str, headers: dict[str, str] | None = None) -> None:
    def reason() -> str | None:
        try:
            found = requests.get(f"{url}/", headers=headers, timeout=2).text
        except requests.RequestException as error:
            return str(error)
        return None if found == expected else f"found {found!r}"

    wait(reason, f"the response {expected!r}")


def fleet_behind(cloud: Running, url: str) -> Fleet:
    subnets = network(cloud)
    target_group, listener = load_balancer(cloud, subnets, int(url.rpartition(":")[2]), **CHECK)
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


def test_a_target_is_healthy_once_it_responds_and_finishes_its_requests_before_it_is_removed(
    cloud: Running, url: str
) -> None:
    fleet = fleet_behind(cloud, url)
    address = cloud.row(fleet.member())["address"]
    with serving(address, "hello") as app:
        wait_for_targets(fleet, ["healthy"])
        wait_for_response(url, "hello")
        slow: list[requests.Response] = []
        client = threading.Thread(target=lambda: slow.append(requests.get(f"{url}/slow", timeout=20)))
        client.start()
        assert app.requested.wait(timeout=5)
        cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName=fleet.group, DesiredCapacity=0)
        wait_for_targets(fleet, ["draining"])
        assert fleet.states() == ["Terminating"]
        app.resume.set()
        client.join()
        assert [response.text for response in slow] == ["hello"]
        fleet.wait_for([])
    wait_for_targets(fleet, [])


def test_an_instance_that_stops_responding_is_replaced(cloud: Running, url: str) -> None:
    fleet = fleet_behind(cloud, url)
    first = fleet.member()
    with serving(cloud.row(first)["address"], "hello"):
        wait_for_targets(fleet, ["healthy"])

    def reason() -> str | None:
        found = [member["InstanceId"] for member in fleet.members()]
        return f"found {found}" if not found or first in found else None

    wait(reason, "another instance")
    assert "ELB system health check failure" in cloud.row(first)["cause"]


def test_weights_and_the_preview_header_choose_the_color(cloud: Running, url: str) -> None:
    subnets = network(cloud)
    blue, listener = load_balancer(cloud, subnets, int(url.rpartition(":")[2]), **CHECK)
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
        wait_for_response(url, "green", {"X-Bluegreen-Preview": "token-green"})
        assert requests.get(url, headers={"X-Bluegreen-Preview": "guessed"}, timeout=2).status_code == 503
        elbv2.modify_rule(RuleArn=live, Actions=[_forward({blue: 0, green: 100})])
        wait_for_response(url, "green")
        elbv2.modify_rule(RuleArn=live, Actions=[_forward({blue: 100, green: 0})])
        wait_for_status(url, 503)


def metrics(cloud: Running, **names: str) -> dict[str, float]:
    """Metrics of these dimensions, each with its sum (counts) or maximum (hosts, seconds) over the last minutes."""
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


def test_responses_are_counted_in_the_load_balancers_metrics(cloud: Running, url: str) -> None:
    fleet = fleet_behind(cloud, url)
    elbv2 = cloud.client("elbv2")
    (found,) = elbv2.describe_load_balancers()["LoadBalancers"]
    named = found["LoadBalancerArn"].partition("loadbalancer/")[2]
    group = fleet.target_group.rpartition(":")[2]
    assert (named[:8], group[:17]) == ("app/app/", "targetgroup/blue/")
    with serving(cloud.row(fleet.member())["address"], "hello") as app:
        wait_for_targets(fleet, ["healthy"])
        for status in (200, 200, 200, 500, 404):
            app.status = status
            assert requests.get(url, timeout=5).status_code == status
        wait(lambda: _below(metrics(cloud, LoadBalancer=named), "RequestCount", 5), "the load balancer's metrics")
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
    wait_for_response(url, "nothing here")
    wait(lambda: _below(metrics(cloud, LoadBalancer=named), "HTTP_Fixed_Response_Count", 1), "the fixed response")
    load_balancer = metrics(cloud, LoadBalancer=named)
    assert load_balancer["HTTPCode_ELB_5XX_Count"] == load_balancer["HTTPCode_ELB_503_Count"]
    assert load_balancer["HTTPCode_ELB_5XX_Count"] >= load_balancer["HTTP_Fixed_Response_Count"]
    assert load_balancer["HTTPCode_Target_5XX_Count"] == 1


def _below(metrics: dict[str, float], name: str, minimum: float) -> str | None:
    return None if metrics.get(name, 0) >= minimum else f"{name} is {metrics.get(name)}"


def wait_for_status(url: str, expected: int) -> None:
    def reason() -> str | None:
        found = requests.get(url, timeout=2).status_code
        return None if found == expected else f"found {found}"

    wait(reason, f"status {expected}")


def _forward(weights: dict[str, int]) -> dict[str, object]:
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.items()]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
