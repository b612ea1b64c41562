from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rehearsal.host import processes
from rehearsal.host.claims import Claims
from rehearsal.host.sandbox import wait_until
from rehearsal.load import request_log
from rehearsal.load.request_log import RequestLog
from rehearsal.load_balancer.access_log import RequestOutcome
from rehearsal.load_balancer.emulator import LoadBalancerEmulator
from rehearsal.load_balancer.haproxy import HAProxyError
from rehearsal.load_balancer.model import (
    NOT_REGISTERED,
    Action,
    Condition,
    ConditionKind,
    FixedResponse,
    Forward,
    HealthCheck,
    ListenerModel,
    LoadBalancerModel,
    Redirect,
    RuleModel,
    TargetGroupModel,
    TargetHealth,
)
from tests.rehearsal.backends import Backend, Backends, load_process

pytestmark = pytest.mark.skipif(
    shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin") is None,
    reason="HAProxy is not installed",
)
ROOT = Path(__file__).resolve().parents[3]
BLUE = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/app-blue/1111111111111111"
GREEN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/app-green/2222222222222222"
CHECK = HealthCheck(
    path="/health", interval=0.3, timeout=0.25, healthy_threshold=2, unhealthy_threshold=2, matcher="200-299"
)
CLOSED = FixedResponse(status=503, body="no release is live\n")
EVERYTHING = Condition(kind=ConditionKind.PATH_PATTERN, values=("/*",))
HEADER = "X-Bluegreen-Preview"


@pytest.fixture
def backends() -> Iterator[Backends]:
    started = Backends()
    yield started
    started.close()


@pytest.fixture
def port() -> Iterator[int]:
    claims = Claims()
    yield claims.port("127.0.0.1")
    claims.release()


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[LoadBalancerEmulator]:
    opened = LoadBalancerEmulator(tmp_path / "emulator", "127.0.0.1")
    yield opened
    opened.close()


def preview(color: str, arn: str, other: str, priority: int) -> RuleModel:
    condition = Condition(kind=ConditionKind.HTTP_HEADER, name=HEADER, values=(f"s3cret-{color}",))
    return RuleModel(priority=priority, conditions=(condition,), action=Forward(weights={arn: 100, other: 0}))


def model(
    port: int, groups: Mapping[str, list[Backend]], weights: Mapping[str, int] | None = None
) -> LoadBalancerModel:
    """The listener as the program declares it: closed by default, two preview rules, and the live rule."""
    rules = [preview("blue", BLUE, GREEN, 10), preview("green", GREEN, BLUE, 11)]
    if weights:
        rules.append(RuleModel(priority=100, conditions=(EVERYTHING,), action=Forward(weights=weights)))
    targets = {
        arn: TargetGroupModel(health=CHECK, targets=tuple(one.target for one in held), deregistration_delay=5)
        for arn, held in groups.items()
    }
    return LoadBalancerModel(
        listeners=(ListenerModel(port=port, default_action=CLOSED, rules=tuple(rules)),),
        target_groups={BLUE: TargetGroupModel(health=CHECK), GREEN: TargetGroupModel(health=CHECK), **targets},
    )


def single(
    port: int, *rules: RuleModel, default: Action = CLOSED, targets: tuple[Backend, ...] = ()
) -> LoadBalancerModel:
    group = TargetGroupModel(health=CHECK, targets=tuple(one.target for one in targets))
    return LoadBalancerModel(
        listeners=(ListenerModel(port=port, default_action=default, rules=rules),), target_groups={BLUE: group}
    )


