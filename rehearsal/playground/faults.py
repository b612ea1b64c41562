"""Faults that a person can inject into a playground, each by its name; `restore` ends those that last."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from checks.colors import Color
from rehearsal.drills import outages
from rehearsal.drills.fixture import Scene
from rehearsal.playground.board import Board
from rehearsal.playground.server import RefusedError

RESTORE, LIST = "restore", "list"
IN_SERVICE = "InService"
CPU = "0.02"  # of one processor: enough for some answers, late ones
THROTTLE = ("docker", "update", "--cpus")
FULL_CPU = "2"


@dataclass(kw_only=True)
class Injection:
    """What a fault did, for the person who asked for it: `did` and `look` are sentences. `lasts`: until `restore`."""

    did: str
    look: str
    lasts: bool = False


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`help` is one line for lists."""

    name: str
    help: str
    inject: Callable[[Scene, Color, ExitStack], Injection]


def _in_service(scene: Scene, color: Color) -> list[dict[str, Any]]:
    rows = [row for row in scene.machines(color) if row["lifecycle"] == IN_SERVICE and row["machine"] == "running"]
    running = set(scene.stage.docker.run("ps", "--format", "{{.Names}}").split())
    found = [row for row in rows if any(name.endswith(row["instance"]) for name in running)]
    if not found:
        raise RefusedError(f"{color}, the live color, has no instance in service to break: wait for its replacement")
    return found


def _kill_instance(scene: Scene, color: Color, _until: ExitStack) -> Injection:
    instance = str(_in_service(scene, color)[0]["instance"])
    outages.kill_machines(scene, [instance])
    return Injection(
        did=f"killed {instance} of {color}, as a power failure would",
        look="the load balancer finds it unhealthy within 15 s, its group launches another one, "
        "and the alerts topic is notified",
    )


def _lose_zone(scene: Scene, color: Color, until: ExitStack) -> Injection:
    rows = _in_service(scene, color)
    zone = str(rows[0]["zone"])
    lost = [str(row["instance"]) for row in rows if row["zone"] == zone]
    until.callback(scene.cloud.set_zones_gone)
    scene.cloud.set_zones_gone(zone)
    outages.kill_machines(scene, lost)
    return Injection(
        did=f"took {zone} away: killed {', '.join(lost)} of {color}, and nothing launches there until restore",
        look=f"replacements start in the other zone; {len(rows) - len(lost)} of {len(rows)} instances serve meanwhile",
        lasts=True,
    )


def _stop_database(scene: Scene, _color: Color, until: ExitStack) -> Injection:
    until.enter_context(outages.silent(scene.stage.database))
    return Injection(
        did="stopped the database: it accepts connections and answers nothing until restore",
        look="requests for /visits fail while / goes on; `./bluegreen smoke-test` fails; "
        "no instance is replaced, as the health check of a target asks no database",
        lasts=True,
    )


def _kill_docker(scene: Scene, color: Color, _until: ExitStack) -> Injection:
    instance = str(_in_service(scene, color)[0]["instance"])
    outages.kill_docker(scene, instance)
    return Injection(
        did=f"killed Docker's daemon on {instance} of {color}",
        look="systemd starts it again, the app's container runs on, and the alerts topic is notified",
    )


def _kill_app(scene: Scene, color: Color, _until: ExitStack) -> Injection:
    instance = str(_in_service(scene, color)[-1]["instance"])  # not the one that the fault `docker` takes
    scene.inside(instance, "sh", "-c", "kill -KILL $(docker inspect --format '{{.State.Pid}}' app)")
    return Injection(
        did=f"killed the app's process on {instance} of {color}",
        look="Docker starts it again within seconds, and the alerts topic is notified with its last lines, "
        "at most once in 5 minutes an instance",
    )


