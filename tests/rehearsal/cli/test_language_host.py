"""Language host with a real CLI, which these tests never build: `python -m rehearsal.cli` does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.cli import CliMissingError, Origin, PulumiCli, ensure_cli, pulumi_environment
from rehearsal.host.processes import ProcessIdentity, identify, marked
from tests.rehearsal.cli.host import wait_until

pytestmark = pytest.mark.engine

THING = 'pulumi.ComponentResource("test:index:Thing", "thing")\n'
PACK = """
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

def check(args, report):
    if args.resource_type == "test:index:Thing":
        report("things are forbidden")

PolicyPack("tiny", [ResourceValidationPolicy(
    name="no-things", description="No things.", enforcement_level=EnforcementLevel.MANDATORY, validate=check
)])
"""
BLOCKED = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("part", "w").write(f"{os.getpid()} {child.pid}")
os.rename("part", "pids")
time.sleep(600)
"""
MARK = "BLUEGREEN_TEST_RUN"


@pytest.fixture(scope="session")
def cli() -> PulumiCli:
    try:
        cli = ensure_cli(notify=lambda _text: None, environment={**os.environ, "BLUEGREEN_INSTALL": "0"})
    except CliMissingError as error:
        pytest.skip(str(error))
    if cli.origin is not Origin.BUILT:
        pytest.skip(f"{cli.program} has its own language host")
    return cli


class Project:
    def __init__(self, folder: Path, cli: PulumiCli) -> None:
        self.folder = folder
        self.cli = cli
        (folder / "Pulumi.yaml").write_text("name: small\nruntime: python\n")
        (folder / "backend").mkdir()
        # Only variables that name no CLI, backend, home or cloud.
        self.environment = {
            "PATH": os.pathsep.join([*map(str, cli.folders), os.environ["PATH"]]),
            "HOME": str(folder / "user"),
            "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            MARK: str(folder),
            **pulumi_environment(folder / "home"),
        }
        self.run("stack", "init", "dev")

    def program(self, text: str) -> None:
        (self.folder / "__main__.py").write_text(f"import pulumi\n{text}")

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.cli.program, *argv, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *argv: str) -> tuple[int, str]:
        with self.start(*argv) as process:
            output, _ = process.communicate()
        return process.returncode, output

    def up(self) -> tuple[int, str]:
        return self.run("up", "--yes", "--skip-preview")

    def left(self) -> list[ProcessIdentity]:
        return marked(MARK, str(self.folder))


@pytest.fixture
def project(tmp_path: Path, cli: PulumiCli) -> Project:
    return Project(tmp_path, cli)


def test_a_program_runs_with_its_config_and_without_a_warning(project: Project) -> None:
    project.program(f'{THING}pulumi.export("size", pulumi.Config().require_int("size") + 1)\nprint("said")\n')
    project.run("config", "set", "size", "41")
    code, output = project.run("up", "--yes")
    assert code == 0, output
    assert "size: 42" in output
    assert "    said\n" in output
    assert "warning" not in output
    assert "pulumi-language-python" not in output
    assert "+ 2 created" in output
    code, output = project.run("preview", "--expect-no-changes")
    assert code == 0, output
    assert project.left() == []
    assert not (project.folder / "user").exists()


def test_a_secret_config_value_stays_secret(project: Project) -> None:
    project.program('pulumi.export("key", pulumi.Config().require_secret("key"))\n')
    project.run("config", "set", "--secret", "key", "hush")
    code, output = project.up()
    assert (code, "key: [secret]" in output) == (0, True), output


def test_programs_run_with_the_python_of_the_folders(project: Project) -> None:
    project.program('import sys\npulumi.export("python", sys.executable)\n')
    assert f'python: "{Path(sys.executable).with_name("python3")}"' in project.up()[1]


def python_command(project: Project, options: str) -> None:
    path = project.folder / "other-python"
    path.write_text(f'#!/bin/sh\nNAMED=yes exec {sys.executable} {options} "$@"\n')
    path.chmod(0o755)
    project.environment["PULUMI_PYTHON_CMD"] = str(path)


def test_another_python_can_be_set(project: Project) -> None:
    python_command(project, "-B")
    project.program('import os\npulumi.export("named", os.environ["NAMED"])\n')
    assert 'named: "yes"' in project.up()[1]


def test_a_python_without_the_sdk_is_reported(project: Project) -> None:
    python_command(project, "-S")
    project.program("")
    code, output = project.up()
    assert code != 0
    assert f"{sys.executable} has no Pulumi SDK: the first python3 on the PATH has to be the project's" in output


def test_a_failing_program_is_reported_once_with_its_own_lines(project: Project) -> None:
    project.program('def inner():\n    raise ValueError("no such thing")\ninner()\n')
    code, output = project.up()
    assert code != 0
    assert output.count("ValueError: no such thing") == 1
    assert "in inner\n" in output
    assert "runpy" not in output


def test_a_program_that_ends_abruptly(project: Project) -> None:
    project.program("import os\nos._exit(7)\n")
    code, output = project.up()
    assert code != 0
    assert "Program exited with non-zero exit code: 7" in output


def test_a_policy_pack(project: Project) -> None:
    pack = project.folder / "pack"
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text("name: tiny\nversion: 0.0.1\nruntime: python\n")
    (pack / "__main__.py").write_text(PACK)
    project.program(THING)
    code, output = project.run("preview", "--policy-pack", "pack")
    assert code != 0
    assert "[mandatory]  no-things  (test:index:Thing: thing)" in output
    assert "things are forbidden" in output
    assert "warning" not in output
    project.program("")
    code, output = project.run("preview", "--policy-pack", "pack")
    assert code == 0, output
    assert project.left() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_the_cli(project: Project, number: signal.Signals) -> None:
    project.program(BLOCKED)
    with project.start("up", "--yes", "--skip-preview") as process:
        wait_until((project.folder / "pids").exists)
        os.killpg(process.pid, number)
        output, _ = process.communicate(timeout=30)
    pids = (project.folder / "pids").read_text().split()
    wait_until(lambda: all(identify(int(pid)) is None for pid in pids) and not project.left(), seconds=5)
    assert process.returncode != 0
    assert "Traceback" not in output
