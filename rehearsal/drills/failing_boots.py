"""Boots that must come to nothing: people are told at once, the machine is gone, and the delivery says no."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ami.boot.messages import Kind
from rehearsal.drills import releases
from rehearsal.drills.boot_record import (
    cleared_away,
    first_notice,
    require_facts,
    require_no_secret,
    timing_of,
)
from rehearsal.drills.drill import Drill, DrillError, Outcome
from rehearsal.drills.fixture import IDLE, Delivery, Scene

PROMPT_S = 5.0  # from the end of the failing step to the notification
# Above the 15 s after which the boot calls a download stalled and asks anew.
SLOW_S = 20.0
SKEW_S = 1200.0  # AWS refuses what is signed more than 15 minutes off
ASKED_DEADLINE_S = 60.0


def _nothing(_scene: Scene) -> None:
    """Nothing else is broken."""


def _usual(scene: Scene) -> str:
    return scene.ami


@dataclass(frozen=True, kw_only=True)
class BadBoot:
    """It fails at `step`, with `words` in the error that people are told.

    `publish` makes what is delivered; `disturb` is called before the delivery, `beside` once it runs; `image` makes
    the machine image. `line` must stand in the log lines that people are told.
    """

    step: str
    words: str
    line: str = ""
    publish: Callable[[Scene], str] = releases.sound
    disturb: Callable[[Scene], None] = _nothing
    beside: Callable[[Scene], None] = _nothing
    image: Callable[[Scene], str] = _usual

    def __call__(self, scene: Scene) -> Outcome:
        version, ami = self.publish(scene), self.image(scene)
        self.disturb(scene)
        delivery = scene.deliver(version, "--ami", ami)
        self.beside(scene)
        return self._watched(scene, version, delivery)

    def _watched(self, scene: Scene, version: str, delivery: Delivery) -> Outcome:
        notice = first_notice(scene, version, Kind.BOOT_FAILED)
        require_facts(notice.facts, step=self.step, words=self.words)
        require_no_secret(scene, notice)
        if not any(self.line in line for line in notice.facts["lines"]):
            raise DrillError(f"the last lines that people were told lack {self.line!r}")
        cleared = cleared_away(scene, delivery)
        timing = timing_of(scene, notice.facts)
        late = notice.at - timing.failed
        if late > PROMPT_S:
            raise DrillError(f"people were told {late:.1f} s after {self.step} failed, allowed are {PROMPT_S:g}")
        return Outcome(
            detected_by=f"boot step {self.step}",
            detected_seconds=notice.at - timing.began,
            recovered_seconds=cleared - timing.began,
            notified=True,
            note=f"told {late:.1f} s after the step failed: {notice.facts['error'][:120]}",
        )


def slow_storage(scene: Scene) -> None:
    scene.cloud.set_fault("s3", "slow", seconds=SLOW_S, color=IDLE)


def then_down(scene: Scene) -> None:
    """As soon as the machine waits for its bundle: that request is not answered in time, and all later are refused."""

    def reason() -> str | None:
        return None if any(fault["requests"] for fault in scene.cloud.faults()) else "nothing asked for an object"

    scene.until(reason, what="the machine's download", deadline=ASKED_DEADLINE_S)
    addresses = [row["address"] for row in scene.machines(IDLE)]
    scene.cloud.set_fault("s3", "down", addresses=addresses)


def clock_off(scene: Scene) -> None:
    """For what the boot reads. That a machine's own report is refused, too, is the drill on SNS."""
    for service in ("ssm", "s3"):
        scene.cloud.set_fault(service, "skewed", seconds=SKEW_S, color=IDLE)


def silent(scene: Scene) -> Outcome:
    """The machine can tell nobody itself; what it wrote into the log group reaches people through the delivery."""
    version = releases.exits_at_once(scene)
    scene.cloud.set_fault("sns", "down", color=IDLE)
    delivery = scene.deliver(version)
    notice = first_notice(scene, version, Kind.DEPLOYMENT_FAILED)
    require_no_secret(scene, notice)
    facts = notice.facts["boot_failure"] or {}
    require_facts(facts, step="ready", words="the container ended with 3")
    refused = sum(fault["requests"] for fault in scene.cloud.faults())
    told = {(one.facts.get("kind"), one.facts.get("release")) for one in scene.notices(0)}
    if not refused or (Kind.BOOT_FAILED, version) in told:
        raise DrillError("the machine's own notification was not refused: nothing was played")
    cleared = cleared_away(scene, delivery)
    began = timing_of(scene, facts).began
    return Outcome(
        detected_by="delivery",
        detected_seconds=notice.at - began,
        recovered_seconds=cleared - began,
        notified=True,
        note=f"the machine's {refused} requests to SNS were refused; the delivery told its facts from the log group",
    )


DRILLS = (
    Drill(
        fault="bundle corrupt",
        play=BadBoot(step="verify", words="the bundle's sha256 is", publish=releases.corrupt),
    ),
    Drill(fault="bundle gone", play=BadBoot(step="download", words="answered 404", publish=releases.gone)),
    Drill(
        fault="object storage slow, then down",
        play=BadBoot(step="download", words="answered 503", disturb=slow_storage, beside=then_down),
    ),
    Drill(
        fault="image build fails",
        play=BadBoot(step="image", words="no-such-file", publish=releases.unbuildable),
    ),
    Drill(
        fault="container exits at once",
        play=BadBoot(
            step="ready",
            words="the container ended with 3",
            line="connect to ***",
            publish=releases.exits_at_once,
        ),
    ),
    Drill(
        fault="container never healthy",
        play=BadBoot(step="ready", words="/health answers 503", publish=releases.never_healthy),
    ),
    Drill(
        fault="healthy but wrong release",
        play=BadBoot(step="ready", words="answers release 'v0'", publish=releases.wrong_release),
    ),
    Drill(fault="SNS down while a boot fails", play=silent),
    Drill(
        fault="disk full during unpack",
        play=BadBoot(step="unpack", words="No space left", publish=releases.big, image=releases.small_disk),
    ),
    Drill(
        fault="clock skew against a signed request",
        play=BadBoot(step="config", words="Signature expired", disturb=clock_off),
    ),
)