def _throttle_app(scene: Scene, color: Color, until: ExitStack) -> Injection:
    instances = [str(row["instance"]) for row in _in_service(scene, color)]
    for instance in instances:
        until.callback(_unthrottle, scene, instance)
        scene.inside(instance, *THROTTLE, CPU, "app")
    return Injection(
        did=f"left the apps of {color} {float(CPU):.0%} of a processor until restore",
        look=f"p99 latency rises; after some minutes the alarm of {color} for latency is on",
        lasts=True,
    )


def _unthrottle(scene: Scene, instance: str) -> None:
    scene.inside(instance, *THROTTLE, FULL_CPU, "app")


def _stop_s3(scene: Scene, _color: Color, until: ExitStack) -> Injection:
    until.callback(scene.cloud.clear_faults)
    scene.cloud.set_fault("s3", "down")
    return Injection(
        did="S3 answers 503 until restore",
        look="traffic is not affected; nothing can be published, and an instance that boots can't download its release",
        lasts=True,
    )


FAULTS = (
    Fault(name="instance", help="kill one instance of the live color", inject=_kill_instance),
    Fault(name="zone", help="kill all instances of the live color in one zone, which stays away", inject=_lose_zone),
    Fault(name="database", help="stop the database: it accepts connections, and is silent", inject=_stop_database),
    Fault(name="docker", help="kill Docker's daemon on one instance of the live color", inject=_kill_docker),
    Fault(name="app", help="kill the app's process on one instance of the live color", inject=_kill_app),
    Fault(name="slow", help="take the processor away from the apps of the live color", inject=_throttle_app),
    Fault(name="s3", help="let S3 answer 503", inject=_stop_s3),
)
HELP = {**{fault.name: fault.help for fault in FAULTS}, RESTORE: "end the faults that last: zone, database, slow, s3"}


def unknown(name: str) -> str:
    return f"FAULT={name}: there is no such fault; {', '.join(HELP)} are what there is"


def listing() -> str:
    width = max(map(len, HELP))
    return "\n".join(f"  make playground FAULT={name:<{width}}  {text}" for name, text in HELP.items())


@dataclass(kw_only=True)
class Injector:
    """Injects one fault at a time, and remembers those that last."""

    scene: Scene
    board: Board
    lasting: dict[str, ExitStack] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, name: str) -> dict[str, str]:
        """Inject the fault, or end all that last for `restore`. Raises RefusedError."""
        if name not in HELP:
            raise RefusedError(unknown(name))
        with self.lock:
            injection = self._restore() if name == RESTORE else self._inject(name)
        self.board.log("restore" if name == RESTORE else "fault", f"{name}: {injection.did}")
        self.board.update(lasting=sorted(self.lasting))
        return {"did": injection.did, "look": injection.look}

    def end(self) -> None:
        """Let go of what lasts: a database that is stopped could not end in order."""
        with self.lock:
            self._restore()

    def _inject(self, name: str) -> Injection:
        if name in self.lasting:
            raise RefusedError(f"FAULT={name}: this fault lasts already; `make playground FAULT={RESTORE}` ends it")
        live = self.scene.fleet().serving
        if live is None:
            raise RefusedError(f"FAULT={name}: no color is live, there is nothing to break")
        fault = next(each for each in FAULTS if each.name == name)
        with ExitStack() as until:
            injection = fault.inject(self.scene, live, until)
            if injection.lasts:
                self.lasting[name] = until.pop_all()
        return injection

    def _restore(self) -> Injection:
        ended, problems = list(self.lasting), []
        while self.lasting:
            name, until = self.lasting.popitem()
            try:
                until.close()
            except Exception as error:  # an instance that was throttled may be gone: all others are restored
                problems.append(f"{name}: {error}")
        did = f"ended {', '.join(ended)}" if ended else "no fault lasted, nothing was changed"
        did += f" (not in all parts: {'; '.join(problems)})" if problems else ""
        look = "traffic and instances recover within a minute or two" if ended else "faults that pass mend themselves"
        return Injection(did=did, look=look)
