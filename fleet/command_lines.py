"""Command lines in messages: each runs as printed in the project's folder, on the stack that the message is about."""

from __future__ import annotations

import shlex


def bluegreen(command: str, *words: str, stack: str = "") -> str:
    """One of this project's own, by the program that makes its environment where it is missing."""
    return f"`{shlex.join(('./bluegreen', command, *words, *_on(stack)))}`"


def pulumi(*words: str, stack: str) -> str:
    """Pulumi's own, which would take the selected stack."""
    return f"`{' '.join(('pulumi', *words, *_on(stack)))}`"


def _on(stack: str) -> tuple[str, ...]:
    return ("--stack", stack) if stack else ()
