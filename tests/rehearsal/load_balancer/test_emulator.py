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
from rehearsal.load_balancer.access_log import Answered
from rehearsal.load_balancer.emulator import FrontDoor
from rehearsal.load_balancer.haproxy import HAProxyError
from rehearsal.load_balancer.model import (
    NOT_REGISTERED,
    Action,
    BalancerModel,
    Condition,
    ConditionKind,
    FixedResponse,
    Forward,
    HealthCheck,
    Listener,
    Redirect,
    Rule,
    TargetGroup,
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
def door(tmp_path: Path) -> Iterator[FrontDoor]:
    opened = FrontDoor(tmp_path / "door", "127.0.0.1")
    yield opened
    opened.close()


def preview(color: str, arn: str, other: str, priority: int) -> Rule:
    condition = Condition(kind=ConditionKind.HTTP_HEADER, name=HEADER, values=(f"s3cret-{color}",))
    return Rule(priority=priority, conditions=(condition,), action=Forward(weights={arn: 100, other: 0}))


def model(port: int, groups: Mapping[str, list[Backend]], weights: Mapping[str, int] | None = None) -> BalancerModel:
    """The listener as the program declares it: closed by default, two preview rules, and the live rule."""
    rules = [preview("blue", BLUE, GREEN, 10), preview("green", GREEN, BLUE, 11)]
    if weights:
        rules.append(Rule(priority=100, conditions=(EVERYTHING,), action=Forward(weights=weights)))
    targets = {
        arn: TargetGroup(health=CHECK, targets=tuple(one.target for one in held), deregistration_delay=5)
        for arn, held in groups.items()
    }
    return BalancerModel(
        listeners=(Listener(port=port, default_action=CLOSED, rules=tuple(rules)),),
        target_groups={BLUE: TargetGroup(health=CHECK), GREEN: TargetGroup(health=CHECK), **targets},
    )


def single(port: int, *rules: Rule, default: Action = CLOSED, targets: tuple[Backend, ...] = ()) -> BalancerModel:
    group = TargetGroup(health=CHECK, targets=tuple(one.target for one in targets))
    return BalancerModel(
        listeners=(Listener(port=port, default_action=default, rules=rules),), target_groups={BLUE: group}
    )


def ask(port: int, path: str = "/", *, method: str = "GET", **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def state(door: FrontDoor, arn: str, backend: Backend) -> str:
    health = door.health().get((arn, *backend.target))
    return "absent" if health is None else health.state.value


def wait_state(door: FrontDoor, arn: str, backend: Backend, wanted: str) -> TargetHealth:
    def reason() -> str | None:
        now = state(door, arn, backend)
        return None if now == wanted else f"{backend.color} is {now}"

    wait_until(reason, what=f"target to be {wanted}", deadline=10)
    return door.health().get((arn, *backend.target), NOT_REGISTERED)


def serving(door: FrontDoor, port: int, backends: Backends) -> tuple[Backend, Backend]:
    """Blue and green with one healthy target each; blue has the users."""
    blue, green = backends.start("blue", "v1"), backends.start("green", "v2")
    door.apply(model(port, {BLUE: [blue], GREEN: [green]}, {BLUE: 100, GREEN: 0}))
    wait_state(door, BLUE, blue, "healthy")
    wait_state(door, GREEN, green, "healthy")
    return blue, green


def test_before_the_first_release_the_listener_is_closed(door: FrontDoor, port: int) -> None:
    door.apply(model(port, {}))
    assert ask(port) == (503, "no release is live\n")


def test_weights_choose_and_the_preview_header_passes_them(door: FrontDoor, port: int, backends: Backends) -> None:
    serving(door, port, backends)
    assert {ask(port)[1] for _ in range(20)} == {"blue"}
    assert ask(port, X_Bluegreen_Preview="s3cret-green") == (200, "green")
    assert ask(port, X_Bluegreen_Preview="s3cret-blue") == (200, "blue")
    assert ask(port, X_Bluegreen_Preview="guess-green") == (200, "blue")


def test_a_canary_gets_its_share(door: FrontDoor, port: int, backends: Backends) -> None:
    blue, green = serving(door, port, backends)
    door.apply(model(port, {BLUE: [blue], GREEN: [green]}, {BLUE: 80, GREEN: 20}))
    seen = Counter(ask(port)[1] for _ in range(400))
    # 400 draws at 20 %: 80 expected, and 40 to 120 is five standard deviations.
    assert 40 < seen["green"] < 120
    assert seen["blue"] + seen["green"] == 400


def test_all_weights_zero_reach_nobody(door: FrontDoor, port: int, backends: Backends) -> None:
    blue, green = serving(door, port, backends)
    door.apply(model(port, {BLUE: [blue], GREEN: [green]}, {BLUE: 0, GREEN: 0}))
    assert ask(port)[0] == 503
    assert blue.served + green.served == 0


def under_load(port: int, out: Path, rate: int, act: Callable[[], None]) -> tuple[dict[str, Any], RequestLog]:
    """The load's summary and log, with something done meanwhile."""
    with load_process(f"http://127.0.0.1:{port}", out, "--rate", str(rate)) as process:
        wait_until(lambda: request_log.objection(out), what="the load generator", deadline=10)
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


def test_twenty_flips_under_load_lose_nothing_and_count_exactly(
    door: FrontDoor, port: int, backends: Backends, tmp_path: Path
) -> None:
    blue, green = serving(door, port, backends)
    groups = {BLUE: [blue], GREEN: [green]}
    flips: list[tuple[float, float, str]] = []
    out = tmp_path / "load"

    def flip() -> None:
        for number in range(20):
            to_green = number % 2 == 0
            began = time.time()
            door.apply(model(port, groups, {BLUE: 0, GREEN: 100} if to_green else {BLUE: 100, GREEN: 0}))
            flips.append((began, time.time(), "v2" if to_green else "v1"))
            wait_more(out, 30)

    pids = {process_id(door)}
    summary, log = under_load(port, out, 500, flip)
    assert summary["failed"] == 0, summary["failures"]
    assert summary["requests"] == blue.served + green.served > 600
    assert summary["releases"] == {"v1": blue.served, "v2": green.served}
    assert {process_id(door)} == pids  # weights need no new process
    for (_, flipped, release), (following, _, _) in zip(flips, [*flips[1:], (time.time(), 0.0, "")], strict=True):
        between = [one for one in log.requests if one.due > flipped + 0.005 and one.answered < following]
        late = [one for one in between if one.release != release]
        assert not late, f"{len(late)} requests went to the old color more than 5 ms after the flip to {release}"


def process_id(door: FrontDoor) -> int:
    assert door._haproxy.pid is not None
    return door._haproxy.pid


def test_targets_come_and_go_under_load_without_loss(
    door: FrontDoor, port: int, backends: Backends, tmp_path: Path
) -> None:
    first = backends.start("first")
    live = {BLUE: 100, GREEN: 0}
    door.apply(model(port, {BLUE: [first]}, live))
    wait_state(door, BLUE, first, "healthy")
    added = [backends.start(f"added-{number}") for number in range(4)]
    pid = process_id(door)

    def come_and_go() -> None:
        for backend in added:
            door.apply(model(port, {BLUE: [first, backend]}, live))
            wait_state(door, BLUE, backend, "healthy")
            wait_served(backend, 1)
            door.apply(model(port, {BLUE: [first]}, live))
            wait_state(door, BLUE, backend, "absent")
            backends.stop(backend)

    summary, _log = under_load(port, tmp_path / "load", 400, come_and_go)
    assert summary["failed"] == 0, summary["failures"]
    assert summary["requests"] == sum(one.served for one in [first, *added])
    assert process_id(door) == pid


def test_reloads_for_new_rules_under_load_lose_nothing(
    door: FrontDoor, port: int, backends: Backends, tmp_path: Path
) -> None:
    blue, green = serving(door, port, backends)
    groups = {BLUE: [blue], GREEN: [green]}
    base = model(port, groups, {BLUE: 50, GREEN: 50})
    listener = base.listeners[0]
    out, pids = tmp_path / "load", set()

    def reload() -> None:
        for number in range(6):
            condition = Condition(kind=ConditionKind.PATH_PATTERN, values=(f"/closed-{number}",))
            extra = Rule(priority=50, conditions=(condition,), action=FixedResponse(status=410))
            changed = replace(listener, rules=(*listener.rules, extra))
            door.apply(replace(base, listeners=(changed,)))
            assert ask(port, f"/closed-{number}")[0] == 410
            pids.add(process_id(door))
            wait_more(out, 40)

    summary, _log = under_load(port, out, 400, reload)
    assert len(pids) == 6
    assert summary["failed"] == 0, summary["failures"]
    assert summary["requests"] == blue.served + green.served


def test_a_new_target_gets_nothing_before_its_first_passed_check(
    door: FrontDoor, port: int, backends: Backends
) -> None:
    ready, late = backends.start("ready"), backends.start("late")
    late.health_status = 503
    live = {BLUE: 100, GREEN: 0}
    door.apply(model(port, {BLUE: [ready]}, live))
    wait_state(door, BLUE, ready, "healthy")
    door.apply(model(port, {BLUE: [ready, late]}, live))
    assert door.health()[(BLUE, *late.target)].reason == "Elb.InitialHealthChecking"
    wait_until(lambda: None if late.paths["/health"] else "no check", what="a check", deadline=5)
    assert {ask(port)[1] for _ in range(30)} == {"ready"}
    assert late.served == 0
    assert wait_state(door, BLUE, late, "unhealthy").reason == "Target.ResponseCodeMismatch"
    late.health_status = 200
    wait_state(door, BLUE, late, "healthy")
    assert {ask(port)[1] for _ in range(30)} == {"ready", "late"}


def test_an_unhealthy_target_is_left_out_until_it_passed_often_enough(
    door: FrontDoor, port: int, backends: Backends
) -> None:
    one, other = backends.start("one"), backends.start("other")
    door.apply(model(port, {BLUE: [one, other]}, {BLUE: 100, GREEN: 0}))
    wait_state(door, BLUE, one, "healthy")
    wait_state(door, BLUE, other, "healthy")
    checks = other.paths["/health"]
    other.health_status = 500
    health = wait_state(door, BLUE, other, "unhealthy")
    assert other.paths["/health"] >= checks + CHECK.unhealthy_threshold
    assert health.description == "Health checks failed with these codes: [500]"
    assert {ask(port)[1] for _ in range(20)} == {"one"}
    checks = other.paths["/health"]
    other.health_status = 204
    wait_state(door, BLUE, other, "healthy")
    assert other.paths["/health"] >= checks + CHECK.healthy_threshold
    assert {ask(port)[1] for _ in range(20)} == {"one", "other"}


def test_a_group_whose_targets_all_fail_is_open(door: FrontDoor, port: int, backends: Backends) -> None:
    """ALB's rule, and the reason why a flip needs a gate."""
    blue, green = serving(door, port, backends)
    green.health_status = 503
    green.status = 500
    wait_state(door, GREEN, green, "unhealthy")
    door.apply(model(port, {BLUE: [blue], GREEN: [green]}, {BLUE: 0, GREEN: 100}))
    assert ask(port) == (500, "green")


def test_a_group_without_targets_answers_503(door: FrontDoor, port: int, backends: Backends) -> None:
    blue, _green = serving(door, port, backends)
    door.apply(model(port, {BLUE: [blue]}, {BLUE: 0, GREEN: 100}))
    assert ask(port)[0] == 503


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        ("status", "Target.ResponseCodeMismatch"),
        ("slow", "Target.Timeout"),
        ("refused", "Target.FailedHealthChecks"),
        ("dropped", "Target.FailedHealthChecks"),
    ],
)
def test_reasons_are_the_balancers_own(
    door: FrontDoor, port: int, backends: Backends, break_it: str, reason: str
) -> None:
    blue, _green = serving(door, port, backends)
    match break_it:
        case "status":
            blue.health_status = 302
        case "slow":
            blue.health_delay = 5
        case "refused":
            backends.stop(blue)
        case "dropped":
            blue.drop = True
    assert wait_state(door, BLUE, blue, "unhealthy").reason == reason


