"""Packer template, valid for both versions, and the units and scripts that it installs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import hcl2
import pytest

AMI = Path(__file__).resolve().parents[2] / "ami"
UNITS = sorted((AMI / "units").glob("*.service"))
SCRIPTS = sorted((AMI / "provision").glob("*.sh"))
STAND_IN = """
source "amazon-ebs" "app" {
  access_key    = "test"
  secret_key    = "test"
  region        = var.region
  ssh_username  = var.ssh_username
  instance_type = var.instance_type
  source_ami    = "ami-1"
  ami_name      = "stand-in"
}
"""


def packer(folder: Path, *variables: str) -> subprocess.CompletedProcess[str]:
    """With a source in place of the two files that an older Packer can't read."""
    for name in ("build.pkr.hcl", "variables.pkr.hcl", "versions.env"):
        shutil.copy(AMI / name, folder)
    for name in ("boot", "docker", "units", "provision"):
        shutil.copytree(AMI / name, folder / name)
    (folder / "source.pkr.hcl").write_text(STAND_IN)
    command = ["packer", "validate", *(f"-var={variable}" for variable in variables), str(folder)]
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "HOME": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


needs_packer = [
    pytest.mark.packer,
    pytest.mark.skipif(shutil.which("packer") is None, reason="needs packer: apt-get install packer"),
]


class TestPacker:
    pytestmark = needs_packer

    def test_the_template_is_valid_with_another_source_of_the_same_name(self, tmp_path: Path) -> None:
        done = packer(tmp_path, "git_commit=0123abc")
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize(
        ("variable", "message"),
        [
            ("updates=some", "updates must be all or none"),
            ("volume_gib=4", "volume_gib must be 8 or more"),
            ("git_commit=x", "git_commit must be a commit"),
        ],
    )
    def test_a_bad_value_is_named(self, tmp_path: Path, variable: str, message: str) -> None:
        done = packer(tmp_path, "git_commit=0123abc", variable)
        assert done.returncode != 0
        assert message in done.stdout + done.stderr

    def test_a_build_says_what_it_is_built_from(self, tmp_path: Path) -> None:
        assert "git_commit" in packer(tmp_path).stdout


def template(name: str) -> Any:
    with (AMI / f"{name}.pkr.hcl").open() as stream:
        return hcl2.load(stream)


def unquoted(value: Any) -> Any:
    """Newer versions of the parser keep strings' quotes."""
    if isinstance(value, str):
        return value.strip('"')
    if isinstance(value, list):
        return [unquoted(entry) for entry in value]
    if isinstance(value, dict):
        return {unquoted(key): unquoted(entry) for key, entry in value.items()}
    return value


def source() -> Any:
    (block,) = unquoted(template("source"))["source"]
    return block["amazon-ebs"]["app"]


def test_the_image_starts_from_debians_newest_own() -> None:
    (found,) = source()["source_ami_filter"]
    assert found["most_recent"] is True
    assert found["owners"] == ["${local.debian_owner}"]
    assert (found["filters"][0] if isinstance(found["filters"], list) else found["filters"])["name"] == (
        "debian-12-amd64-*"
    )
    (local,) = unquoted(template("source"))["locals"]
    assert local["debian_owner"] == "136693071363"


def test_builder_and_instances_use_imdsv2_alone_and_the_disk_is_encrypted() -> None:
    block = source()
    assert block["metadata_options"][0]["http_tokens"] == "required"
    assert block["imds_support"] == "v2.0"
    assert block["encrypt_boot"] is True
    assert block["launch_block_device_mappings"][0]["encrypted"] is True
    assert "deprecate_at" in block


def test_an_account_without_a_default_vpc_names_a_subnet_and_all_others_nothing() -> None:
    block = source()
    assert (block["vpc_id"], block["subnet_id"]) == ("${var.vpc_id}", "${var.subnet_id}")
    # Without a public address the builder is out of reach; where AWS assigns one automatically, none is requested.
    assert block["associate_public_ip_address"] == '${var.subnet_id == "" ? null : true}'
    defaults = {name: content.get("default") for name, content in variables().items()}
    assert (defaults["vpc_id"], defaults["subnet_id"]) == ("", "")


def test_the_readme_asks_for_the_packer_that_the_template_needs() -> None:
    [needed] = re.findall(r'required_version = ">= (\d+\.\d+)\.0"', (AMI / "plugins.pkr.hcl").read_text())
    readme = (AMI.parent / "README.md").read_text()
    assert re.findall(r"\[Packer\]\(\S+\) ([\d.]+) or later", readme) == [needed]


def test_the_images_tags_name_its_source() -> None:
    (local,) = unquoted(template("source"))["locals"]
    assert {"SourceAmi", "SourceName", "GitCommit"} <= set(local["image_tags"])
    assert source()["tags"] == source()["snapshot_tags"] == "${local.image_tags}"


