"""Metrics of the load balancer and the instances, and the questions that alarms ask of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ami.boot.user_data import METRICS_NAMESPACE
from config.alerts import AlarmSettings

BALANCER_NAMESPACE = "AWS/ApplicationELB"
PERIOD = 60  # seconds: the balancer tells its metrics once a minute
BOOT_MINUTES = 5  # a failed boot is one point; the alarm stays this long, so that whoever watches a release sees it
BALANCER_ERRORS = 10  # a minute: a client that breaks off, or one target that goes, makes a few


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of the balancer or of the machines, without the dimensions that say of which."""

    name: str
    stat: str
    namespace: str = BALANCER_NAMESPACE


@dataclass(frozen=True, kw_only=True)
class Question:
    """What makes an alarm: the expression over the metrics, by their ids, is above the threshold.

    `missing`: what a minute without data counts as, in CloudWatch's words (`notBreaching`, `ignore`).
    """

    name: str
    why: str
    metrics: Mapping[str, Metric]
    expression: str
    threshold: float
    minutes: int
    of_minutes: int
    missing: str = "notBreaching"


REQUESTS = Metric(name="RequestCount", stat="Sum")
ERRORS = Metric(name="HTTPCode_Target_5XX_Count", stat="Sum")
# A container that is gone answers nothing: users get the balancer's 502, and only this says whose it was.
REFUSED = Metric(name="TargetConnectionErrorCount", stat="Sum")
LATENCY = Metric(name="TargetResponseTime", stat="p99")
HEALTHY = Metric(name="HealthyHostCount", stat="Maximum")
UNHEALTHY = Metric(name="UnHealthyHostCount", stat="Maximum")
BALANCER_5XX = Metric(name="HTTPCode_ELB_5XX_Count", stat="Sum")
FIXED = Metric(name="HTTP_Fixed_Response_Count", stat="Sum")
BOOT_FAILURES = Metric(name="BootFailures", stat="Sum", namespace=METRICS_NAMESPACE)
BOOT_SECONDS = Metric(name="BootSeconds", stat="Maximum", namespace=METRICS_NAMESPACE)


def of_color(settings: AlarmSettings) -> list[Question]:
    """What is asked of each color, serving or not.

    A color without users has no requests and one without machines no hosts: what is missing counts as good, so that
    no question needs to know who serves, and a cutover changes none.
    """
    enough = f"requests >= {settings.min_requests}"
    return [
        _lasting(
            settings,
            name="errors",
            why=f"more than {settings.error_rate_percent} % of its requests fail",
            metrics={"requests": REQUESTS, "errors": ERRORS, "refused": REFUSED},
            # The balancer tells no zeros: without errors there is no metric of them.
            expression=f"IF({enough}, 100 * (FILL(errors, 0) + FILL(refused, 0)) / requests, 0)",
            threshold=settings.error_rate_percent,
        ),
        _lasting(
            settings,
            name="latency",
            why=f"one of 100 requests takes longer than {settings.latency_milliseconds} ms",
            metrics={"requests": REQUESTS, "latency": LATENCY},
            expression=f"IF({enough}, latency, 0)",
            threshold=settings.latency_milliseconds / 1000,
        ),
        _lasting(
            settings,
            name="unhealthy",
            why="a machine does not turn healthy",
            metrics={"unhealthy": UNHEALTHY},
            expression="unhealthy",
            threshold=0,
        ),
        _lasting(
            settings,
            name="no-machine",
            why="requests come, and no machine is healthy",
            metrics={"requests": REQUESTS, "healthy": HEALTHY},
            expression="IF(requests > 0 AND healthy < 1, 1, 0)",
            threshold=0,
        ),
        Question(
            name="boots",
            why="a machine could not boot",
            metrics={"failures": BOOT_FAILURES},
            # Few and far between: filled up, a failure counts for its minutes and not for as long as it is the newest.
            expression="FILL(failures, 0)",
            threshold=0,
            minutes=1,
            of_minutes=BOOT_MINUTES,
        ),
    ]


def of_machines(least: int, minutes: int) -> Question:
    """What is asked of a color that is to have machines.

    The balancer tells nothing of a color without any, which changes nothing: before the first one came a delivery waits
    for it, and where users are without any the balancer's own errors ring.
    """
    return Question(
        name="machines",
        why="fewer of its machines are healthy than it must have",
        metrics={"healthy": HEALTHY},
        expression=f"{least} - healthy",
        threshold=0,
        minutes=minutes,
        of_minutes=minutes,
        missing="ignore",
    )


def of_balancer(settings: AlarmSettings) -> Question:
    """The balancer's own errors, which it tells of no color. The 503 that it owes before the first release is none."""
    return _lasting(
        settings,
        name="errors",
        why=f"the load balancer itself answers more than {BALANCER_ERRORS} requests a minute with an error",
        metrics={"answered": BALANCER_5XX, "owed": FIXED},
        expression="answered - FILL(owed, 0)",
        threshold=BALANCER_ERRORS,
    )


def _lasting(
    settings: AlarmSettings, *, name: str, why: str, metrics: Mapping[str, Metric], expression: str, threshold: float
) -> Question:
    return Question(
        name=name,
        why=why,
        metrics=metrics,
        expression=expression,
        threshold=threshold,
        minutes=settings.minutes,
        of_minutes=settings.minutes,
    )
