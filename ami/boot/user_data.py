"""User data of an instance: JSON of one schema, which the Pulumi program writes and the boot program checks.

The program imports this module too, so both share one set of names and rules. It needs the standard library alone.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Annotated, Any, NamedTuple, get_type_hints
from urllib.parse import urlsplit

from .masking import without_credentials

LAUNCH_HOOK, TERMINATION_HOOK = "boot", "drain"
METRICS_NAMESPACE = "bluegreen"
# The boot times out before its lifecycle hook does, so that there is time left to report why.
REPORTING_SECONDS = 20
# The units' own timeouts (TimeoutStartSec, TimeoutStopSec) are longer, as they must never be the first to expire.
MIN_BOOT, MAX_BOOT = 60, 1740
MAX_DRAIN = 900

MAX_VERSION = 40  # "{stack}-{color}-{version}-" begins a launch template's name of at most 128 characters
MAX_URL = 256  # it is a tag's value
# What publish_release takes as a version; it is part of names, tags, object keys and Docker tags.
VERSION = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_VERSION - 1}}}")
VERSION_ALLOWED = f"letters, digits, . _ -, at most {MAX_VERSION}"
SHA256 = re.compile(r"[0-9a-f]{64}")
SHA256_ALLOWED = "64 lower-case hexadecimal digits"
HEALTH_PATH = re.compile(r"/[\w./-]{0,1000}")
HEALTH_PATH_ALLOWED = "a path from / on, without a query"
URL_ALLOWED = "s3://bucket/key or https://host/path"
_URL = re.compile(rf"(?=.{{1,{MAX_URL}}}$)(s3://[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9]/\S+|https://[^\s/@]+/\S+)")
FORMAT = 1


class UserDataError(Exception):
    """The user data can't be used; the message names every fault, with its value and what is allowed."""


def is_release_url(text: str) -> bool:
    """Whether a bundle can be fetched from this URL: an S3 object, or https without user or password."""
    try:
        return bool(_URL.fullmatch(text)) and bool(urlsplit(text).hostname)
    except ValueError:  # of brackets that hold no IPv6 address
        return False


def bundle_key(version: str) -> str:
    """Key of a published release's bundle in the artifacts bucket."""
    return f"releases/{version}/bundle.tar.gz"


class FieldRule(NamedTuple):
    """Validation rule of one field: whether a value is allowed, and a description of what is."""

    is_allowed: Callable[[Any], bool]
    allowed: str


def _text(pattern: str | re.Pattern[str], allowed: str) -> FieldRule:
    return FieldRule(lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None, allowed)


def _between(minimum: int, maximum: int) -> FieldRule:
    return FieldRule(
        lambda value: type(value) is int and minimum <= value <= maximum, f"a whole number from {minimum} to {maximum}"
    )


_ANYTHING = FieldRule(lambda value: isinstance(value, str), "a text")


@dataclass(frozen=True, kw_only=True)
class Release:
    """One published bundle. `sha256` may be empty where it comes by https."""

    version: Annotated[str, _text(VERSION, VERSION_ALLOWED)]
    url: Annotated[str, FieldRule(lambda value: isinstance(value, str) and is_release_url(value), URL_ALLOWED)]
    sha256: Annotated[str, _text(f"(?:{SHA256.pattern})?", f"{SHA256_ALLOWED}, or empty")] = ""


@dataclass(frozen=True, kw_only=True)
class App:
    """How the app is run: `port` and `health_path` are where it answers, timeouts are in seconds."""

    port: Annotated[int, _between(1, 65535)]
    health_path: Annotated[str, _text(HEALTH_PATH, HEALTH_PATH_ALLOWED)]
    boot_timeout: Annotated[int, _between(MIN_BOOT, MAX_BOOT)]
    drain_timeout: Annotated[int, _between(0, MAX_DRAIN)]


@dataclass(frozen=True, kw_only=True)
class LogGroups:
    """Names of log groups, empty for none: of the app, of the boots, of the instances' systems."""

    app: Annotated[str, _ANYTHING] = ""
    boot: Annotated[str, _ANYTHING] = ""
    system: Annotated[str, _ANYTHING] = ""


