"""HAProxy configuration for a load balancer model: one main file, and the map and pattern files that it names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rehearsal.load_balancer.access_log import FRONTEND, LINE_LIMIT, LOG_FORMAT
from rehearsal.load_balancer.model import (
    Action,
    Condition,
    ConditionKind,
    FixedResponse,
    Forward,
    HealthCheck,
    ListenerModel,
    LoadBalancerModel,
    Redirect,
    RuleModel,
    TargetGroupModel,
)

# Each request draws a random number below this; the rule's map assigns it to a target group. Fine enough for 1 in 999.
DRAW = 1_000_000
# Check interval of a new target until its first passed check, which is enough for an ALB as well. ALB's first check
# comes at any time within the interval; the configured interval applies here once the target serves.
FIRST_CHECKS_MS = 300
NEW, OPEN = "-new", "-open"
NO_TARGET = "no-target"
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,40}")

# ALB's limits: 60 s idle timeout. Connect timeout 2 s (ALB: 10 s), since a retry on another target follows: a failed
# connect has carried no request, so the retry is safe. A request once sent is never retried, as with an ALB.
# fd-hard-limit: connections are sized from the process's limit of open files, which in containers may be a billion.
# idle-close-on-response: a reload must not close a connection on which a client is about to send its next request.
PREAMBLE = """\
global
  nbthread 1
  fd-hard-limit 20000
  hard-stop-after 60s
  stats socket unix@{socket} mode 600 level admin expose-fd listeners
  server-state-file {state}

defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout queue 5s
  option http-keep-alive
  option idle-close-on-response
  option redispatch 1
  retries 3
  option forwardfor
  http-reuse safe
"""


class ModelError(Exception):
    """The model has a feature that the emulator does not support."""


@dataclass(kw_only=True)
class Configuration:
    """`files`: relative name to content, next to the main file."""

    main: str
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BackendServer:
    """A target as a HAProxy server; `name` is unique per registration, since the previous one may still drain."""

    backend: str
    name: str
    address: str
    port: int


def backend_of(arn: str) -> str:
    """Backend name: readable, and unique even when ARNs differ in replaced characters only."""
    readable = re.sub(r"[^A-Za-z0-9_.]", "-", arn.rpartition("targetgroup/")[2])
    return f"{readable}-{hashlib.sha256(arn.encode()).hexdigest()[:6]}"


def render(
    model: LoadBalancerModel,
    *,
    bind: str,
    servers: Iterable[BackendServer],
    socket: str,
    state: str = "servers.state",
    log: str = "",
) -> Configuration:
    """`log`: host:port that receives one line per request; empty: none."""
    configuration = Configuration(main="")
    all_servers = list(servers)
    parts = [PREAMBLE.format(socket=socket, state=state)]
    log_lines = [f"  log {log} len {LINE_LIMIT} format raw local0", f'  log-format "{LOG_FORMAT}"'] if log else []
    parts += [_frontend(listener, bind, log_lines, configuration.files) for listener in model.listeners]
    for arn, group in model.target_groups.items():
        parts += _backends(backend_of(arn), group, all_servers)
    parts.append(f"backend {NO_TARGET}\n")
    configuration.main = "\n".join(parts)
    return configuration


def weights_map(weights: Mapping[str, int]) -> str:
    """Ranges of the random number by group; empty when all weights are 0, and then the response is 503."""
    total = sum(weights.values())
    lines = []
    low = sum_so_far = 0
    for arn, weight in sorted(weights.items()):
        sum_so_far += weight
        high = DRAW * sum_so_far // total if total else 0
        if high > low:
            lines.append(f"{low}:{high - 1} {backend_of(arn)}\n")
        low = high
    return "".join(lines)


def map_name(key: str) -> str:
    return f"maps/{key}.map"


def server_options(server: BackendServer, health: HealthCheck) -> str:
    """Server options, for the configuration file and for servers added at runtime, which inherit no defaults."""
    if server.backend.endswith(OPEN):
        return ""
    if server.backend.endswith(NEW):
        return f"check inter {FIRST_CHECKS_MS}ms rise 1 fall 1"
    rise, fall = health.healthy_threshold, health.unhealthy_threshold
    return f"check inter {int(health.interval * 1000)}ms rise {rise} fall {fall} pool-purge-delay 1s"


def _frontend(listener: ListenerModel, bind: str, log_lines: Iterable[str], files: dict[str, str]) -> str:
    lines = [
        f"frontend {FRONTEND}{listener.port}",
        f"  bind {bind}:{listener.port}",
        *log_lines,
        "  http-request set-header X-Forwarded-Proto http",
        f"  http-request set-header X-Forwarded-Port {listener.port}",
        "  acl chosen var(txn.group) -m found",
    ]
    for rule in sorted(listener.rules, key=lambda rule: rule.priority):
        key = f"{listener.port}-{rule.priority}"
        names = list(_conditions(rule, key, lines, files))
        lines += _action(rule.action, key, listener.port, " ".join(["!chosen", *names]), files)
    lines += _action(listener.default_action, f"{listener.port}-default", listener.port, "!chosen", files)
    # ALB fails open: when no target of the group is healthy, all of them get requests.
    lines.append(f"  use_backend %[var(txn.group)]{OPEN} if {{ var(txn.group),nbsrv eq 0 }}")
    lines.append("  use_backend %[var(txn.group)]")
    return "\n".join(lines) + "\n"


def _conditions(rule: RuleModel, key: str, lines: list[str], files: dict[str, str]) -> Iterator[str]:
    """Add an ACL for each condition; its patterns are in a file, where no quoting is needed."""
    for number, condition in enumerate(rule.conditions):
        name, file = f"r{rule.priority}c{number}", f"patterns/{key}-{number}.lst"
        fetch, patterns = _match(condition)
        files[file] = "".join(f"{pattern}\n" for pattern in patterns)
        lines.append(f"  acl {name} {fetch} -f {file}")
        yield name


def _match(condition: Condition) -> tuple[str, list[str]]:
    globs = [_glob(value) for value in condition.values]
    match condition.kind:
        case ConditionKind.HTTP_HEADER:
            if not HEADER_NAME.fullmatch(condition.name):
                raise ModelError(f"header name {condition.name!r}: allowed are 1 to 40 characters of an HTTP token")
            return f"req.fhdr({condition.name}) -m reg -i", globs
        case ConditionKind.PATH_PATTERN:  # the only one that ALB matches by case
            return "path -m reg", globs
        case ConditionKind.HOST_HEADER:
            return "req.hdr(host),host_only -m reg -i", globs
        case ConditionKind.HTTP_REQUEST_METHOD:
            return "method -m str", list(condition.values)
        case ConditionKind.QUERY_STRING:
            key = re.escape(condition.name) if condition.name else "[^=&]*"
            return "query -m reg -i", [rf"(^|&){key}={_glob(value)[1:-1]}(&|$)" for value in condition.values]
        case ConditionKind.SOURCE_IP:
            return "src -m ip", list(condition.values)


def _glob(value: str) -> str:
    """ALB's wildcards: * is any number of characters, ? is one."""
    if "\n" in value or "\r" in value:
        raise ModelError(f"condition value {value!r}: a line break can't stand in a request's line")
    translated = "".join({"*": ".*", "?": "."}.get(character) or _literal(character) for character in value)
    return f"^{translated}$"


