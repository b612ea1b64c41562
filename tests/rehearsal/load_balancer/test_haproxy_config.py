from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.load_balancer.haproxy_config import DRAW, BackendServer, ModelError, backend_of, render, weights_map
from rehearsal.load_balancer.model import (
    Condition,
    ConditionKind,
    FixedResponse,
    ListenerModel,
    LoadBalancerModel,
    RuleModel,
    TargetGroupModel,
)


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(min_value=0, max_value=999), min_size=1, max_size=5))
def test_weights_divide_the_range_without_gap_or_overlap(weights: dict[str, int]) -> None:
    total = sum(weights.values())
    ranges: dict[str, int] = {}
    following = 0
    for line in weights_map(weights).splitlines():
        bounds, backend = line.split()
        low, high = map(int, bounds.split(":"))
        assert low == following
        following = high + 1
        ranges[backend] = following - low
    assert following == (DRAW if total else 0)
    for arn, weight in weights.items():
        share = weight / total * DRAW if total else 0
        assert abs(ranges.get(backend_of(arn), 0) - share) <= 1
        assert (backend_of(arn) in ranges) == (weight > 0)


def test_backends_of_similar_arns_have_distinct_names() -> None:
    assert backend_of("arn:targetgroup/a/1") != backend_of("arn:targetgroup/a-1")
    assert backend_of("arn:aws:targetgroup/app-blue/0f") == backend_of("arn:aws:targetgroup/app-blue/0f")
    assert backend_of("arn:aws:targetgroup/app-blue/0f").startswith("app-blue-0f-")


def one_rule(condition: Condition) -> LoadBalancerModel:
    rule = RuleModel(priority=7, conditions=(condition,), action=FixedResponse(status=200))
    return LoadBalancerModel(
        listeners=(ListenerModel(port=80, default_action=FixedResponse(status=503), rules=(rule,)),)
    )


@pytest.mark.parametrize("name", ["", "X Y", "X)(Y", "X" * 41, "X\n"])
def test_an_invalid_header_name_is_refused(name: str) -> None:
    condition = Condition(kind=ConditionKind.HTTP_HEADER, name=name, values=("x",))
    with pytest.raises(ModelError, match="allowed are 1 to 40 characters of an HTTP token"):
        render(one_rule(condition), bind="127.0.0.1", servers=[], socket="a.sock")


def test_a_value_can_not_end_its_line() -> None:
    condition = Condition(kind=ConditionKind.PATH_PATTERN, values=("/x\n/y",))
    with pytest.raises(ModelError, match="a line break can't stand"):
        render(one_rule(condition), bind="127.0.0.1", servers=[], socket="a.sock")


def test_the_same_model_gives_the_same_text() -> None:
    model = LoadBalancerModel(target_groups={"arn:targetgroup/a/1": TargetGroupModel(targets=(("10.64.0.5", 8080),))})
    server = BackendServer(backend=backend_of("arn:targetgroup/a/1"), name="s", address="10.64.0.5", port=8080)
    first = render(model, bind="127.0.0.1", servers=[server], socket="a.sock")
    assert first == render(model, bind="127.0.0.1", servers=[server], socket="a.sock")
    assert "  server s 10.64.0.5:8080 check inter 30000ms rise 3 fall 2 pool-purge-delay 1s\n" in first.main
