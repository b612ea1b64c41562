"""Completion scripts for bash, zsh and fish, which call this checkout's program."""

from __future__ import annotations

import shlex
from enum import StrEnum
from typing import Annotated

import typer

from scripts.cli.display import Display
from scripts.cli.options import JsonOption, app
from scripts.stack.automation import ROOT


class Shell(StrEnum):
    """Supported shells."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


# Typer's own scripts call the program by its name, which fails for `./bluegreen` of a checkout that is not on the PATH.
SCRIPTS = {
    Shell.BASH: """_bluegreen_completion() {{
    local IFS=$'\\n'
    COMPREPLY=($(COMP_WORDS="${{COMP_WORDS[*]}}" COMP_CWORD=$COMP_CWORD _BLUEGREEN_COMPLETE=complete_bash {program}))
}}
complete -o default -F _bluegreen_completion bluegreen
""",
    Shell.ZSH: """#compdef bluegreen
_bluegreen_completion() {{
    eval "$(_TYPER_COMPLETE_ARGS="${{words[1,$CURRENT]}}" _BLUEGREEN_COMPLETE=complete_zsh {program})"
}}
compdef _bluegreen_completion bluegreen
""",
    Shell.FISH: """function _bluegreen_completion
    set -lx _BLUEGREEN_COMPLETE complete_fish
    set -lx _TYPER_COMPLETE_ARGS (commandline -cp)
    set -lx _TYPER_COMPLETE_FISH_ACTION $argv[1]
    {program}
end
complete --command bluegreen --no-files --condition "_bluegreen_completion is-args" \\
    --arguments "(_bluegreen_completion get-args)"
""",
}


def script(shell: Shell) -> str:
    return SCRIPTS[shell].format(program=shlex.quote(str(ROOT / "bluegreen")))


cli = app()


@cli.command()
def main(
    shell: Annotated[Shell, typer.Argument(help="The shell to complete in.")], as_json: JsonOption = False
) -> None:
    """Print the completion script of SHELL, for `bluegreen` and for `./bluegreen`.

    In this terminal: `source <(./bluegreen completion bash)`, in fish `./bluegreen completion fish | source`.
    """
    display = Display(as_json=as_json)
    display.result({"ok": True, "script": script(shell)})
    display.say(script(shell).rstrip("\n"))


if __name__ == "__main__":
    cli()