def test_targets_of_a_group_that_no_rule_names_are_unused(door: FrontDoor, port: int, backends: Backends) -> None:
    blue = backends.start("blue")
    door.apply(single(port, targets=(blue,)))
    health = door.health()[(BLUE, *blue.target)]
    assert (health.state, health.reason) == ("unused", "Target.NotInUse")
    forward = Rule(priority=1, conditions=(EVERYTHING,), action=Forward(weights={BLUE: 1}))
    door.apply(single(port, forward, targets=(blue,)))
    wait_state(door, BLUE, blue, "healthy")
    door.apply(single(port, targets=(blue,)))
    assert state(door, BLUE, blue) == "unused"


def test_a_group_with_weight_zero_is_checked_all_the_same(door: FrontDoor, port: int, backends: Backends) -> None:
    green = backends.start("green")
    door.apply(model(port, {GREEN: [green]}))
    wait_state(door, GREEN, green, "healthy")


def test_draining_sends_no_more_and_waits_for_the_last_answer(door: FrontDoor, port: int, backends: Backends) -> None:
    one, other = backends.start("one"), backends.start("other")
    groups, live = {BLUE: [one, other]}, {BLUE: 100, GREEN: 0}
    door.apply(model(port, groups, live))
    wait_state(door, BLUE, one, "healthy")
    wait_state(door, BLUE, other, "healthy")
    one.delay = other.delay = 1.0
    answers: list[tuple[int, str]] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(port))) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: None if one.served + other.served == 4 else "on their way", what="requests", deadline=5)
    served = one.served
    began = time.monotonic()
    assert served > 0
    drained: list[bool] = []
    drainer = threading.Thread(target=lambda: drained.append(door.drain(BLUE, *one.target, timeout=10)))
    drainer.start()
    wait_state(door, BLUE, one, "draining")
    assert door.health()[(BLUE, *one.target)].reason == "Target.DeregistrationInProgress"
    other.delay = 0
    assert {ask(port)[1] for _ in range(10)} == {"other"}
    drainer.join(20)
    assert drained == [True]
    assert time.monotonic() - began > 0.5
    for thread in threads:
        thread.join(10)
    assert [status for status, _ in answers] == [200] * 4
    assert one.served == served
    door.apply(model(port, {BLUE: [other]}, live))
    assert state(door, BLUE, one) == "absent"
    door.apply(model(port, groups, live))  # registered anew, it is new again
    wait_state(door, BLUE, one, "healthy")


