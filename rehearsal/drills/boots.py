"""Boot drills: faults while an instance of the idle color boots, without effect on live traffic."""

from __future__ import annotations

from rehearsal.drills import failing_boots, recovering_boots

DRILLS = (*failing_boots.DRILLS, *recovering_boots.DRILLS)
