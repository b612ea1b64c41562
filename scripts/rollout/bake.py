"""Watching a release that has just got users: its alarm, its smoke test, and its error budget."""

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
LEAST_PROBES = 20
# A watch that is over before so many were answered has these to go by: then most of at least so many must fail.
FEW_PROBES, MOST_PERCENT = 3, 50.0
NAMESPACE = "AWS/ApplicationELB"
PERIOD_S = 60
# Judged together: the minute that runs, and the one before it.
MINUTES = 2
UNREADABLE = ("InternalError", "Forbidden")
# By the ids of the query; the balancer tells no zeros.
METRICS = {
    "requests": ("RequestCount", "Sum"),
    "errors": ("HTTPCode_Target_5XX_Count", "Sum"),
    "refused": ("TargetConnectionErrorCount", "Sum"),
    "p99": ("TargetResponseTime", "p99"),
}


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A color with users, and how it is reached."""

    color: Color
    release: str
    facts: StackFacts
    dimensions: Mapping[str, str]
    """Those of the balancer's metrics; empty where they can't be told."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those of the preview while the color has a share of the users only: asked publicly, others might answer."""

    @property
    def alarm(self) -> str:
        return str(self.facts.outputs.get("colors", {}).get(self.color, {}).get("alarm", ""))

    @property
    def budget(self) -> Budget:
        options = self.facts.alarms
        return Budget(error_rate_percent=options.error_rate_percent, min_requests=options.min_requests)


@dataclass(kw_only=True)
class Account:
    """What was seen: why the release is bad (None: it is not), and the figures."""

    objection: str | None = None
    first_bad: float | None = None
    """When the first bad answer was seen, by `time.monotonic()`."""
    probes: RequestCounts = field(default_factory=RequestCounts)
    users: RequestCounts = field(default_factory=RequestCounts)
    p99_ms: float | None = None
    alarm: str = ""
    seconds: float = 0.0
    unread: dict[str, str] = field(default_factory=dict)
    """What could not be read to the last, and why."""

    def as_json(self) -> dict[str, Any]:
        return {
            "bake_seconds": round(self.seconds, 1),
            "requests": self.users.requests,
            "errors": self.users.errors,
            "p99_ms": self.p99_ms,
            "probes": self.probes.requests,
            "probes_failed": self.probes.errors,
            "alarm": self.alarm,
            **({"unread": self.unread} if self.unread else {}),
        }


def watched(facts: StackFacts, fleet: Fleet, color: Color, *, share: bool = False) -> Watched:
    """`share`: whether only some users are on the color."""
    side = fleet.colors[color]
    return Watched(
        color=color,
        release=side.release,
        facts=facts,
        dimensions=facts.metric_dimensions(color),
        headers=facts.preview_headers(color) if share else {},
    )


def watch(watched: Watched, seconds: float, note: Callable[[str], None]) -> Account:
    """Look for `seconds`, or until there is an objection.

    The balancer's metrics come once a minute at AWS, and some minutes late
    (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html), its
    alarm later still: what shows within seconds is what the probes meet. What can't be read is noted, and the rest
    goes on. An alarm that was on when the watch began is nobody's news, and counts from when it was off.
    """
    account, began, since = Account(), time.monotonic(), datetime.now(UTC)
    with Probes(f"{watched.facts.url}/", watched.headers) as probes:
        look = _Look(watched=watched, account=account, probes=probes, since=since, note=note)
        look.begin()
        left = seconds
        # Once at least, and once when the time is over.
        while account.objection is None and left > 0:
            time.sleep(min(EVERY_S, left))
            left = began + seconds - time.monotonic()
            account.objection = look.objection()
    look.end()
    account.seconds = time.monotonic() - began
    return account


class _UnseenError(Exception):
    """What was to be watched is not there."""


