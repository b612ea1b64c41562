"""The stage of a rehearsal: Docker, network, registry, database, AWS and a Pulumi stack, all of one run's own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import boto3
import pulumi.automation as auto

from checks.colors import Color
from rehearsal.cli import PulumiCli, ensure_cli, warmed
from rehearsal.cloud.client import CloudClient
from rehearsal.host import registry
from rehearsal.host.database import Database
from rehearsal.host.docker_engine import DockerEngine
from rehearsal.host.ledger import TemporaryFile
from rehearsal.host.registry import Registry
from rehearsal.host.sandbox import SERVING, Ground, Process
from rehearsal.images import base_image, instance_image
from rehearsal.images.instance_image import Baked
from rehearsal.workspace import Provider, Workspace, copy_project

ROOT = Path(__file__).resolve().parent.parent
STACK = "dev"  # the rehearsal plays the committed dev stack, with a few values of its own
REGION = "eu-central-1"
NETWORK = "machines"
PUBLIC_IMAGE = "library/python"
LOOPBACK = "127.0.0.1"
SCRIPT_LIMIT_S = 600.0
BAKE_SECONDS = "2"  # how long a change is watched unless the script is told: users here are many, and seen at once
CLOUD_LIMIT_S = 60.0
MACHINES_A_COLOR, MOST_MACHINES = 2, 4


Notify = Callable[[str], None]


class StageError(Exception):
    """The stage was used in another order than it is built in."""


class ScriptFailedError(Exception):
    """A script of the project ended in another way than the story expects."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run chooses: requests a second, the plugin for AWS, cache folder, stack and project folder.

    Without `project` the committed project is copied into the run's folder, where its stack files may change.
    """

    rate: int = 600
    provider: Provider = Provider.REHEARSAL
    cache: Path = ROOT / "build" / "cache"
    stack: str = STACK
    project: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a script printed with --json, and how it ended."""

    exit_code: int
    json: dict[str, Any]
    stderr: str

    @property
    def reason(self) -> str:
        return str(self.json.get("error") or self.stderr.strip() or "it gave no reason")


