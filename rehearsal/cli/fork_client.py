"""Fork server client: runs Python with its arguments in a fork of the server whose socket is $BLUEGREEN_FORK_SERVER.

Without a server it executes Python itself. The command gets this process's standard streams, environment and folder,
and ends with this process, which ends with its parent: nothing else would end a plugin whose engine was killed.
Run it with `-I -S`: it starts before every command.
"""

import json
import os
import select
import signal
import socket
import sys

VARIABLE = "BLUEGREEN_FORK_SERVER"


def serve_command(path: str) -> list[str]:
    """Command that starts the server; clients need not wait for it."""
    return [sys.executable, "-I", "-u", __file__.replace("fork_client.py", "fork_server.py"), path]


def main(argv: list[str]) -> int:
    parent = os.pidfd_open(os.getppid())
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(os.environ[VARIABLE])
    except (KeyError, OSError):
        os.execv(sys.executable, [sys.executable, *argv])  # noqa: S606 - without a shell
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # Pulumi interrupts a plugin when it is done with it
    socket.send_fds(connection, [b"\n"], [0, 1, 2])
    request = {"argv": argv, "environment": dict(os.environ), "folder": os.getcwd()}  # noqa: PTH109 - not imported
    connection.sendall(json.dumps(request).encode() + b"\n")
    ready, _, _ = select.select([connection.fileno(), parent], [], [])
    code = connection.recv(1) if parent not in ready else b""
    return code[0] if code else 1  # none: the parent or the server ended


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
