"""Messages of the alerts topic, the boot log and the history: their kinds, fields, subjects and limits.

Instances import it as `boot.messages`, scripts and components as `ami.boot.messages`; it needs the standard library
alone. docs/messages.md and its JSON schema are generated from it (scripts/ci/message_reference.py), so that each
field's meaning is next to its type.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Annotated, Any, Self, TypeVar

from .masking import TAIL_LINE_LENGTH, TAIL_LINES, Secrets

# What SNS takes: 100 printable ASCII characters for a subject, 256 KiB for a message; a log event may be as long.
MAX_SUBJECT = 100
MAX_BYTES = 250_000
MAX_TEXT = 4000  # with 50 lines of 1,000 letters, of 4 bytes at most, below 256 KiB
_UNREADABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Kind(StrEnum):
    """What a message is about; a change of the stack bears the name of its command."""

    BOOT_FAILED = "boot_failed"
    APP_EXITED = "app_exited"
    DOCKER_FAILED = "docker_failed"
    INSTANCE_LOST = "instance_lost"
    LAUNCH_FAILED = "launch_failed"
    DEPLOYMENT_FAILED = "deployment_failed"
    CUTOVER = "cutover"
    CANARY = "canary"
    ROLLBACK = "rollback"
    DIRECT_ROLLBACK = "direct_rollback"
    DEPLOY = "deploy"
    RESTART = "restart"
    RETIRE = "retire"
    UP = "up"


class Outcome(StrEnum):
    """How a change of the stack ended."""

    OK = "ok"
    FAILED = "failed"
    REFUSED = "refused"
    """A check failed, or the stack was locked; nothing was changed."""
    INTERRUPTED = "interrupted"
    ROLLED_BACK = "rolled_back"
    """The release was bad, and traffic is back on the previous one."""
    ROLLBACK_FAILED = "rollback_failed"
    """Traffic is on the wrong release: an operator must act now."""


def timestamp(seconds: float | None = None) -> str:
    """ISO 8601, UTC, with milliseconds; `seconds` since 1970, None for now."""
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def log_stream(color: str, release: str, instance: str) -> str:
    """The boot log's stream with an instance's messages; user data that can't be read names no color and no release."""
    return f"{color or 'none'}/{release or 'none'}/{instance}/failure"


@dataclass(frozen=True, kw_only=True)
class ColorSnapshot:
    """One color's release and resources at one moment; all empty for a color that is off."""

    color: Annotated[str, "`blue` or `green`"] = ""
    release: Annotated[str, "the release's version"] = ""
    ami: Annotated[str, "id of the AMI"] = ""
    asg: Annotated[str, "name of the Auto Scaling group"] = ""
    target_group: Annotated[str, "ARN of the target group"] = ""

    def __str__(self) -> str:
        return f"{self.color} {self.release}".strip() or "-"


@dataclass(frozen=True, kw_only=True)
class FailedLaunch:
    """An instance that never became healthy."""

    instance: Annotated[str, "id of the instance; empty where EC2 launched none"]
    reason: Annotated[str, "the Auto Scaling group's reason"]


@dataclass(frozen=True, kw_only=True)
class Message:
    """Fields of all messages. They hold no secret after `sanitized`."""

    kind: Annotated[Kind, "what happened; decides which other fields there are"]
    stack: Annotated[str, "the stack's name"]
    region: Annotated[str, "the stack's region"] = ""
    time: Annotated[str, "when it happened, ISO 8601 in UTC"] = field(default_factory=timestamp)
    left_out: Annotated[
        tuple[str, ...], "fields that were emptied, since SNS takes no more than 256 KiB; absent where none was"
    ] = ()

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Self:
        """Unknown fields, of another version of this project, are skipped. Raises TypeError where one is missing."""
        return cls(**_known(cls, raw))

    @property
    def subject(self) -> str:
        """One-line summary within SNS's limits: 100 printable ASCII characters at most."""
        printable = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in self.headline)
        return printable[:MAX_SUBJECT]

    @property
    def headline(self) -> str:
        """What happened, and to what: the subject before it is cut."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class InstanceFailure(Message):
    """A failure that an instance itself reports."""

    color: Annotated[str, "the instance's color; empty where its user data can't be read"]
    release: Annotated[str, "the instance's release; empty where its user data can't be read"]
    instance: Annotated[str, "id of the instance"]
    zone: Annotated[str, "availability zone of the instance"] = ""
    error: Annotated[str, "what failed, in a sentence"]

    @property
    def _origin(self) -> str:
        return f"{self.stack} {self.color} {self.release} {self.instance}"


@dataclass(frozen=True, kw_only=True)
class BootFailed(InstanceFailure):
    """A boot failed; the instance is replaced."""

    kind: Kind = Kind.BOOT_FAILED
    step: Annotated[str, "the boot's step that failed"]
    step_seconds: Annotated[Mapping[str, float], "duration of each step so far"] = field(default_factory=dict)
    lines: Annotated[tuple[str, ...], "the last 50 log lines of the boot, the app's among them"] = ()

    @property
    def headline(self) -> str:
        return f"Boot failed at {self.step}: {self._origin}"

    @property
    def report(self) -> list[str]:
        """Lines for a terminal: where and why, how long each step took, and the last log lines."""
        seconds = ", ".join(f"{step} {seconds:g}" for step, seconds in self.step_seconds.items())
        return [
            f"{self.instance} failed at step {self.step}: {self.error}",
            f"  seconds: {seconds}",
            *(f"  | {line}" for line in self.lines),
        ]


@dataclass(frozen=True, kw_only=True)
class Crash(InstanceFailure):
    """An unexpected exit of the app or of Docker."""

    restarts: Annotated[int, "Docker's restarts of the app since the instance's boot"] = 0
    suppressed: Annotated[int, "crashes since the last message that were not reported: one in 5 minutes is"] = 0
    lines: Annotated[tuple[str, ...], "the app's last 50 log lines"] = ()


@dataclass(frozen=True, kw_only=True)
class AppExited(Crash):
    """The app's container exited unexpectedly."""

    kind: Kind = Kind.APP_EXITED
    exit_code: Annotated[int, "the container's exit code"]
    out_of_memory: Annotated[bool, "whether it was killed for running out of memory"] = False

    @property
    def headline(self) -> str:
        return f"App exited with {self.exit_code}: {self._origin}"


