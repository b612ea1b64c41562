"""Faults that meet a machine while it boots: a release goes to the color without users, and they notice nothing."""

from __future__ import annotations

from rehearsal.drills import bad_boots, good_boots

DRILLS = (*bad_boots.DRILLS, *good_boots.DRILLS)