def _literal(character: str) -> str:
    # Spaces at a pattern's ends would be trimmed with the line.
    return r"\x20" if character == " " else re.escape(character)


def _action(action: Action, key: str, port: int, condition: str, files: dict[str, str]) -> list[str]:
    match action:
        case Forward(weights=weights):
            files[map_name(key)] = weights_map(weights)
            draw = f"rand({DRAW}),map_int({map_name(key)},{NO_TARGET})"
            return [f"  http-request set-var(txn.group) {draw} if {condition}"]
        case FixedResponse(status=status, body=""):
            return [f"  http-request return status {status} if {condition}"]
        case FixedResponse(status=status, content_type=content_type, body=body):
            files[f"bodies/{key}"] = body
            kind = f"content-type {_quoted(content_type)} file bodies/{key}"
            return [f"  http-request return status {status} {kind} if {condition}"]
        case Redirect():
            return _redirect(action, port, condition)


def _redirect(redirect: Redirect, port: int, condition: str) -> list[str]:
    known = {
        "#{protocol}": "http",
        "#{host}": "%[req.hdr(host),host_only]",
        "#{port}": str(port),
        "#{path}": "%[var(txn.path)]",
        "#{query}": "%[query]",
    }

    def part(text: str) -> str:
        pieces = re.split(r"(#\{[a-z]+\})", text)
        return "".join(known.get(piece) or piece.replace("%", "%%") for piece in pieces)

    location = f"{part(redirect.protocol).lower()}://{part(redirect.host)}:{part(redirect.port)}{part(redirect.path)}"
    send = f"code {redirect.status} if {condition}"
    lines = [f"  http-request set-var(txn.path) path,regsub(^/,) if {condition}"]
    if redirect.query:  # no trailing question mark when the request has no query
        needed = " { query -m found }" if redirect.query == "#{query}" else ""
        lines.append(f"  http-request redirect location {_quoted(f'{location}?{part(redirect.query)}')} {send}{needed}")
    return [*lines, f"  http-request redirect location {_quoted(location)} {send}"]


def _quoted(text: str) -> str:
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


def _backends(name: str, group: TargetGroupModel, servers: list[BackendServer]) -> list[str]:
    """Three per group: healthy targets, new ones, and all of them for fail-open when none is healthy."""
    health = group.health
    check = [
        "  balance roundrobin",
        "  option httpchk",
        f"  http-check send meth GET uri {_quoted(health.path)} ver HTTP/1.1 hdr Host target"
        " hdr User-Agent ELB-HealthChecker/2.0 hdr Connection close",
        f"  http-check expect status {health.matcher}",
        f"  timeout check {int(health.timeout * 1000)}ms",
    ]
    restore = ["  load-server-state-from-file global"]
    return [
        "\n".join([f"backend {name}", *check, *restore, *_servers(name, health, servers)]) + "\n",
        "\n".join([f"backend {name}{NEW}", *check, *_servers(name + NEW, health, servers)]) + "\n",
        "\n".join([f"backend {name}{OPEN}", "  balance roundrobin", *_servers(name + OPEN, health, servers)]) + "\n",
    ]


def _servers(backend: str, health: HealthCheck, servers: list[BackendServer]) -> list[str]:
    return [
        f"  server {server.name} {server.address}:{server.port} {server_options(server, health)}".rstrip()
        for server in servers
        if server.backend == backend
    ]