@dataclass(frozen=True, kw_only=True)
class UserData:
    """All parameters of an instance. Those with a default may be empty.

    `parameter_path`: below it, each SSM parameter's name is an environment variable of the app.
    """

    stack: Annotated[str, _text(r"[A-Za-z0-9][\w.-]*", "letters, digits, . _ -")]
    color: Annotated[str, _text("blue|green", "blue or green")]
    release: Release
    app: App
    parameter_path: Annotated[str, _text(r"(?:/[\w./-]+)?", "an SSM path such as /bluegreen/dev/app/, or empty")] = ""
    alerts_topic_arn: Annotated[str, _text(r"(?:arn:\S+)?", "the ARN of an SNS topic, or empty")] = ""
    log_groups: LogGroups = field(default_factory=LogGroups)
    base_image: Annotated[str, _text(r"\S*", "an image reference, or empty")] = ""

    @property
    def boot_deadline(self) -> int:
        """Seconds from the start of the boot until it times out."""
        return self.app.boot_timeout - REPORTING_SECONDS

    def render(self) -> str:
        """The text that `parse` reads."""
        return json.dumps({"format": FORMAT, **asdict(self)})


@dataclass(frozen=True, kw_only=True)
class ReportingInfo:
    """What a failure report needs of user data, also of invalid user data; what is missing is empty."""

    stack: str = ""
    color: str = ""
    version: str = ""
    alerts_topic_arn: str = ""
    boot_log_group: str = ""

    @classmethod
    def parse(cls, text: str) -> "ReportingInfo | None":
        """None where the text is no JSON object."""
        if not (raw := _document(text)):
            return None
        return cls(
            stack=str(raw.get("stack", "")),
            color=str(raw.get("color", "")),
            version=str(_object(raw, "release").get("version", "")),
            alerts_topic_arn=str(raw.get("alerts_topic_arn", "")),
            boot_log_group=str(_object(raw, "log_groups").get("boot", "")),
        )


def parse(text: str) -> UserData:
    """Parse and validate a text that `UserData.render` wrote. Raises UserDataError."""
    raw = _document(text)
    if raw.pop("format", None) != FORMAT:
        raise UserDataError(f"user data: {_other(text)}: must be JSON of format {FORMAT} (ami/boot/user_data.py)")
    problems: list[str] = []
    values = _read(UserData, raw, "", problems)
    url, sha256 = (_object(raw, "release").get(key) for key in ("url", "sha256"))
    if str(url).startswith("s3://") and not sha256:
        problems.append("release.sha256: missing: a release from s3 must have one")
    if problems:
        raise UserDataError("user data: " + "; ".join(problems))
    return UserData(**values)


def _read(cls: type, raw: Mapping[str, Any], at: str, problems: list[str]) -> dict[str, Any]:
    """The fields of a class; invalid ones are added to the problems."""
    values: dict[str, Any] = {}
    hints = get_type_hints(cls, include_extras=True)
    for each in fields(cls):
        hint, value = hints[each.name], raw.get(each.name)
        if isinstance(hint, type):  # a class of its own is an object
            inner = _read(hint, _object(raw, each.name), f"{at}{each.name}.", problems)
            values[each.name] = None if problems else hint(**inner)
        elif each.name in raw or each.default is MISSING:
            values[each.name] = value
            if not hint.__metadata__[0].is_allowed(value):
                problems.append(f"{at}{each.name}: {_shown(each.name, value)}: must be {hint.__metadata__[0].allowed}")
    names = {each.name for each in fields(cls)}
    problems += [f"{at}{name}: there is no such field" for name in raw if name not in names]
    return values


def _shown(name: str, value: Any) -> Any:
    if value in (None, ""):
        return "missing"
    return without_credentials(str(value)) if name == "url" else value


def _other(text: str) -> str:
    """A description of another format, without its values."""
    is_old = re.match(r"\s*[A-Z_]+=", text)
    return "KEY=VALUE lines, as older versions of the program wrote" if is_old else "another form"


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _object(raw: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = raw.get(key)
    return value if isinstance(value, dict) else {}
