"""HAProxy stands where the load balancer would, does what the balancer's model says, and reports true target health."""

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

from rehearsal.load_balancer.access_log import Answered, Traffic
from rehearsal.load_balancer.haproxy import HAProxy, HAProxyError
from rehearsal.load_balancer.haproxy_config import (
    NEW,
    OPEN,
    Server,
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
    BalancerModel,
    Forward,
    HealthCheck,
    Listener,
    TargetHealth,
    unhealthy,
)

LOG = logging.getLogger(__name__)
# How often HAProxy is asked: what a check found is known that much later.
POLL = 0.1

Key = tuple[str, str, int]
Rows = Mapping[tuple[str, str], Mapping[str, str]]


class Phase(Enum):
    """A target's way: new until its first passed check, then serving, then draining, then gone."""

    NEW = auto()
    SERVING = auto()
    DRAINING = auto()
    GONE = auto()


@dataclass(kw_only=True, eq=False)
class Target:
    """What is known of one registration of a target; `name` is its server's name in HAProxy, and never used again."""

    key: Key
    name: str
    health: HealthCheck
    phase: Phase = Phase.NEW
    since: float = field(default_factory=time.monotonic)
    row: Mapping[str, str] = field(default_factory=dict)
    # While draining: until when, whether that came first, and the replaced HAProxy that has its last requests.
    until: float = 0.0
    late: bool = False
    process: int | None = None
    # The model did not hold it any more: when it does again, that is a new registration.
    deregistered: bool = False

    def server(self, suffix: str) -> Server:
        arn, address, port = self.key
        return Server(backend=f"{backend_of(arn)}{suffix}", name=self.name, address=address, port=port)

    @property
    def servers(self) -> list[Server]:
        """What a process that starts now has to hold."""
        match self.phase:
            case Phase.NEW:
                return [self.server(NEW), self.server(OPEN)]
            case Phase.SERVING:
                return [self.server(""), self.server(OPEN)]
            case _:
                return []