@dataclass(kw_only=True)
class Stage:
    """All that the story needs, by plain names. Made by `built`, which also takes it down."""

    options: Options
    ground: Ground
    docker: DockerEngine
    registry: Registry
    database: Database
    cloud: CloudClient
    parts: tuple[Process, ...]
    endpoint: str
    environment: dict[str, str]
    config: dict[str, str]
    awaited_cli: Future[PulumiCli]
    notify: Notify
    http_port: int
    created: auto.Stack | None = field(default=None, init=False)
    scripts: int = field(default=0, init=False)
    runs: int = field(default=0, init=False)

    @property
    def folder(self) -> Path:
        return self.ground.folder

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.http_port}/"

    @property
    def project(self) -> Path:
        """The folder in which `pulumi` and the scripts run."""
        return self.options.project or self.folder / "project"

    @property
    def settings(self) -> Path:
        """The stack's file in the project folder."""
        return self.project / f"Pulumi.{self.options.stack}.yaml"

    @property
    def stack(self) -> auto.Stack:
        if self.created is None:
            raise StageError("the stack was not created yet: Stage.create_stack comes first")
        return self.created

    def create_stack(self) -> PulumiCli:
        """Wait for the CLI, and create the stack with the dev stack's values and some of the run's own."""
        cli = self.awaited_cli.result()
        folder = self.ground.temporary("pulumi")
        warm = folder / "warm"
        self.ground.start("warm", warmed.serve_command(str(warm)))
        workspace = Workspace(folder=folder, project=self.project, cli=cli, provider=self.options.provider, warm=warm)
        workspace.prepare(self.notify)
        self.environment |= workspace.environment
        os.environ.update(self.environment)
        if self.options.project is None:
            copy_project(self.project)
        if self.options.stack != STACK:
            self._derive_settings(self.settings)
        self.created = workspace.create_stack(self.options.stack)
        own = self.config | workspace.provider_config(self.endpoint)
        self.stack.set_all_config({key: auto.ConfigValue(value) for key, value in own.items()}, path=True)
        return cli

    def _derive_settings(self, file: Path) -> None:
        """A stack file with the dev stack's values, which is removed with the run."""
        if file.exists():
            raise StageError(f"{file} exists, and this run did not create it: move it away, or remove it")
        self.ground.ledger.record(TemporaryFile(name="stack settings", path=str(file)))
        shutil.copyfile(self.project / f"Pulumi.{STACK}.yaml", file)

    def checkout(self, name: str, settings: str) -> auto.Stack:
        """The stack as another folder with the project sees it, whose stack file holds `settings`."""
        folder = copy_project(self.folder / name)
        (folder / self.settings.name).write_text(settings)
        return auto.select_stack(stack_name=self.options.stack, work_dir=str(folder))

    def script(self, name: str, *args: str, may_fail: bool = False) -> Answer:
        """Run `python -m scripts.<name>` as a person would, and read its JSON."""
        argv = [sys.executable, "-m", f"scripts.{name}", *args, "--stack", self.options.stack, "--json"]
        self.scripts += 1
        done = subprocess.run(
            argv,
            cwd=self.project,
            env=self.ground.environment | self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SCRIPT_LIMIT_S,
            check=False,
        )
        (self.folder / f"script-{self.scripts:02}-{name}.log").write_text(f"{argv}\n{done.stdout}\n{done.stderr}")
        answer = Answer(exit_code=done.returncode, json=_document(done.stdout), stderr=done.stderr)
        if done.returncode and not may_fail:
            raise ScriptFailedError(
                f"scripts/{name}.py {' '.join(args)} ended with exit code {done.returncode}: {answer.reason}"
            )
        return answer

    def up(self) -> auto.UpResult:
        with self._log("up") as log:
            return self.stack.up(on_output=lambda text: log.write(f"{text.rstrip()}\n"))

    def destroy(self) -> auto.DestroyResult:
        with self._log("destroy") as log:
            return self.stack.destroy(on_output=lambda text: log.write(f"{text.rstrip()}\n"))

    @contextmanager
    def _log(self, name: str) -> Iterator[TextIO]:
        """Pulumi's output stays in the run's folder."""
        self.runs += 1
        with (self.folder / f"{name}-{self.runs:02}.log").open("w") as file:
            yield file

    def bake(self) -> Baked:
        """The machine image, known to the emulator by its AMI id."""
        baked = instance_image.bake(self.docker, self.options.cache, endpoint=self.endpoint, ground=self.ground)
        self.cloud.register_image(baked.ami_id, baked.image)
        return baked

    def gaps(self) -> list[dict[str, str]]:
        """In what this stage is not AWS."""
        return [*self.cloud.gaps(), *instance_image.GAPS]

    def client(self, service: str) -> Any:
        session: Any = boto3.Session(region_name=REGION)
        return session.client(service, endpoint_url=self.endpoint)

    def parameters(self) -> dict[str, str]:
        """The app's config at the start."""
        return {"DATABASE_URL": self.database.url, "GREETING": "Hello"}

    def put_parameter(self, name: str, value: str) -> None:
        kind = "SecureString" if name.endswith("_URL") else "String"
        self.client("ssm").put_parameter(Name=self.parameter_path(name), Value=value, Type=kind, Overwrite=True)

    def parameter_path(self, name: str) -> str:
        return f"/bluegreen/{self.options.stack}/app/{name}"

    def fallen(self) -> list[str]:
        """Which parts of the stage have ended, though nothing asked them to."""
        return [reason for part in self.parts if (reason := part.ended()) is not None]

    def machines(self) -> list[str]:
        """Ids of the containers that are machines, also of those on their way out."""
        return self.docker.run("ps", "--quiet", "--filter", f"network={NETWORK}").split()

    def machine_of(self, release: str) -> str:
        """The container that is one of this release's machines."""
        wanted = [{"Name": "tag:Release", "Values": [release]}, {"Name": "instance-state-name", "Values": ["running"]}]
        reservations = self.client("ec2").describe_instances(Filters=wanted)["Reservations"]
        instance = next(one["InstanceId"] for each in reservations for one in each["Instances"])
        return self.docker.run("ps", "--quiet", "--filter", f"name={instance}")

    def left_in_emulator(self) -> list[str]:
        """What a destroyed stack must not leave: everything that costs money or holds data."""
        ec2, elb = self.client("ec2"), self.client("elbv2")
        running = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
        own = [{"Name": "tag:Stack", "Values": [self.options.stack]}]
        found = {
            "machines": ec2.describe_instances(Filters=running)["Reservations"],
            "groups": self.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"],
            "launch templates": ec2.describe_launch_templates()["LaunchTemplates"],
            "load balancers": elb.describe_load_balancers()["LoadBalancers"],
            "target groups": elb.describe_target_groups()["TargetGroups"],
            "networks": ec2.describe_vpcs(Filters=own)["Vpcs"],
            "addresses": ec2.describe_addresses()["Addresses"],
            "buckets": self.client("s3").list_buckets()["Buckets"],
            "topics": self.client("sns").list_topics()["Topics"],
            "log groups": self.client("logs").describe_log_groups()["logGroups"],
            "repositories": self.client("ecr").describe_repositories()["repositories"],
        }
        return [f"{len(rows)} {kind}" for kind, rows in found.items() if rows]