def request(port: int, path: str = "/", *, method: str = "GET", **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def state(emulator: LoadBalancerEmulator, arn: str, backend: Backend) -> str:
    health = emulator.health().get((arn, *backend.target))
    return "absent" if health is None else health.state.value


def wait_state(emulator: LoadBalancerEmulator, arn: str, backend: Backend, expected: str) -> TargetHealth:
    def reason() -> str | None:
        now = state(emulator, arn, backend)
        return None if now == expected else f"{backend.color} is {now}"

    wait_until(reason, what=f"target to be {expected}", deadline=10)
    return emulator.health().get((arn, *backend.target), NOT_REGISTERED)


def serving(emulator: LoadBalancerEmulator, port: int, backends: Backends) -> tuple[Backend, Backend]:
    """Blue and green with one healthy target each; blue is live."""
    blue, green = backends.start("blue", "v1"), backends.start("green", "v2")
    emulator.apply(model(port, {BLUE: [blue], GREEN: [green]}, {BLUE: 100, GREEN: 0}))
    wait_state(emulator, BLUE, blue, "healthy")
    wait_state(emulator, GREEN, green, "healthy")
    return blue, green


def test_before_the_first_release_the_listener_is_closed(emulator: LoadBalancerEmulator, port: int) -> None:
    emulator.apply(model(port, {}))
    assert request(port) == (503, "no release is live\n")


def test_weights_choose_and_the_preview_header_passes_them(
    emulator: LoadBalancerEmulator, port: int, backends: Backends
) -> None:
    serving(emulator, port, backends)
    assert {request(port)[1] for _ in range(20)} == {"blue"}
    assert request(port, X_Bluegreen_Preview="s3cret-green") == (200, "green")
    assert request(port, X_Bluegreen_Preview="s3cret-blue") == (200, "blue")
    assert request(port, X_Bluegreen_Preview="guess-green") == (200, "blue")


def test_a_canary_gets_its_percentage(emulator: LoadBalancerEmulator, port: int, backends: Backends) -> None:
    blue, green = serving(emulator, port, backends)
    emulator.apply(model(port, {BLUE: [blue], GREEN: [green]}, {BLUE: 80, GREEN: 20}))
    seen = Counter(request(port)[1] for _ in range(400))
    # 400 draws at 20 %: 80 expected, and 40 to 120 is five standard deviations.
    assert 40 < seen["green"] < 120
    assert seen["blue"] + seen["green"] == 400


def test_with_all_weights_zero_no_target_gets_a_request(
    emulator: LoadBalancerEmulator, port: int, backends: Backends
) -> None:
    blue, green = serving(emulator, port, backends)
    emulator.apply(model(port, {BLUE: [blue], GREEN: [green]}, {BLUE: 0, GREEN: 0}))
    assert request(port)[0] == 503
    assert blue.served + green.served == 0


def under_load(port: int, out: Path, rate: int, act: Callable[[], None]) -> tuple[dict[str, Any], RequestLog]:
    """Run `act` under load; the load's summary and log."""
    with load_process(f"http://127.0.0.1:{port}", out, "--rate", str(rate)) as process:
        wait_until(lambda: request_log.not_ready_reason(out), what="the load generator", deadline=10)
        wait_more(out, 50)
        act()
        wait_more(out, 100)
        summary = request_log.stop(out)
        assert process.wait(10) == 0
    return summary, RequestLog.read(out)


def answered(out: Path) -> int:
    return (out / "requests.tsv").read_text().count("\n")


def wait_served(backend: Backend, requests: int) -> None:
    wait_until(
        lambda: None if backend.served >= requests else f"{backend.served} so far", what="requests served", deadline=10
    )


def wait_more(out: Path, requests: int) -> None:
    before = answered(out)
    wait_until(
        lambda: None if answered(out) >= before + requests else "waiting", what=f"{requests} requests", deadline=20
    )


def test_twenty_cutovers_under_load_fail_no_request(
    emulator: LoadBalancerEmulator, port: int, backends: Backends, tmp_path: Path
) -> None:
    blue, green = serving(emulator, port, backends)
    groups = {BLUE: [blue], GREEN: [green]}
    cutovers: list[tuple[float, float, str]] = []
    out = tmp_path / "load"

    def cut_over() -> None:
        for number in range(20):
            to_green = number % 2 == 0
            began = time.time()
            emulator.apply(model(port, groups, {BLUE: 0, GREEN: 100} if to_green else {BLUE: 100, GREEN: 0}))
            cutovers.append((began, time.time(), "v2" if to_green else "v1"))
            wait_more(out, 30)

    pids = {process_id(emulator)}
    summary, log = under_load(port, out, 500, cut_over)
    assert summary["failed"] == 0, summary["failures"]
    assert summary["requests"] == blue.served + green.served > 600
    assert summary["releases"] == {"v1": blue.served, "v2": green.served}
    assert {process_id(emulator)} == pids  # weights need no new process
    for (_, shifted, release), (following, _, _) in zip(cutovers, [*cutovers[1:], (time.time(), 0.0, "")], strict=True):
        between = [one for one in log.requests if one.due > shifted + 0.005 and one.responded_at < following]
        late = [one for one in between if one.release != release]
        assert not late, f"{len(late)} requests went to the old color more than 5 ms after the cutover to {release}"


def process_id(emulator: LoadBalancerEmulator) -> int:
    assert emulator._haproxy.pid is not None
    return emulator._haproxy.pid


def test_targets_are_added_and_removed_under_load_without_failures(
    emulator: LoadBalancerEmulator, port: int, backends: Backends, tmp_path: Path
) -> None:
    first = backends.start("first")
    live = {BLUE: 100, GREEN: 0}
    emulator.apply(model(port, {BLUE: [first]}, live))
    wait_state(emulator, BLUE, first, "healthy")
    added = [backends.start(f"added-{number}") for number in range(4)]
    pid = process_id(emulator)

    def add_and_remove() -> None:
        for backend in added:
            emulator.apply(model(port, {BLUE: [first, backend]}, live))
            wait_state(emulator, BLUE, backend, "healthy")
            wait_served(backend, 1)
            emulator.apply(model(port, {BLUE: [first]}, live))
            wait_state(emulator, BLUE, backend, "absent")
            backends.stop(backend)

    summary, _log = under_load(port, tmp_path / "load", 400, add_and_remove)
    assert summary["failed"] == 0, summary["failures"]
    assert summary["requests"] == sum(one.served for one in [first, *added])
    assert process_id(emulator) == pid


def test_reloads_under_load_fail_no_request(
    emulator: LoadBalancerEmulator, port: int, backends: Backends, tmp_path: Path
) -> None:
    blue, green = serving(emulator, port, backends)
    groups = {BLUE: [blue], GREEN: [green]}
    base = model(port, groups, {BLUE: 50, GREEN: 50})
    listener = base.listeners[0]
    out, pids = tmp_path / "load", set()

    def reload() -> None:
        for number in range(6):
            condition = Condition(kind=ConditionKind.PATH_PATTERN, values=(f"/closed-{number}",))
            extra = RuleModel(priority=50, conditions=(condition,), action=FixedResponse(status=410))
            changed = replace(listener, rules=(*listener.rules, extra))
            emulator.apply(replace(base, listeners=(changed,)))
            assert request(port, f"/closed-{number}")[0] == 410
            pids.add(process_id(emulator))
            wait_more(out, 40)

    summary, _log = under_load(port, out, 400, reload)
    assert len(pids) == 6
    assert summary["failed"] == 0, summary["failures"]
    assert summary["requests"] == blue.served + green.served


def test_a_new_target_gets_no_request_before_its_first_passed_check(
    emulator: LoadBalancerEmulator, port: int, backends: Backends
) -> None:
    ready, late = backends.start("ready"), backends.start("late")
    late.health_status = 503
    live = {BLUE: 100, GREEN: 0}
    emulator.apply(model(port, {BLUE: [ready]}, live))
    wait_state(emulator, BLUE, ready, "healthy")
    emulator.apply(model(port, {BLUE: [ready, late]}, live))
    assert emulator.health()[(BLUE, *late.target)].reason == "Elb.InitialHealthChecking"
    wait_until(lambda: None if late.paths["/health"] else "no check", what="a check", deadline=5)
    assert {request(port)[1] for _ in range(30)} == {"ready"}
    assert late.served == 0
    assert wait_state(emulator, BLUE, late, "unhealthy").reason == "Target.ResponseCodeMismatch"
    late.health_status = 200
    wait_state(emulator, BLUE, late, "healthy")
    assert {request(port)[1] for _ in range(30)} == {"ready", "late"}


def test_an_unhealthy_target_gets_no_request_until_it_passes_the_healthy_threshold(
    emulator: LoadBalancerEmulator, port: int, backends: Backends
) -> None:
    one, other = backends.start("one"), backends.start("other")
    emulator.apply(model(port, {BLUE: [one, other]}, {BLUE: 100, GREEN: 0}))
    wait_state(emulator, BLUE, one, "healthy")
    wait_state(emulator, BLUE, other, "healthy")
    checks = other.paths["/health"]
    other.health_status = 500
    health = wait_state(emulator, BLUE, other, "unhealthy")
    assert other.paths["/health"] >= checks + CHECK.unhealthy_threshold
    assert health.description == "Health checks failed with these codes: [500]"
    assert {request(port)[1] for _ in range(20)} == {"one"}
    checks = other.paths["/health"]
    other.health_status = 204
    wait_state(emulator, BLUE, other, "healthy")
    assert other.paths["/health"] >= checks + CHECK.healthy_threshold
    assert {request(port)[1] for _ in range(20)} == {"one", "other"}


def test_a_group_without_a_healthy_target_fails_open(
    emulator: LoadBalancerEmulator, port: int, backends: Backends
) -> None:
    """As with an ALB, and the reason why a cutover needs a gate."""
    blue, green = serving(emulator, port, backends)
    green.health_status = 503
    green.status = 500
    wait_state(emulator, GREEN, green, "unhealthy")
    emulator.apply(model(port, {BLUE: [blue], GREEN: [green]}, {BLUE: 0, GREEN: 100}))
    assert request(port) == (500, "green")


def test_a_group_without_targets_answers_503(emulator: LoadBalancerEmulator, port: int, backends: Backends) -> None:
    blue, _green = serving(emulator, port, backends)
    emulator.apply(model(port, {BLUE: [blue]}, {BLUE: 0, GREEN: 100}))
    assert request(port)[0] == 503


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        ("status", "Target.ResponseCodeMismatch"),
        ("slow", "Target.Timeout"),
        ("refused", "Target.FailedHealthChecks"),
        ("dropped", "Target.FailedHealthChecks"),
    ],
)
def test_reasons_are_those_of_an_alb(
    emulator: LoadBalancerEmulator, port: int, backends: Backends, break_it: str, reason: str
) -> None:
    blue, _green = serving(emulator, port, backends)
    match break_it:
        case "status":
            blue.health_status = 302
        case "slow":
            blue.health_delay = 5
        case "refused":
            backends.stop(blue)
        case "dropped":
            blue.drop = True
    assert wait_state(emulator, BLUE, blue, "unhealthy").reason == reason


