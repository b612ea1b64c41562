"""Fork server for Python commands, with the SDKs imported: `python -I -u fork_server.py SOCKET`; see fork_client.py.

Imports take most of a run's CPU time, and change with the installed packages only. Nothing of this project is imported
here: a command imports its own copy. It is single-threaded: a process with several threads can't be forked safely.
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
# AWS services that the provider and the programs' hooks call.
SERVICES = (
    *("autoscaling", "cloudwatch", "ec2", "ecr", "elbv2", "events", "iam", "kms", "logs", "route53", "s3", "sns"),
    *("ssm", "sts"),
)
PACKAGES = (
    "pulumi",
    *(f"pulumi_aws.{name}" for name in AWS),
    "pulumi_docker",
    "boto3",
    "yaml",
    "requests",
    "pydantic.main",
)


def serve(path: str) -> dict[str, Any]:
    """Return a client's request in each process that is to run its command; the server itself never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # only its supervisor waits for a command
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        while True:
            connection, _ = listener.accept()
            with connection:
                if os.fork():
                    continue
                listener.close()
                return _supervise(connection)


def _supervise(connection: socket.socket) -> dict[str, Any]:
    """Fork the command in a new session; kill it when its client ends, or send the client its exit code."""
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
    os.killpg(pid, signal.SIGKILL)  # before waitpid: the pid can't be reused yet
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):  # the client ended first
        connection.sendall(bytes([code if code >= 0 else 128 - code]))  # ended by a signal: as in shells
    os._exit(0)


def share_models() -> None:
    """Cache service models: each of botocore's sessions would parse them again."""
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
    """Run `[-u|-P] -m MODULE …` or `[-u|-P] FILE …` as Python itself would."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    paths = list(filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))
    options = [argument for argument in argv[:1] if argument in ("-u", "-P")]
    rest = argv[len(options) :]
    if rest[0] == "-m":
        sys.path[:0] = paths if "-P" in options else [folder, *paths]
        sys.argv = rest[1:]
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[:0] = [os.path.dirname(rest[0]), *paths]  # noqa: PTH120 - pathlib is imported for nothing else
        sys.argv = rest
        runpy.run_path(rest[0], run_name="__main__")


if __name__ == "__main__":
    for package in PACKAGES:
        hasattr(importlib.import_module(package), "any")  # the first access loads a package of pulumi_aws
    share_models()
    gc.freeze()  # garbage collections in commands skip the shared objects
    request = serve(sys.argv[1])
    run(request["argv"], request["environment"], request["folder"])
