"""Test environment of one rehearsal run: Docker, network, registry, database, AWS emulator and a Pulumi stack."""

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

from fleet.colors import Color
from rehearsal.cli import PulumiCli, ensure_cli, fork_client
from rehearsal.cloud.client import CloudClient
from rehearsal.host import registry
from rehearsal.host.database import DatabaseServer
from rehearsal.host.docker_engine import DockerEngine
from rehearsal.host.ledger import TemporaryFile
from rehearsal.host.registry import Registry
from rehearsal.host.sandbox import SERVING_NICE, Process, Sandbox
from rehearsal.images import base_image, instance_image
from rehearsal.images.instance_image import BakeResult
from rehearsal.workspace import ProviderPlugin, Workspace, copy_project

ROOT = Path(__file__).resolve().parent.parent
STACK = "dev"  # the rehearsal runs the committed dev stack, with a few values overridden
REGION = "eu-central-1"
NETWORK = "instances"
PUBLIC_IMAGE = "library/python"
LOOPBACK = "127.0.0.1"
SCRIPT_TIMEOUT_S = 600.0
BAKE_SECONDS = "2"  # default bake time of scripts: traffic is heavy here, and failures show at once
CLOUD_TIMEOUT_S = 60.0
INSTANCES_PER_COLOR, MAX_INSTANCES = 2, 4

Notify = Callable[[str], None]


class EnvironmentSetupError(Exception):
    """The environment is not ready for this step, or its stack file exists already."""