@dataclass(kw_only=True)
class _Look:
    watched: Watched
    account: Account
    probes: Probes
    since: datetime
    note: Callable[[str], None]
    old_alarm: bool | None = None
    """Whether the alarm has been on since before the watch; None until it could be read."""
    begun: bool = False
    failed_smokes: int = 0

    def begin(self) -> None:
        self._alarm()
        self.begun = True

    def objection(self) -> str | None:
        return self._probes() or self._users() or self._smoke() or self._alarm()

    def end(self) -> None:
        """The last probes are counted, and what the release was not judged by is told."""
        account = self.account
        account.probes = self.probes.answers
        if account.objection is None and account.probes.requests < LEAST_PROBES:
            few = Budget(error_rate_percent=MOST_PERCENT, min_requests=FEW_PROBES)
            account.objection = few.violation(account.probes, "probes")
        account.first_bad = account.first_bad or self.probes.first_error
        least = self.watched.budget.min_requests
        if account.objection is None and account.users.requests < least and "metrics" not in account.unread:
            self.note(
                f"the balancer has told of {account.users.requests} users' requests of {self.watched.color} so far, "
                f"{least} make a judgement: its release was judged by {account.probes.requests} probes"
            )

    def _probes(self) -> str | None:
        account, allowed = self.account, self.watched.budget.error_rate_percent
        account.probes = self.probes.answers
        account.first_bad = account.first_bad or self.probes.first_error
        return Budget(error_rate_percent=allowed, min_requests=LEAST_PROBES).violation(account.probes, "probes")

    def _users(self) -> str | None:
        self._read("metrics", self._count_users)
        if self.account.users.errors and self.account.first_bad is None:
            self.account.first_bad = time.monotonic()
        return self.watched.budget.violation(self.account.users, "users' requests")

    def _smoke(self) -> str | None:
        # Shallow: what both colors depend on is no reason to go back to the other one.
        found = smoke(
            self.watched.facts.url,
            headers=self.watched.headers,
            expect_release=self.watched.release,
            health_path=self.watched.facts.health_path,
            deep=False,
            deadline=0,
        )
        self.probes.beside()
        reason = failures(found)
        self.failed_smokes = self.failed_smokes + 1 if reason else 0
        if reason and self.account.first_bad is None:
            self.account.first_bad = time.monotonic()
        if self.failed_smokes < SMOKES_IN_A_ROW:
            return None
        return f"the smoke test failed {self.failed_smokes} times in a row: {reason}"

    def _alarm(self) -> str | None:
        state = self._read("alarm", self._alarm_state)
        self.account.alarm = state or "unknown"
        if state is None:
            return None
        # What has no data yet rings as little as what is well.
        self.old_alarm = self.old_alarm and state == "ALARM"
        return f"the alarm {self.watched.alarm} is on" if state == "ALARM" and not self.old_alarm else None

    def _alarm_state(self) -> str:
        if not self.watched.alarm:
            raise _UnseenError(f"the stack's outputs name no alarm of {self.watched.color}")
        found = self._cloudwatch.describe_alarms(
            AlarmNames=[self.watched.alarm], AlarmTypes=["CompositeAlarm", "MetricAlarm"]
        )
        alarms = [*found["CompositeAlarms"], *found["MetricAlarms"]]
        if not alarms:
            raise _UnseenError(f"there is no alarm {self.watched.alarm}")
        if self.old_alarm is None:
            self._know_alarm(alarms[0])
        return str(alarms[0]["StateValue"])

    def _know_alarm(self, alarm: Mapping[str, Any]) -> None:
        """At the first reading. Where that comes late, what has come on since the watch began is news even so."""
        changed = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
        news = self.begun and changed is not None and changed >= self.since
        self.old_alarm = alarm["StateValue"] == "ALARM" and not news
        if self.old_alarm:
            self.note(f"the alarm {self.watched.alarm} was on already: it counts once it has been off")

    @property
    def _cloudwatch(self) -> Any:
        # The probes wait for their judgement meanwhile, and the next look asks again.
        return client(self.watched.facts.session, "cloudwatch", fail_fast=True)

    def _count_users(self) -> None:
        found = self._metrics()
        judged = sorted({when for points in found.values() for when, _ in points})[-MINUTES:]
        users = RequestCounts()
        for minute in judged:
            told = {name: sum(value for when, value in points if when == minute) for name, points in found.items()}
            # At five a second, probes would make a site with few users look well whatever those meet.
            own = self.probes.in_minute(minute)
            users += RequestCounts(
                requests=max(0, int(told["requests"]) - own.requests),
                errors=max(0, int(told["errors"] + told["refused"]) - own.errors),
            )
        self.account.users = users
        if found["p99"]:
            self.account.p99_ms = round(1000 * found["p99"][0][1], 1)

    def _metrics(self) -> dict[str, list[tuple[datetime, float]]]:
        """By the query's ids, the newest first."""
        if not self.watched.dimensions:
            raise _UnseenError(f"the target group of {self.watched.color} or the live rule is not known")
        named = [{"Name": name, "Value": value} for name, value in self.watched.dimensions.items()]
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
                raise _UnseenError(f"CloudWatch answers {each['StatusCode']} for {METRICS[each['Id']][0]}")
        return {
            each["Id"]: sorted(zip(each["Timestamps"], each["Values"], strict=True), reverse=True)
            for each in answer["MetricDataResults"]
        }

    def _read(self, what: str, ask: Callable[[], str | None]) -> str | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = ask()
        except (ClientError, BotoCoreError, _UnseenError) as error:
            if what not in self.account.unread:
                self.note(f"the {what} can't be read, the rest is watched on: {error}")
            self.account.unread[what] = str(error)
            return None
        self.account.unread.pop(what, None)
        return answer