def test_targets_of_a_group_that_no_rule_names_are_unused(
    emulator: LoadBalancerEmulator, port: int, backends: Backends
) -> None:
    blue = backends.start("blue")
    emulator.apply(single(port, targets=(blue,)))
    health = emulator.health()[(BLUE, *blue.target)]
    assert (health.state, health.reason) == ("unused", "Target.NotInUse")
    forward = RuleModel(priority=1, conditions=(EVERYTHING,), action=Forward(weights={BLUE: 1}))
    emulator.apply(single(port, forward, targets=(blue,)))
    wait_state(emulator, BLUE, blue, "healthy")
    emulator.apply(single(port, targets=(blue,)))
    assert state(emulator, BLUE, blue) == "unused"


def test_a_group_with_weight_zero_is_checked_all_the_same(
    emulator: LoadBalancerEmulator, port: int, backends: Backends
) -> None:
    green = backends.start("green")
    emulator.apply(model(port, {GREEN: [green]}))
    wait_state(emulator, GREEN, green, "healthy")


def test_draining_sends_no_more_requests_and_waits_for_the_last_one(
    emulator: LoadBalancerEmulator, port: int, backends: Backends
) -> None:
    one, other = backends.start("one"), backends.start("other")
    groups, live = {BLUE: [one, other]}, {BLUE: 100, GREEN: 0}
    emulator.apply(model(port, groups, live))
    wait_state(emulator, BLUE, one, "healthy")
    wait_state(emulator, BLUE, other, "healthy")
    one.delay = other.delay = 1.0
    answers: list[tuple[int, str]] = []
    threads = [threading.Thread(target=lambda: answers.append(request(port))) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: None if one.served + other.served == 4 else "on their way", what="requests", deadline=5)
    served = one.served
    began = time.monotonic()
    assert served > 0
    drained: list[bool] = []
    drainer = threading.Thread(target=lambda: drained.append(emulator.drain(BLUE, *one.target, timeout=10)))
    drainer.start()
    wait_state(emulator, BLUE, one, "draining")
    assert emulator.health()[(BLUE, *one.target)].reason == "Target.DeregistrationInProgress"
    other.delay = 0
    assert {request(port)[1] for _ in range(10)} == {"other"}
    drainer.join(20)
    assert drained == [True]
    assert time.monotonic() - began > 0.5
    for thread in threads:
        thread.join(10)
    assert [status for status, _ in answers] == [200] * 4
    assert one.served == served
    emulator.apply(model(port, {BLUE: [other]}, live))
    assert state(emulator, BLUE, one) == "absent"
    emulator.apply(model(port, groups, live))  # registered again, it is a new target
    wait_state(emulator, BLUE, one, "healthy")