class FrontDoor:
    """`apply` may be called at any time, with the whole model; a thread follows what the health checks find."""

    def __init__(self, run_dir: Path, bind: str) -> None:
        self._bind = bind
        self._haproxy = HAProxy(run_dir)
        self._traffic = Traffic()
        self._model = BalancerModel()
        self._targets: dict[Key, Target] = {}
        self._numbers = itertools.count(1)
        self._leaving: list[Server] = []
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="front-door", daemon=True)
        self._thread.start()

    def apply(self, model: BalancerModel) -> None:
        """Weights and targets change in the running process; other changes start one that takes over without loss."""
        with self._lock:
            if model == self._model:
                return
            before, self._model = self._model, model
            try:
                self._follow(before)
            except HAProxyError:
                self._model = before  # so that the next call tries again
                raise

    def health(self) -> dict[Key, TargetHealth]:
        """Every target of the model, and those that are still draining."""
        with self._lock:
            used = self._model.groups_in_use
            found = {key: NOT_IN_USE for key in _registered(self._model) if key[0] not in used}
            return found | {key: _health_of(target) for key, target in self._targets.items()}

    def drain(self, target_group: str, ip: str, port: int, timeout: float) -> bool:
        """Send this target nothing more and wait for its last request; False when the time was not enough."""
        with self._lock:
            target = self._targets.get((target_group, ip, port))
            if target is None:
                return True
            self._start_draining(target, timeout)
        while target.phase is Phase.DRAINING:
            if self._stop.wait(POLL / 2):
                return False
        return not target.late

    def traffic(self) -> Counter[Answered]:
        """How many requests of each kind ended since the last call."""
        with self._lock:
            names = {backend_of(arn): arn for arn in self._model.target_groups}
            self._traffic.read()
            return self._traffic.take(names | {f"{name}{OPEN}": arn for name, arn in names.items()})

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        with self._lock:
            self._haproxy.close()
            self._traffic.close()

    # What the model asks for.

    def _follow(self, before: BalancerModel) -> None:
        live = self._haproxy.running and _shape(self._model) == _shape(before)
        self._follow_departures()
        self._follow_arrivals(live=live)
        if live:
            self._follow_weights(before)
        elif self._model.listeners:
            self._reload()
        else:
            self._haproxy.stop()

    def _follow_departures(self) -> None:
        registered, used = _registered(self._model), self._model.groups_in_use
        for key, target in list(self._targets.items()):
            if key in registered and key[0] in used:
                continue
            target.deregistered = True
            if key[0] in used:
                self._start_draining(target, self._model.target_groups[key[0]].deregistration_delay)
            else:  # nobody routes to its group any more: what is on its way ends by itself
                self._forget(target)
            if target.phase is Phase.GONE:
                del self._targets[key]

    def _follow_arrivals(self, *, live: bool) -> None:
        used = self._model.groups_in_use
        for key in _registered(self._model):
            present = self._targets.get(key)
            if key[0] not in used or (present is not None and not present.deregistered):
                continue
            if present is not None:
                self._forget(present)
            _arn, address, port = key
            name = f"{address}_{port}_{next(self._numbers)}"
            target = Target(key=key, name=name, health=self._model.target_groups[key[0]].health)
            self._targets[key] = target
            for server in target.servers if live else ():
                self._add(server, target.health)

    def _follow_weights(self, before: BalancerModel) -> None:
        old = dict(_forwards(before))
        for key, forward in _forwards(self._model):
            if old.get(key) != forward:
                self._haproxy.set_map(map_name(key), weights_map(forward.weights))

    def _reload(self) -> None:
        for arn, group in self._model.target_groups.items():
            for target in self._targets.values():
                target.health = group.health if target.key[0] == arn else target.health
        held = [server for target in self._targets.values() for server in target.servers]
        replaced = self._haproxy.pid
        socket, log = self._haproxy.next_socket, self._traffic.log
        self._haproxy.load(render(self._model, bind=self._bind, servers=held, socket=socket, log=log))
        self._leaving = []
        for target in self._targets.values():
            if target.phase is Phase.DRAINING and target.process is None:
                target.process = replaced

    # What the health checks find.

    def _watch(self) -> None:
        while not self._stop.wait(POLL):
            try:
                with self._lock:
                    self._traffic.read()
                    self._tick()
            except HAProxyError as error:
                LOG.warning("ask haproxy error=%s", error)

    def _tick(self) -> None:
        if not self._model.listeners:
            return
        if not self._haproxy.running:
            LOG.warning("restart haproxy reason=ended")
            self._reload()
        rows = self._haproxy.servers()
        for target in list(self._targets.values()):
            target.row = rows.get(_place(target.server(NEW if target.phase is Phase.NEW else "")), {})
            if target.phase is Phase.NEW and _check(target.row) == "L7OK":
                self._promote(target)
            elif target.phase is Phase.DRAINING:
                self._look_whether_drained(target, rows)
        self._delete_leaving(rows)

    def _promote(self, target: Target) -> None:
        target.phase, target.row = Phase.SERVING, {}
        server = target.server("")
        self._add(server, target.health)
        # HAProxy lets a server's first failed check count for all; ALB wants as many as ever.
        self._haproxy.ordered(f"set server {'/'.join(_place(server))} health up")
        self._remove([target.server(NEW)])

    def _start_draining(self, target: Target, timeout: float) -> None:
        if target.phase is Phase.NEW:
            self._forget(target)
        if target.phase is Phase.SERVING:
            target.phase = Phase.DRAINING
            for server in (target.server(""), target.server(OPEN)) if self._haproxy.running else ():
                self._haproxy.ordered(f"set server {'/'.join(_place(server))} state drain")
        if target.phase is Phase.DRAINING:
            target.until = time.monotonic() + timeout

    def _look_whether_drained(self, target: Target, rows: Rows) -> None:
        target.late = time.monotonic() > target.until
        busy = target.process in self._haproxy.leaving() if target.process is not None else _busy(target, rows)
        if target.late or not busy:
            self._forget(target)
            if target.deregistered:
                del self._targets[target.key]

    def _forget(self, target: Target) -> None:
        """Take its servers out of the running process; requests on their way still come back."""
        if target.phase is Phase.GONE:
            return
        target.phase = Phase.GONE
        if self._haproxy.running:
            self._remove([target.server(suffix) for suffix in ("", NEW, OPEN)])

    # Servers in the running process.

    def _add(self, server: Server, health: HealthCheck) -> None:
        place, options = "/".join(_place(server)), server_options(server, health)
        steps = [f"add server {place} {server.address}:{server.port} {options}".rstrip()]
        if options.startswith("check"):
            steps.append(f"enable health {place}")
        self._haproxy.ordered("; ".join([*steps, f"enable server {place}"]))

    def _remove(self, servers: list[Server]) -> None:
        present = self._haproxy.servers()
        for server in servers:
            if _place(server) in present:
                self._haproxy.ordered(f"set server {'/'.join(_place(server))} state maint")
                self._leaving.append(server)

    def _delete_leaving(self, rows: Rows) -> None:
        """HAProxy refuses to delete a server to which it still has a connection, if only a spare one: tried again."""
        held = [server for server in self._leaving if _place(server) in rows]
        for server in held:
            self._haproxy.command(f"del server {'/'.join(_place(server))}")
        self._leaving = held


