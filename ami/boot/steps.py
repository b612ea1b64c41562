"""Steps of the boot, each with a name and a timeout."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from . import container, image, parameters, report
from .boot_context import BootContext
from .cloud import Cloud, is_retryable
from .fetch import fetch
from .files import write_atomically
from .retrying import Deadline, TransientError, retry
from .unpack import kind_of, unpack
from .user_data import LAUNCH_HOOK, METRICS_NAMESPACE, ReportingInfo, parse

LOG = logging.getLogger("boot")


class StepError(Exception):
    def __init__(self, step: str, cause: Exception) -> None:
        super().__init__(str(cause) or type(cause).__name__)
        self.step = step


@dataclass(frozen=True)
class Step:
    name: str
    run: Callable[[BootContext], None]
    seconds: float  # timeout; cut to what is left of the boot's own
    builds_image: bool = False  # skipped when an earlier boot prepared the image


def read_identity(context: BootContext) -> None:
    context.identity = retry(context.metadata.identity, what="identity", deadline=context.deadline)
    context.cloud = Cloud(context.identity.region)


def read_settings(context: BootContext) -> None:
    text = retry(context.metadata.user_data, what="user data", deadline=context.deadline)
    context.reporting_info = ReportingInfo.parse(text)
    context.user_data = parse(text)
    context.status.release = context.user_data.release.version
    context.total = Deadline(context.user_data.boot_deadline, within=context.total)
    context.image_cached = image.is_cached(context.paths.image_record, context.user_data, context.deadline)


def write_config(context: BootContext) -> None:
    if path := context.user_data.parameter_path:
        context.parameters = retry(
            lambda: parameters.read_parameters(context.cloud.client("ssm"), path),
            what="parameters",
            deadline=context.deadline,
            is_retryable=is_retryable,
        )
    parameters.hide_secrets(context.parameters, context.secrets)
    content = parameters.env_file(context.parameters, parameters.instance_environment(context.user_data))
    write_atomically(context.paths.env_file, content, mode=0o600)


def download(context: BootContext) -> None:
    shutil.rmtree(context.paths.work, ignore_errors=True)  # leftovers of an interrupted boot
    context.paths.work.mkdir(parents=True, mode=0o700)

    def presign(bucket: str, key: str) -> str:
        location = {"Bucket": bucket, "Key": key}
        url = context.cloud.client("s3").generate_presigned_url("get_object", Params=location, ExpiresIn=3600)
        return str(url)

    context.digest = fetch(
        context.user_data.release.url,
        context.paths.bundle,
        presign=presign,
        deadline=context.deadline,
        limits=context.fetch_limits,
    )


def verify(context: BootContext) -> None:
    expected = context.user_data.release.sha256
    if expected and context.digest != expected:
        raise ValueError(f"the bundle's sha256 is {context.digest}, expected {expected}")
    if not expected:
        LOG.warning("accept bundle sha256=%s reason=user data names none", context.digest)


def unpack_bundle(context: BootContext) -> None:
    context.top = unpack(context.paths.bundle, context.paths.work / "tree", context.unpack_limits)
    context.kind = kind_of(context.top, context.user_data.release.version)


def prepare_image(context: BootContext) -> None:
    os.environ["DOCKER_CONFIG"] = str(context.paths.docker_config)
    if context.user_data.base_image:
        retry(
            lambda: image.log_in(context.cloud.client("ecr"), context.user_data, context.paths.docker_config),
            what="registry login",
            deadline=context.deadline,
            is_retryable=is_retryable,
        )
    image.prepare(context.kind, context.top, context.user_data, context.deadline)
    image.save_record(context.paths.image_record, context.user_data, context.deadline)


def run_container(context: BootContext) -> None:
    args = container.RunArgs(
        user_data=context.user_data,
        env_file=context.paths.env_file,
        instance_id=context.identity.instance_id,
        region=context.identity.region,
        endpoint=context.cloud.endpoint,
        name=context.container,
    )
    context.ships_logs = container.replace(args, context.deadline)


def wait_ready(context: BootContext) -> None:
    container.wait_ready(context.container, context.user_data, context.deadline)


def report_success(context: BootContext) -> None:
    """Traffic first: the group may send it before Docker's restart policy and the metrics are set."""
    if not context.status.served_before:
        _continue_launch(context)
    container.enable_restarts(context.container, context.deadline)
    if context.status.served_before:
        cloud, instance = context.cloud, context.identity.instance_id
        report.best_effort("health mark", lambda: report.mark_healthy(cloud, instance, Deadline(report.REPORT_SECONDS)))
    dimensions = {"Stack": context.user_data.stack, "Color": context.user_data.color}
    namespace, steps = METRICS_NAMESPACE, context.status.steps
    report.best_effort(
        "metrics",
        lambda: report.put_timings(context.cloud, namespace, dimensions, steps, Deadline(report.REPORT_SECONDS)),
    )
    if not context.ships_logs:
        deadline = Deadline(report.REPORT_SECONDS)
        report.best_effort("metric", lambda: report.put_local_log(context.cloud, namespace, dimensions, deadline))
    shutil.rmtree(context.paths.work, ignore_errors=True)  # the disk is for the app


def _continue_launch(context: BootContext) -> None:
    group = retry(lambda: _waiting_group(context), what="lifecycle state", deadline=context.deadline)
    if group:
        action = report.LifecycleAction(hook=LAUNCH_HOOK, group=group, instance_id=context.identity.instance_id)
        report.complete(context.cloud, action, "CONTINUE", context.deadline)


def _waiting_group(context: BootContext) -> str:
    """The group whose launch hook waits for this instance, or empty. A quick boot can be ready before the hook."""
    group, state = report.group_of(context.cloud, context.identity.instance_id, context.deadline)
    if state == "Pending":
        raise TransientError(f"group {group} has not reached its launch hook yet")
    if state.startswith("Pending:"):
        return group
    LOG.info("skip lifecycle group=%s state=%s", group or "none", state or "none")
    return ""


STEPS = (
    Step("identity", read_identity, 30),
    Step("settings", read_settings, 30),
    Step("config", write_config, 60),
    Step("download", download, 300, builds_image=True),
    Step("verify", verify, 10, builds_image=True),
    Step("unpack", unpack_bundle, 120, builds_image=True),
    Step("image", prepare_image, 1500, builds_image=True),
    Step("run", run_container, 90),
    Step("ready", wait_ready, 120),
    Step("report", report_success, 60),
)


def run_steps(context: BootContext, steps: tuple[Step, ...] = STEPS) -> None:
    for step in steps:
        if step.builds_image and context.image_cached:
            LOG.info("skip step=%s reason=an earlier boot prepared the image", step.name)
            continue
        _run_step(context, step)


def _run_step(context: BootContext, step: Step) -> None:
    context.status.step = step.name
    context.deadline = Deadline(step.seconds, within=context.total)
    LOG.info("start step=%s", step.name)
    began = time.monotonic()
    try:
        context.status.save()
        if context.deadline.passed:
            raise TimeoutError("the boot timed out")
        step.run(context)
    except Exception as error:
        raise StepError(step.name, error) from error
    finally:
        context.status.steps[step.name] = round(time.monotonic() - began, 3)
    LOG.info("finish step=%s seconds=%.3f", step.name, context.status.steps[step.name])
