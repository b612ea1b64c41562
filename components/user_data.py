"""The text that tells a new machine which release to run: an env file, data only, without a secret."""

from __future__ import annotations

from dataclasses import dataclass

LAUNCH_HOOK, TERMINATION_HOOK = "boot", "drain"
METRICS_NAMESPACE = "bluegreen"
# The boot gives up before its lifecycle hook does, so that there is time left to say why.
REPORTING_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class LogGroups:
    """Names of log groups, empty for none: of the app, of the boots, of the machines' systems."""

    app: str = ""
    boot: str = ""
    system: str = ""


@dataclass(frozen=True, kw_only=True)
class UserData:
    """What `ami/boot` reads, see its settings. Times in seconds; the last three may be empty."""

    stack: str
    color: str
    release: str
    release_url: str
    sha256: str
    port: int
    health_path: str
    parameter_path: str
    boot_timeout: int
    drain_timeout: int
    alerts_topic_arn: str = ""
    log_groups: LogGroups = LogGroups()
    base_image: str = ""


def render(data: UserData) -> str:
    """KEY=VALUE lines. A value never holds a line break: the settings refuse it."""
    pairs = {
        "STACK": data.stack,
        "ENVIRONMENT": data.stack,
        "COLOR": data.color,
        "RELEASE": data.release,
        "RELEASE_URL": data.release_url,
        "RELEASE_SHA256": data.sha256,
        "PORT": data.port,
        "HEALTH_PATH": data.health_path,
        "PARAMETER_PATH": data.parameter_path,
        "ALERTS_TOPIC_ARN": data.alerts_topic_arn,
        "LOG_GROUP": data.log_groups.app,
        "BOOT_LOG_GROUP": data.log_groups.boot,
        "SYSTEM_LOG_GROUP": data.log_groups.system,
        "BASE_IMAGE": data.base_image,
        "LAUNCH_HOOK": LAUNCH_HOOK,
        "TERMINATION_HOOK": TERMINATION_HOOK,
        "METRICS_NAMESPACE": METRICS_NAMESPACE,
        "BOOT_DEADLINE": data.boot_timeout - REPORTING_SECONDS,
        "DRAIN_SECONDS": data.drain_timeout,
    }
    return "".join(f"{key}={value}\n" for key, value in pairs.items())
