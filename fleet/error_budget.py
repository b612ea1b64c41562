"""Error budget: the error rate above which a release counts as bad."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RequestCounts:
    """Numbers of requests and of errors among them."""

    requests: int = 0
    errors: int = 0

    def __add__(self, other: RequestCounts) -> RequestCounts:
        return RequestCounts(requests=self.requests + other.requests, errors=self.errors + other.errors)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The allowed error rate; fewer than `min_requests` never exceed it."""

    error_rate_percent: float
    min_requests: int

    def violation(self, counts: RequestCounts, noun: str) -> str | None:
        """Why the error rate of these requests is too high, or None; `noun` names them."""
        # A refused connection is an error, but not in the load balancer's RequestCount.
        total = max(counts.requests, counts.errors)
        if total < self.min_requests:
            return None
        percent = 100 * counts.errors / total
        if percent <= self.error_rate_percent:
            return None
        return f"{counts.errors} of {total} {noun} failed ({percent:.1f} %, allowed are {self.error_rate_percent:g} %)"
