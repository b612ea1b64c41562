"""What the boot program costs a machine, over `docker build`, `docker run` and a first 200 of the same release there.

Both on fresh machines of the rehearsal, as many at a time, in turns. The boot program starts while its machine is still
starting Docker, and its time ends when the load balancer's group knows; the bare commands find a machine at rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import bare_start
from benchmarks.figures import Figure
from checks.colors import Color
from rehearsal.cloud.instances import Ground, Machine, Mount, run_command
from rehearsal.environment import NETWORK, ROOT, Options, Stage, built
from rehearsal.host.docker_engine import DockerEngine, DockerError
from rehearsal.host.sandbox import wait_until

LIMIT_S = 1.5
ROUNDS = 4
VERSION = "v1"
SAMPLE = ROOT / "examples" / "hello"
UNIT = "bluegreen-boot.service"
UNITS = (UNIT, "bluegreen-drain.service", "bluegreen-logs.service")  # the last two ask who the machine is
BARE = "bare"
REST_LIMIT_S = 60.0
Seconds = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a bare machine needs to run the release as a real one did; read from a real one."""

    image: str
    mounts: tuple[Mount, ...]
    port: str
    health_path: str
    base_image: str
    environment: str
    login: str


def measure(tell: Callable[[str], None]) -> Figure:
    with built(Options(), tell) as stage:
        prepare(stage, tell)
        need = read_need(stage)
        boots: list[Seconds] = []
        bares: list[Seconds] = []
        for turn in range(ROUNDS):
            tell(f"boot overhead: round {turn + 1} of {ROUNDS}")
            boots += boot_seconds(stage)
            bares += bare_seconds(stage, need)
    return figure(boots, bares)


def figure(boots: list[Seconds], bares: list[Seconds]) -> Figure:
    """Medians of all machines."""
    boot, bare = medians(boots), medians(bares)
    return Figure(
        name="boot program - bare build and run, a machine",
        value=round(boot["seconds"] - bare["seconds"], 3),
        unit="s",
        limit=LIMIT_S,
        parts={
            "boot": boot,
            "bare": bare,
            "ratio": round(boot["seconds"] / bare["seconds"], 3),
            "machines": len(boots),
            "rounds": ROUNDS,
            "boot_seconds": [each["seconds"] for each in boots],
            "bare_seconds": [each["seconds"] for each in bares],
            "outside_steps": round(boot["seconds"] - median(_steps_alone(each) for each in boots), 3),
        },
    )


def _steps_alone(boot: Seconds) -> float:
    """What is left of the unit's time is Python's start, while the machine's other units start too."""
    return sum(seconds for part, seconds in boot.items() if part != "seconds")


def medians(all_seconds: list[Seconds]) -> Seconds:
    return {part: round(median(each[part] for each in all_seconds), 3) for part in all_seconds[0]}


def prepare(stage: Stage, tell: Callable[[str], None]) -> None:
    """Users' machines stand on blue, at rest, all the while; green's come and go."""
    tell("boot overhead: machine image, stack, release")
    baked = stage.bake()
    stage.create_stack()
    stage.stack.up()
    for name, value in stage.parameters().items():
        stage.put_parameter(name, value)
    stage.script("publish_release", str(SAMPLE), "--version", VERSION)
    stage.script("deploy", VERSION, "--ami", baked.ami_id)


def boot_seconds(stage: Stage) -> list[Seconds]:
    """Each new machine's boot unit from its program's start to its end, and the steps as the program counted them."""
    stage.script("deploy", VERSION)
    found = [_boot(stage.docker, container) for container in containers(stage, Color.GREEN)]
    stage.script("retire")
    return found


def _boot(docker: DockerEngine, container: str) -> Seconds:
    names = ("ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic")
    shown = docker.run("exec", container, "systemctl", "show", UNIT, *(f"--property={name}" for name in names))
    moments = dict(line.split("=") for line in shown.splitlines())
    started, ended = (int(moments[name]) / 1e6 for name in names)
    steps: Seconds = json.loads(_read(docker, container, "/var/lib/bluegreen/status.json"))["steps"]
    return {**steps, "seconds": round(ended - started, 3)}