@contextmanager
def built(options: Options, notify: Notify) -> Iterator[Stage]:
    """A stage for as long as the block runs; everything on it is gone afterwards, however the block ends."""
    with Ground.open() as ground, built_on(ground, options, notify) as stage:
        yield stage


@contextmanager
def built_on(ground: Ground, options: Options, notify: Notify) -> Iterator[Stage]:
    """A stage on a ground that is open already, which takes the stage down when it closes.

    The Pulumi CLI, which may have to be built, is brought in the background.
    """
    cli = _in_background(lambda: ensure_cli(notify=notify, environment=ground.environment))
    docker = DockerEngine.start(ground)
    docker.create_network(NETWORK, ground.network)
    with ThreadPoolExecutor(3) as pool:
        base = pool.submit(base_image.prepare_base, docker, options.cache)
        database = pool.submit(Database.start, ground, host=ground.gateway)
        mirror, registry_process = _start_registry(ground)
        cloud, endpoints = _start_cloud(ground, docker, mirror)
        image = _push(docker, mirror, base.result())
    http_port = ground.port(LOOPBACK)
    environment = _environment(ground, docker, mirror, endpoints["aws"])
    os.environ.update(environment)
    yield Stage(
        options=options,
        ground=ground,
        docker=docker,
        registry=mirror,
        database=database.result(),
        cloud=CloudClient(control=endpoints["control"]),
        parts=(docker.process, registry_process, cloud, database.result().process),
        endpoint=endpoints["aws"],
        environment=environment,
        config={"bluegreen:baseImage": image} | _own_config(ground, http_port),
        awaited_cli=cli,
        notify=notify,
        http_port=http_port,
    )


def _in_background(work: Callable[[], PulumiCli]) -> Future[PulumiCli]:
    """Nobody waits for its end when the run is cut short: what it started ends with the run."""
    future: Future[PulumiCli] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="cli", daemon=True).start()
    return future


def _document(text: str) -> dict[str, Any]:
    """What a script printed; one that was killed printed none or half."""
    try:
        found: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return found


def _start_registry(ground: Ground) -> tuple[Registry, Process]:
    mirror = Registry(
        address=ground.gateway,
        port=ground.port(ground.gateway),
        folder=ground.temporary("registry"),
        password=secrets.token_urlsafe(24),
    )
    registry.prepare(mirror)
    process = ground.start("registry", registry.serve_command(mirror))
    ground.wait_ready(process, lambda: registry.not_ready(mirror), what="the image registry")
    return mirror, process


