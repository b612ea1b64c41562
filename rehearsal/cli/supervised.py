"""Supervisor of a command: kills its process group when standard input closes. `python supervised.py COMMAND…`

The caller holds the other end of that pipe, so the command never outlives the caller. It imports nothing from this
project and only modules of the interpreter: it starts before every command.
"""

import os
import select
import signal
import sys

COMMAND_NOT_RUN = 126  # as in shells


def main(argv: list[str]) -> int:
    no_input = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    try:
        pid = os.posix_spawnp(
            argv[0], argv, os.environ, file_actions=[no_input], setpgroup=0, setsigdef=[signal.SIGINT, signal.SIGPIPE]
        )
    except OSError as error:
        print(error.strerror, file=sys.stderr)  # noqa: T201
        return COMMAND_NOT_RUN
    select.select([sys.stdin, os.pidfd_open(pid)], [], [])
    os.killpg(pid, signal.SIGKILL)  # before waitpid: the pid can't be reused yet
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code  # ended by a signal: as in shells


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
