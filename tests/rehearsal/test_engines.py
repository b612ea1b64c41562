from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from rehearsal.engines import EMBEDDED, Engine, EngineMissingError, Wanted, choose

AWS, DOCKER = version("pulumi-aws"), version("pulumi-docker")
PULUMI = Engine(
    name="pulumi",
    opener="rehearsal.pulumi_engine:open_stack",
    why="pulumi v3.260.0 is on the PATH",
    mirrors_images=True,
)


class Machine:
    """A PATH with programs that answer what a test wants, and a record of what was said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []

    def program(self, name: str, body: str = "pass") -> None:
        path = self.folder / name
        path.write_text(f"#!{sys.executable}\nimport sys\nargv = sys.argv[1:]\n{body}\n")
        path.chmod(0o755)

    def cli(self, number: str = "v3.260.0", plugins: str = "[]", installs: bool = False) -> None:
        self.program("pulumi-language-python")
        self.program(
            "pulumi",
            f"""
if argv == ["version"]:
    print({number!r})
elif argv == ["plugin", "ls", "--json"]:
    print({plugins!r})
elif argv[:3] == ["plugin", "install", "resource"]:
    sys.exit(0 if {installs} else "error: no such host")
""",
        )

    def choose(self, wanted: Wanted) -> Engine:
        return choose(wanted, self.told.append)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Machine(tmp_path)


def listed(*names: str) -> str:
    rows = (f'{{"name": "{name}", "kind": "resource", "version": "{version(f"pulumi-{name}")}"}}' for name in names)
    return f"[{', '.join(rows)}]"


def refusal(machine: Machine) -> str:
    with pytest.raises(EngineMissingError) as caught:
        machine.choose(Wanted.PULUMI)
    found = machine.choose(Wanted.AUTO)
    assert (found.name, found.opener, found.why) == ("embedded", EMBEDDED.opener, str(caught.value))
    return str(caught.value)


def test_the_embedded_engine_needs_nothing(machine: Machine) -> None:
    assert machine.choose(Wanted.EMBEDDED) is EMBEDDED


def test_without_a_cli_one_sentence_says_what_to_install(machine: Machine) -> None:
    assert refusal(machine) == (
        "pulumi is not on the PATH: install the CLI, 3.238 or later, https://www.pulumi.com/docs/install/"
    )


def test_an_old_cli_would_not_stop_at_a_failed_gate(machine: Machine) -> None:
    machine.cli("v3.237.1")
    assert "is v3.237.1: 3.238.0 or later is needed" in refusal(machine)


def test_a_cli_that_tells_no_version(machine: Machine) -> None:
    machine.cli("banana")
    assert "version says 'banana': expected a version such as v3.238.0" in refusal(machine)


def test_a_cli_that_can_run_no_python(machine: Machine) -> None:
    machine.cli()
    (machine.folder / "pulumi-language-python").unlink()
    assert refusal(machine).startswith("pulumi-language-python is neither on the PATH nor beside ")


def test_a_plugin_that_cannot_be_had_is_named_with_its_version_and_the_reason(machine: Machine) -> None:
    machine.cli()
    command = f"pulumi plugin install resource aws {AWS}"
    assert refusal(machine) == f"the Pulumi plugin aws {AWS} can't be had: `{command}`: error: no such host"


@pytest.mark.parametrize("wanted", [Wanted.AUTO, Wanted.PULUMI])
def test_plugins_that_are_installed_already(machine: Machine, wanted: Wanted) -> None:
    machine.cli(plugins=listed("aws", "docker"))
    assert machine.choose(wanted) == PULUMI
    assert machine.told == []


def test_plugins_on_the_path(machine: Machine) -> None:
    machine.cli()
    machine.program("pulumi-resource-aws")
    machine.program("pulumi-resource-docker")
    assert machine.choose(Wanted.AUTO) == PULUMI


def test_plugins_are_installed_as_an_up_would(machine: Machine) -> None:
    machine.cli(installs=True)
    assert machine.choose(Wanted.AUTO) == PULUMI
    assert machine.told == [f"installing the Pulumi plugin aws {AWS}", f"installing the Pulumi plugin docker {DOCKER}"]


def test_another_version_of_a_plugin_is_not_the_one(machine: Machine) -> None:
    machine.cli(plugins='[{"name": "aws", "kind": "resource", "version": "6.0.0"}]')
    assert f"the Pulumi plugin aws {AWS} can't be had" in refusal(machine)


def test_without_the_docker_plugin_no_base_image_is_mirrored(machine: Machine) -> None:
    machine.cli(plugins=listed("aws"))
    found = machine.choose(Wanted.PULUMI)
    assert (found.name, found.mirrors_images) == ("pulumi", False)
