"""Errors of the config: one message that names every bad value."""

from __future__ import annotations

from collections.abc import Sequence


class SettingsError(Exception):
    """The config has invalid values; the message names each, and what is allowed."""


def refuse(problems: Sequence[str]) -> None:
    """Raise SettingsError with all of them, if there are any."""
    if problems:
        raise SettingsError("The stack's config can't be used:\n" + "\n".join(f"  {problem}" for problem in problems))
