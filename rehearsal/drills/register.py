"""All drills, in the order in which they run."""

from __future__ import annotations

from rehearsal.drills import bad_releases, boots, live_traffic, operators, state

DRILLS = (*boots.DRILLS, *live_traffic.DRILLS, *bad_releases.DRILLS, *operators.DRILLS, *state.DRILLS)
