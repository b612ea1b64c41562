"""Bake: the watch over a release that has just got traffic, by alarm, smoke test and error budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fleet.colors import Color
from fleet.error_budget import Budget, RequestCounts
from fleet.smoke_test import failures, smoke
from fleet.state import Fleet, client
from scripts.rollout.probes import Probes
from scripts.stack.automation import StackFacts

BAKE_S = 60.0
EVERY_S = 2.0
SMOKES_IN_A_ROW = 3
MIN_PROBES = 20
# The budget of a bake that ended before MIN_PROBES were answered: at least so many probes, and so many percent failed.
FEW_PROBES, FEW_PROBES_PERCENT = 3, 50.0
NAMESPACE = "AWS/ApplicationELB"
PERIOD_S = 60
# Evaluated together: the current minute, and the one before it.
MINUTES = 2
UNREADABLE = ("InternalError", "Forbidden")
# By the ids of the query; the load balancer reports no zeros.
METRICS = {
    "requests": ("RequestCount", "Sum"),
    "errors": ("HTTPCode_Target_5XX_Count", "Sum"),
    "refused": ("TargetConnectionErrorCount", "Sum"),
    "p99": ("TargetResponseTime", "p99"),
}


@dataclass(frozen=True, kw_only=True)
class WatchedRelease:
    """A release with traffic, and how its color is reached."""

    color: Color
    release: str
    facts: StackFacts
    dimensions: Mapping[str, str]
    """Of the load balancer's metrics; empty where they are not known."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the preview, while the color is a canary: the public endpoint might answer from the other color."""

    @property
    def alarm(self) -> str:
        return str(self.facts.outputs.get("colors", {}).get(self.color, {}).get("alarm", ""))

    @property
    def budget(self) -> Budget:
        options = self.facts.alarms
        return Budget(error_rate_percent=options.error_rate_percent, min_requests=options.min_requests)


@dataclass(kw_only=True)
class BakeReport:
    """Result of a bake: why the release is bad (None: it is not), and the figures."""

    failure: str | None = None
    first_bad: float | None = None
    """Time of the first bad response, by `time.monotonic()`."""
    probes: RequestCounts = field(default_factory=RequestCounts)
    traffic: RequestCounts = field(default_factory=RequestCounts)
    p99_ms: float | None = None
    alarm: str = ""
    seconds: float = 0.0
    unread: dict[str, str] = field(default_factory=dict)
    """What could not be read in the end, and why."""

    def as_json(self) -> dict[str, Any]:
        return {
            "bake_seconds": round(self.seconds, 1),
            "requests": self.traffic.requests,
            "errors": self.traffic.errors,
            "p99_ms": self.p99_ms,
            "probes": self.probes.requests,
            "probes_failed": self.probes.errors,
            "alarm": self.alarm,
            **({"unread": self.unread} if self.unread else {}),
        }


def watched_release(facts: StackFacts, fleet: Fleet, color: Color, *, is_canary: bool = False) -> WatchedRelease:
    side = fleet.colors[color]
    return WatchedRelease(
        color=color,
        release=side.release,
        facts=facts,
        dimensions=facts.metric_dimensions(color),
        headers=facts.preview_headers(color) if is_canary else {},
    )


def watch(release: WatchedRelease, seconds: float, note: Callable[[str], None]) -> BakeReport:
    """Check the release for `seconds`, or until it fails.

    The load balancer's metrics come once a minute at AWS, and some minutes late
    (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html), its
    alarm later still: only the probes show a failure within seconds. What can't be read is noted, and the rest goes
    on. An alarm that was in ALARM already when the bake began counts only once it has been off.
    """
    report, began, since = BakeReport(), time.monotonic(), datetime.now(UTC)
    with Probes(f"{release.facts.url}/", release.headers) as probes:
        checks = _BakeChecks(release=release, report=report, probes=probes, since=since, note=note)
        checks.begin()
        left = seconds
        # Once at least, and once when the time is over.
        while report.failure is None and left > 0:
            time.sleep(min(EVERY_S, left))
            left = began + seconds - time.monotonic()
            report.failure = checks.failure()
    checks.end()
    report.seconds = time.monotonic() - began
    return report


class _MissingError(Exception):
    """A metric or an alarm does not exist."""


