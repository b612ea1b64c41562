"""Faults to inject into a playground, by name; `restore` ends the active ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from fleet.colors import Color
from rehearsal.drills import outages
from rehearsal.drills.fixture import Fixture
from rehearsal.playground.board import Board
from rehearsal.playground.server import CommandRefusedError

RESTORE, LIST = "restore", "list"
IN_SERVICE = "InService"
CPU = "0.02"  # of one processor: enough for some responses, late ones
THROTTLE = ("docker", "update", "--cpus")
FULL_CPU = "2"


@dataclass(kw_only=True)
class Injection:
    """Effect of a fault: `did` and `check` (what to look at) are sentences. `lasts`: until `restore`."""

    did: str
    check: str
    lasts: bool = False


@dataclass(frozen=True, kw_only=True)
class PlaygroundFault:
    """`help` is one line for lists."""

    name: str
    help: str
    inject: Callable[[Fixture, Color, ExitStack], Injection]


def _in_service(fixture: Fixture, color: Color) -> list[dict[str, Any]]:
    rows = [row for row in fixture.instances(color) if row["lifecycle"] == IN_SERVICE and row["container"] == "running"]
    running = set(fixture.environment.docker.run("ps", "--format", "{{.Names}}").split())
    found = [row for row in rows if any(name.endswith(row["instance"]) for name in running)]
    if not found:
        raise CommandRefusedError(
            f"{color}, the live color, has no instance in service to break: wait for its replacement"
        )
    return found


def _kill_instance(fixture: Fixture, color: Color, _until: ExitStack) -> Injection:
    instance = str(_in_service(fixture, color)[0]["instance"])
    outages.kill_instances(fixture, [instance])
    return Injection(
        did=f"killed {instance} of {color}, as a power failure would",
        check="the load balancer finds it unhealthy within 15 s, its group launches another one, "
        "and the alerts topic is notified",
    )


def _lose_zone(fixture: Fixture, color: Color, until: ExitStack) -> Injection:
    rows = _in_service(fixture, color)
    zone = str(rows[0]["zone"])
    lost = [str(row["instance"]) for row in rows if row["zone"] == zone]
    until.callback(fixture.cloud.set_failed_zones)
    fixture.cloud.set_failed_zones(zone)
    outages.kill_instances(fixture, lost)
    return Injection(
        did=f"took {zone} away: killed {', '.join(lost)} of {color}, and nothing launches there until restore",
        check=f"replacements start in the other zone; {len(rows) - len(lost)} of {len(rows)} instances serve meanwhile",
        lasts=True,
    )


def _stop_database(fixture: Fixture, _color: Color, until: ExitStack) -> Injection:
    until.enter_context(outages.unresponsive(fixture.environment.database))
    return Injection(
        did="stopped the database: it accepts connections and does not answer until restore",
        check="requests for /visits fail while / goes on; `./bluegreen smoke-test` fails; "
        "no instance is replaced, as the target group's health check does not use the database",
        lasts=True,
    )


def _kill_docker(fixture: Fixture, color: Color, _until: ExitStack) -> Injection:
    instance = str(_in_service(fixture, color)[0]["instance"])
    outages.kill_docker(fixture, instance)
    return Injection(
        did=f"killed Docker's daemon on {instance} of {color}",
        check="systemd starts it again, the app's container keeps running, and the alerts topic is notified",
    )


def _kill_app(fixture: Fixture, color: Color, _until: ExitStack) -> Injection:
    instance = str(_in_service(fixture, color)[-1]["instance"])  # not the one of the fault `docker`
    fixture.exec_on(instance, "sh", "-c", "kill -KILL $(docker inspect --format '{{.State.Pid}}' app)")
    return Injection(
        did=f"killed the app's process on {instance} of {color}",
        check="Docker starts it again within seconds, and the alerts topic is notified with its last lines, "
        "at most once in 5 minutes an instance",
    )


def _throttle_app(fixture: Fixture, color: Color, until: ExitStack) -> Injection:
    instances = [str(row["instance"]) for row in _in_service(fixture, color)]
    for instance in instances:
        until.callback(_unthrottle, fixture, instance)
        fixture.exec_on(instance, *THROTTLE, CPU, "app")
    return Injection(
        did=f"limited the apps of {color} to {float(CPU):.0%} of a processor until restore",
        check=f"p99 latency rises; after some minutes the alarm of {color} for latency is on",
        lasts=True,
    )


def _unthrottle(fixture: Fixture, instance: str) -> None:
    fixture.exec_on(instance, *THROTTLE, FULL_CPU, "app")


def _stop_s3(fixture: Fixture, _color: Color, until: ExitStack) -> Injection:
    until.callback(fixture.cloud.clear_faults)
    fixture.cloud.set_fault("s3", "down")
    return Injection(
        did="S3 answers 503 until restore",
        check="traffic is not affected; nothing can be published, and a booting instance can't download its release",
        lasts=True,
    )


FAULTS = (
    PlaygroundFault(name="instance", help="kill one instance of the live color", inject=_kill_instance),
    PlaygroundFault(
        name="zone",
        help="kill all instances of the live color in one zone, and allow no launch there",
        inject=_lose_zone,
    ),
    PlaygroundFault(
        name="database", help="stop the database: it accepts connections and does not answer", inject=_stop_database
    ),
    PlaygroundFault(name="docker", help="kill Docker's daemon on one instance of the live color", inject=_kill_docker),
    PlaygroundFault(name="app", help="kill the app's process on one instance of the live color", inject=_kill_app),
    PlaygroundFault(name="slow", help="take the processor away from the apps of the live color", inject=_throttle_app),
    PlaygroundFault(name="s3", help="let S3 answer 503", inject=_stop_s3),
)
HELP = {**{fault.name: fault.help for fault in FAULTS}, RESTORE: "end active faults: zone, database, slow, s3"}


def unknown(name: str) -> str:
    return f"FAULT={name}: no such fault; allowed are: {', '.join(HELP)}"


def listing() -> str:
    width = max(map(len, HELP))
    return "\n".join(f"  make playground FAULT={name:<{width}}  {text}" for name, text in HELP.items())


@dataclass(kw_only=True)
class Injector:
    """Injects one fault at a time, and keeps track of active ones."""

    fixture: Fixture
    board: Board
    active: dict[str, ExitStack] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, name: str) -> dict[str, str]:
        """Inject the fault, or end all active ones with `restore`. Raises CommandRefusedError."""
        if name not in HELP:
            raise CommandRefusedError(unknown(name))
        with self.lock:
            injection = self._restore() if name == RESTORE else self._inject(name)
        self.board.log("restore" if name == RESTORE else "fault", f"{name}: {injection.did}")
        self.board.update(active=sorted(self.active))
        return {"did": injection.did, "check": injection.check}

    def end(self) -> None:
        """End active faults: a paused database could not shut down cleanly."""
        with self.lock:
            self._restore()

    def _inject(self, name: str) -> Injection:
        if name in self.active:
            raise CommandRefusedError(
                f"FAULT={name}: this fault is active already; `make playground FAULT={RESTORE}` ends it"
            )
        live = self.fixture.fleet().serving
        if live is None:
            raise CommandRefusedError(f"FAULT={name}: no color is live, there is nothing to break")
        fault = next(fault for fault in FAULTS if fault.name == name)
        with ExitStack() as until:
            injection = fault.inject(self.fixture, live, until)
            if injection.lasts:
                self.active[name] = until.pop_all()
        return injection

    def _restore(self) -> Injection:
        ended, problems = list(self.active), []
        while self.active:
            name, until = self.active.popitem()
            try:
                until.close()
            except Exception as error:  # a throttled instance may be gone: restore all others
                problems.append(f"{name}: {error}")
        did = f"ended {', '.join(ended)}" if ended else "no fault was active, nothing was changed"
        did += f" (with errors: {'; '.join(problems)})" if problems else ""
        check = "traffic and instances recover within a minute or two" if ended else "one-time faults need no restore"
        return Injection(did=did, check=check)
