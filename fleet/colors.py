"""The two colors a stack delivers to, as one closed vocabulary."""

from __future__ import annotations

from enum import StrEnum

# The whole weight of the live rule, in percent, shared by the colors.
ALL_USERS = 100


class Color(StrEnum):
    """One of the two fleets behind the load balancer; users are served by one, the next release waits on the other."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Color:
        return Color.GREEN if self is Color.BLUE else Color.BLUE
