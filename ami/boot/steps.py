"""The release serves on this machine, step by step, each with its own time and name."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from . import container, image, parameters, report
from .cloud import Cloud, may_pass
from .fetch import fetch
from .files import write_atomically
from .machine import Machine
from .retrying import Deadline, TransientError, retry
from .unpack import kind_of, unpack
from .user_data import LAUNCH_HOOK, METRICS_NAMESPACE, Known, parse

LOG = logging.getLogger("boot")


class StepError(Exception):
    def __init__(self, step: str, cause: Exception) -> None:
        super().__init__(str(cause) or type(cause).__name__)
        self.step = step


@dataclass(frozen=True)
class Step:
    name: str
    run: Callable[[Machine], None]
    seconds: float  # never more than what is left of the whole boot's time
    of_image: bool = False  # left out when an earlier boot made the image


def read_identity(machine: Machine) -> None:
    machine.identity = retry(machine.metadata.identity, what="identity", deadline=machine.deadline)
    machine.cloud = Cloud(machine.identity.region)


def read_settings(machine: Machine) -> None:
    text = retry(machine.metadata.user_data, what="user data", deadline=machine.deadline)
    machine.known = Known.of(text)
    machine.user_data = parse(text)
    machine.status.release = machine.user_data.release.version
    machine.total = Deadline(machine.user_data.boot_deadline, within=machine.total)
    machine.image_kept = image.is_kept(machine.places.image_record, machine.user_data, machine.deadline)


def write_config(machine: Machine) -> None:
    if path := machine.user_data.parameter_path:
        machine.parameters = retry(
            lambda: parameters.read_parameters(machine.cloud.client("ssm"), path),
            what="parameters",
            deadline=machine.deadline,
            may_pass=may_pass,
        )
    parameters.hide_secrets(machine.parameters, machine.secrets)
    content = parameters.env_file(machine.parameters, parameters.machine_environment(machine.user_data))
    write_atomically(machine.places.env_file, content, mode=0o600)


def download(machine: Machine) -> None:
    shutil.rmtree(machine.places.work, ignore_errors=True)  # what a boot that was cut short left
    machine.places.work.mkdir(parents=True, mode=0o700)

    def presign(bucket: str, key: str) -> str:
        asked = {"Bucket": bucket, "Key": key}
        url = machine.cloud.client("s3").generate_presigned_url("get_object", Params=asked, ExpiresIn=3600)
        return str(url)

    machine.digest = fetch(
        machine.user_data.release.url,
        machine.places.bundle,
        presign=presign,
        deadline=machine.deadline,
        limits=machine.fetch_limits,
    )


def verify(machine: Machine) -> None:
    expected = machine.user_data.release.sha256
    if expected and machine.digest != expected:
        raise ValueError(f"the bundle's sha256 is {machine.digest}, expected {expected}")
    if not expected:
        LOG.warning("accept bundle sha256=%s reason=none was given", machine.digest)


def unpack_bundle(machine: Machine) -> None:
    machine.top = unpack(machine.places.bundle, machine.places.work / "tree", machine.unpack_limits)
    machine.kind = kind_of(machine.top, machine.user_data.release.version)


def make_image(machine: Machine) -> None:
    os.environ["DOCKER_CONFIG"] = str(machine.places.docker_config)
    if machine.user_data.base_image:
        retry(
            lambda: image.log_in(machine.cloud.client("ecr"), machine.user_data, machine.places.docker_config),
            what="registry login",
            deadline=machine.deadline,
            may_pass=may_pass,
        )
    image.make(machine.kind, machine.top, machine.user_data, machine.deadline)
    image.remember(machine.places.image_record, machine.user_data, machine.deadline)


def run_container(machine: Machine) -> None:
    args = container.RunArgs(
        user_data=machine.user_data,
        env_file=machine.places.env_file,
        instance_id=machine.identity.instance_id,
        region=machine.identity.region,
        endpoint=machine.cloud.endpoint,
        name=machine.container,
    )
    machine.logs_leave = container.replace(args, machine.deadline)


def wait_ready(machine: Machine) -> None:
    container.wait_ready(machine.container, machine.user_data, machine.deadline)


def report_success(machine: Machine) -> None:
    """Users first: the group may send traffic before Docker's restart policy and the metrics are written."""
    if not machine.status.served_before:
        _continue_launch(machine)
    container.keep_running(machine.container, machine.deadline)
    if machine.status.served_before:
        cloud, instance = machine.cloud, machine.identity.instance_id
        report.attempt("health mark", lambda: report.mark_healthy(cloud, instance, Deadline(report.REPORT_SECONDS)))
    dimensions = {"Stack": machine.user_data.stack, "Color": machine.user_data.color}
    namespace, steps = METRICS_NAMESPACE, machine.status.steps
    report.attempt(
        "metrics",
        lambda: report.put_timings(machine.cloud, namespace, dimensions, steps, Deadline(report.REPORT_SECONDS)),
    )
    if not machine.logs_leave:
        limit = Deadline(report.REPORT_SECONDS)
        report.attempt("metric", lambda: report.put_local_log(machine.cloud, namespace, dimensions, limit))
    shutil.rmtree(machine.places.work, ignore_errors=True)  # a volatile machine's disk is for its app


def _continue_launch(machine: Machine) -> None:
    group = retry(lambda: _settled_group(machine), what="lifecycle state", deadline=machine.deadline)
    if group:
        action = report.Action(hook=LAUNCH_HOOK, group=group, instance_id=machine.identity.instance_id)
        report.complete(machine.cloud, action, "CONTINUE", machine.deadline)


def _settled_group(machine: Machine) -> str:
    """The group whose launch hook waits for this machine, if any. A quick boot can be ready before the hook is."""
    group, state = report.group_of(machine.cloud, machine.identity.instance_id, machine.deadline)
    if state == "Pending":
        raise TransientError(f"group {group} has not come to its launch hook yet")
    if state.startswith("Pending:"):
        return group
    LOG.info("skip lifecycle group=%s state=%s", group or "none", state or "none")
    return ""


STEPS = (
    Step("identity", read_identity, 30),
    Step("settings", read_settings, 30),
    Step("config", write_config, 60),
    Step("download", download, 300, of_image=True),
    Step("verify", verify, 10, of_image=True),
    Step("unpack", unpack_bundle, 120, of_image=True),
    Step("image", make_image, 1500, of_image=True),
    Step("run", run_container, 90),
    Step("ready", wait_ready, 120),
    Step("report", report_success, 60),
)


def run_steps(machine: Machine, steps: tuple[Step, ...] = STEPS) -> None:
    for step in steps:
        if step.of_image and machine.image_kept:
            LOG.info("skip step=%s reason=an earlier boot made the image", step.name)
            continue
        _run_step(machine, step)


def _run_step(machine: Machine, step: Step) -> None:
    machine.status.step = step.name
    machine.deadline = Deadline(step.seconds, within=machine.total)
    LOG.info("start step=%s", step.name)
    began = time.monotonic()
    try:
        machine.status.save()
        if machine.deadline.passed:
            raise TimeoutError("the whole boot's time is over")
        step.run(machine)
    except Exception as error:
        raise StepError(step.name, error) from error
    finally:
        machine.status.steps[step.name] = round(time.monotonic() - began, 3)
    LOG.info("finish step=%s seconds=%.3f", step.name, machine.status.steps[step.name])