def test_draining_ends_at_its_timeout(door: FrontDoor, port: int, backends: Backends) -> None:
    blue, _green = serving(door, port, backends)
    blue.delay = 1.5
    asking = threading.Thread(target=lambda: ask(port))
    asking.start()
    wait_until(lambda: None if blue.served else "on its way", what="request", deadline=5)
    began = time.monotonic()
    assert door.drain(BLUE, *blue.target, timeout=0.4) is False
    assert time.monotonic() - began < 1.5
    asking.join(10)


def test_draining_an_unknown_target_is_done_at_once(door: FrontDoor) -> None:
    assert door.drain(BLUE, "10.0.0.1", 80, timeout=60) is True


def test_health_survives_a_reload(door: FrontDoor, port: int, backends: Backends) -> None:
    """A new process must not send users to a target that the old one knew to be unhealthy."""
    one, other = backends.start("one"), backends.start("other")
    base = model(port, {BLUE: [one, other]}, {BLUE: 100, GREEN: 0})
    door.apply(base)
    wait_state(door, BLUE, one, "healthy")
    wait_state(door, BLUE, other, "healthy")
    other.health_status = 500
    wait_state(door, BLUE, other, "unhealthy")
    listener = base.listeners[0]
    door.apply(replace(base, listeners=(replace(listener, rules=listener.rules[1:]),)))
    assert {ask(port)[1] for _ in range(30)} == {"one"}
    assert state(door, BLUE, one) == "healthy"


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
def test_conditions_match_as_the_balancers_do(
    door: FrontDoor, port: int, condition: Condition, matching: dict[str, str], other: dict[str, str]
) -> None:
    rule = Rule(priority=1, conditions=(condition,), action=FixedResponse(status=418, body="matched"))
    door.apply(single(port, rule))
    assert ask(port, **matching) == (418, "matched")
    assert ask(port, **other)[0] == 503


