from __future__ import annotations

import re
from pathlib import Path

import pytest

from ami.boot.boot_context import BootContext
from ami.boot.metadata import Metadata
from ami.boot.retrying import Deadline
from ami.boot.status import BootStatus
from ami.boot.steps import STEPS, Step, StepError, read_settings, run_steps, write_config
from ami.boot.user_data import UserDataError
from tests.ami.conftest import Imds
from tests.ami.releases import user_data
from tests.rehearsal.cloud.fleet import Running


def test_the_steps_are_those_of_the_design() -> None:
    names = "identity settings config download verify unpack image run ready report"
    assert [step.name for step in STEPS] == names.split()


def test_the_readme_lists_the_steps_and_their_seconds() -> None:
    text = (Path(__file__).resolve().parents[2] / "ami" / "README.md").read_text()
    rows = re.findall(r"^\| (\w+) \| .* \| (\d+) s \|$", text, re.MULTILINE)
    assert rows == [(step.name, f"{step.seconds:g}") for step in STEPS]


def test_each_step_has_its_name_and_seconds_in_the_status(context: BootContext) -> None:
    seen: list[str] = []

    def note(context: BootContext) -> None:
        seen.append(BootStatus.load(context.paths.status).step)

    run_steps(context, (Step("one", note, 1), Step("two", note, 1)))
    assert seen == ["one", "two"]
    assert list(context.status.steps) == ["one", "two"]
    assert all(0 <= seconds < 1 for seconds in context.status.steps.values())


def test_the_first_failure_ends_the_boot_and_names_the_step(context: BootContext) -> None:
    def breaks(_: BootContext) -> None:
        raise ValueError("disk full")

    def never(_: BootContext) -> None:
        pytest.fail("a step ran after a failed one")

    with pytest.raises(StepError, match="disk full") as error:
        run_steps(context, (Step("one", breaks, 1), Step("two", never, 1)))
    assert error.value.step == "one"
    assert list(context.status.steps) == ["one"]


def test_a_step_never_gets_more_time_than_the_boot_has_left(context: BootContext) -> None:
    context.total = Deadline(0.5)
    left: list[float] = []
    run_steps(context, (Step("one", lambda context: left.append(context.deadline.remaining()), 60),))
    assert left[0] <= 0.5


def test_no_step_starts_after_the_boots_deadline(context: BootContext) -> None:
    context.total = Deadline(0)
    with pytest.raises(StepError, match="the boot timed out") as error:
        run_steps(context, (Step("one", lambda _: pytest.fail("it ran"), 60),))
    assert error.value.step == "one"


def test_with_a_cached_image_its_steps_are_skipped(context: BootContext) -> None:
    context.image_cached = True
    seen: list[str] = []
    steps = tuple(
        Step(step.name, lambda context: seen.append(context.status.step), 1, builds_image=step.builds_image)
        for step in STEPS
    )
    run_steps(context, steps)
    assert seen == ["identity", "settings", "config", "run", "ready", "report"]


def test_user_data_sets_the_boots_deadline(imds: Imds, context: BootContext) -> None:
    imds.user_data = user_data(boot_timeout=70)
    context.metadata, context.total = Metadata(), Deadline(600)
    read_settings(context)
    assert 45 < context.total.remaining() <= 50


def test_invalid_user_data_is_still_good_enough_for_a_report(imds: Imds, context: BootContext) -> None:
    imds.user_data = user_data(color="red", alerts_topic_arn="arn:aws:sns:eu-central-1:1:alerts")
    context.metadata = Metadata()
    with pytest.raises(UserDataError):
        read_settings(context)
    assert context.reporting_info is not None
    assert context.reporting_info.alerts_topic_arn == "arn:aws:sns:eu-central-1:1:alerts"


def test_the_config_is_one_private_file_and_its_secrets_are_masked(
    aws: Running, imds: Imds, context: BootContext
) -> None:
    aws.client("ssm").put_parameter(Name="/bluegreen/dev/app/KEY", Value="hunter22", Type="SecureString")
    imds.user_data = user_data(parameter_path="/bluegreen/dev/app/")
    context.metadata = Metadata()
    read_settings(context)
    write_config(context)
    path: Path = context.paths.env_file
    own = "COLOR=blue\nENVIRONMENT=dev\nHEALTH_PATH=/cgi-bin/health\n"
    assert path.read_text() == f"{own}KEY=hunter22\nPORT=8080\nRELEASE=v1\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert context.secrets.mask("hunter22") == "***"


def test_without_a_path_no_parameter_is_read(imds: Imds, context: BootContext) -> None:
    imds.user_data = user_data()
    context.metadata = Metadata()
    read_settings(context)
    write_config(context)
    assert "KEY" not in context.paths.env_file.read_text()
