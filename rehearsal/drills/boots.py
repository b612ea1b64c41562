"""Faults that meet a machine while it boots: a release goes to the color without users, and they notice nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rehearsal.drills.drill import Drill, DrillError, Outcome
from rehearsal.drills.inbox import Notice
from rehearsal.drills.scene import IDLE, Delivery, Scene
from scripts.releases import bundle_key

PROMPT_S = 5.0  # from the end of the failing step to the notification
NOTICED_DEADLINE_S, CLEARED_DEADLINE_S = 80.0, 60.0
FACTS = ("step", "error", "instance", "release", "color", "stack", "timings", "log_tail")


@dataclass(frozen=True, kw_only=True)
class BrokenBoot:
    """A boot that must come to nothing at `step`, with `words` in the error that people are told."""

    step: str
    words: str
    prepare: Callable[[Scene], str]
    """Publishes what is to be delivered, and breaks it; its version."""

    def __call__(self, scene: Scene) -> Outcome:
        version = self.prepare(scene)
        delivery = scene.deliver(version)
        notice = boot_notice(scene, version)
        timing = timing_of(scene, notice)
        require_facts(scene, notice, step=self.step, words=self.words)
        if (late := notice.at - timing.failed) > PROMPT_S:
            raise DrillError(
                f"people were told {late:.1f} s after the step {self.step} failed, allowed are {PROMPT_S:g}"
            )
        cleared = cleared_away(scene, delivery)
        return Outcome(
            detected_by=f"boot step {self.step}",
            detected_seconds=notice.at - timing.began,
            recovered_seconds=cleared - timing.began,
            notified=True,
            note=f"told {late:.1f} s after the step failed: {notice.facts['error'][:120]}",
        )


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Of the step that failed, in seconds since the epoch, by the machine's own record."""

    began: float
    failed: float


def boot_notice(scene: Scene, version: str) -> Notice:
    """The first that a machine of this release sends."""
    found: list[Notice] = []

    def reason() -> str | None:
        found[:] = [one for one in scene.notices(0) if one.facts.get("release") == version and "step" in one.facts]
        return None if found else f"nobody was told of a failed boot of {version}"

    scene.until(reason, what="a notification", deadline=NOTICED_DEADLINE_S)
    return found[0]


def timing_of(scene: Scene, notice: Notice) -> Timing:
    record: dict[str, Any] = {}

    def reason() -> str | None:
        rows = [*scene.cloud.state()["gone"], *scene.cloud.machines()]
        record.update(next(row["boot"] for row in rows if row["instance"] == notice.facts["instance"]))
        return None if record.get("finished") else f"{notice.facts['instance']} has left no record of its boot yet"

    scene.until(reason, what="the machine's own record", deadline=CLEARED_DEADLINE_S)
    failed = datetime.fromisoformat(record["finished"]).timestamp()
    return Timing(began=failed - record["steps"][notice.facts["step"]], failed=failed)


def require_facts(scene: Scene, notice: Notice, *, step: str, words: str) -> None:
    """All that a person needs is in the notification, and no secret is."""
    facts = notice.facts
    missing = [name for name in FACTS if not facts.get(name)]
    if missing:
        raise DrillError(f"the notification lacks {', '.join(missing)}")
    if facts["step"] != step or words not in facts["error"]:
        raise DrillError(f"told was {facts['step']}: {facts['error']}; expected {step}: …{words}…")
    if step not in facts["timings"]:
        raise DrillError(f"the timings {facts['timings']} leave out the step {step}")
    if seen := [name for name, value in secrets(scene).items() if value in notice.message + notice.subject]:
        raise DrillError(f"the notification shows {', '.join(seen)}")


def secrets(scene: Scene) -> dict[str, str]:
    database = scene.stage.database
    return {"the database's URL": database.url, "the database's password": database.password}


def cleared_away(scene: Scene, delivery: Delivery) -> float:
    """When the delivery had said no, and nothing of it cost money any more."""

    def reason() -> str | None:
        if not delivery.ended():
            return "the delivery still waits"
        left = [row["instance"] for row in scene.machines(IDLE)]
        return f"machines are left: {', '.join(left)}" if left else None

    at = scene.until(reason, what="the end of the delivery", deadline=CLEARED_DEADLINE_S)
    if delivery.answer().exit_code == 0:
        raise DrillError("the delivery of a release that can't boot said that all is well")
    return at


def _bucket(scene: Scene) -> str:
    return str(scene.stage.stack.outputs()["artifactsBucket"].value)


def corrupt(scene: Scene) -> str:
    """One byte of the stored bundle is another one."""
    version = scene.publish("corrupt")
    s3, place = scene.stage.client("s3"), {"Bucket": _bucket(scene), "Key": bundle_key(version)}
    body = bytearray(s3.get_object(**place)["Body"].read())
    body[len(body) // 2] ^= 0xFF
    s3.put_object(**place, Body=bytes(body))
    return version


def gone(scene: Scene) -> str:
    version = scene.publish("gone")
    scene.stage.client("s3").delete_object(Bucket=_bucket(scene), Key=bundle_key(version))
    return version


def unbuildable(scene: Scene) -> str:
    """By a build that fails by itself, whatever its base image is."""

    def change(folder: Path) -> None:
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY app.py /\nCOPY no-such-file /\n")

    return scene.publish("unbuildable", change)


def edited(name: str, before: str, after: str) -> Callable[[Scene], str]:
    """A release of the sample in whose app.py one text stands for another."""

    def change(folder: Path) -> None:
        file = folder / "app.py"
        text = file.read_text()
        if before not in text:
            raise DrillError(f"{file} has no {before!r} to change")
        file.write_text(text.replace(before, after))

    return lambda scene: scene.publish(name, change)


# It tells its secrets as it dies, as apps do: people get its last lines without them.
EXITS = 'config = Config.read()\n    print("connect to", config.database_url, flush=True)\n    raise SystemExit(3)'

DRILLS = (
    Drill(
        fault="bundle corrupt",
        play=BrokenBoot(step="verify", words="the bundle's sha256 is", prepare=corrupt),
    ),
    Drill(fault="bundle gone", play=BrokenBoot(step="download", words="answered 404", prepare=gone)),
    Drill(
        fault="image build fails",
        play=BrokenBoot(step="image", words="no-such-file", prepare=unbuildable),
    ),
    Drill(
        fault="container exits at once",
        play=BrokenBoot(
            step="ready",
            words="the container ended with 3",
            prepare=edited("exits", "config = Config.read()", EXITS),
        ),
    ),
)
