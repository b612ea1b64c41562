"""What the documents say exists, exists; and what exists for users, the README names."""

from __future__ import annotations

import importlib
import json
import re
import runpy
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from config import reference
from config.alerts import AlarmSettings
from config.colors import ColorSettings
from config.vpn import VpnSettings
from policy.rules import RULES
from rehearsal.playground.faults import FAULTS, HELP
from rehearsal.playground.instructions import CHAPTERS
from scripts.bluegreen import ENTRIES, SECTIONS
from scripts.cli.exits import Exit
from tests.declared import declare, stack_config
from tests.test_runbook import RELEASED, VPN, alarms

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
REFERENCE, HOW_TO = DOCS / "reference", DOCS / "how-to"
# Written by the folders' generators, or records of what was decided then.
ADRS = DOCS / "adr"
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


def fenceless(document: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub names them."""
    titles = re.findall(r"^#+ (.+)$", fenceless(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_files_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_a_heading_lead_to_one(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", fenceless(document))
    pages = {link: document.parent / link if link else document for link, _ in links}
    assert [f"{link}#{anchor}" for link, anchor in links if anchor not in anchors(pages[link])] == []


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(ROOT / link).resolve() for link in re.findall(r"\]\(([^)#:]+)", README)}
    pages = {path for path in DOCUMENTS if path.parent != ADRS} - {ROOT / "README.md"}
    assert sorted(path.name for path in pages - linked if path.name != "vpn.md") == []


PROSE = [ROOT / "README.md", ROOT / "CHANGELOG.md", DOCS / "tutorial.md", *sorted(HOW_TO.glob("*.md"))]
PROSE += [*sorted((DOCS / "explanation").glob("*.md")), *sorted(REFERENCE.glob("*.md"))]


@pytest.mark.parametrize("document", PROSE, ids=lambda path: path.name)
def test_lines_of_prose_fit_a_terminal(document: Path) -> None:
    lines = [line for line in fenceless(document).splitlines() if not line.lstrip().startswith("|")]
    assert [line for line in lines if len(line) > 120] == []
    # A command that goes on in the next line is found by no test of this file.
    assert [line for line in lines if line.count("`") % 2] == []


def test_the_readme_is_read_in_ten_minutes() -> None:
    assert len(README.splitlines()) <= 215


def test_every_make_target_that_the_documents_name_exists() -> None:
    named = {target for path in DOCUMENTS for target in MAKE.findall(path.read_text())}
    assert {"rehearse", "test", "setup", "check"} <= named
    assert named - make_targets() == set()


def first_cells(page: str, header: str) -> list[str]:
    """First column of the table with this header, in order."""
    table = page[page.index(header) :].split("\n\n")[0]
    return [line.split("|")[1].strip() for line in table.splitlines()[2:]]


def test_the_readme_tells_of_every_command_in_the_order_of_the_list() -> None:
    cells = first_cells(README, "| command | what it does |")
    assert [name for cell in cells for name in re.findall(r"`([a-z-]+)`", cell)] == list(ENTRIES)


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
# A walk-through, whose first steps make a stack and with it select it.
SELECTING = [ROOT / "README.md", DOCS / "bootstrap.md", DOCS / "tutorial.md"]
# Neither typed as it stands nor kept current: help texts, and decisions.
APART = [REFERENCE / "cli.md", ROOT / "CHANGELOG.md", *sorted(ADRS.glob("*.md"))]
NAMING = [path for path in DOCUMENTS if path not in SELECTING and path not in APART]
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
    assert len(lines) > 120
    # The stack is not read, or no command is named.
    free = ("--xml ", "./bluegreen COMMAND")
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
        'pulumi stack rm "$(pulumi stack --show-name)" --preserve-config',
    ]
    assert "`/bluegreen/<stack>/app/*`" in section


def test_every_command_is_typed_as_the_program_of_the_checkout() -> None:
    """The one file that is named beside it belongs to the three plain lines of a cutover."""
    other = re.compile(r"python -m scripts\.\w+|scripts/(?!smoke_test\.py)\w+\.py|(?<![./-])\bscripts\.\w+")
    pages = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
    assert [(path.name, found) for path in pages for found in other.findall(path.read_text())] == []


# Of Pulumi, pip, the rehearsal and AWS's CLI.
OTHER_FLAGS = {"--path", "--secret", "--rate", "--only", "--preserve-config", "--refresh", "--log-stream-name-prefix"}
OTHER_FLAGS |= {"--with-decryption", "--build-arg", "--yes", "--run-program", "--target", "--config-file", "--stack"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_long_flag_that_a_page_names_alone_belongs_to_a_command(document: Path) -> None:
    known = set().union(*(options_of(name) for name in ENTRIES)) | OTHER_FLAGS
    alone = set(re.findall(r"`(--[a-z-]+)`", document.read_text()))
    assert alone - known == set()


def test_the_exit_codes_are_the_ones_that_the_readme_tells() -> None:
    told = README[README.index("these exit codes") :].split("\n\n")[0]
    assert {int(code) for code in re.findall(r"\b(\d+) [a-z]", told)} == {code.value for code in Exit}


def test_the_page_of_exit_codes_has_each_in_order() -> None:
    page = (REFERENCE / "exit-codes.md").read_text()
    assert [int(code) for code in first_cells(page, "| code | name |")] == [code.value for code in Exit]


def config_keys() -> set[str]:
    """Keys of the config, and of the objects in it."""
    inside = (key for model in (AlarmSettings, ColorSettings, VpnSettings) for key in model.config_keys())
    return {entry.name for entry in reference.entries()} | set(inside)


def bootstrap_keys() -> set[str]:
    declared = yaml.safe_load((ROOT / "bootstrap" / "Pulumi.yaml").read_text())["config"]
    return {str(key).rpartition(":")[2] for key in declared}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_config_key_that_a_page_sets_exists(document: Path) -> None:
    typed = re.findall(r"pulumi config (?:set|rm) ((?:--[a-z]+ (?:prod |dev )?)*)'?([\w.:]+)", document.read_text())
    keys = {part for _, key in typed for part in key.split(".")} - {"KEY", "aws:region"}
    known = config_keys() | (bootstrap_keys() if document.name == "bootstrap.md" else set())
    assert keys - known == set()


def test_the_readmes_keys_and_defaults_are_the_references() -> None:
    defaults = {key.name: key.default for key in reference.entries()}
    table = README[README.index("| key | default | meaning |") :].split("\n\n")[0].splitlines()[2:]
    assert len(table) == 10
    for line in table:
        names, default = (re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:3])
        for name in names:
            shown = defaults[name] if isinstance(defaults[name], str) else json.dumps(defaults[name])
            assert default == [shown or "(empty)"], name


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    """Outputs of a stack with everything."""
    config = stack_config("prod", vpn=VPN, logArchiveDays=365, blue=RELEASED)
    program = str(ROOT / "__main__.py")
    return declare(lambda: runpy.run_path(program, run_name="__main__"), stack="prod", config=config).outputs


def test_the_page_of_outputs_has_each_output(offline: None, outputs: dict[str, Any]) -> None:
    page = (REFERENCE / "outputs.md").read_text()
    for header, found in (
        ("| output | type |", outputs),
        ("| key of `colors.<color>` |", outputs["colors"]["blue"]),
        ("| key of `vpn` |", outputs["vpn"]),
    ):
        cells = [cell.strip("`") for cell in first_cells(page, header)]
        assert sorted(cells) == sorted(found), header


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_stack_output_that_a_page_reads_exists(document: Path, offline: None, outputs: dict[str, Any]) -> None:
    bootstrap = set(re.findall(r'"(\w+)":', (ROOT / "bootstrap" / "composition.py").read_text()))
    bootstrap |= set(re.findall(r'export\("(\w+)"', (ROOT / "bootstrap" / "__main__.py").read_text()))
    read = set(re.findall(r"pulumi (?:-C bootstrap )?stack output (\w+)", document.read_text())) - {"NAME"}
    assert read - set(outputs) - (bootstrap if document.name == "bootstrap.md" else set()) == set()


def test_every_name_in_camel_case_is_a_key_or_an_output(offline: None, outputs: dict[str, Any]) -> None:
    """On the pages of this project's own keys; messages and decisions have others."""
    known = config_keys() | set(outputs) | set(outputs["colors"]["blue"]) | set(outputs["vpn"])
    text = {path.name: path.read_text() for path in PROSE if path not in APART}
    named = {(page, name) for page, body in text.items() for name in re.findall(r"`([a-z]+[A-Z]\w*)`", body)}
    assert len(named) > 40
    assert {(page, name) for page, name in named if name not in known} == set()


def test_the_page_of_policies_has_each_rule_in_order() -> None:
    page = (REFERENCE / "policy.md").read_text()
    assert [cell.strip("`") for cell in first_cells(page, "| rule |")] == [rule.name for rule in RULES]


def test_the_page_of_monitoring_names_each_alarm(offline: None) -> None:
    page = (REFERENCE / "monitoring.md").read_text()
    named = {
        re.sub(r"<stack>-(?:blue|green)-", "<stack>-<color>-", name) for name in re.findall(r"`(<stack>-\S+)`", page)
    }
    behind_bad = {f"<stack>-<color>-{kind}" for kind in ("errors", "latency", "unhealthy", "no-machine", "boots")}
    assert named == set(alarms()) - behind_bad
    assert behind_bad < set(alarms())


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path.parent != ADRS], ids=lambda path: path.name)
def test_every_workflow_that_a_page_names_exists(document: Path) -> None:
    named = set(re.findall(r"`([a-z-]+\.yml)`", document.read_text()))
    assert named - {path.name for path in (ROOT / ".github" / "workflows").glob("*.yml")} == set()


