"""All drills, in the order in which they are played: each module has a tuple of its own."""

from __future__ import annotations

from rehearsal.drills import bad_releases, boots, people, serving, state

DRILLS = (*boots.DRILLS, *serving.DRILLS, *bad_releases.DRILLS, *people.DRILLS, *state.DRILLS)