def _place(server: Server) -> tuple[str, str]:
    return server.backend, server.name


def _check(row: Mapping[str, str]) -> str:
    """The last finished check's result; a star before it says that the next is under way."""
    return row.get("check_status", "").removeprefix("* ")


def _busy(target: Target, rows: Rows) -> bool:
    places = [_place(target.server(suffix)) for suffix in ("", OPEN)]
    return any(int(rows[place]["scur"]) > 0 for place in places if place in rows)


def _health_of(target: Target) -> TargetHealth:
    row, check = target.row, _check(target.row)
    match target.phase:
        case Phase.NEW:
            patience = target.health.interval * target.health.unhealthy_threshold
            hopeless = time.monotonic() - target.since > patience and check not in ("", "INI", "L7OK")
            return _failure(row) if hopeless else INITIAL
        case Phase.SERVING:
            return _failure(row) if row.get("status", "UP").startswith("DOWN") else HEALTHY
        case Phase.DRAINING:
            return DRAINING
        case Phase.GONE:
            return NOT_REGISTERED


def _failure(row: Mapping[str, str]) -> TargetHealth:
    check = _check(row)
    if check == "L7STS":
        codes = f"Health checks failed with these codes: [{row['check_code']}]"
        return unhealthy("Target.ResponseCodeMismatch", codes)
    if check.endswith("TOUT"):
        return unhealthy("Target.Timeout", "Request timed out")
    return unhealthy("Target.FailedHealthChecks", "Health checks failed")


def _registered(model: BalancerModel) -> set[Key]:
    return {(arn, ip, port) for arn, group in model.target_groups.items() for ip, port in group.targets}


def _forwards(model: BalancerModel) -> Iterator[tuple[str, Forward]]:
    for listener in model.listeners:
        yield from ((key, action) for key, action in listener.actions if isinstance(action, Forward))


def _shape(model: BalancerModel) -> object:
    """What the configuration file holds beside the servers: when this changes, a new process has to read it."""
    listeners = tuple(_without_weights(listener) for listener in model.listeners)
    return listeners, {arn: group.health for arn, group in model.target_groups.items()}


def _without_weights(listener: Listener) -> Listener:
    rules = tuple(replace(rule, action=_weightless(rule.action)) for rule in listener.rules)
    return replace(listener, default_action=_weightless(listener.default_action), rules=rules)


def _weightless(action: Action) -> Action:
    return Forward(weights={}) if isinstance(action, Forward) else action
