"""Boot overhead: the boot program, against `docker build`, `docker run` and a first 200 of the same release.

Both on new instances of the rehearsal, equally many at a time, alternating. The boot program starts while its instance
still starts Docker, and its time ends with the Auto Scaling group's signal; the bare commands run on a booted one.
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
from fleet.colors import Color
from rehearsal.cloud.instances import InstanceHost, InstanceSpec, Mount, run_command
from rehearsal.environment import NETWORK, ROOT, Environment, EnvironmentOptions, start_environment
from rehearsal.host.docker_engine import DockerEngine, DockerError
from rehearsal.host.sandbox import wait_until

LIMIT_S = 1.5
ROUNDS = 4
VERSION = "v1"
SAMPLE = ROOT / "examples" / "hello"
UNIT = "bluegreen-boot.service"
UNITS = (UNIT, "bluegreen-drain.service", "bluegreen-logs.service")  # the last two need the instance's identity
BARE = "bare"
BOOTED_TIMEOUT_S = 60.0
Seconds = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class BareSetup:
    """Files and settings of a real instance that a bare one needs to run the release."""

    image: str
    mounts: tuple[Mount, ...]
    port: str
    health_path: str
    base_image: str
    app_env: str
    login: str


def measure(notify: Callable[[str], None]) -> Figure:
    with start_environment(EnvironmentOptions(), notify) as environment:
        prepare(environment, notify)
        setup = read_setup(environment)
        boots: list[Seconds] = []
        bares: list[Seconds] = []
        for number in range(ROUNDS):
            notify(f"boot overhead: round {number + 1} of {ROUNDS}")
            boots += boot_seconds(environment)
            bares += bare_seconds(environment, setup)
    return figure(boots, bares)


def figure(boots: list[Seconds], bares: list[Seconds]) -> Figure:
    """Boot overhead, by the medians of all instances."""
    boot, bare = medians(boots), medians(bares)
    return Figure(
        name="boot program - bare build and run, per instance",
        value=round(boot["seconds"] - bare["seconds"], 3),
        unit="s",
        limit=LIMIT_S,
        parts={
            "boot": boot,
            "bare": bare,
            "ratio": round(boot["seconds"] / bare["seconds"], 3),
            "instances": len(boots),
            "rounds": ROUNDS,
            "boot_seconds": [seconds["seconds"] for seconds in boots],
            "bare_seconds": [seconds["seconds"] for seconds in bares],
            "outside_steps": round(boot["seconds"] - median(_step_seconds(seconds) for seconds in boots), 3),
        },
    )


def _step_seconds(boot: Seconds) -> float:
    """Sum of the boot steps; the rest of the unit's time is Python's start, in parallel with other units."""
    return sum(seconds for part, seconds in boot.items() if part != "seconds")


def medians(all_seconds: list[Seconds]) -> Seconds:
    return {part: round(median(seconds[part] for seconds in all_seconds), 3) for part in all_seconds[0]}


def prepare(environment: Environment, notify: Callable[[str], None]) -> None:
    """Provision the stack with booted instances on blue; green's are created and removed."""
    notify("boot overhead: instance image, stack, release")
    image = environment.bake()
    environment.create_stack()
    environment.stack.up()
    for name, value in environment.parameters().items():
        environment.put_parameter(name, value)
    environment.run_script("publish_release", str(SAMPLE), "--version", VERSION)
    environment.run_script("deploy", VERSION, "--ami", image.ami_id)


def boot_seconds(environment: Environment) -> list[Seconds]:
    """Seconds of each new instance's boot unit, and of the steps as the program counted them."""
    environment.run_script("deploy", VERSION)
    seconds = [_boot(environment.docker, container) for container in containers(environment, Color.GREEN)]
    environment.run_script("retire")
    return seconds


def _boot(docker: DockerEngine, container: str) -> Seconds:
    names = ("ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic")
    shown = docker.run("exec", container, "systemctl", "show", UNIT, *(f"--property={name}" for name in names))
    moments = dict(line.split("=") for line in shown.splitlines())
    started, ended = (int(moments[name]) / 1e6 for name in names)
    steps: Seconds = json.loads(_read(docker, container, "/var/lib/bluegreen/status.json"))["steps"]
    return {**steps, "seconds": round(ended - started, 3)}