def variables() -> dict[str, Any]:
    return {name: content for block in unquoted(template("variables"))["variable"] for name, content in block.items()}


def test_every_variable_has_type_and_description_and_is_used() -> None:
    used = "".join((AMI / f"{name}.pkr.hcl").read_text() for name in ("build", "source"))
    for name, content in variables().items():
        assert {"type", "description"} <= set(content), name
        assert f"var.{name}" in used, name


def test_every_provisioning_script_is_run_in_the_order_of_its_number() -> None:
    named = re.findall(r"provision/([\w-]+\.sh)", (AMI / "build.pkr.hcl").read_text())
    assert named == [script.name for script in SCRIPTS]


def test_the_scripts_pass_shellcheck() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), *SCRIPTS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        # The instance's paths do not exist here.
        text = unit.read_text().replace("/usr/bin/python3", "/bin/true").replace("/opt/bluegreen", "/")
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit.name) for unit in UNITS)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    about_ours = [line for line in done.stderr.splitlines() if "bluegreen" in line and "not found" not in line]
    assert about_ours == []


def test_docker_lets_containers_outlive_its_daemon() -> None:
    assert json.loads((AMI / "docker/daemon.json").read_text()) == {"live-restore": True}


def test_dockers_unit_is_tried_for_ever_and_holds_the_ports_meanwhile_come_what_may() -> None:
    text = (AMI / "docker/service.conf").read_text()
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == [
        *("[Unit]", "StartLimitIntervalSec=0", "[Service]", "Restart=always", "RestartSec=1"),
        "ExecStartPre=-/usr/bin/python3 -I /opt/bluegreen/boot/ports.py hold",
        "ExecStartPost=-/usr/bin/python3 -I /opt/bluegreen/boot/ports.py release",
    ]
    assert (AMI / "boot/ports.py").exists()


def test_dockers_files_are_in_place_before_docker_is() -> None:
    script = (AMI / "provision/20-packages.sh").read_text()
    targets = re.findall(r'^install -D -m 0644 "\$STAGING/docker/([\w.]+)" (\S+)$', script, re.MULTILINE)
    assert dict(targets) == {
        "daemon.json": "/etc/docker/daemon.json",
        "service.conf": "/etc/systemd/system/docker.service.d/20-bluegreen.conf",
    }
    assert script.index("install -D") < script.index("$apt install")


def seconds(unit: str, key: str) -> int:
    found = re.search(rf"^{key}=(\d+)$", (AMI / "units" / unit).read_text(), re.MULTILINE)
    assert found, f"{unit} has no {key}"
    return int(found[1])


def test_no_unit_gives_up_before_the_program_in_it() -> None:
    from ami.boot.user_data import MAX_BOOT, MAX_DRAIN

    assert seconds("bluegreen-boot.service", "TimeoutStartSec") > MAX_BOOT + 30
    assert seconds("bluegreen-drain.service", "TimeoutStopSec") > MAX_DRAIN + 10


def test_every_unit_with_an_install_section_is_enabled_and_only_those() -> None:
    enabled = set(
        re.findall(r"[\w-]+\.service", (AMI / "provision/40-boot.sh").read_text().split("systemctl enable")[1])
    )
    assert enabled == {unit.name for unit in UNITS if "\n[Install]\n" in unit.read_text()}


@pytest.mark.parametrize("unit", ["logs", "watch"])
def test_nothing_that_serves_waits_for_the_logs_or_the_watch(unit: str) -> None:
    for name in ("boot", "drain", "boot-failed"):
        text = (AMI / "units" / f"bluegreen-{name}.service").read_text()
        settings = [line for line in text.splitlines() if not line.startswith("#")]
        assert [line for line in settings if unit in line or "cloudwatch" in line] == []
    text = (AMI / "units" / f"bluegreen-{unit}.service").read_text()
    assert re.findall(r"^(?:Before|RequiredBy|Conflicts|OnFailure)=", text, re.MULTILINE) == []


def test_the_watch_starts_only_after_a_successful_boot() -> None:
    text = (AMI / "units" / "bluegreen-watch.service").read_text()
    found = re.findall(r"^(Requires|After|WantedBy|Restart)=(.*)$", text, re.MULTILINE)
    boot = "bluegreen-boot.service"
    assert found == [("Requires", boot), ("After", boot), ("Restart", "always"), ("WantedBy", boot)]


def test_the_unit_of_the_log_agent_outlasts_its_own_times() -> None:
    from ami.boot.system_logs import CONTROL_SECONDS

    assert seconds("bluegreen-logs.service", "TimeoutStartSec") > 60 + CONTROL_SECONDS