def containers(stage: Stage, color: Color) -> list[str]:
    """The names of the containers that are this color's machines."""
    instances = [row["instance"] for row in stage.cloud.machines() if row["color"] == color]
    return [stage.docker.run("ps", "--quiet", "--filter", f"name={instance}") for instance in instances]


def read_need(stage: Stage) -> Need:
    docker, container = stage.docker, containers(stage, Color.BLUE)[0]
    inspected = docker.inspect(container)
    environment = _read(docker, container, "/run/bluegreen/app.env")
    values = dict(line.split("=", 1) for line in environment.splitlines())
    return Need(
        image=inspected["Config"]["Image"],
        mounts=tuple(_mounts(inspected)),
        port=values["PORT"],
        health_path=values["HEALTH_PATH"],
        base_image=json.loads(_read(docker, container, "/var/lib/bluegreen/image.json"))["base"],
        environment=environment,
        login=_read(docker, container, "/run/bluegreen/docker/config.json"),
    )


def _mounts(inspected: dict[str, Any]) -> list[Mount]:
    """Those of the real machine, and nothing in the place of the units that must not run."""
    real = [Mount(source=Path(each["Source"]), target=each["Target"]) for each in inspected["HostConfig"]["Mounts"]]
    masks = [Mount(source=Path("/dev/null"), target=f"/etc/systemd/system/{unit}") for unit in UNITS]
    return [*real, *masks]


def _read(docker: DockerEngine, container: str, path: str) -> str:
    return docker.run("exec", container, "cat", path)


def bare_seconds(stage: Stage, need: Need) -> list[Seconds]:
    """As many bare machines as a color has, all at once, each asked when all are at rest."""
    count = len(containers(stage, Color.BLUE))
    with bare_machines(stage, need, count) as names, ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda name: _hand_over(stage, need, name), names))
        return list(pool.map(lambda name: _start(stage.docker, need, name), names))


@contextmanager
def bare_machines(stage: Stage, need: Need, count: int) -> Iterator[list[str]]:
    """Machines like the real ones, at the end of the network's addresses, where the program plans no subnet."""
    ground = Ground(
        docker_host=stage.docker.host,
        network=NETWORK,
        prefix=BARE,
        mounts=need.mounts,
        evidence=stage.folder,
    )
    names = [f"{BARE}-{index}" for index in range(count)]
    addresses = [str(stage.ground.network[-2 - index]) for index in range(count)]
    try:
        for index, address in enumerate(addresses):
            machine = Machine(instance=str(index), address=address, image=need.image)
            stage.docker.run(*run_command(ground, machine)[1:])
        yield names
    finally:
        with suppress(DockerError):  # one never came to be; why is on its way up
            stage.docker.run("rm", "--force", "--volumes", *names)


def _hand_over(stage: Stage, need: Need, name: str) -> None:
    """The release, its environment and the registry's token are on the machine before the clock starts."""
    wait_until(lambda: _not_at_rest(stage.docker, name), what=f"machine {name}", deadline=REST_LIMIT_S)
    with stage.docker.scratch(BARE) as folder:
        Path(folder, "app.env").write_text(f"{need.environment}\n")
        Path(folder, "config.json").write_text(need.login)
        stage.docker.run("cp", folder, f"{name}:{bare_start.FOLDER}")
        stage.docker.run("cp", str(SAMPLE), f"{name}:{bare_start.FOLDER}/release")
        stage.docker.run("cp", str(bare_start.__file__), f"{name}:{bare_start.FOLDER}/bare_start.py")


def _not_at_rest(docker: DockerEngine, name: str) -> str | None:
    jobs = docker.run(
        "exec",
        name,
        "sh",
        "-c",
        "systemctl list-jobs --no-legend 2>&1; docker version >/dev/null 2>&1 || echo no Docker yet",
    )
    return jobs.strip() or None


def _start(docker: DockerEngine, need: Need, name: str) -> Seconds:
    environment = ["--env", "DOCKER_BUILDKIT=1", "--env", f"DOCKER_CONFIG={bare_start.FOLDER}"]
    program = ["python3", f"{bare_start.FOLDER}/bare_start.py", need.port, need.health_path, need.base_image]
    found: Seconds = json.loads(docker.run("exec", *environment, name, *program))
    return found