def containers(environment: Environment, color: Color) -> list[str]:
    """Container ids of this color's instances."""
    instances = [row["instance"] for row in environment.cloud.instances() if row["color"] == color]
    return [environment.docker.run("ps", "--quiet", "--filter", f"name={instance}") for instance in instances]


def read_setup(environment: Environment) -> BareSetup:
    docker, container = environment.docker, containers(environment, Color.BLUE)[0]
    inspected = docker.inspect(container)
    app_env = _read(docker, container, "/run/bluegreen/app.env")
    values = dict(line.split("=", 1) for line in app_env.splitlines())
    return BareSetup(
        image=inspected["Config"]["Image"],
        mounts=tuple(_mounts(inspected)),
        port=values["PORT"],
        health_path=values["HEALTH_PATH"],
        base_image=json.loads(_read(docker, container, "/var/lib/bluegreen/image.json"))["base"],
        app_env=app_env,
        login=_read(docker, container, "/run/bluegreen/docker/config.json"),
    )


def _mounts(inspected: dict[str, Any]) -> list[Mount]:
    """The real instance's mounts, with the units masked that must not run."""
    real = [Mount(source=Path(mount["Source"]), target=mount["Target"]) for mount in inspected["HostConfig"]["Mounts"]]
    masks = [Mount(source=Path("/dev/null"), target=f"/etc/systemd/system/{unit}") for unit in UNITS]
    return [*real, *masks]


def _read(docker: DockerEngine, container: str, path: str) -> str:
    return docker.run("exec", container, "cat", path)


def bare_seconds(environment: Environment, setup: BareSetup) -> list[Seconds]:
    """Seconds of concurrent bare starts, on as many instances as a color has, once all have booted."""
    count = len(containers(environment, Color.BLUE))
    with bare_instances(environment, setup, count) as names, ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda name: _copy_release(environment, setup, name), names))
        return list(pool.map(lambda name: _start(environment.docker, setup, name), names))


@contextmanager
def bare_instances(environment: Environment, setup: BareSetup, count: int) -> Iterator[list[str]]:
    """Instances like the real ones, with addresses at the end of the network, where the program has no subnet."""
    host = InstanceHost(
        docker_host=environment.docker.host,
        network=NETWORK,
        prefix=BARE,
        mounts=setup.mounts,
        evidence=environment.folder,
    )
    names = [f"{BARE}-{index}" for index in range(count)]
    addresses = [str(environment.sandbox.network[-2 - index]) for index in range(count)]
    try:
        for index, address in enumerate(addresses):
            machine = InstanceSpec(instance_id=str(index), address=address, image=setup.image)
            environment.docker.run(*run_command(host, machine)[1:])
        yield names
    finally:
        with suppress(DockerError):  # one was never started; the cause propagates
            environment.docker.run("rm", "--force", "--volumes", *names)


def _copy_release(environment: Environment, setup: BareSetup, name: str) -> None:
    """Copy the release, its environment and the registry's token to the instance, before the measurement."""
    wait_until(lambda: _pending_jobs(environment.docker, name), what=f"instance {name}", deadline=BOOTED_TIMEOUT_S)
    with environment.docker.scratch(BARE) as folder:
        Path(folder, "app.env").write_text(f"{setup.app_env}\n")
        Path(folder, "config.json").write_text(setup.login)
        environment.docker.run("cp", folder, f"{name}:{bare_start.FOLDER}")
        environment.docker.run("cp", str(SAMPLE), f"{name}:{bare_start.FOLDER}/release")
        environment.docker.run("cp", str(bare_start.__file__), f"{name}:{bare_start.FOLDER}/bare_start.py")


def _pending_jobs(docker: DockerEngine, name: str) -> str | None:
    jobs = docker.run(
        "exec",
        name,
        "sh",
        "-c",
        "systemctl list-jobs --no-legend 2>&1; docker version >/dev/null 2>&1 || echo no Docker yet",
    )
    return jobs.strip() or None


def _start(docker: DockerEngine, setup: BareSetup, name: str) -> Seconds:
    variables = ["--env", "DOCKER_BUILDKIT=1", "--env", f"DOCKER_CONFIG={bare_start.FOLDER}"]
    program = ["python3", f"{bare_start.FOLDER}/bare_start.py", setup.port, setup.health_path, setup.base_image]
    seconds: Seconds = json.loads(docker.run("exec", *variables, name, *program))
    return seconds
