"""The runbook tells of each alarm that the program makes and of each fault that is drilled, in the code's own words."""

from __future__ import annotations

import re
import runpy

import pytest

from ami.boot.messages import Kind
from ami.boot.steps import STEPS
from config import reference
from config.colors import ColorSettings
from rehearsal.drills.register import DRILLS
from scripts.ci.message_reference import EXAMPLES
from tests.declared import ROOT, Declared, declare, stack_config

pytestmark = pytest.mark.usefixtures("offline")

TEXT = (ROOT / "docs" / "runbook.md").read_text()
VPN = {
    "customerGatewayIp": "198.51.100.7",
    "remoteCidrs": ["192.168.0.0/24"],
    "presharedKeys": ["first.key_1", "second.key_2"],
}
RELEASED = {
    "release": "v1",
    "releaseUrl": "s3://artifacts/releases/v1/bundle.tar.gz",
    "sha256": "a" * 64,
    "amiId": "ami-0123456789abcdef0",
}
LEADS = ("Means", "By itself", "You", "Facts")
# What is drilled at least.
FAULTS = (
    "bundle corrupt",
    "bundle deleted",
    "object storage slow, then down",
    "image build fails",
    "container exits at once",
    "container never healthy",
    "healthy but wrong release",
    "database down at boot",
    "database down after cutover",
    "release that answers 500 to one request in ten only under load",
    "release that leaks memory until killed",
    "instance killed under load",
    "Docker daemon killed under load",
    "availability zone lost",
    "SNS down while a boot fails",
    "log agent down",
    "disk full during unpack",
    "clock skew against a signed request",
    "cutover script killed before the smoke test",
    "two concurrent cutovers",
    "state backend unreachable during a rollback",
    "SSM parameter missing",
    "reboot during a boot",
)


def chapters() -> dict[str, str]:
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in re.split(r"^## ", TEXT, flags=re.M)[1:]}


def parts(chapter: str) -> dict[str, str]:
    found = re.split(r"^### ", chapters()[chapter], flags=re.M)[1:]
    titles = [part.partition("\n")[0].strip("`") for part in found]
    assert len(titles) == len(set(titles))
    return dict(zip(titles, (part.partition("\n")[2] for part in found), strict=True))


def alarms() -> dict[str, str]:
    """What each alarm of a stack with everything says of itself, by its name without stack and color."""
    config = stack_config("prod", vpn=VPN, logArchiveDays=365, blue=RELEASED)
    declared = declare(
        lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"), stack="prod", config=config
    )
    kinds = ("cloudwatch.MetricAlarm", "cloudwatch.CompositeAlarm")
    return {_name(each): _reason(each) for kind in kinds for each in declared.all(kind).values()}


def _name(alarm: Declared) -> str:
    given = alarm.inputs.get("name") or alarm.inputs["alarmName"]
    return re.sub(r"^(blue|green)-", "<color>-", str(given).removeprefix("prod-")).join(("<stack>-", ""))


def _reason(alarm: Declared) -> str:
    said = str(alarm.inputs["alarmDescription"]).partition(": ")[2]
    return said.partition(" See docs/")[0].rstrip(".").partition(":")[0]


def test_every_alarm_has_its_part_and_every_part_its_alarm() -> None:
    made = alarms()
    assert len(made) >= 11
    assert set(parts("Alarms")) == set(made)


def test_an_alarm_means_what_it_says_itself() -> None:
    told = parts("Alarms")
    assert {name for name, why in alarms().items() if why not in told[name]} == set()


def test_every_fault_has_its_part() -> None:
    assert list(parts("Faults")) == list(FAULTS)


def test_every_drill_is_told_of() -> None:
    assert {drill.fault for drill in DRILLS} - set(FAULTS) == set()


@pytest.mark.parametrize("chapter", ["Alarms", "Faults"])
def test_every_part_says_the_same_four_things(chapter: str) -> None:
    leads = {title: re.findall(r"^- \*\*(.+?)\*\*: \S", text, re.M) for title, text in parts(chapter).items()}
    assert {title for title, found in leads.items() if tuple(found) != LEADS} == set()


def test_the_steps_of_a_boot_are_told_in_their_order() -> None:
    (told,) = re.findall(r"The steps of a boot are, in their order, (.*?)\.\n", TEXT, re.S)
    assert re.findall(r"`(\w+)`", told) == [step.name for step in STEPS]


def test_a_step_that_a_fault_names_exists() -> None:
    named = set(re.findall(r"fails at `(\w+)`(?: \(or `(\w+)`| or `(\w+)`)?", TEXT))
    steps = {step for found in named for step in found if step}
    assert {"download", "verify", "unpack", "image", "ready"} <= steps <= {step.name for step in STEPS}


def test_every_key_of_the_config_and_every_script_that_it_names_exists() -> None:
    scripts = set(re.findall(r"scripts[./](\w+)", TEXT))
    assert {name for name in scripts if not (ROOT / "scripts" / f"{name}.py").is_file()} == set()
    # Without the stack's name it would be whichever was chosen last.
    assert re.findall(r"pulumi config set (?!--stack prod )[^`]+", TEXT) == []
    keys = set(re.findall(r"pulumi config set --stack prod (?:--path )?(?:blue\.|green\.)?(\w+)", TEXT))
    assert keys
    assert keys - {entry.name for entry in reference.entries()} - set(ColorSettings.config_keys()) == set()


def test_the_runbook_says_what_to_do_about_each_message() -> None:
    """By its subject's first words, which examples of docs/messages.md show; all changes of the stack are one row."""
    table = TEXT.partition("| it begins with |")[2].partition("\n\n")[0]
    begins = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    starts = {example.subject.partition(":")[0].partition(" at ")[0].partition(" with ")[0] for example in EXAMPLES}
    assert [start for start in sorted(starts) if not any(start in cell for cell in begins)] == []


def test_each_kind_that_the_runbook_names_exists() -> None:
    named = set(re.findall(r"`(\w+_(?:failed|lost|exited))`", TEXT))
    assert named <= {kind.value for kind in Kind} | {"rollback_failed"}
    assert {"boot_failed", "instance_lost", "launch_failed", "app_exited", "docker_failed"} <= named