def test_all_conditions_have_to_hold_and_lower_priority_comes_first(door: FrontDoor, port: int) -> None:
    header = Condition(kind=ConditionKind.HTTP_HEADER, name="X-Tier", values=("gold", "silver"))
    path = Condition(kind=ConditionKind.PATH_PATTERN, values=("/shop*",))
    source = Condition(kind=ConditionKind.SOURCE_IP, values=("127.0.0.0/8",))
    both = Rule(priority=5, conditions=(header, path, source), action=FixedResponse(status=201))
    last = Rule(priority=30, conditions=(path,), action=FixedResponse(status=202))
    door.apply(single(port, last, both))
    assert ask(port, "/shop/1", X_Tier="silver")[0] == 201
    assert ask(port, "/shop/1", X_Tier="iron")[0] == 202
    assert ask(port, "/other", X_Tier="gold")[0] == 503


@pytest.mark.parametrize(
    ("redirect", "path", "location"),
    [
        (Redirect(protocol="HTTPS", port="443"), "/a/b?c=d&e", "https://127.0.0.1:443/a/b?c=d&e"),
        (Redirect(protocol="HTTPS", port="443"), "/", "https://127.0.0.1:443/"),
        (Redirect(host="new.example", path="/50%/#{path}", query="from=#{host}", status=302), "/x", None),
    ],
)
def test_redirects_fill_in_the_requests_parts(
    door: FrontDoor, port: int, redirect: Redirect, path: str, location: str | None
) -> None:
    door.apply(single(port, default=redirect))
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    expected = location or f"http://new.example:{port}/50%/x?from=127.0.0.1"
    assert answer.startswith(f"HTTP/1.1 {redirect.status} ")
    assert f"\nlocation: {expected}\r\n" in answer.lower().replace("%", "%")


