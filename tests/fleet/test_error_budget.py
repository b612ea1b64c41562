from __future__ import annotations

import pytest

from fleet.error_budget import Budget, RequestCounts

BUDGET = Budget(error_rate_percent=5, min_requests=20)


@pytest.mark.parametrize(("requests", "errors"), [(0, 0), (19, 19), (20, 1), (100, 5), (1000, 50)])
def test_few_requests_and_few_errors_are_no_reason(requests: int, errors: int) -> None:
    assert BUDGET.violation(RequestCounts(requests=requests, errors=errors), "requests") is None


@pytest.mark.parametrize(
    ("requests", "errors", "said"),
    [
        (20, 2, "2 of 20 requests failed (10.0 %, allowed are 5 %)"),
        (1000, 51, "51 of 1000 requests failed (5.1 %, allowed are 5 %)"),
        # Refused connections are no requests of the balancer's count.
        (0, 30, "30 of 30 requests failed (100.0 %, allowed are 5 %)"),
    ],
)
def test_more_errors_than_allowed_are_told_with_their_share(requests: int, errors: int, said: str) -> None:
    assert BUDGET.violation(RequestCounts(requests=requests, errors=errors), "requests") == said