def test_draining_ends_at_its_timeout(emulator: LoadBalancerEmulator, port: int, backends: Backends) -> None:
    blue, _green = serving(emulator, port, backends)
    blue.delay = 1.5
    request_thread = threading.Thread(target=lambda: request(port))
    request_thread.start()
    wait_until(lambda: None if blue.served else "on its way", what="request", deadline=5)
    began = time.monotonic()
    assert emulator.drain(BLUE, *blue.target, timeout=0.4) is False
    assert time.monotonic() - began < 1.5
    request_thread.join(10)


def test_draining_an_unknown_target_is_done_at_once(emulator: LoadBalancerEmulator) -> None:
    assert emulator.drain(BLUE, "10.0.0.1", 80, timeout=60) is True


def test_health_survives_a_reload(emulator: LoadBalancerEmulator, port: int, backends: Backends) -> None:
    """A new process must not send traffic to a target that the old one knew to be unhealthy."""
    one, other = backends.start("one"), backends.start("other")
    base = model(port, {BLUE: [one, other]}, {BLUE: 100, GREEN: 0})
    emulator.apply(base)
    wait_state(emulator, BLUE, one, "healthy")
    wait_state(emulator, BLUE, other, "healthy")
    other.health_status = 500
    wait_state(emulator, BLUE, other, "unhealthy")
    listener = base.listeners[0]
    emulator.apply(replace(base, listeners=(replace(listener, rules=listener.rules[1:]),)))
    assert {request(port)[1] for _ in range(30)} == {"one"}
    assert state(emulator, BLUE, one) == "healthy"


