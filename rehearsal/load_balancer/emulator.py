"""Load balancer emulator: HAProxy configured from a model of an ALB, with real health checks and draining."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path

from rehearsal.load_balancer.access_log import AccessLog, RequestOutcome
from rehearsal.load_balancer.haproxy import HAProxy, HAProxyError
from rehearsal.load_balancer.haproxy_config import (
    NEW,
    OPEN,
    BackendServer,
    backend_of,
    map_name,
    render,
    server_options,
    weights_map,
)
from rehearsal.load_balancer.model import (
    DRAINING,
    HEALTHY,
    INITIAL,
    NOT_IN_USE,
    NOT_REGISTERED,
    Action,
    Forward,
    HealthCheck,
    ListenerModel,
    LoadBalancerModel,
    TargetHealth,
    unhealthy,
)

LOG = logging.getLogger(__name__)
# Poll interval of HAProxy (seconds): the delay until a health check's result is known.
POLL = 0.1

Key = tuple[str, str, int]
Rows = Mapping[tuple[str, str], Mapping[str, str]]


class TargetPhase(Enum):
    """Lifecycle of a target: new until its first passed check, then serving, draining, gone."""

    NEW = auto()
    SERVING = auto()
    DRAINING = auto()
    GONE = auto()


@dataclass(kw_only=True, eq=False)
class Target:
    """One registration of a target; `name` is its server's name in HAProxy, and is never reused."""

    key: Key
    name: str
    health: HealthCheck
    phase: TargetPhase = TargetPhase.NEW
    since: float = field(default_factory=time.monotonic)
    row: Mapping[str, str] = field(default_factory=dict)
    # While draining: its deadline, whether it passed, and the replaced HAProxy that has its last requests.
    deadline: float = 0.0
    timed_out: bool = False
    process: int | None = None
    # No longer in the model: when it returns, that is a new registration.
    deregistered: bool = False

    def server(self, suffix: str) -> BackendServer:
        arn, address, port = self.key
        return BackendServer(backend=f"{backend_of(arn)}{suffix}", name=self.name, address=address, port=port)

    @property
    def servers(self) -> list[BackendServer]:
        """Servers that a new process needs for this target."""
        match self.phase:
            case TargetPhase.NEW:
                return [self.server(NEW), self.server(OPEN)]
            case TargetPhase.SERVING:
                return [self.server(""), self.server(OPEN)]
            case _:
                return []