@dataclass(frozen=True, kw_only=True)
class DockerFailed(Crash):
    """The Docker daemon went down unexpectedly."""

    kind: Kind = Kind.DOCKER_FAILED

    @property
    def headline(self) -> str:
        return f"Docker failed: {self._origin}"


@dataclass(frozen=True, kw_only=True)
class GroupFailure(Message):
    """An Auto Scaling event that EventBridge forwards: the field names are this project's, the values AWS's."""

    color: Annotated[str, "the group's color"]
    group: Annotated[str, "name of the Auto Scaling group"]
    instance: Annotated[str, "id of the instance; empty where EC2 launched none"]
    details: Annotated[Mapping[str, Any], "AWS's own object: `Availability Zone`, `Subnet ID`"]
    error: Annotated[str, "Auto Scaling's reason, in a sentence"]


@dataclass(frozen=True, kw_only=True)
class InstanceLost(GroupFailure):
    """An unhealthy instance was terminated."""

    kind: Kind = Kind.INSTANCE_LOST

    @property
    def headline(self) -> str:
        return f"Instance lost: {self.stack} {self.color} {self.instance}"


@dataclass(frozen=True, kw_only=True)
class LaunchFailed(GroupFailure):
    """A group could not launch an instance."""

    kind: Kind = Kind.LAUNCH_FAILED
    cause: Annotated[str, "why the group launched one"]
    status: Annotated[str, "the scaling activity's status: `Failed`, or `Cancelled` for an instance that was launched"]

    @property
    def headline(self) -> str:
        return f"Launch failed: {self.stack} {self.color}"


@dataclass(frozen=True, kw_only=True)
class DeploymentFailed(Message):
    """A deployment that failed after its instances were launched. Live traffic is unchanged."""

    kind: Kind = Kind.DEPLOYMENT_FAILED
    color: Annotated[str, "the color that was deployed to"]
    release: Annotated[str, "the release that was deployed"]
    ami: Annotated[str, "id of the AMI"]
    who: Annotated[str, "the operator, or in CI the author of the push that started the run"]
    error: Annotated[str, "why it failed, in a sentence"]
    launches_stopped: Annotated[
        tuple[str, ...], "Auto Scaling groups that launch nothing more until the next deployment"
    ] = ()
    failed_launches: Annotated[tuple[FailedLaunch, ...], "instances that never became healthy"] = ()
    boot_failure: Annotated[BootFailed | None, "the last one's report of its boot; null where there is none"] = None
    evidence: Annotated[tuple[str, ...], "state of the color's instances, scaling activities, console output"] = ()

    @property
    def headline(self) -> str:
        return f"Deployment failed, live traffic unchanged: {self.stack} {self.color} {self.release}"