class ScriptFailedError(Exception):
    """A script of the project exited with an unexpected code."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentOptions:
    """Options of a run: requests per second, AWS provider plugin, cache folder, stack and project folder.

    Without `project`, the committed project is copied into the run's folder, where its stack files may change.
    """

    rate: int = 600
    provider: ProviderPlugin = ProviderPlugin.REHEARSAL
    cache: Path = ROOT / "build" / "cache"
    stack: str = STACK
    project: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ScriptResult:
    """JSON output, standard error and exit code of a script."""

    exit_code: int
    json: dict[str, Any]
    stderr: str

    @property
    def reason(self) -> str:
        return str(self.json.get("error") or self.stderr.strip() or "no reason reported")


@dataclass(kw_only=True)
class Environment:
    """A running test environment; `start_environment` creates it and tears it down."""

    options: EnvironmentOptions
    sandbox: Sandbox
    docker: DockerEngine
    registry: Registry
    database: DatabaseServer
    cloud: CloudClient
    processes: tuple[Process, ...]
    endpoint: str
    variables: dict[str, str]
    config: dict[str, str]
    pending_cli: Future[PulumiCli]
    notify: Notify
    http_port: int
    created: auto.Stack | None = field(default=None, init=False)
    scripts: int = field(default=0, init=False)
    runs: int = field(default=0, init=False)

    @property
    def folder(self) -> Path:
        return self.sandbox.folder

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.http_port}/"

    @property
    def project(self) -> Path:
        """Working directory of `pulumi` and the scripts."""
        return self.options.project or self.folder / "project"

    @property
    def settings(self) -> Path:
        """The stack's config file in the project folder."""
        return self.project / f"Pulumi.{self.options.stack}.yaml"

    @property
    def stack(self) -> auto.Stack:
        if self.created is None:
            raise EnvironmentSetupError("the stack does not exist yet: call Environment.create_stack first")
        return self.created

    def create_stack(self) -> PulumiCli:
        """Wait for the CLI and create the stack, with the dev stack's config and the run's overrides."""
        cli = self.pending_cli.result()
        folder = self.sandbox.temporary("pulumi")
        warm = folder / "warm"
        self.sandbox.start("warm", fork_client.serve_command(str(warm)))
        workspace = Workspace(folder=folder, project=self.project, cli=cli, provider=self.options.provider, warm=warm)
        workspace.prepare(self.notify)
        self.variables |= workspace.environment
        os.environ.update(self.variables)
        if self.options.project is None:
            copy_project(self.project)
        if self.options.stack != STACK:
            self._derive_settings(self.settings)
        self.created = workspace.create_stack(self.options.stack)
        overrides = self.config | workspace.provider_config(self.endpoint)
        self.stack.set_all_config({key: auto.ConfigValue(value) for key, value in overrides.items()}, path=True)
        return cli

    def _derive_settings(self, file: Path) -> None:
        """Copy the dev stack's file; the copy is removed with the run."""
        if file.exists():
            raise EnvironmentSetupError(f"{file} exists, and this run did not create it: move or remove it")
        self.sandbox.ledger.record(TemporaryFile(name="stack settings", path=str(file)))
        shutil.copyfile(self.project / f"Pulumi.{STACK}.yaml", file)

    def checkout(self, name: str, settings: str) -> auto.Stack:
        """The same stack from a second checkout, whose stack file contains `settings`."""
        folder = copy_project(self.folder / name)
        (folder / self.settings.name).write_text(settings)
        return auto.select_stack(stack_name=self.options.stack, work_dir=str(folder))

    def run_script(self, name: str, *args: str, may_fail: bool = False) -> ScriptResult:
        """Run `python -m scripts.<name>` as an operator would and parse its JSON. Raises ScriptFailedError."""
        argv = [sys.executable, "-m", f"scripts.{name}", *args, "--stack", self.options.stack, "--json"]
        self.scripts += 1
        done = subprocess.run(
            argv,
            cwd=self.project,
            env=self.sandbox.environment | self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SCRIPT_TIMEOUT_S,
            check=False,
        )
        (self.folder / f"script-{self.scripts:02}-{name}.log").write_text(f"{argv}\n{done.stdout}\n{done.stderr}")
        result = ScriptResult(exit_code=done.returncode, json=_parse_output(done.stdout), stderr=done.stderr)
        if done.returncode and not may_fail:
            raise ScriptFailedError(
                f"scripts/{name}.py {' '.join(args)} exited with code {done.returncode}: {result.reason}"
            )
        return result

    def up(self) -> auto.UpResult:
        with self._log("up") as log:
            return self.stack.up(on_output=lambda text: log.write(f"{text.rstrip()}\n"))

    def destroy(self) -> auto.DestroyResult:
        with self._log("destroy") as log:
            return self.stack.destroy(on_output=lambda text: log.write(f"{text.rstrip()}\n"))

    @contextmanager
    def _log(self, name: str) -> Iterator[TextIO]:
        """Log file for Pulumi's output, in the run's folder."""
        self.runs += 1
        with (self.folder / f"{name}-{self.runs:02}.log").open("w") as file:
            yield file

    def bake(self) -> BakeResult:
        """Bake the instance image and register its AMI in the emulator."""
        result = instance_image.bake(self.docker, self.options.cache, endpoint=self.endpoint, sandbox=self.sandbox)
        self.cloud.register_image(result.ami_id, result.image)
        return result

    def gaps(self) -> list[dict[str, str]]:
        """Where this environment differs from AWS."""
        return [*self.cloud.gaps(), *instance_image.GAPS]

    def client(self, service: str) -> Any:
        session: Any = boto3.Session(region_name=REGION)
        return session.client(service, endpoint_url=self.endpoint)

    def parameters(self) -> dict[str, str]:
        """The app's initial SSM parameters."""
        return {"DATABASE_URL": self.database.url, "GREETING": "Hello"}

    def put_parameter(self, name: str, value: str) -> None:
        kind = "SecureString" if name.endswith("_URL") else "String"
        self.client("ssm").put_parameter(Name=self.parameter_path(name), Value=value, Type=kind, Overwrite=True)

    def parameter_path(self, name: str) -> str:
        return f"/bluegreen/{self.options.stack}/app/{name}"

    def exited_processes(self) -> list[str]:
        """Processes of the environment that exited unexpectedly, each as a sentence."""
        return [reason for process in self.processes if (reason := process.ended()) is not None]

    def instance_containers(self) -> list[str]:
        """Container ids of all instances, terminating ones included."""
        return self.docker.run("ps", "--quiet", "--filter", f"network={NETWORK}").split()

    def instance_container(self, release: str) -> str:
        """Container id of a running instance of this release."""
        filters = [{"Name": "tag:Release", "Values": [release]}, {"Name": "instance-state-name", "Values": ["running"]}]
        reservations = self.client("ec2").describe_instances(Filters=filters)["Reservations"]
        instance = next(row["InstanceId"] for reservation in reservations for row in reservation["Instances"])
        return self.docker.run("ps", "--quiet", "--filter", f"name={instance}")

    def leftovers(self) -> list[str]:
        """Resources that cost money or hold data and outlived `pulumi destroy`."""
        ec2, elb = self.client("ec2"), self.client("elbv2")
        running = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
        tagged = [{"Name": "tag:Stack", "Values": [self.options.stack]}]
        remaining = {
            "instances": ec2.describe_instances(Filters=running)["Reservations"],
            "groups": self.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"],
            "launch templates": ec2.describe_launch_templates()["LaunchTemplates"],
            "load balancers": elb.describe_load_balancers()["LoadBalancers"],
            "target groups": elb.describe_target_groups()["TargetGroups"],
            "networks": ec2.describe_vpcs(Filters=tagged)["Vpcs"],
            "addresses": ec2.describe_addresses()["Addresses"],
            "buckets": self.client("s3").list_buckets()["Buckets"],
            "topics": self.client("sns").list_topics()["Topics"],
            "log groups": self.client("logs").describe_log_groups()["logGroups"],
            "repositories": self.client("ecr").describe_repositories()["repositories"],
        }
        return [f"{len(rows)} {kind}" for kind, rows in remaining.items() if rows]


