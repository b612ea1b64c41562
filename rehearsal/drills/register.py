"""All drills, in the order in which they are played: each module has a tuple of its own."""

from __future__ import annotations

from rehearsal.drills import boots

DRILLS = (*boots.DRILLS,)
