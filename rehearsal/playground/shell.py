"""Shell environment file to source: points pulumi, scripts, docker and AWS SDKs to the playground."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

LEAVE = "playground_off"
# They would point an AWS SDK or the CLI elsewhere, or to a missing profile or file.
CLEARED = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "PULUMI_CONFIG_PASSPHRASE_FILE")


def render(variables: Mapping[str, str], folders: Sequence[str], page: str) -> str:
    """Script for bash, zsh and sh. `folders` come first on the PATH; `playground_off` restores the previous values."""
    names = ("PATH", *variables, *CLEARED)
    lines = [
        f"# Variables of the playground at {page}: source this file; `{LEAVE}` undoes it.",
        f"if command -v {LEAVE} >/dev/null 2>&1; then {LEAVE}; fi",
        *(f'_PG_WAS_{name}="${{{name}-}}" _PG_HAD_{name}="${{{name}+yes}}"' for name in names),
        f'export PATH={shlex.quote(":".join(folders))}:"$PATH"',
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        f"unset {' '.join(CLEARED)}",
        '_PG_PROMPT="${PS1-}"',
        'if [ -n "${PS1-}" ]; then PS1="(playground) $PS1"; fi',
        f"{LEAVE}() {{",
        *(f"    {_restored(name)}" for name in names),
        '    if [ -n "$_PG_PROMPT" ]; then PS1="$_PG_PROMPT"; fi',
        f"    unset {' '.join(f'_PG_WAS_{name} _PG_HAD_{name}' for name in names)} _PG_PROMPT",
        f"    unset -f {LEAVE}",
        "    hash -r 2>/dev/null || true",
        "}",
        "hash -r 2>/dev/null || true",
    ]
    return "\n".join(lines) + "\n"


def _restored(name: str) -> str:
    return f'if [ -n "$_PG_HAD_{name}" ]; then export {name}="$_PG_WAS_{name}"; else unset {name}; fi'