@contextmanager
def start_environment(options: EnvironmentOptions, notify: Notify) -> Iterator[Environment]:
    """A test environment for the duration of the block, torn down however the block ends."""
    with Sandbox.open() as sandbox, start_environment_in(sandbox, options, notify) as environment:
        yield environment


@contextmanager
def start_environment_in(sandbox: Sandbox, options: EnvironmentOptions, notify: Notify) -> Iterator[Environment]:
    """A test environment in an open sandbox, which tears it down when it closes.

    The Pulumi CLI, which may have to be built, is installed in the background.
    """
    cli = _in_background(lambda: ensure_cli(notify=notify, environment=sandbox.environment))
    docker = DockerEngine.start(sandbox)
    docker.create_network(NETWORK, sandbox.network)
    with ThreadPoolExecutor(3) as pool:
        base = pool.submit(base_image.prepare_base, docker, options.cache)
        database = pool.submit(DatabaseServer.start, sandbox, host=sandbox.gateway)
        mirror, registry_process = _start_registry(sandbox)
        cloud, endpoints = _start_cloud(sandbox, docker, mirror)
        image = _push(docker, mirror, base.result())
    http_port = sandbox.port(LOOPBACK)
    variables = _variables(sandbox, docker, mirror, endpoints["aws"])
    os.environ.update(variables)
    yield Environment(
        options=options,
        sandbox=sandbox,
        docker=docker,
        registry=mirror,
        database=database.result(),
        cloud=CloudClient(control=endpoints["control"]),
        processes=(docker.process, registry_process, cloud, database.result().process),
        endpoint=endpoints["aws"],
        variables=variables,
        config={"bluegreen:baseImage": image} | _config_overrides(sandbox, http_port),
        pending_cli=cli,
        notify=notify,
        http_port=http_port,
    )


def _in_background(work: Callable[[], PulumiCli]) -> Future[PulumiCli]:
    """A daemon thread: an interrupted run does not wait for it, and what it started ends with the run."""
    future: Future[PulumiCli] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="cli", daemon=True).start()
    return future


def _parse_output(text: str) -> dict[str, Any]:
    """A script's JSON; empty when it was killed before or while it printed."""
    try:
        parsed: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return parsed


def _start_registry(sandbox: Sandbox) -> tuple[Registry, Process]:
    mirror = Registry(
        address=sandbox.gateway,
        port=sandbox.port(sandbox.gateway),
        folder=sandbox.temporary("registry"),
        password=secrets.token_urlsafe(24),
    )
    registry.prepare(mirror)
    process = sandbox.start("registry", registry.serve_command(mirror))
    sandbox.wait_ready(process, lambda: registry.not_ready(mirror), what="the image registry")
    return mirror, process