class LoadBalancerEmulator:
    """`apply` may be called at any time, with the complete model; a thread polls the health checks."""

    def __init__(self, run_dir: Path, bind: str) -> None:
        self._bind = bind
        self._haproxy = HAProxy(run_dir)
        self._access_log = AccessLog()
        self._model = LoadBalancerModel()
        self._targets: dict[Key, Target] = {}
        self._numbers = itertools.count(1)
        self._removing: list[BackendServer] = []
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="load-balancer", daemon=True)
        self._thread.start()

    def apply(self, model: LoadBalancerModel) -> None:
        """Weights and targets change in the running process; other changes start a new one, without failed requests."""
        with self._lock:
            if model == self._model:
                return
            before, self._model = self._model, model
            try:
                self._update(before)
            except HAProxyError:
                self._model = before  # the next call retries
                raise

    def health(self) -> dict[Key, TargetHealth]:
        """Health of every target in the model, and of those that are still draining."""
        with self._lock:
            used = self._model.groups_in_use
            unused = {key: NOT_IN_USE for key in _registered(self._model) if key[0] not in used}
            return unused | {key: _health_of(target) for key, target in self._targets.items()}

    def drain(self, target_group: str, ip: str, port: int, timeout: float) -> bool:
        """Send this target no more requests and wait for its last one; False on timeout."""
        with self._lock:
            target = self._targets.get((target_group, ip, port))
            if target is None:
                return True
            self._start_draining(target, timeout)
        while target.phase is TargetPhase.DRAINING:
            if self._stop.wait(POLL / 2):
                return False
        return not target.timed_out

    def traffic(self) -> Counter[RequestOutcome]:
        """Requests by outcome since the last call."""
        with self._lock:
            names = {backend_of(arn): arn for arn in self._model.target_groups}
            self._access_log.read()
            return self._access_log.pop_counts(names | {f"{name}{OPEN}": arn for name, arn in names.items()})

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        with self._lock:
            self._haproxy.close()
            self._access_log.close()

    # Changes of the model.

    def _update(self, before: LoadBalancerModel) -> None:
        live = self._haproxy.running and _shape(self._model) == _shape(before)
        self._deregister_targets()
        self._register_targets(live=live)
        if live:
            self._update_weights(before)
        elif self._model.listeners:
            self._reload()
        else:
            self._haproxy.stop()

    def _deregister_targets(self) -> None:
        registered, used = _registered(self._model), self._model.groups_in_use
        for key, target in list(self._targets.items()):
            if key in registered and key[0] in used:
                continue
            target.deregistered = True
            if key[0] in used:
                self._start_draining(target, self._model.target_groups[key[0]].deregistration_delay)
            else:  # no rule routes to its group any more: requests in flight finish without draining
                self._remove_target(target)
            if target.phase is TargetPhase.GONE:
                del self._targets[key]

    def _register_targets(self, *, live: bool) -> None:
        used = self._model.groups_in_use
        for key in _registered(self._model):
            known = self._targets.get(key)
            if key[0] not in used or (known is not None and not known.deregistered):
                continue
            if known is not None:
                self._remove_target(known)
            _arn, address, port = key
            name = f"{address}_{port}_{next(self._numbers)}"
            target = Target(key=key, name=name, health=self._model.target_groups[key[0]].health)
            self._targets[key] = target
            for server in target.servers if live else ():
                self._add(server, target.health)

    def _update_weights(self, before: LoadBalancerModel) -> None:
        old = dict(_forwards(before))
        for key, forward in _forwards(self._model):
            if old.get(key) != forward:
                self._haproxy.set_map(map_name(key), weights_map(forward.weights))

    def _reload(self) -> None:
        for arn, group in self._model.target_groups.items():
            for target in self._targets.values():
                target.health = group.health if target.key[0] == arn else target.health
        servers = [server for target in self._targets.values() for server in target.servers]
        replaced = self._haproxy.pid
        socket, log = self._haproxy.next_socket, self._access_log.address
        self._haproxy.load(render(self._model, bind=self._bind, servers=servers, socket=socket, log=log))
        self._removing = []
        for target in self._targets.values():
            if target.phase is TargetPhase.DRAINING and target.process is None:
                target.process = replaced

    # Results of the health checks.

    def _watch(self) -> None:
        while not self._stop.wait(POLL):
            try:
                with self._lock:
                    self._access_log.read()
                    self._tick()
            except HAProxyError as error:
                LOG.warning("poll haproxy error=%s", error)

    def _tick(self) -> None:
        if not self._model.listeners:
            return
        if not self._haproxy.running:
            LOG.warning("restart haproxy reason=ended")
            self._reload()
        rows = self._haproxy.servers()
        for target in list(self._targets.values()):
            target.row = rows.get(_server_key(target.server(NEW if target.phase is TargetPhase.NEW else "")), {})
            if target.phase is TargetPhase.NEW and _check(target.row) == "L7OK":
                self._promote(target)
            elif target.phase is TargetPhase.DRAINING:
                self._check_drained(target, rows)
        self._delete_removed_servers(rows)

    def _promote(self, target: Target) -> None:
        target.phase, target.row = TargetPhase.SERVING, {}
        server = target.server("")
        self._add(server, target.health)
        # HAProxy marks a new server down on its first failed check; an ALB applies the unhealthy threshold.
        self._haproxy.execute(f"set server {'/'.join(_server_key(server))} health up")
        self._remove([target.server(NEW)])

    def _start_draining(self, target: Target, timeout: float) -> None:
        if target.phase is TargetPhase.NEW:
            self._remove_target(target)
        if target.phase is TargetPhase.SERVING:
            target.phase = TargetPhase.DRAINING
            for server in (target.server(""), target.server(OPEN)) if self._haproxy.running else ():
                self._haproxy.execute(f"set server {'/'.join(_server_key(server))} state drain")
        if target.phase is TargetPhase.DRAINING:
            target.deadline = time.monotonic() + timeout

    def _check_drained(self, target: Target, rows: Rows) -> None:
        target.timed_out = time.monotonic() > target.deadline
        busy = target.process in self._haproxy.draining_pids() if target.process is not None else _busy(target, rows)
        if target.timed_out or not busy:
            self._remove_target(target)
            if target.deregistered:
                del self._targets[target.key]

    def _remove_target(self, target: Target) -> None:
        """Remove its servers from the running process; requests in flight still complete."""
        if target.phase is TargetPhase.GONE:
            return
        target.phase = TargetPhase.GONE
        if self._haproxy.running:
            self._remove([target.server(suffix) for suffix in ("", NEW, OPEN)])

    # Servers in the running process.

    def _add(self, server: BackendServer, health: HealthCheck) -> None:
        name, options = "/".join(_server_key(server)), server_options(server, health)
        steps = [f"add server {name} {server.address}:{server.port} {options}".rstrip()]
        if options.startswith("check"):
            steps.append(f"enable health {name}")
        self._haproxy.execute("; ".join([*steps, f"enable server {name}"]))

    def _remove(self, servers: list[BackendServer]) -> None:
        present = self._haproxy.servers()
        for server in servers:
            if _server_key(server) in present:
                self._haproxy.execute(f"set server {'/'.join(_server_key(server))} state maint")
                self._removing.append(server)

    def _delete_removed_servers(self, rows: Rows) -> None:
        """HAProxy refuses to delete a server with open connections, idle ones included: such a deletion is retried."""
        remaining = [server for server in self._removing if _server_key(server) in rows]
        for server in remaining:
            self._haproxy.command(f"del server {'/'.join(_server_key(server))}")
        self._removing = remaining