@pytest.mark.parametrize(
    ("condition", "matching", "other"),
    [
        (Condition(kind=ConditionKind.PATH_PATTERN, values=("/api/*", "/v?")), {"path": "/v2"}, {"path": "/V2"}),
        (Condition(kind=ConditionKind.PATH_PATTERN, values=("/a.b",)), {"path": "/a.b"}, {"path": "/aXb"}),
        (Condition(kind=ConditionKind.HOST_HEADER, values=("*.example.com",)), {"Host": "A.EXAMPLE.com:80"}, {}),
        (Condition(kind=ConditionKind.HTTP_REQUEST_METHOD, values=("PUT",)), {"method": "PUT"}, {"method": "POST"}),
        (
            Condition(kind=ConditionKind.QUERY_STRING, name="color", values=("gr*",)),
            {"path": "/?x=1&color=green"},
            {"path": "/?colors=green"},
        ),
        (Condition(kind=ConditionKind.QUERY_STRING, values=("on",)), {"path": "/?a=on"}, {"path": "/?a=only"}),
        (Condition(kind=ConditionKind.HTTP_HEADER, name="X-Tier", values=("gold ring",)), {"X_Tier": "GOLD ring"}, {}),
    ],
)
def test_conditions_match_as_in_an_alb(
    emulator: LoadBalancerEmulator, port: int, condition: Condition, matching: dict[str, str], other: dict[str, str]
) -> None:
    rule = RuleModel(priority=1, conditions=(condition,), action=FixedResponse(status=418, body="matched"))
    emulator.apply(single(port, rule))
    assert request(port, **matching) == (418, "matched")
    assert request(port, **other)[0] == 503


