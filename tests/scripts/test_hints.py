from __future__ import annotations

import re
import subprocess
from pathlib import Path

from checks.hints import pulumi, script

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("checks", "scripts", "components")


def test_a_printed_command_names_the_stack_and_the_project_s_python() -> None:
    assert script("cutover", "green", stack="dev") == "`.venv/bin/python -m scripts.cutover green --stack dev`"
    assert script("smoke_test", "--url", "http://x") == "`.venv/bin/python -m scripts.smoke_test --url http://x`"
    assert pulumi("config set activeColor", "blue", stack="prod") == (
        "`pulumi config set activeColor blue --stack prod`"
    )


def test_a_printed_command_runs_as_printed() -> None:
    command = script("cutover", "green", stack="dev").strip("`")
    done = subprocess.run(f"{command} --help", shell=True, cwd=ROOT, capture_output=True, check=False)  # noqa: S602
    assert done.returncode == 0


def test_no_message_writes_a_command_line_of_its_own() -> None:
    """Every line that is printed comes from `checks.hints`, or names its stack."""
    command = re.compile(r"`(python -m scripts|pulumi (up|cancel|config set|refresh|stack output))\b[^`]*`")
    docstring = re.compile(r'"""(.*?)"""', re.DOTALL)
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).glob("*.py"))
        for match in command.finditer(re.sub(r"#.*", "", docstring.sub("", path.read_text())))
        if "--stack" not in match[0]
    ]
    assert found == []
