"""A Python that forks for each command, with the SDKs imported: `python -I -u warm.py SOCKET`; warmed.py is its client.

Imports take most of a run's CPU time, and change with the installed packages only. Nothing of this project is imported
here: a command finds its own copy. It is one thread: what has several can't be forked.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from typing import Any

AWS = (
    *("autoscaling", "budgets", "cloudwatch", "ec2", "ec2transitgateway", "ecr", "iam", "kinesis", "kms", "lb"),
    *("route53", "s3", "sns", "ssm", "vpc"),
)
# Those that the provider and the programs' hooks call.
SERVICES = (
    *("autoscaling", "cloudwatch", "ec2", "ecr", "elbv2", "events", "iam", "kms", "logs", "route53", "s3", "sns"),
    *("ssm", "sts"),
)
PACKAGES = ("pulumi", *(f"pulumi_aws.{name}" for name in AWS), "pulumi_docker", "boto3", "yaml", "requests")


def serve(path: str) -> dict[str, Any]:
    """Return in each process that is to run a command, with what its client asked for; never in the first one."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a command but its keeper
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        while True:
            connection, _ = listener.accept()
            with connection:
                if os.fork():
                    continue
                listener.close()
                return _keep(connection)


def _keep(connection: socket.socket) -> dict[str, Any]:
    """In a session of its own: the command ends with its client, and the client with the command's exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    request: dict[str, Any] = json.loads(connection.makefile().readline())
    pid = os.fork()
    if not pid:
        os.setpgid(0, 0)
    for number, stream in enumerate(streams):
        if not pid:
            os.dup2(stream, number)
        os.close(stream)
    if not pid:
        return request
    select.select([connection.fileno(), os.pidfd_open(pid)], [], [])
    os.killpg(pid, signal.SIGKILL)  # not waited for yet: the number is still its own
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):  # it was the client that ended
        connection.sendall(bytes([code if code >= 0 else 128 - code]))  # ended by a signal: as shells have it
    os._exit(0)


def share_models() -> None:
    """Each of botocore's sessions would parse the services' models anew."""
    from boto3 import Session
    from botocore import loaders

    load, models = loaders.JSONFileLoader.load_file, dict[str, Any]()

    def load_once(loader: Any, path: str) -> Any:
        if path not in models:
            models[path] = load(loader, path)
        return models[path]

    loaders.JSONFileLoader.load_file = load_once
    session: Any = Session("none", "none", region_name="eu-central-1")
    for service in SERVICES:
        session.client(service)


def run(argv: list[str], environment: dict[str, str], folder: str) -> None:
    """As Python itself would: `[-u|-P] -m MODULE …` or `[-u|-P] FILE …`."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    places = list(filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))
    options = [argument for argument in argv[:1] if argument in ("-u", "-P")]
    rest = argv[len(options) :]
    if rest[0] == "-m":
        sys.path[:0] = places if "-P" in options else [folder, *places]
        sys.argv = rest[1:]
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[:0] = [os.path.dirname(rest[0]), *places]  # noqa: PTH120 - pathlib is imported for nothing else
        sys.argv = rest
        runpy.run_path(rest[0], run_name="__main__")


if __name__ == "__main__":
    for package in PACKAGES:
        hasattr(importlib.import_module(package), "any")  # at the first look a package of pulumi_aws is loaded
    share_models()
    gc.freeze()  # a command's collections leave alone what all commands share
    wanted = serve(sys.argv[1])
    run(wanted["argv"], wanted["environment"], wanted["folder"])
