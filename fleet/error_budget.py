"""The error budget: how many of a release's requests may fail before it counts as bad."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Requests that were counted, and the errors among them."""

    requests: int = 0
    errors: int = 0

    def __add__(self, other: Answers) -> Answers:
        return Answers(requests=self.requests + other.requests, errors=self.errors + other.errors)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """At most this share of errors; fewer requests than the least are not judged."""

    error_rate_percent: float
    least_requests: int

    def objection(self, answers: Answers, whose: str) -> str | None:
        """Why these answers are too bad, or None."""
        # A connection that a machine refused is an error, and no request of the balancer's count.
        asked = max(answers.requests, answers.errors)
        if asked < self.least_requests:
            return None
        percent = 100 * answers.errors / asked
        if percent <= self.error_rate_percent:
            return None
        return (
            f"{answers.errors} of {asked} {whose} failed ({percent:.1f} %, allowed are {self.error_rate_percent:g} %)"
        )