def test_all_conditions_must_match_and_the_lowest_priority_wins(emulator: LoadBalancerEmulator, port: int) -> None:
    header = Condition(kind=ConditionKind.HTTP_HEADER, name="X-Tier", values=("gold", "silver"))
    path = Condition(kind=ConditionKind.PATH_PATTERN, values=("/shop*",))
    source = Condition(kind=ConditionKind.SOURCE_IP, values=("127.0.0.0/8",))
    both = RuleModel(priority=5, conditions=(header, path, source), action=FixedResponse(status=201))
    last = RuleModel(priority=30, conditions=(path,), action=FixedResponse(status=202))
    emulator.apply(single(port, last, both))
    assert request(port, "/shop/1", X_Tier="silver")[0] == 201
    assert request(port, "/shop/1", X_Tier="iron")[0] == 202
    assert request(port, "/other", X_Tier="gold")[0] == 503


@pytest.mark.parametrize(
    ("redirect", "path", "location"),
    [
        (Redirect(protocol="HTTPS", port="443"), "/a/b?c=d&e", "https://127.0.0.1:443/a/b?c=d&e"),
        (Redirect(protocol="HTTPS", port="443"), "/", "https://127.0.0.1:443/"),
        (Redirect(host="new.example", path="/50%/#{path}", query="from=#{host}", status=302), "/x", None),
    ],
)
def test_redirects_fill_in_the_requests_parts(
    emulator: LoadBalancerEmulator, port: int, redirect: Redirect, path: str, location: str | None
) -> None:
    emulator.apply(single(port, default=redirect))
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    expected = location or f"http://new.example:{port}/50%/x?from=127.0.0.1"
    assert answer.startswith(f"HTTP/1.1 {redirect.status} ")
    assert f"\nlocation: {expected}\r\n" in answer.lower().replace("%", "%")


def test_targets_get_the_client_address_and_health_checks_are_marked(
    emulator: LoadBalancerEmulator, port: int, backends: Backends
) -> None:
    blue, _green = serving(emulator, port, backends)
    checks = [headers for headers in blue.headers if "ELB-HealthChecker" in str(headers).replace("Elb", "ELB")]
    assert checks
    request(port)
    seen = {name.lower(): value for name, value in blue.headers[-1].items()}
    while "x-forwarded-for" not in seen:  # a check may have come last
        request(port)
        seen = {name.lower(): value for name, value in blue.headers[-1].items()}
    assert (seen["x-forwarded-for"], seen["x-forwarded-proto"], seen["x-forwarded-port"]) == (
        "127.0.0.1",
        "http",
        str(port),
    )


def test_a_refused_connection_is_retried_on_another_target(
    emulator: LoadBalancerEmulator, port: int, backends: Backends
) -> None:
    one, other = backends.start("one"), backends.start("other")
    slow = replace(CHECK, interval=60)  # a check does not detect its end in time
    forward = RuleModel(priority=1, conditions=(EVERYTHING,), action=Forward(weights={BLUE: 1}))
    targets = (one.target, other.target)
    emulator.apply(replace(single(port, forward), target_groups={BLUE: TargetGroupModel(health=slow, targets=targets)}))
    wait_state(emulator, BLUE, one, "healthy")
    wait_state(emulator, BLUE, other, "healthy")
    backends.stop(other)
    assert Counter(request(port) for _ in range(30)) == {(200, "one"): 30}


def test_applying_the_same_model_again_changes_nothing(
    emulator: LoadBalancerEmulator, port: int, backends: Backends
) -> None:
    blue, green = serving(emulator, port, backends)
    pid = process_id(emulator)
    for _ in range(5):
        emulator.apply(model(port, {BLUE: [blue], GREEN: [green]}, {BLUE: 100, GREEN: 0}))
    assert process_id(emulator) == pid
    assert state(emulator, BLUE, blue) == "healthy"


def test_without_listeners_the_port_is_closed(emulator: LoadBalancerEmulator, port: int) -> None:
    emulator.apply(model(port, {}))
    emulator.apply(LoadBalancerModel())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)
    emulator.apply(model(port, {}))
    assert request(port)[0] == 503


def test_a_killed_haproxy_is_replaced(emulator: LoadBalancerEmulator, port: int, backends: Backends) -> None:
    blue, _green = serving(emulator, port, backends)
    pid = process_id(emulator)
    emulator._haproxy._process.kill()  # type: ignore[union-attr]
    wait_until(lambda: None if emulator._haproxy.pid not in (pid, None) else "gone", what="HAProxy", deadline=5)
    assert request(port) == (200, "blue")
    assert state(emulator, BLUE, blue) == "healthy"


