from __future__ import annotations

import re
import subprocess
from pathlib import Path

from fleet.command_lines import bluegreen, bluegreen_line, pulumi
from scripts.bluegreen import ENTRIES

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("fleet", "scripts", "components", "config")


def test_a_printed_command_names_the_stack_and_the_checkout_s_program() -> None:
    assert bluegreen("cutover", "green", stack="dev") == "`./bluegreen cutover green --stack dev`"
    assert bluegreen("release", "my app", "--version", "v1") == "`./bluegreen release 'my app' --version v1`"
    assert pulumi("config set activeColor", "blue", stack="prod") == (
        "`pulumi config set activeColor blue --stack prod`"
    )


def test_a_printed_command_runs_as_printed() -> None:
    command = bluegreen_line("cutover", "green", stack="dev")
    done = subprocess.run(f"{command} --help", shell=True, cwd=ROOT, capture_output=True, check=False)  # noqa: S602
    assert done.returncode == 0


def test_no_message_writes_a_command_line_of_its_own() -> None:
    """Every line that is printed comes from `fleet.command_lines`, or names its stack."""
    command = re.compile(
        r"`((\.venv/bin/)?python -m scripts|\./bluegreen|pulumi (up|cancel|config set|refresh|stack output))\b[^`]*`"
    )
    docstring = re.compile(r'"""(.*?)"""', re.DOTALL)
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for match in command.finditer(re.sub(r"#.*", "", docstring.sub("", path.read_text())))
        if "--stack" not in match[0]
    ]
    assert found == []


def test_every_command_that_a_message_names_exists() -> None:
    """Names are texts there, since what the program imports must not import the commands."""
    call = re.compile(r"\bbluegreen(?:_line)?\(\s*(?:f?\"([^\"]+)\"|'([^']+)')")
    sources = [ROOT / "composition.py", *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))]
    named = {one or other for path in sources for one, other in call.findall(path.read_text())}
    assert {"cutover", "deploy", "sync-config", "smoke-test", "canary", "retire", "status", "release", "logs"} <= named
    assert named - set(ENTRIES) == set()
