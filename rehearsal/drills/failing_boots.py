"""Failing boots: the alerts topic is notified at once, the instance is terminated, and the deploy fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ami.boot.messages import Kind
from rehearsal.drills import releases
from rehearsal.drills.boot_record import (
    first_notification,
    require_facts,
    require_no_secret,
    timing_of,
    wait_cleaned_up,
)
from rehearsal.drills.drill import Drill, DrillError, DrillOutcome
from rehearsal.drills.fixture import IDLE, DeployProcess, Fixture

MAX_NOTIFICATION_DELAY_S = 5.0  # from the end of the failing step to the notification
# Above the 15 s after which the boot considers a download stalled and retries.
SLOW_S = 20.0
SKEW_S = 1200.0  # AWS refuses signatures that are off by more than 15 minutes
DOWNLOAD_DEADLINE_S = 60.0


def _no_fault(_fixture: Fixture) -> None:
    """The release or the image is the only fault."""


def _default_ami(fixture: Fixture) -> str:
    return fixture.ami


@dataclass(frozen=True, kw_only=True)
class BadBoot:
    """A boot that fails at `step`, with `message` in the error of the notification.

    `publish` publishes the release; `inject` is called before the deploy, `inject_during` once it runs; `image` returns
    the AMI. `line` must be part of the log lines in the notification.
    """

    step: str
    message: str
    line: str = ""
    publish: Callable[[Fixture], str] = releases.good_release
    inject: Callable[[Fixture], None] = _no_fault
    inject_during: Callable[[Fixture], None] = _no_fault
    image: Callable[[Fixture], str] = _default_ami

    def __call__(self, fixture: Fixture) -> DrillOutcome:
        version, ami = self.publish(fixture), self.image(fixture)
        self.inject(fixture)
        deploy = fixture.start_deploy(version, "--ami", ami)
        self.inject_during(fixture)
        return self._verify(fixture, version, deploy)

    def _verify(self, fixture: Fixture, version: str, deploy: DeployProcess) -> DrillOutcome:
        notification = first_notification(fixture, version, Kind.BOOT_FAILED)
        require_facts(notification.facts, step=self.step, message=self.message)
        require_no_secret(fixture, notification)
        if not any(self.line in line for line in notification.facts["lines"]):
            raise DrillError(f"the log lines in the notification lack {self.line!r}")
        cleaned_up = wait_cleaned_up(fixture, deploy)
        timing = timing_of(fixture, notification.facts)
        delay = notification.at - timing.failed
        if delay > MAX_NOTIFICATION_DELAY_S:
            allowed = f"allowed are {MAX_NOTIFICATION_DELAY_S:g}"
            raise DrillError(f"the notification came {delay:.1f} s after {self.step} failed, {allowed}")
        return DrillOutcome(
            detected_by=f"boot step {self.step}",
            detected_seconds=notification.at - timing.began,
            recovered_seconds=cleaned_up - timing.began,
            notified=True,
            note=f"notified {delay:.1f} s after the step failed: {notification.facts['error'][:120]}",
        )


def slow_storage(fixture: Fixture) -> None:
    fixture.cloud.set_fault("s3", "slow", seconds=SLOW_S, color=IDLE)


def storage_down(fixture: Fixture) -> None:
    """Once the instance waits for its bundle: that request times out, and all later ones are refused."""

    def reason() -> str | None:
        return None if any(fault["requests"] for fault in fixture.cloud.faults()) else "no object was requested"

    fixture.wait_until(reason, what="the instance's download", deadline=DOWNLOAD_DEADLINE_S)
    addresses = [row["address"] for row in fixture.instances(IDLE)]
    fixture.cloud.set_fault("s3", "down", addresses=addresses)


def clock_skew(fixture: Fixture) -> None:
    """For the services that the boot reads from; a refused notification is the SNS drill."""
    for service in ("ssm", "s3"):
        fixture.cloud.set_fault(service, "skewed", seconds=SKEW_S, color=IDLE)


def instance_without_sns(fixture: Fixture) -> DrillOutcome:
    """The instance can't publish its failure; the deploy publishes what it finds in the log group."""
    version = releases.exits_at_once(fixture)
    fixture.cloud.set_fault("sns", "down", color=IDLE)
    deploy = fixture.start_deploy(version)
    notification = first_notification(fixture, version, Kind.DEPLOYMENT_FAILED)
    require_no_secret(fixture, notification)
    facts = notification.facts["boot_failure"] or {}
    require_facts(facts, step="ready", message="the container exited with 3")
    refused = sum(fault["requests"] for fault in fixture.cloud.faults())
    published = {(message.facts.get("kind"), message.facts.get("release")) for message in fixture.notifications(0)}
    if not refused or (Kind.BOOT_FAILED, version) in published:
        raise DrillError("the instance's own notification was not refused: the fault had no effect")
    cleaned_up = wait_cleaned_up(fixture, deploy)
    began = timing_of(fixture, facts).began
    return DrillOutcome(
        detected_by="deploy",
        detected_seconds=notification.at - began,
        recovered_seconds=cleaned_up - began,
        notified=True,
        note=f"{refused} requests of the instance to SNS were refused; the deploy published the facts instead",
    )


DRILLS = (
    Drill(
        fault="bundle corrupt",
        inject=BadBoot(step="verify", message="the bundle's sha256 is", publish=releases.corrupt_bundle),
    ),
    Drill(
        fault="bundle deleted", inject=BadBoot(step="download", message="answered 404", publish=releases.deleted_bundle)
    ),
    Drill(
        fault="object storage slow, then down",
        inject=BadBoot(step="download", message="answered 503", inject=slow_storage, inject_during=storage_down),
    ),
    Drill(
        fault="image build fails",
        inject=BadBoot(step="image", message="no-such-file", publish=releases.unbuildable),
    ),
    Drill(
        fault="container exits at once",
        inject=BadBoot(
            step="ready",
            message="the container exited with 3",
            line="connect to ***",
            publish=releases.exits_at_once,
        ),
    ),
    Drill(
        fault="container never healthy",
        inject=BadBoot(step="ready", message="/health answers 503", publish=releases.never_healthy),
    ),
    Drill(
        fault="healthy but wrong release",
        inject=BadBoot(step="ready", message="answers release 'v0'", publish=releases.wrong_release),
    ),
    Drill(fault="SNS down while a boot fails", inject=instance_without_sns),
    Drill(
        fault="disk full during unpack",
        inject=BadBoot(
            step="unpack", message="No space left", publish=releases.oversized_bundle, image=releases.small_disk
        ),
    ),
    Drill(
        fault="clock skew against a signed request",
        inject=BadBoot(step="config", message="Signature expired", inject=clock_skew),
    ),
)