def test_targets_see_who_asks_and_the_checks_say_what_they_are(door: FrontDoor, port: int, backends: Backends) -> None:
    blue, _green = serving(door, port, backends)
    checks = [headers for headers in blue.headers if "ELB-HealthChecker" in str(headers).replace("Elb", "ELB")]
    assert checks
    ask(port)
    seen = {name.lower(): value for name, value in blue.headers[-1].items()}
    while "x-forwarded-for" not in seen:  # a check may have come last
        ask(port)
        seen = {name.lower(): value for name, value in blue.headers[-1].items()}
    assert (seen["x-forwarded-for"], seen["x-forwarded-proto"], seen["x-forwarded-port"]) == (
        "127.0.0.1",
        "http",
        str(port),
    )


def test_a_refused_connection_is_tried_on_the_other_target(door: FrontDoor, port: int, backends: Backends) -> None:
    one, other = backends.start("one"), backends.start("other")
    slow = replace(CHECK, interval=60)  # its end is not noticed by a check
    forward = Rule(priority=1, conditions=(EVERYTHING,), action=Forward(weights={BLUE: 1}))
    targets = (one.target, other.target)
    door.apply(replace(single(port, forward), target_groups={BLUE: TargetGroup(health=slow, targets=targets)}))
    wait_state(door, BLUE, one, "healthy")
    wait_state(door, BLUE, other, "healthy")
    backends.stop(other)
    assert Counter(ask(port) for _ in range(30)) == {(200, "one"): 30}


def test_applying_the_same_model_again_changes_nothing(door: FrontDoor, port: int, backends: Backends) -> None:
    blue, green = serving(door, port, backends)
    pid = process_id(door)
    for _ in range(5):
        door.apply(model(port, {BLUE: [blue], GREEN: [green]}, {BLUE: 100, GREEN: 0}))
    assert process_id(door) == pid
    assert state(door, BLUE, blue) == "healthy"


def test_without_listeners_nobody_listens(door: FrontDoor, port: int) -> None:
    door.apply(model(port, {}))
    door.apply(BalancerModel())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)
    door.apply(model(port, {}))
    assert ask(port)[0] == 503


def test_a_killed_haproxy_is_replaced(door: FrontDoor, port: int, backends: Backends) -> None:
    blue, _green = serving(door, port, backends)
    pid = process_id(door)
    door._haproxy._process.kill()  # type: ignore[union-attr]
    wait_until(lambda: None if door._haproxy.pid not in (pid, None) else "gone", what="HAProxy", deadline=5)
    assert ask(port) == (200, "blue")
    assert state(door, BLUE, blue) == "healthy"


