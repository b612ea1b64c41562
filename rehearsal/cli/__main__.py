"""Find, install or build the Pulumi CLI: `python -m rehearsal.cli`. Exit code 3: no usable CLI."""

from __future__ import annotations

import os
import sys

from rehearsal.cli import CliMissingError, ensure_cli
from rehearsal.host.install import MISSING


def main() -> int:
    try:
        cli = ensure_cli(notify=lambda text: print(text, file=sys.stderr, flush=True), environment=os.environ)  # noqa: T201
    except CliMissingError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return MISSING
    print(f"{cli.program} {cli.version}, {cli.origin}")  # noqa: T201
    for folder in cli.folders:
        print(folder)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
