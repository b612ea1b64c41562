"""Releases that are good until users come: what notices, who takes the users away, and what they met."""

from __future__ import annotations

import time

from ami.boot import messages
from rehearsal.drills import releases
from rehearsal.drills.drill import Drill, DrillError, Outcome
from rehearsal.drills.failing_boots import PROMPT_S
from rehearsal.drills.fixture import IDLE, Scene
from rehearsal.drills.live_traffic import WHOLE_DEADLINE_S, on_green, told_of
from rehearsal.drills.notification import Notice
from scripts.exits import Exit

SHARE, SHARE_BAKE, BAKE = "5", "40", "40"
SHARE_BAD = 0.01  # of all requests, while the share is 5 %
BACK_WITHIN_S = 20.0
# The app alone takes some 60 MB, and leaks some 6 MB a second here: its cutover is over before it is killed.
ROOM = "176m"
KILLED = "137"


def unsteady_release(scene: Scene) -> Outcome:
    """First with a share of the users, then with all of them: either way it loses them by itself."""
    version = releases.unsteady(scene)
    with on_green(scene, version):
        shared = time.time()
        _turned_back(scene, "canary", SHARE, "--bake", SHARE_BAKE)
        share = scene.users.log().between(shared, time.time())
        if share.failed > SHARE_BAD * share.requests:
            raise DrillError(f"with {SHARE} % of the users, {share.failed} of {share.requests} requests were bad")
        flipped = time.time()
        _turned_back(scene, "cutover", IDLE, "--bake", BAKE)
        return _account(scene, version, flipped, f"{share.failed} of {share.requests} with {SHARE} % of the users")


def _turned_back(scene: Scene, script: str, *args: str) -> None:
    answer = scene.stage.script(script, *args, may_fail=True)
    if answer.exit_code != Exit.TURNED_BACK:
        raise DrillError(f"{script} ended with exit code {answer.exit_code}, not {Exit.TURNED_BACK}: {answer.reason}")


def _account(scene: Scene, version: str, flipped: float, share: str) -> Outcome:
    """By what users met: from the release's first bad answer to its last one of any kind."""
    log = scene.users.log()
    own = [one for one in log.requests if one.release == version and one.due >= flipped]
    bad = [one for one in own if one.error]
    if not bad:
        raise DrillError(f"users met no bad answer of {version}: nothing was played")
    first, last = min(one.answered for one in bad), max(one.answered for one in own)
    told = [one for one in scene.notices(flipped) if one.facts.get("outcome") == messages.Outcome.ROLLED_BACK]
    if not told:
        raise DrillError(f"nobody was told that {version} lost its users")
    return Outcome(
        detected_by="cutover's watch",
        detected_seconds=max(0.0, objected(told[0]) - first),
        recovered_seconds=last - first,
        notified=True,
        note=f"bad: {share}; {len(bad)} with all. {told[0].facts.get('reason', '')}",
    )


def objected(notice: Notice) -> float:
    """When (epoch seconds) the watch had seen enough: its stage is the look and then the way back, and people hear."""
    figures = notice.facts.get("figures", {})
    stage = figures.get("stages", {}).get("bake", 0.0)
    return notice.at - max(0.0, float(stage) - float(figures.get("bake_seconds", stage)))


def leaking_release(scene: Scene) -> Outcome:
    """One machine's memory ends before the other's: the kernel kills the app, Docker starts it anew.

    The fault begins as the users come.
    """
    with on_green(scene, releases.leaking(scene)):
        machine = str(scene.machines(IDLE)[0]["instance"])
        scene.inside(machine, "docker", "update", "--memory", ROOM, "--memory-swap", ROOM, "app")
        scene.stage.script("cutover", IDLE)
        since = time.time()
        ended = _killed(scene, machine, since)
        recovered = scene.until(
            lambda: None if _starts(scene, machine) else "Docker has not started the app again",
            what="the app's next start",
            deadline=WHOLE_DEADLINE_S,
        )
        told = told_of(scene, machine, messages.Kind.APP_EXITED, since=since)
        late = told.at - ended
        if late > PROMPT_S or str(told.facts["exit_code"]) != KILLED:
            raise DrillError(f"told {late:.1f} s after the kill, allowed are {PROMPT_S:g}: {told.facts['error']}")
        scene.stage.script("rollback")
    return Outcome(
        detected_by="Docker: the app ended with 137",
        detected_seconds=ended - since,
        recovered_seconds=recovered - since,
        notified=True,
        note=f"started again by Docker {recovered - ended:.1f} s after the kill at {ROOM}, then rolled back; "
        f"told {late:.1f} s after it: {told.facts['error'][:160]}",
    )


def _starts(scene: Scene, machine: str) -> int:
    return int(scene.inside(machine, "docker", "inspect", "--format", "{{.RestartCount}}", "app"))


def _killed(scene: Scene, machine: str, since: float) -> float:
    """When the kernel killed the app, by Docker's own events."""
    found: list[float] = []

    def reason() -> str | None:
        window = ("--since", str(int(since)), "--until", str(int(time.time()) + 1))
        form = '{{.TimeNano}} {{index .Actor.Attributes "exitCode"}}'
        lines = scene.inside(machine, "docker", "events", *window, "--filter", "event=die", "--format", form)
        found[:] = [int(line.split()[0]) / 1e9 for line in lines.splitlines() if line.split()[-1] == KILLED]
        return None if found else "the app still runs"

    scene.until(reason, what="the app to be killed for its memory", deadline=WHOLE_DEADLINE_S)
    return found[0]


DRILLS = (
    Drill(
        fault="release that answers 500 to one request in ten only under load",
        play=unsteady_release,
        deadline=240.0,
        bad_share=0.05,
        recovered_within=BACK_WITHIN_S,
    ),
    Drill(fault="release that leaks memory until killed", play=leaking_release, deadline=240.0),
)
