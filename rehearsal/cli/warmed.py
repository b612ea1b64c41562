"""Runs Python with the arguments: forked from the warm one (warm.py) where $BLUEGREEN_WARM_PYTHON names its socket.

Else, or where nobody listens there, it becomes that Python itself. The command gets this process's standard streams,
environment and folder, and ends when this process does, which ends with its parent: nobody else would end a plugin
whose engine was killed. `-I -S` before this file: it starts before every command.
"""

import json
import os
import select
import signal
import socket
import sys

VARIABLE = "BLUEGREEN_WARM_PYTHON"


def serve_command(path: str) -> list[str]:
    """Starts the warm Python; commands need not wait for it."""
    return [sys.executable, "-I", "-u", __file__.replace("warmed.py", "warm.py"), path]


def main(argv: list[str]) -> int:
    parent = os.pidfd_open(os.getppid())
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(os.environ[VARIABLE])
    except (KeyError, OSError):
        os.execv(sys.executable, [sys.executable, *argv])  # noqa: S606 - no shell is wanted
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # Pulumi interrupts a plugin when it is done with it
    socket.send_fds(connection, [b"\n"], [0, 1, 2])
    request = {"argv": argv, "environment": dict(os.environ), "folder": os.getcwd()}  # noqa: PTH109 - not imported
    connection.sendall(json.dumps(request).encode() + b"\n")
    told, _, _ = select.select([connection.fileno(), parent], [], [])
    code = connection.recv(1) if parent not in told else b""
    return code[0] if code else 1  # none: the parent or the warm Python was ended


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
