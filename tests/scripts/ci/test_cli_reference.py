"""The page of commands says what the commands' own help says."""

from __future__ import annotations

import re

from scripts.bluegreen import ENTRIES
from scripts.ci.cli_reference import GENERATED, PAGE, page


def test_the_page_is_what_is_generated() -> None:
    assert PAGE.read_text() == page(PAGE.read_text()), "run `.venv/bin/python -m scripts.ci.cli_reference`"


def test_the_prose_above_the_marker_stays() -> None:
    assert page("# Mine\n").startswith(f"# Mine\n{GENERATED}")


def test_each_command_has_its_section_in_order_with_its_help() -> None:
    text = page("")
    assert re.findall(r"^## `(.+)`$", text, re.MULTILINE) == list(ENTRIES)
    assert text.count("| `--help` | Show this message and exit. |") == len(ENTRIES)


def test_a_choice_does_not_end_its_cell() -> None:
    rows = [line for line in page("").splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
