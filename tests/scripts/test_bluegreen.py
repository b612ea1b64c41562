"""The one command: its list, what it imports, its way to the scripts, completion, and suggestions."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bluegreen import ENTRIES, SECTIONS, group
from scripts.cli.exits import Exit
from scripts.stack.automation import NO_STACK

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "bluegreen"
HELP_CPU_S = 0.5
HEAVY = ("pulumi", "boto3", "botocore", "rich", "requests")


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAM), *words], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def call(*words: str) -> int:
    """In this process."""
    with pytest.raises(SystemExit) as ended:
        group().main(list(words), prog_name="bluegreen")
    return int(ended.value.code or 0)


def test_the_list_shows_the_life_of_a_release_in_order() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    assert re.findall(r"^  ([a-z][a-z-]+)  ", done.stdout, re.MULTILINE) == list(ENTRIES)
    life = done.stdout.partition("Releases, in order:\n")[2].partition("\n\n")[0]
    assert life.splitlines() == [
        "  release     Publish, deploy, cut over and bake; stops when a step fails.",
        "  publish     Pack a folder with a Dockerfile and store it as a release.",
        "  deploy      Start a release on new instances of the idle color.",
        "  smoke-test  Check a color or the public endpoint over HTTP.",
        "  canary      Send a percentage of the traffic to the idle color.",
        "  cutover     Send all traffic to a color; a bad release is rolled back.",
        "  rollback    Send all traffic back to the previous release.",
        "  retire      Remove the idle color's instances.",
    ]
    assert [title for title in SECTIONS if f"\n{title}:\n" in done.stdout] == list(SECTIONS)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < HELP_CPU_S


def test_the_list_tells_every_exit_code() -> None:
    text = " ".join(run("--help").stdout.split())
    told = text.partition("Exit codes: ")[2]
    assert {int(code) for code in re.findall(r"\b(\d+) [a-z]", told)} == {code.value for code in Exit}


@pytest.mark.parametrize(
    ("words", "without"),
    [
        (["--help"], HEAVY),
        (["publish", "--help"], HEAVY),
        (["smoke-test", "--help"], ("pulumi", "boto3")),
        (["logs", "--help"], ("pulumi", "boto3")),
        (["shell", "--help"], ("pulumi", "boto3")),
        (["doctor", "--help"], ("pulumi", "boto3")),
        (["cutover", "--help"], ("boto3", "pulumi_aws")),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_only_what_a_command_needs_is_imported(words: list[str], without: tuple[str, ...]) -> None:
    code = (
        "import json, sys\nfrom scripts.bluegreen import group\n"
        "try:\n    group().main(sys.argv[1:], prog_name='bluegreen')\n"
        "except SystemExit:\n    print(json.dumps(list(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stderr
    assert [name for name in without if name in json.loads(done)] == []


@pytest.mark.parametrize("name", ENTRIES)
def test_each_command_is_its_script_under_its_own_name(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert call(name, "--help") == Exit.OK
    help = capsys.readouterr().out
    assert help.startswith(f"Usage: bluegreen {name} ")
    assert "--json" in help


@pytest.mark.parametrize(
    ("typed", "meant"), [("cutovr", "'cutover'"), ("roll-back", "'rollback'"), ("smoketest", "'smoke-test'")]
)
def test_an_unknown_command_names_the_nearest_one(capsys: pytest.CaptureFixture[str], typed: str, meant: str) -> None:
    assert call(typed) == Exit.USAGE
    assert f"No such command '{typed}'. Did you mean {meant}" in capsys.readouterr().err


def test_without_a_selected_stack_the_sentence_is_the_usual_one(tmp_path: Path) -> None:
    (tmp_path / "pulumi").write_text(
        "#!/bin/sh\necho 'error: no stack selected; please use `pulumi stack select`' >&2\nexit 1\n"
    )
    (tmp_path / "pulumi").chmod(0o755)
    done = run("status", PATH=f"{tmp_path}:/usr/bin:/bin", BLUEGREEN_STACK="")
    assert (done.returncode, done.stderr.splitlines()) == (Exit.USAGE, [NO_STACK])


def test_a_failure_keeps_its_exit_code_and_a_summary_bears_the_commands_name(tmp_path: Path) -> None:
    summary = tmp_path / "summary"
    done = run("summary", "--json", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == Exit.USAGE
    assert json.loads(done.stdout)["exit_code"] == Exit.USAGE
    assert summary.read_text().startswith("### summary: failed\n")


# -- completion ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_asks_the_program_of_this_checkout(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == Exit.OK
    assert f"complete_{shell}" in done.stdout
    assert str(PROGRAM) in done.stdout
    assert json.loads(run("completion", shell, "--json").stdout) == {"ok": True, "script": done.stdout}


def test_bash_completes_commands_and_options_also_of_a_path() -> None:
    def complete(*words: str) -> list[str]:
        script = (
            f"source <({PROGRAM} completion bash)\n"
            f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1}\n"
            "complete -p bluegreen >/dev/null && _bluegreen_completion && printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
        return done.stdout.split()

    assert complete("./bluegreen", "c") == ["canary", "cutover", "comment", "completion"]
    assert complete("bluegreen", "logs", "--f") == ["--follow"]
    assert complete("bluegreen", "cutover", "g") == ["green"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_get_their_answers(shell: str) -> None:
    words = {"_TYPER_COMPLETE_ARGS": "./bluegreen rol", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = run(_BLUEGREEN_COMPLETE=f"complete_{shell}", **words)
    assert done.returncode == Exit.OK
    assert "rollback" in done.stdout
    assert "Send all traffic back to the previous..." in done.stdout
    assert "cutover" not in done.stdout
