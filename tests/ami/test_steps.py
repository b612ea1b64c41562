from __future__ import annotations

import re
from pathlib import Path

import pytest

from ami.boot.machine import Machine
from ami.boot.metadata import Metadata
from ami.boot.retrying import Deadline
from ami.boot.status import Status
from ami.boot.steps import STEPS, Step, StepError, read_settings, run_steps, write_config
from ami.boot.user_data import UserDataError
from tests.ami.conftest import Imds
from tests.ami.releases import user_data
from tests.rehearsal.cloud.fleet import Running


def test_the_steps_are_the_designs() -> None:
    names = "identity settings config download verify unpack image run ready report"
    assert [step.name for step in STEPS] == names.split()


def test_the_readme_tells_the_steps_and_their_seconds() -> None:
    text = (Path(__file__).resolve().parents[2] / "ami" / "README.md").read_text()
    rows = re.findall(r"^\| (\w+) \| .* \| (\d+) s \|$", text, re.MULTILINE)
    assert rows == [(step.name, f"{step.seconds:g}") for step in STEPS]


def test_each_step_has_its_name_and_seconds_in_the_status(machine: Machine) -> None:
    seen: list[str] = []

    def note(machine: Machine) -> None:
        seen.append(Status.load(machine.places.status).step)

    run_steps(machine, (Step("one", note, 1), Step("two", note, 1)))
    assert seen == ["one", "two"]
    assert list(machine.status.steps) == ["one", "two"]
    assert all(0 <= seconds < 1 for seconds in machine.status.steps.values())


def test_the_first_failure_ends_the_boot_under_its_steps_name(machine: Machine) -> None:
    def breaks(_: Machine) -> None:
        raise ValueError("disk full")

    def never(_: Machine) -> None:
        pytest.fail("a step ran after a failed one")

    with pytest.raises(StepError, match="disk full") as error:
        run_steps(machine, (Step("one", breaks, 1), Step("two", never, 1)))
    assert error.value.step == "one"
    assert list(machine.status.steps) == ["one"]


def test_a_step_never_gets_more_time_than_the_boot_has_left(machine: Machine) -> None:
    machine.total = Deadline(0.5)
    left: list[float] = []
    run_steps(machine, (Step("one", lambda machine: left.append(machine.deadline.remaining()), 60),))
    assert left[0] <= 0.5


def test_no_step_begins_when_the_boots_time_is_over(machine: Machine) -> None:
    machine.total = Deadline(0)
    with pytest.raises(StepError, match="the whole boot's time is over") as error:
        run_steps(machine, (Step("one", lambda _: pytest.fail("it ran"), 60),))
    assert error.value.step == "one"


def test_with_the_image_kept_its_steps_are_left_out(machine: Machine) -> None:
    machine.image_kept = True
    seen: list[str] = []
    steps = tuple(
        Step(step.name, lambda machine: seen.append(machine.status.step), 1, of_image=step.of_image) for step in STEPS
    )
    run_steps(machine, steps)
    assert seen == ["identity", "settings", "config", "run", "ready", "report"]


def test_user_data_sets_the_boots_time(imds: Imds, machine: Machine) -> None:
    imds.user_data = user_data(boot_timeout=70)
    machine.metadata, machine.total = Metadata(), Deadline(600)
    read_settings(machine)
    assert 45 < machine.total.remaining() <= 50


def test_wrong_user_data_is_still_known_well_enough_to_report(imds: Imds, machine: Machine) -> None:
    imds.user_data = user_data(color="red", alerts_topic_arn="arn:aws:sns:eu-central-1:1:alerts")
    machine.metadata = Metadata()
    with pytest.raises(UserDataError):
        read_settings(machine)
    assert machine.known is not None
    assert machine.known.alerts_topic_arn == "arn:aws:sns:eu-central-1:1:alerts"


def test_the_config_is_one_private_file_and_its_secrets_are_masked(aws: Running, imds: Imds, machine: Machine) -> None:
    aws.client("ssm").put_parameter(Name="/bluegreen/dev/app/KEY", Value="hunter22", Type="SecureString")
    imds.user_data = user_data(parameter_path="/bluegreen/dev/app/")
    machine.metadata = Metadata()
    read_settings(machine)
    write_config(machine)
    path: Path = machine.places.env_file
    own = "COLOR=blue\nENVIRONMENT=dev\nHEALTH_PATH=/cgi-bin/health\n"
    assert path.read_text() == f"{own}KEY=hunter22\nPORT=8080\nRELEASE=v1\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert machine.secrets.mask("hunter22") == "***"


def test_without_a_path_no_parameter_is_asked_for(imds: Imds, machine: Machine) -> None:
    imds.user_data = user_data()
    machine.metadata = Metadata()
    read_settings(machine)
    write_config(machine)
    assert "KEY" not in machine.places.env_file.read_text()
