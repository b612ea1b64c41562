"""What the documents say exists, exists; and what exists for users, the README names."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import typer

from rehearsal.playground.faults import FAULTS, HELP
from rehearsal.playground.instructions import CHAPTERS
from scripts.bluegreen import ENTRIES, SECTIONS
from scripts.cli.exits import Exit

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"\./bluegreen ([a-z][a-z-]+)([^\n`]*)")
MAKE = re.compile(r"(?:`|sudo |^ *)make ([a-z-]+)", re.MULTILINE)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def options_of(name: str) -> set[str]:
    command = typer.main.get_command(importlib.import_module(ENTRIES[name].module).cli)
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def commands() -> list[tuple[str, str]]:
    found = [match for path in DOCUMENTS for match in COMMAND.findall(path.read_text())]
    assert len(found) >= 6
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_files_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_make_target_that_the_documents_name_exists() -> None:
    named = {target for path in DOCUMENTS for target in MAKE.findall(path.read_text())}
    assert {"rehearse", "test", "setup", "check"} <= named
    assert named - make_targets() == set()


def test_the_readme_tells_of_every_command_in_the_order_of_the_list() -> None:
    table = README[README.index("| command | what it does |") :].split("\n\n")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == list(ENTRIES)


def test_no_script_with_a_command_line_is_left_out_of_the_command() -> None:
    with_cli = {path.stem for path in (ROOT / "scripts").glob("*.py") if re.search(r"^cli = ", path.read_text(), re.M)}
    assert with_cli == {entry.module.removeprefix("scripts.") for entry in ENTRIES.values()}
    assert sum(len(entries) for entries in SECTIONS.values()) == len(ENTRIES)


def test_every_command_of_the_documents_exists_with_its_flags() -> None:
    for name, rest in commands():
        assert name in ENTRIES
        flags = set(re.findall(r"(?<= )--[a-z-]+", rest))
        assert flags <= options_of(name), f"{name}: {flags - options_of(name)}"


# Typed by whoever reads a page at night, or in a checkout that was used for another stack.
NAMING = [path for path in DOCUMENTS if path.parent.name == "docs" and path.name != "bootstrap.md"]
# A walk-through, whose first steps make a stack and with it select it.
SELECTING = [ROOT / "README.md", ROOT / "docs" / "bootstrap.md"]
TYPED = re.compile(r"pulumi (?:up|preview|refresh|cancel|config set|stack output) [^\n`]+|\./bluegreen [^\n`]+")


def typed(path: Path) -> list[str]:
    """Commands with arguments, that name what they are about; not the mere name of a command in a sentence."""
    return [line.partition("  #")[0].strip() for line in TYPED.findall(path.read_text())]


def test_the_walk_through_selects_its_stack_and_names_none() -> None:
    lines = [line for path in SELECTING for line in typed(path)]
    assert len(lines) > 20
    elsewhere = "-C bootstrap"  # another project's
    assert [line for line in lines if "--stack" in line and elsewhere not in line] == []
    assert "`--stack NAME` does" in README
    assert "`BLUEGREEN_STACK`" in README


def test_every_other_page_names_the_stack_in_each_command() -> None:
    lines = [(path.name, line) for path in NAMING for line in typed(path)]
    assert len(lines) > 30
    free = ("--xml ",)  # the stack is not read
    assert [line for line in lines if "--stack" not in line[1] and not any(each in line[1] for each in free)] == []


def test_what_the_first_steps_call_is_among_what_one_needs_and_the_key_is_made_before_it_is_used() -> None:
    needed = README[README.index("You need the") :].split("\n\n")[0]
    assert [name for name in ("Pulumi CLI", "Packer", "AWS CLI") if f"[{name}]" not in needed] == []
    steps = README[README.index("1. **State and packages.**") :].split("2. **Machine image.**")[0]
    lines = [line.strip() for line in re.findall(r"```sh\n(.*?)\n *```", steps, re.DOTALL)[0].splitlines()]
    assert [line.split()[0:3] for line in lines] == [
        ["export", "AWS_REGION=eu-central-1"],
        ["aws", "s3", "mb"],
        ["aws", "kms", "create-alias"],
        ["pulumi", "login", "s3://acme-pulumi-state"],
        ["make", "setup"],
        ["pulumi", "stack", "init"],
        ["git", "commit", "-m"],
    ]
    [made], [used] = re.findall(r"--alias-name (\S+)", steps), re.findall(r"awskms://([^?]+)\?region=", steps)
    assert made == used


def test_the_walk_through_tells_the_503_before_the_first_release_and_takes_the_newest_image() -> None:
    first, deploy = (README[README.index(f"{number}. **") :].split("\n\n", 3) for number in (3, 6))
    assert 'curl -i "$(pulumi stack output url)"' in first[1]
    assert "./bluegreen deploy v1 --ami newest" in deploy[1]


def test_a_stack_is_taken_down_in_the_order_that_leaves_nothing_half_destroyed() -> None:
    section = README[README.index("## Take a stack down") :].split("\n## ")[0]
    commands = [line.partition("#")[0].strip() for line in section.split("```")[1].splitlines()[1:]]
    assert commands == [
        "pulumi config set protect false",
        "pulumi config set forceDestroy true",
        "pulumi up",
        "pulumi destroy",
        "pulumi stack rm prod --preserve-config",
    ]
    assert "`/bluegreen/<stack>/app/*`" in section


def test_every_command_is_typed_as_the_program_of_the_checkout() -> None:
    """The one file that is named beside it belongs to the three plain lines of a cutover."""
    other = re.compile(r"python -m scripts\.\w+|scripts/(?!smoke_test\.py)\w+\.py|(?<![./-])\bscripts\.\w+")
    pages = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
    assert [(path.name, found) for path in pages for found in other.findall(path.read_text())] == []


def test_every_long_flag_that_the_readme_names_alone_belongs_to_a_command() -> None:
    known = set().union(*(options_of(name) for name in ENTRIES)) | {"--path", "--rate", "--only", "--help"}
    alone = set(re.findall(r"`(--[a-z-]+)`", README))
    assert alone <= known


def test_the_exit_codes_are_the_ones_that_the_readme_tells() -> None:
    told = README[README.index("these exit codes") :].split("\n\n")[0]
    assert {int(code) for code in re.findall(r"\b(\d+) [a-z]", told)} == {code.value for code in Exit}


def test_the_gates_bear_the_names_that_the_troubleshooting_table_shows() -> None:
    gates = (ROOT / "fleet" / "gates.py").read_text()
    named = set(re.findall(r'hook "([a-z-]+)" failed', README))
    assert named == {"gate-before-users", "gate-after-users", "gate-release-guard", "gate-arrival"}
    assert all(f'"{name}"' in gates for name in named)


def test_the_readme_names_every_fault_of_the_playground() -> None:
    told = next(line for line in README.splitlines() if "`make playground FAULT=NAME`" in line)
    faults = [fault.name for fault in FAULTS]
    assert re.findall(r"`(\w+)`", told) == faults
    assert all(f"`FAULT={name}`" in told for name in HELP if name not in faults)


def test_every_make_target_that_the_playground_prints_exists() -> None:
    printed = [command for chapter in CHAPTERS for command in chapter.commands]
    assert {target for command in printed for target in MAKE.findall(command)} <= make_targets()
