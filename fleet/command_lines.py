"""Command lines for messages: each runs as printed in the project's folder, on the stack of the message."""

from __future__ import annotations

import shlex


def bluegreen(command: str, *words: str, stack: str = "") -> str:
    """A command of this project, in backticks for a sentence."""
    return f"`{bluegreen_line(command, *words, stack=stack)}`"


def bluegreen_line(command: str, *words: str, stack: str = "") -> str:
    """A command of this project, by the script that creates its virtual environment if needed."""
    return shlex.join(("./bluegreen", command, *words, *_on(stack)))


def pulumi(*words: str, stack: str) -> str:
    """A Pulumi command, in backticks for a sentence."""
    return f"`{pulumi_line(*words, stack=stack)}`"


def pulumi_line(*words: str, stack: str) -> str:
    """A Pulumi command, which without `--stack` would use the selected one."""
    return " ".join(("pulumi", *words, *_on(stack)))


def _on(stack: str) -> tuple[str, ...]:
    return ("--stack", stack) if stack else ()
