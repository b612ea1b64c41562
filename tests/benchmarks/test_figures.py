from __future__ import annotations

from typing import Any

import pytest

from benchmarks.boot_overhead import figure
from benchmarks.figures import Figure


def test_a_figure_below_its_limit_is_fine() -> None:
    kept = Figure(name="ratio", value=1.9, unit="x", limit=2.0)
    assert (kept.exceeded, kept.as_json()["ok"]) == (None, True)


@pytest.mark.parametrize(("value", "over"), [(2.0, "0.00"), (2.5, "0.50")])
def test_a_missed_limit_says_which_and_by_how_much(value: float, over: str) -> None:
    exceeded = Figure(name="ratio", value=value, unit="x", limit=2.0)
    assert exceeded.exceeded == f"ratio: {value:.2f} x, {over} over the limit of 2 x"
    assert exceeded.as_json()["ok"] is False


def test_the_overhead_is_the_difference_of_the_medians() -> None:
    boots: list[dict[str, Any]] = [{"image": 1.0, "seconds": seconds} for seconds in (3.0, 4.0, 9.0)]
    found = figure(boots, [{"ready": 0.5, "seconds": seconds} for seconds in (2.0, 2.5, 3.5)])
    assert (found.value, found.parts["ratio"]) == (1.5, 1.6)
    assert found.parts["boot"] == {"image": 1.0, "seconds": 4.0}
    assert found.exceeded is not None
