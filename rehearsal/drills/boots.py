"""Faults that meet a machine while it boots: a release goes to the color without users, and they notice nothing."""

from __future__ import annotations

from rehearsal.drills import failing_boots, recovering_boots

DRILLS = (*failing_boots.DRILLS, *recovering_boots.DRILLS)