@dataclass(frozen=True, kw_only=True)
class ChangeRecord(Message):
    """One run of a command that changed, or tried to change, a stack: a record of the stack's history."""

    outcome: Annotated[Outcome, "how it ended"]
    seconds: Annotated[float, "how long it took"]
    source: Annotated[ColorSnapshot, "the color that traffic left, or the changed color, before the run"] = (
        ColorSnapshot()
    )
    target: Annotated[ColorSnapshot, "the color that traffic went to, or the changed color, after the run"] = (
        ColorSnapshot()
    )
    error: Annotated[str, "what went wrong, and after `rollback_failed` the command to run"] = ""
    reason: Annotated[str, "the operator's `--reason`, or what was wrong with the release that was rolled back"] = ""
    lock_broken: Annotated[str, "whose lock was broken for this run: they left no record of their own"] = ""
    changed_resources: Annotated[int, "number of resources that Pulumi changed"] = 0
    figures: Annotated[Mapping[str, Any], "measurements: requests, errors, probes, seconds of the stages"] = field(
        default_factory=dict
    )
    who: Annotated[str, "the operator, or in CI the author of the push that started the run"]
    host: Annotated[str, "name of the host that the command ran on"]
    notification: Annotated[str, "in the history: `published`, or why not; empty where none was due"] = ""

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Self:
        snapshots = {name: ColorSnapshot(**_known(ColorSnapshot, raw.get(name, {}))) for name in ("source", "target")}
        return cls(**{**_known(cls, raw), **snapshots})

    @property
    def headline(self) -> str:
        return f"{self.title}, {self.stack} {self.source} to {self.target}"

    @property
    def title(self) -> str:
        """Kind and outcome as text."""
        return f"{self.kind}: {self.outcome}".replace("_", " ").capitalize()

    @property
    def summary(self) -> str:
        """Everything of interest in one line, without the stack."""
        snapshots = " → ".join(str(each) for each in (self.source, self.target) if str(each) != "-")
        why = self.reason or self.error
        text = f"{self.title} after {self.seconds:.1f} s, by {self.who}"
        return f"{text}{', ' + snapshots if snapshots else ''}{' (' + why + ')' if why else ''}"


CHANGES = (
    *(Kind.CUTOVER, Kind.CANARY, Kind.ROLLBACK, Kind.DIRECT_ROLLBACK),
    *(Kind.DEPLOY, Kind.RESTART, Kind.RETIRE, Kind.UP),
)
TYPES: Mapping[Kind, type[Message]] = {
    **{each.kind: each for each in (BootFailed, AppExited, DockerFailed, InstanceLost, LaunchFailed, DeploymentFailed)},
    **dict.fromkeys(CHANGES, ChangeRecord),
}

M = TypeVar("M", bound=Message)


def sanitized(message: M, secrets: Secrets) -> M:
    """The same message without secrets, without characters that no terminal shows, each text within its length.

    To be called when a message is created: what sends and stores it neither masks nor truncates.
    """
    result: M = _sanitized(message, secrets)
    return result


def content(message: Message) -> dict[str, Any]:
    """The message in JSON types, with the fields in their documented order."""
    values = {each.name: _jsonable(getattr(message, each.name)) for each in fields(message)}
    if not message.left_out:
        del values["left_out"]
    return {"kind": values.pop("kind"), "subject": message.subject, **values}


def body(message: Message) -> str:
    """The message as JSON that fits into SNS: where it is too long, its lists and objects are emptied."""
    full = _json(content(message))
    if len(full.encode()) <= MAX_BYTES:
        return full
    # Better the sentences without their evidence than a message that SNS refuses.
    bulky = [each for each in fields(message) if isinstance(getattr(message, each.name), (tuple, Mapping, Message))]
    emptied = {each.name: _default(each) for each in bulky if getattr(message, each.name)}
    return _json(content(replace(message, **{**emptied, "left_out": tuple(emptied)})))


def _json(value: Mapping[str, Any]) -> str:
    # An escape takes six bytes where UTF-8 takes two.
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Message):
        return content(value)
    if is_dataclass(value):
        return {each.name: _jsonable(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(each) for each in value]
    return value


def _sanitized(value: Any, secrets: Secrets) -> Any:
    if isinstance(value, str):
        return value if isinstance(value, Enum) else _readable(secrets.mask(value))[:MAX_TEXT]
    if isinstance(value, Mapping):
        return {str(key): _sanitized(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        remainders = list[str]()  # a value that is split over lines continues in the next
        return tuple(
            _readable(secrets.mask(each, remainders))[:TAIL_LINE_LENGTH]
            if isinstance(each, str)
            else _sanitized(each, secrets)
            for each in value
        )
    if is_dataclass(value) and not isinstance(value, type):
        found = {each.name: getattr(value, each.name) for each in fields(value)}
        if "lines" in found:
            found["lines"] = found["lines"][-TAIL_LINES:]
        return replace(value, **{name: _sanitized(item, secrets) for name, item in found.items()})
    return value


def _readable(text: str) -> str:
    """Terminals' control characters take six bytes each in JSON, and a lone surrogate can't be sent at all."""
    return _UNREADABLE.sub("?", text)


def _known(kind: Any, raw: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists as tuples."""
    names = {each.name for each in fields(kind)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items() if name in names}


def _default(each: "Field[Any]") -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()
