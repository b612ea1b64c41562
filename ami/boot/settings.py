"""The machine's user data (an env file, data only) is one checked object, or every fault in it is named at once."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from .masking import without_credentials

# Both have a longer limit in the units (TimeoutStartSec, TimeoutStopSec), which must never be the first to give up.
LONGEST_BOOT = 1740
LONGEST_DRAIN = 900


class SettingsError(Exception):
    pass


@dataclass(frozen=True, kw_only=True)
class Settings:
    stack: str
    environment: str
    color: str
    release: str
    release_url: str
    release_sha256: str
    port: int
    health_path: str
    parameter_path: str
    alerts_topic_arn: str
    log_group: str
    boot_log_group: str
    system_log_group: str
    base_image: str
    launch_hook: str
    termination_hook: str
    metrics_namespace: str
    boot_deadline: int
    drain_seconds: int


Rule = tuple[Callable[[str], bool], str]


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda value: re.fullmatch(pattern, value) is not None


def _between(least: int, most: int) -> Rule:
    allowed = f"a whole number from {least} to {most}"
    return lambda value: value.isdecimal() and least <= int(value) <= most, allowed


def _is_release_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("s3", "https") and bool(parts.hostname) and "@" not in parts.netloc and len(parts.path) > 1


_ANYTHING: Rule = (lambda _: True, "any text")
_DEFAULTS = {
    "RELEASE_SHA256": "",
    "PARAMETER_PATH": "",
    "ALERTS_TOPIC_ARN": "",
    "LOG_GROUP": "",
    "BOOT_LOG_GROUP": "",
    "SYSTEM_LOG_GROUP": "",
    "BASE_IMAGE": "",
    "LAUNCH_HOOK": "boot",
    "TERMINATION_HOOK": "drain",
    "METRICS_NAMESPACE": "bluegreen",
    "BOOT_DEADLINE": "270",
    "DRAIN_SECONDS": "30",
}
_RULES: dict[str, Rule] = {
    "STACK": (_matches(r"[A-Za-z0-9][\w.-]*"), "letters, digits, . _ -"),
    "ENVIRONMENT": (_matches(r"[A-Za-z0-9][\w.-]*"), "letters, digits, . _ -"),
    "COLOR": (_matches("blue|green"), "blue or green"),
    "RELEASE": (_matches(r"[A-Za-z0-9_][\w.-]{0,127}"), "what a Docker tag may be: letters, digits, . _ -, up to 128"),
    "RELEASE_URL": (_is_release_url, "s3://bucket/key or https://host/path, without user or password"),
    "RELEASE_SHA256": (_matches("(?:[0-9a-f]{64})?"), "64 lower-case hexadecimal digits, or empty"),
    "PORT": _between(1, 65535),
    "HEALTH_PATH": (_matches(r"/\S*"), "a path that begins with /"),
    "PARAMETER_PATH": (_matches(r"(?:/[\w./-]+)?"), "an SSM path such as /bluegreen/dev/app/, or empty"),
    "ALERTS_TOPIC_ARN": (_matches(r"(?:arn:\S+)?"), "the ARN of an SNS topic, or empty"),
    "LOG_GROUP": _ANYTHING,
    "BOOT_LOG_GROUP": _ANYTHING,
    "SYSTEM_LOG_GROUP": _ANYTHING,
    "BASE_IMAGE": (_matches(r"\S*"), "an image reference, or empty"),
    "LAUNCH_HOOK": _ANYTHING,
    "TERMINATION_HOOK": _ANYTHING,
    "METRICS_NAMESPACE": _ANYTHING,
    "BOOT_DEADLINE": _between(10, LONGEST_BOOT),
    "DRAIN_SECONDS": _between(0, LONGEST_DRAIN),
}


def read_pairs(text: str) -> dict[str, str]:
    """KEY=VALUE lines as they stand; blank lines and # comments are skipped, anything else is ignored here."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, mark, value in pairs if mark}


def parse(text: str) -> Settings:
    pairs = read_pairs(text)
    values = {**_DEFAULTS, "ENVIRONMENT": pairs.get("STACK", ""), **pairs}
    problems = [_problem(key, values) for key in _RULES]
    problems.append(_missing_digest(values))
    found = [problem for problem in problems if problem]
    if found:
        raise SettingsError("user data: " + "; ".join(found))
    return Settings(
        stack=values["STACK"],
        environment=values["ENVIRONMENT"],
        color=values["COLOR"],
        release=values["RELEASE"],
        release_url=values["RELEASE_URL"],
        release_sha256=values["RELEASE_SHA256"],
        port=int(values["PORT"]),
        health_path=values["HEALTH_PATH"],
        parameter_path=values["PARAMETER_PATH"],
        alerts_topic_arn=values["ALERTS_TOPIC_ARN"],
        log_group=values["LOG_GROUP"],
        boot_log_group=values["BOOT_LOG_GROUP"],
        system_log_group=values["SYSTEM_LOG_GROUP"],
        base_image=values["BASE_IMAGE"],
        launch_hook=values["LAUNCH_HOOK"],
        termination_hook=values["TERMINATION_HOOK"],
        metrics_namespace=values["METRICS_NAMESPACE"],
        boot_deadline=int(values["BOOT_DEADLINE"]),
        drain_seconds=int(values["DRAIN_SECONDS"]),
    )


def _problem(key: str, values: Mapping[str, str]) -> str:
    is_allowed, allowed = _RULES[key]
    value = values.get(key, "")
    if is_allowed(value):
        return ""
    shown = without_credentials(value) if key == "RELEASE_URL" else value
    return f"{key}: {shown or 'missing'}: must be {allowed}"


def _missing_digest(values: Mapping[str, str]) -> str:
    if not values.get("RELEASE_URL", "").startswith("s3://") or values["RELEASE_SHA256"]:
        return ""
    return "RELEASE_SHA256: missing: a release from s3 must have one"
