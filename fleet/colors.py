"""The two colors of a stack, blue and green."""

from __future__ import annotations

from enum import StrEnum

# Sum of the live rule's weights, in percent.
ALL_TRAFFIC = 100


class Color(StrEnum):
    """One of the two fleets behind the load balancer: one is live, the other idle until the next release."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Color:
        return Color.GREEN if self is Color.BLUE else Color.BLUE