def counted(door: FrontDoor, wanted: int) -> Counter[Answered]:
    """The kinds of so many requests; their times, which differ, are left out."""
    found: Counter[Answered] = Counter()

    def reason() -> str | None:
        for kind, count in door.traffic().items():
            found[replace(kind, seconds=None if kind.seconds is None else 0.0)] += count
        return None if found.total() >= wanted else f"{found.total()} are counted"

    wait_until(reason, what=f"{wanted} requests to be counted", deadline=10)
    return found


def kind(port: int, **changes: Any) -> Answered:
    given: dict[str, Any] = {
        "port": port,
        "target_group": BLUE,
        "status": 200,
        "by_target": True,
        "ordered": False,
        "failed_connections": 0,
        "seconds": 0.0,
    }
    return Answered(**given | changes)


def test_every_request_is_counted_for_whoever_answered_it(door: FrontDoor, port: int, backends: Backends) -> None:
    blue, green = serving(door, port, backends)
    for _ in range(3):
        ask(port)
    ask(port, X_Bluegreen_Preview="s3cret-green")
    blue.status = 500
    ask(port)
    assert counted(door, 5) == {
        kind(port): 3,
        kind(port, target_group=GREEN): 1,
        kind(port, status=500): 1,
    }
    # Another rule: a new HAProxy takes over, and goes on counting. Without the live rule the listener is closed.
    door.apply(model(port, {BLUE: [blue], GREEN: [green]}))
    ask(port)
    assert counted(door, 1) == {kind(port, target_group="", status=503, by_target=False, ordered=True, seconds=None): 1}


def test_a_slow_answer_counts_with_the_time_that_its_target_took(
    door: FrontDoor, port: int, backends: Backends
) -> None:
    blue, _green = serving(door, port, backends)
    blue.delay = 0.2
    ask(port)
    found: Counter[Answered] = Counter()
    wait_until(lambda: found.update(door.traffic()) or (None if found else "none"), what="its line", deadline=10)
    (slow,) = found
    assert slow.seconds is not None
    assert 0.2 <= slow.seconds < 1


def test_a_target_that_is_gone_is_counted_as_a_connection_that_failed(
    door: FrontDoor, port: int, backends: Backends
) -> None:
    blue, _green = serving(door, port, backends)
    backends.stop(blue)
    assert ask(port)[0] == 503
    (found,) = counted(door, 1)
    assert (found.target_group, found.status, found.by_target, found.seconds) == (BLUE, 503, False, None)
    assert found.failed_connections >= 1


def test_a_taken_port_is_named_and_the_next_try_works(door: FrontDoor, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)), pytest.raises(HAProxyError, match=rf"127.0.0.1:{port}"):
        door.apply(model(port, {}))
    door.apply(model(port, {}))
    assert ask(port)[0] == 503


def test_closing_leaves_no_process(tmp_path: Path, port: int) -> None:
    door = FrontDoor(tmp_path, "127.0.0.1")
    door.apply(model(port, {}))
    pid = process_id(door)
    door.close()
    assert processes.identify(pid) is None


KILLED_OWNER = """
import os, sys
from pathlib import Path
from rehearsal.load_balancer.emulator import FrontDoor
from tests.rehearsal.load_balancer.test_emulator import model

door = FrontDoor(Path(sys.argv[1]), "127.0.0.1")
door.apply(model(int(sys.argv[2]), {}))
os.kill(os.getpid(), 9)
"""


def test_a_predecessor_whose_owner_was_killed_is_ended(tmp_path: Path, port: int) -> None:
    subprocess.run([sys.executable, "-c", KILLED_OWNER, str(tmp_path), str(port)], cwd=ROOT, check=False)
    orphan = json.loads((tmp_path / "haproxy.json").read_text())["pid"]
    assert ask(port)[0] == 503
    door = FrontDoor(tmp_path, "127.0.0.1")
    assert processes.identify(orphan) is None
    door.apply(model(port, {}))
    assert ask(port)[0] == 503
    door.close()