def _start_cloud(sandbox: Sandbox, docker: DockerEngine, mirror: Registry) -> tuple[Process, dict[str, str]]:
    """With instances as containers, and the load balancer on loopback."""
    port = sandbox.port(sandbox.gateway)
    options = ["--listen", sandbox.gateway, "--port", str(port), "--preload", "--dns-name", LOOPBACK]
    options += ["--load-balancer", LOOPBACK, "--docker-host", docker.host, "--network", NETWORK]
    options += ["--registry", mirror.endpoint, "--registry-certificate", str(mirror.certificate)]
    return start_cloud(sandbox, *options, environment={"BLUEGREEN_REGISTRY_PASSWORD": mirror.password})


def start_cloud(
    sandbox: Sandbox, *options: str, environment: Mapping[str, str] | None = None
) -> tuple[Process, dict[str, str]]:
    """The AWS emulator and its URLs, once it is ready; `options` are those of `python -m rehearsal.cloud`."""
    ready = sandbox.folder / "cloud.json"
    argv = [sys.executable, "-m", "rehearsal.cloud", *options]
    argv += ["--state-dir", str(sandbox.temporary("cloud")), "--ready-file", str(ready)]
    process = sandbox.start("cloud", argv, environment, cwd=ROOT, grace=20.0, nice=SERVING_NICE)
    reason = f"no {ready.name} yet"
    sandbox.wait_ready(
        process, lambda: None if ready.exists() else reason, what="the emulator", deadline=CLOUD_TIMEOUT_S
    )
    return process, json.loads(ready.read_text())


def _push(docker: DockerEngine, mirror: Registry, image: str) -> str:
    """Push the base image in place of a public registry; its reference by digest."""
    name = f"{mirror.endpoint}/{PUBLIC_IMAGE}"
    docker.run("login", "--username", registry.USER, "--password", mirror.password, mirror.endpoint)
    docker.run("tag", image, f"{name}:slim")
    docker.run("push", "--quiet", f"{name}:slim")
    digests: list[str] = docker.inspect(f"{name}:slim")["RepoDigests"]
    return next(digest for digest in digests if digest.startswith(f"{name}@"))


def aws_environment(endpoint: str) -> dict[str, str]:
    """Environment variables that point every AWS SDK to the emulator."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "rehearsal",
        "AWS_SECRET_ACCESS_KEY": "rehearsal",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _variables(sandbox: Sandbox, docker: DockerEngine, mirror: Registry, endpoint: str) -> dict[str, str]:
    """All that differs from real AWS: endpoint and credentials."""
    return {
        **docker.environment,
        **_docker_path(sandbox, docker),
        **_ca_bundle(sandbox, mirror),
        **aws_environment(endpoint),
        "BLUEGREEN_BAKE_SECONDS": BAKE_SECONDS,
    }


def _docker_path(sandbox: Sandbox, docker: DockerEngine) -> dict[str, str]:
    """Put the Docker client that can build with BuildKit first on the PATH."""
    folder = sandbox.temporary("bin")
    (folder / "docker").symlink_to(docker.client)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def _ca_bundle(sandbox: Sandbox, mirror: Registry) -> dict[str, str]:
    """The Docker provider connects to the registry itself too, and not only through the daemon."""
    usual = ssl.get_default_verify_paths().cafile
    bundle = sandbox.temporary("trust") / "ca.pem"
    bundle.write_text((Path(usual).read_text() if usual else "") + mirror.certificate.read_text())
    return {"SSL_CERT_FILE": str(bundle)}


def _config_overrides(sandbox: Sandbox, http_port: int) -> dict[str, str]:
    """Values that must be unique to this run on a shared host."""
    overrides = {"aws:region": REGION, "bluegreen:vpcCidr": str(sandbox.network), "bluegreen:httpPort": str(http_port)}
    overrides |= {f"bluegreen:{color}.minSize": str(INSTANCES_PER_COLOR) for color in Color}
    return overrides | {f"bluegreen:{color}.maxSize": str(MAX_INSTANCES) for color in Color}
