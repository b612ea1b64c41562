"""Provider plugin as a process: `python -m rehearsal.provider aws`.

It prints its port, as Pulumi expects of a plugin, and exits with the process that started it.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import threading
from importlib.metadata import version

from rehearsal.cli import protocol

protocol.import_messages_only()
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC would report a taken port too, in lines of its own

# These import the SDK's package, which is skipped above.
from rehearsal.provider.server import PortTakenError, start  # noqa: E402
from rehearsal.provider.service import ProviderService  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m rehearsal.provider", description=__doc__)
    parser.add_argument("package", choices=("aws", "docker"))
    parser.add_argument("--port", type=int, default=0, help="for PULUMI_DEBUG_PROVIDERS; 0 takes a free one")
    known, _ = parser.parse_known_args()  # Pulumi adds its engine's address and other flags
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=_wait_for_parent, args=(os.getppid(),), daemon=True).start()
    try:
        _server, port = start(ProviderService(version(f"pulumi-{known.package}")), known.port)
    except PortTakenError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(port, flush=True)  # noqa: T201
    ended.wait()
    return 0


def _wait_for_parent(parent: int) -> None:
    """Exit with the parent: a plugin has its own process group, so nothing else ends it when Pulumi is killed."""
    try:
        handle = os.pidfd_open(parent)
    except ProcessLookupError:
        os._exit(0)
    select.select([handle], [], [])
    os._exit(0)  # also during a call: there is no engine left to record its result


if __name__ == "__main__":
    code = main()
    os._exit(code)  # without waiting for gRPC's threads
