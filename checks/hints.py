"""Command lines in messages: each runs as printed in the project's folder, on the stack that the message is about."""

from __future__ import annotations


def script(name: str, *words: str, stack: str = "") -> str:
    """A script's, by the project's own Python: another one lacks its packages."""
    return f"`{' '.join(('.venv/bin/python -m', f'scripts.{name}', *words, *_on(stack)))}`"


def pulumi(*words: str, stack: str) -> str:
    """Pulumi's own, which would take the selected stack."""
    return f"`{' '.join(('pulumi', *words, *_on(stack)))}`"


def _on(stack: str) -> tuple[str, ...]:
    return ("--stack", stack) if stack else ()