@dataclass(kw_only=True)
class _BakeChecks:
    release: WatchedRelease
    report: BakeReport
    probes: Probes
    since: datetime
    note: Callable[[str], None]
    was_in_alarm: bool | None = None
    """Whether the alarm has been on since before the bake; None until it could be read."""
    begun: bool = False
    failed_smokes: int = 0

    def begin(self) -> None:
        self._alarm()
        self.begun = True

    def failure(self) -> str | None:
        return self._probes() or self._traffic() or self._smoke() or self._alarm()

    def end(self) -> None:
        """Count the last probes, and note when there were too few requests to decide by."""
        report = self.report
        report.probes = self.probes.answers
        if report.failure is None and report.probes.requests < MIN_PROBES:
            few = Budget(error_rate_percent=FEW_PROBES_PERCENT, min_requests=FEW_PROBES)
            report.failure = few.violation(report.probes, "probes")
        report.first_bad = report.first_bad or self.probes.first_error
        minimum = self.release.budget.min_requests
        if report.failure is None and report.traffic.requests < minimum and "metrics" not in report.unread:
            self.note(
                f"the load balancer has reported {report.traffic.requests} requests to {self.release.color} so far, "
                f"fewer than minRequests ({minimum}): its release was checked by {report.probes.requests} probes"
            )

    def _probes(self) -> str | None:
        report, allowed = self.report, self.release.budget.error_rate_percent
        report.probes = self.probes.answers
        report.first_bad = report.first_bad or self.probes.first_error
        return Budget(error_rate_percent=allowed, min_requests=MIN_PROBES).violation(report.probes, "probes")

    def _traffic(self) -> str | None:
        self._read("metrics", self._count_traffic)
        if self.report.traffic.errors and self.report.first_bad is None:
            self.report.first_bad = time.monotonic()
        return self.release.budget.violation(self.report.traffic, "requests")

    def _smoke(self) -> str | None:
        # Shallow: a failure of what both colors depend on is no reason for a rollback.
        results = smoke(
            self.release.facts.url,
            headers=self.release.headers,
            expect_release=self.release.release,
            health_path=self.release.facts.health_path,
            deep=False,
            deadline=0,
        )
        self.probes.count_own_request()
        reason = failures(results)
        self.failed_smokes = self.failed_smokes + 1 if reason else 0
        if reason and self.report.first_bad is None:
            self.report.first_bad = time.monotonic()
        if self.failed_smokes < SMOKES_IN_A_ROW:
            return None
        return f"the smoke test failed {self.failed_smokes} times in a row: {reason}"

    def _alarm(self) -> str | None:
        state = self._read("alarm", self._alarm_state)
        self.report.alarm = state or "unknown"
        if state is None:
            return None
        # INSUFFICIENT_DATA counts as OK.
        self.was_in_alarm = self.was_in_alarm and state == "ALARM"
        return f"the alarm {self.release.alarm} is on" if state == "ALARM" and not self.was_in_alarm else None

    def _alarm_state(self) -> str:
        if not self.release.alarm:
            raise _MissingError(f"the stack's outputs name no alarm of {self.release.color}")
        found = self._cloudwatch.describe_alarms(
            AlarmNames=[self.release.alarm], AlarmTypes=["CompositeAlarm", "MetricAlarm"]
        )
        alarms = [*found["CompositeAlarms"], *found["MetricAlarms"]]
        if not alarms:
            raise _MissingError(f"there is no alarm {self.release.alarm}")
        if self.was_in_alarm is None:
            self._remember_alarm(alarms[0])
        return str(alarms[0]["StateValue"])

    def _remember_alarm(self, alarm: Mapping[str, Any]) -> None:
        """At the first reading. Even when that is late, an alarm that went on after the bake began counts."""
        changed = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
        is_new = self.begun and changed is not None and changed >= self.since
        self.was_in_alarm = alarm["StateValue"] == "ALARM" and not is_new
        if self.was_in_alarm:
            self.note(f"the alarm {self.release.alarm} was on already: it counts once it has been off")

    @property
    def _cloudwatch(self) -> Any:
        # The probes are not evaluated meanwhile, and the next check retries.
        return client(self.release.facts.session, "cloudwatch", fail_fast=True)

    def _count_traffic(self) -> None:
        found = self._metrics()
        minutes = sorted({when for points in found.values() for when, _ in points})[-MINUTES:]
        traffic = RequestCounts()
        for minute in minutes:
            counts = {name: sum(value for when, value in points if when == minute) for name, points in found.items()}
            # At five a second, probes would hide the errors of a site with few requests.
            own = self.probes.in_minute(minute)
            traffic += RequestCounts(
                requests=max(0, int(counts["requests"]) - own.requests),
                errors=max(0, int(counts["errors"] + counts["refused"]) - own.errors),
            )
        self.report.traffic = traffic
        if found["p99"]:
            self.report.p99_ms = round(1000 * found["p99"][0][1], 1)

    def _metrics(self) -> dict[str, list[tuple[datetime, float]]]:
        """Data points by the query's ids, the newest first."""
        if not self.release.dimensions:
            raise _MissingError(f"the target group of {self.release.color} or the live rule is not known")
        named = [{"Name": name, "Value": value} for name, value in self.release.dimensions.items()]
        queries = [
            {
                "Id": id,
                "MetricStat": {
                    "Metric": {"Namespace": NAMESPACE, "MetricName": name, "Dimensions": named},
                    "Period": PERIOD_S,
                    "Stat": stat,
                },
            }
            for id, (name, stat) in METRICS.items()
        ]
        answer = self._cloudwatch.get_metric_data(
            MetricDataQueries=queries,
            StartTime=self.since.replace(second=0, microsecond=0),
            EndTime=datetime.now(UTC) + timedelta(seconds=PERIOD_S),
            ScanBy="TimestampDescending",
        )
        for each in answer["MetricDataResults"]:
            if each.get("StatusCode") in UNREADABLE:
                raise _MissingError(f"CloudWatch answers {each['StatusCode']} for {METRICS[each['Id']][0]}")
        return {
            each["Id"]: sorted(zip(each["Timestamps"], each["Values"], strict=True), reverse=True)
            for each in answer["MetricDataResults"]
        }

    def _read(self, what: str, read: Callable[[], str | None]) -> str | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = read()
        except (ClientError, BotoCoreError, _MissingError) as error:
            if what not in self.report.unread:
                self.note(f"the {what} can't be read, the bake goes on with the rest: {error}")
            self.report.unread[what] = str(error)
            return None
        self.report.unread.pop(what, None)
        return answer