def _server_key(server: BackendServer) -> tuple[str, str]:
    return server.backend, server.name


def _check(row: Mapping[str, str]) -> str:
    """Result of the last finished check; HAProxy prefixes it with a star while the next one runs."""
    return row.get("check_status", "").removeprefix("* ")


def _busy(target: Target, rows: Rows) -> bool:
    keys = [_server_key(target.server(suffix)) for suffix in ("", OPEN)]
    return any(int(rows[key]["scur"]) > 0 for key in keys if key in rows)


def _health_of(target: Target) -> TargetHealth:
    row, check = target.row, _check(target.row)
    match target.phase:
        case TargetPhase.NEW:
            grace_period = target.health.interval * target.health.unhealthy_threshold
            failed = time.monotonic() - target.since > grace_period and check not in ("", "INI", "L7OK")
            return _failure(row) if failed else INITIAL
        case TargetPhase.SERVING:
            return _failure(row) if row.get("status", "UP").startswith("DOWN") else HEALTHY
        case TargetPhase.DRAINING:
            return DRAINING
        case TargetPhase.GONE:
            return NOT_REGISTERED


def _failure(row: Mapping[str, str]) -> TargetHealth:
    check = _check(row)
    if check == "L7STS":
        codes = f"Health checks failed with these codes: [{row['check_code']}]"
        return unhealthy("Target.ResponseCodeMismatch", codes)
    if check.endswith("TOUT"):
        return unhealthy("Target.Timeout", "Request timed out")
    return unhealthy("Target.FailedHealthChecks", "Health checks failed")


def _registered(model: LoadBalancerModel) -> set[Key]:
    return {(arn, ip, port) for arn, group in model.target_groups.items() for ip, port in group.targets}


def _forwards(model: LoadBalancerModel) -> Iterator[tuple[str, Forward]]:
    for listener in model.listeners:
        yield from ((key, action) for key, action in listener.actions if isinstance(action, Forward))


def _shape(model: LoadBalancerModel) -> object:
    """The configuration without servers and weights: a change of it needs a new process."""
    listeners = tuple(_without_weights(listener) for listener in model.listeners)
    return listeners, {arn: group.health for arn, group in model.target_groups.items()}


def _without_weights(listener: ListenerModel) -> ListenerModel:
    rules = tuple(replace(rule, action=_weightless(rule.action)) for rule in listener.rules)
    return replace(listener, default_action=_weightless(listener.default_action), rules=rules)


def _weightless(action: Action) -> Action:
    return Forward(weights={}) if isinstance(action, Forward) else action