def _start_cloud(ground: Ground, docker: DockerEngine, mirror: Registry) -> tuple[Process, dict[str, str]]:
    """With machines, and with the load balancer where users are."""
    port = ground.port(ground.gateway)
    options = ["--listen", ground.gateway, "--port", str(port), "--warm", "--dns-name", LOOPBACK]
    options += ["--front-door", LOOPBACK, "--docker-host", docker.host, "--network", NETWORK]
    options += ["--registry", mirror.endpoint, "--registry-certificate", str(mirror.certificate)]
    return start_cloud(ground, *options, environment={"BLUEGREEN_REGISTRY_PASSWORD": mirror.password})


def start_cloud(
    ground: Ground, *options: str, environment: Mapping[str, str] | None = None
) -> tuple[Process, dict[str, str]]:
    """The emulator and its URLs, once all of it answers; `options` are those of `python -m rehearsal.cloud`."""
    ready = ground.folder / "cloud.json"
    argv = [sys.executable, "-m", "rehearsal.cloud", *options]
    argv += ["--state-dir", str(ground.temporary("cloud")), "--ready-file", str(ready)]
    process = ground.start("cloud", argv, environment, cwd=ROOT, grace=20.0, nice=SERVING)
    reason = f"no {ready.name} yet"
    ground.wait_ready(process, lambda: None if ready.exists() else reason, what="the emulator", deadline=CLOUD_LIMIT_S)
    return process, json.loads(ready.read_text())


def _push(docker: DockerEngine, mirror: Registry, image: str) -> str:
    """Stands for the public registry: the base image that the stack is to mirror, by digest."""
    name = f"{mirror.endpoint}/{PUBLIC_IMAGE}"
    docker.run("login", "--username", registry.USER, "--password", mirror.password, mirror.endpoint)
    docker.run("tag", image, f"{name}:slim")
    docker.run("push", "--quiet", f"{name}:slim")
    digests: list[str] = docker.inspect(f"{name}:slim")["RepoDigests"]
    return next(digest for digest in digests if digest.startswith(f"{name}@"))


def aws_environment(endpoint: str) -> dict[str, str]:
    """Leads every AWS SDK to the emulator."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "rehearsal",
        "AWS_SECRET_ACCESS_KEY": "rehearsal",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _environment(ground: Ground, docker: DockerEngine, mirror: Registry, endpoint: str) -> dict[str, str]:
    """What differs from AWS: endpoint and credentials."""
    return {
        **docker.environment,
        **_programs(ground, docker),
        **_trust(ground, mirror),
        **aws_environment(endpoint),
        "BLUEGREEN_BAKE_SECONDS": BAKE_SECONDS,
    }


def _programs(ground: Ground, docker: DockerEngine) -> dict[str, str]:
    """Whoever says docker means the client that can build with BuildKit, which need not be the PATH's first."""
    folder = ground.temporary("bin")
    (folder / "docker").symlink_to(docker.client)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def _trust(ground: Ground, mirror: Registry) -> dict[str, str]:
    """The Docker plugin asks the registry itself, not only through the daemon, which has its own list."""
    usual = ssl.get_default_verify_paths().cafile
    bundle = ground.temporary("trust") / "ca.pem"
    bundle.write_text((Path(usual).read_text() if usual else "") + mirror.certificate.read_text())
    return {"SSL_CERT_FILE": str(bundle)}


def _own_config(ground: Ground, http_port: int) -> dict[str, str]:
    """What one machine shared by many must have of its own."""
    own = {"aws:region": REGION, "bluegreen:vpcCidr": str(ground.network), "bluegreen:httpPort": str(http_port)}
    own |= {f"bluegreen:{color}.minSize": str(MACHINES_A_COLOR) for color in Color}
    return own | {f"bluegreen:{color}.maxSize": str(MOST_MACHINES) for color in Color}