def test_the_tutorial_has_the_commands_that_the_playground_prints_in_their_order() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", (DOCS / "tutorial.md").read_text(), re.MULTILINE | re.DOTALL)
    typed = [line for block in blocks for line in block.splitlines()]
    printed = list(chain.from_iterable(chapter.commands for chapter in CHAPTERS))
    assert typed == ["sudo make rehearse", "sudo make playground", *printed]


def test_the_gates_bear_the_names_that_the_troubleshooting_table_shows() -> None:
    gates = (ROOT / "fleet" / "gates.py").read_text()
    named = set(re.findall(r'hook "([a-z-]+)" failed', (HOW_TO / "troubleshoot.md").read_text()))
    assert named == {"gate-before-users", "gate-after-users", "gate-release-guard", "gate-capacity"}
    assert all(f'"{name}"' in gates for name in named)


def test_the_tutorial_names_every_fault_of_the_playground() -> None:
    paragraphs = (DOCS / "tutorial.md").read_text().split("\n\n")
    told = next(each for each in paragraphs if "`make playground FAULT=NAME`" in each)
    faults = [fault.name for fault in FAULTS]
    assert re.findall(r"`(\w+)`", told) == faults
    assert all(f"`FAULT={name}`" in told for name in HELP if name not in faults)


def test_every_make_target_that_the_playground_prints_exists() -> None:
    printed = [command for chapter in CHAPTERS for command in chapter.commands]
    assert {target for command in printed for target in MAKE.findall(command)} <= make_targets()