def counted(emulator: LoadBalancerEmulator, expected: int) -> Counter[RequestOutcome]:
    """Outcomes of so many requests, without their times."""
    found: Counter[RequestOutcome] = Counter()

    def reason() -> str | None:
        for kind, count in emulator.traffic().items():
            found[replace(kind, seconds=None if kind.seconds is None else 0.0)] += count
        return None if found.total() >= expected else f"{found.total()} are counted"

    wait_until(reason, what=f"{expected} requests to be counted", deadline=10)
    return found


def kind(port: int, **changes: Any) -> RequestOutcome:
    defaults: dict[str, Any] = {
        "port": port,
        "target_group": BLUE,
        "status": 200,
        "from_target": True,
        "by_rule": False,
        "failed_connections": 0,
        "seconds": 0.0,
    }
    return RequestOutcome(**defaults | changes)


def test_every_request_is_counted_by_its_outcome(emulator: LoadBalancerEmulator, port: int, backends: Backends) -> None:
    blue, green = serving(emulator, port, backends)
    for _ in range(3):
        request(port)
    request(port, X_Bluegreen_Preview="s3cret-green")
    blue.status = 500
    request(port)
    assert counted(emulator, 5) == {
        kind(port): 3,
        kind(port, target_group=GREEN): 1,
        kind(port, status=500): 1,
    }
    # A changed rule starts a new HAProxy, which continues the counts. Without the live rule the listener is closed.
    emulator.apply(model(port, {BLUE: [blue], GREEN: [green]}))
    request(port)
    assert counted(emulator, 1) == {
        kind(port, target_group="", status=503, from_target=False, by_rule=True, seconds=None): 1
    }


def test_a_slow_response_counts_with_its_targets_time(
    emulator: LoadBalancerEmulator, port: int, backends: Backends
) -> None:
    blue, _green = serving(emulator, port, backends)
    blue.delay = 0.2
    request(port)
    found: Counter[RequestOutcome] = Counter()
    wait_until(lambda: found.update(emulator.traffic()) or (None if found else "none"), what="its line", deadline=10)
    (slow,) = found
    assert slow.seconds is not None
    assert 0.2 <= slow.seconds < 1


def test_a_stopped_target_counts_as_a_failed_connection(
    emulator: LoadBalancerEmulator, port: int, backends: Backends
) -> None:
    blue, _green = serving(emulator, port, backends)
    backends.stop(blue)
    assert request(port)[0] == 503
    (found,) = counted(emulator, 1)
    assert (found.target_group, found.status, found.from_target, found.seconds) == (BLUE, 503, False, None)
    assert found.failed_connections >= 1


def test_a_port_in_use_is_named_and_a_retry_works(emulator: LoadBalancerEmulator, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)), pytest.raises(HAProxyError, match=rf"127.0.0.1:{port}"):
        emulator.apply(model(port, {}))
    emulator.apply(model(port, {}))
    assert request(port)[0] == 503


def test_closing_leaves_no_process(tmp_path: Path, port: int) -> None:
    emulator = LoadBalancerEmulator(tmp_path, "127.0.0.1")
    emulator.apply(model(port, {}))
    pid = process_id(emulator)
    emulator.close()
    assert processes.identify(pid) is None


KILLED_OWNER = """
import os, sys
from pathlib import Path
from rehearsal.load_balancer.emulator import LoadBalancerEmulator
from tests.rehearsal.load_balancer.test_emulator import model

emulator = LoadBalancerEmulator(Path(sys.argv[1]), "127.0.0.1")
emulator.apply(model(int(sys.argv[2]), {}))
os.kill(os.getpid(), 9)
"""


def test_a_haproxy_whose_owner_was_killed_is_stopped(tmp_path: Path, port: int) -> None:
    subprocess.run([sys.executable, "-c", KILLED_OWNER, str(tmp_path), str(port)], cwd=ROOT, check=False)
    orphan = json.loads((tmp_path / "haproxy.json").read_text())["pid"]
    assert request(port)[0] == 503
    emulator = LoadBalancerEmulator(tmp_path, "127.0.0.1")
    assert processes.identify(orphan) is None
    emulator.apply(model(port, {}))
    assert request(port)[0] == 503
    emulator.close()
