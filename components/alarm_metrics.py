"""CloudWatch metrics of load balancer and instances, and the alarms defined over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ami.boot.user_data import METRICS_NAMESPACE
from config.alerts import AlarmSettings

LOAD_BALANCER_NAMESPACE = "AWS/ApplicationELB"
PERIOD_S = 60  # an Application Load Balancer publishes its metrics once a minute
BOOT_MINUTES = 5  # a failed boot is one data point: the alarm lasts this long, so that a deploy notices it
MAX_LOAD_BALANCER_ERRORS = 10  # a minute: a client that disconnects, or one target that goes, causes a few


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of the load balancer or of the instances, without its dimensions."""

    name: str
    stat: str
    namespace: str = LOAD_BALANCER_NAMESPACE


@dataclass(frozen=True, kw_only=True)
class AlarmSpec:
    """An alarm: it fires while the expression over the metrics, named by their ids, is above the threshold.

    `datapoints_to_alarm` of the last `evaluation_periods` minutes must be. `treat_missing_data` is CloudWatch's:
    `notBreaching` or `ignore`.
    """

    name: str
    description: str
    metrics: Mapping[str, Metric]
    expression: str
    threshold: float
    datapoints_to_alarm: int
    evaluation_periods: int
    treat_missing_data: str = "notBreaching"


REQUESTS = Metric(name="RequestCount", stat="Sum")
ERRORS = Metric(name="HTTPCode_Target_5XX_Count", stat="Sum")
# A stopped container refuses connections: clients get the load balancer's 502, and only this metric names the target.
REFUSED_CONNECTIONS = Metric(name="TargetConnectionErrorCount", stat="Sum")
LATENCY = Metric(name="TargetResponseTime", stat="p99")
HEALTHY = Metric(name="HealthyHostCount", stat="Maximum")
UNHEALTHY = Metric(name="UnHealthyHostCount", stat="Maximum")
ELB_5XX = Metric(name="HTTPCode_ELB_5XX_Count", stat="Sum")
FIXED_RESPONSES = Metric(name="HTTP_Fixed_Response_Count", stat="Sum")
BOOT_FAILURES = Metric(name="BootFailures", stat="Sum", namespace=METRICS_NAMESPACE)
BOOT_SECONDS = Metric(name="BootSeconds", stat="Maximum", namespace=METRICS_NAMESPACE)


def color_alarms(settings: AlarmSettings) -> list[AlarmSpec]:
    """The alarms of each color, live or idle.

    An idle color has no requests, and one that is off no hosts: missing data counts as good, so that no alarm depends
    on which color is live and a cutover changes none.
    """
    enough = f"requests >= {settings.min_requests}"
    return [
        _sustained(
            settings,
            name="errors",
            description=f"more than {settings.error_rate_percent} % of its requests fail",
            metrics={"requests": REQUESTS, "errors": ERRORS, "refused": REFUSED_CONNECTIONS},
            # Load balancers publish no zeros: without errors there is no data point.
            expression=f"IF({enough}, 100 * (FILL(errors, 0) + FILL(refused, 0)) / requests, 0)",
            threshold=settings.error_rate_percent,
        ),
        _sustained(
            settings,
            name="latency",
            description=f"its p99 latency is above {settings.latency_milliseconds} ms",
            metrics={"requests": REQUESTS, "latency": LATENCY},
            expression=f"IF({enough}, latency, 0)",
            threshold=settings.latency_milliseconds / 1000,
        ),
        _sustained(
            settings,
            name="unhealthy",
            description="an instance stays unhealthy",
            metrics={"unhealthy": UNHEALTHY},
            expression="unhealthy",
            threshold=0,
        ),
        _sustained(
            settings,
            name="no-machine",
            description="it gets requests, and no instance is healthy",
            metrics={"requests": REQUESTS, "healthy": HEALTHY},
            expression="IF(requests > 0 AND healthy < 1, 1, 0)",
            threshold=0,
        ),
        AlarmSpec(
            name="boots",
            description="an instance failed to boot",
            metrics={"failures": BOOT_FAILURES},
            # Data points are rare: without FILL a failure would count for as long as it is the newest.
            expression="FILL(failures, 0)",
            threshold=0,
            datapoints_to_alarm=1,
            evaluation_periods=BOOT_MINUTES,
        ),
    ]


def capacity_alarm(min_instances: int, minutes: int) -> AlarmSpec:
    """Fewer healthy instances than `min_instances` for `minutes`; for a color that has a release.

    A target group without registered targets publishes no HealthyHostCount, and the alarm keeps its state: a deploy
    waits for the first instance itself, and a live color without any raises the load balancer's own errors.
    """
    return AlarmSpec(
        name="capacity",
        description="fewer of its instances are healthy than it must have",
        metrics={"healthy": HEALTHY},
        expression=f"{min_instances} - healthy",
        threshold=0,
        datapoints_to_alarm=minutes,
        evaluation_periods=minutes,
        treat_missing_data="ignore",
    )


def load_balancer_alarm(settings: AlarmSettings) -> AlarmSpec:
    """The load balancer's own errors, less the fixed response (503) that it sends before the first release."""
    return _sustained(
        settings,
        name="errors",
        description=f"the load balancer itself answers more than {MAX_LOAD_BALANCER_ERRORS} requests a minute "
        "with an error",
        metrics={"elb_5xx": ELB_5XX, "fixed_response": FIXED_RESPONSES},
        expression="elb_5xx - FILL(fixed_response, 0)",
        threshold=MAX_LOAD_BALANCER_ERRORS,
    )


def _sustained(
    settings: AlarmSettings,
    *,
    name: str,
    description: str,
    metrics: Mapping[str, Metric],
    expression: str,
    threshold: float,
) -> AlarmSpec:
    """An alarm that fires after the configured number of bad minutes in a row."""
    return AlarmSpec(
        name=name,
        description=description,
        metrics=metrics,
        expression=expression,
        threshold=threshold,
        datapoints_to_alarm=settings.minutes,
        evaluation_periods=settings.minutes,
    )
