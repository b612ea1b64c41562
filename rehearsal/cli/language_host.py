#!/usr/bin/env python3
"""Python language host for the Pulumi CLI: runs programs and policy packs, for a CLI that was built without one.

The launcher `pulumi-language-python` starts it: `python3 language_host.py LAUNCHER ENGINE_ADDRESS`. Programs run with
the Python that runs this file, which is $PULUMI_PYTHON_CMD or the first python3 on the PATH; `virtualenv` in
Pulumi.yaml is ignored. It exits when its standard input closes, also when the CLI is killed. A program or policy pack
ends with the language host in the same way (supervised.py): signals to the host's process group don't reach it.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
    from rehearsal.cli.protocol import import_messages_only

    import_messages_only()

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

SUPERVISOR, FORK_CLIENT = (str(Path(__file__).with_name(name)) for name in ("supervised.py", "fork_client.py"))
ERROR_WAS_SHOWN = 32  # exit code of a program whose error the CLI has printed already
CHUNK_BYTES = 1 << 16
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """The calls that the CLI needs to run Python; others return `unimplemented`, which it accepts."""

    def __init__(self, entry_point: Path, engine: str) -> None:
        self._entry_point = entry_point
        self._engine = engine

    def GetPluginInfo(self, request: Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:  # noqa: N802
        return plugin_pb2.PluginInfo()

    def GetRequiredPackages(  # noqa: N802
        self, request: language_pb2.GetRequiredPackagesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPackagesResponse:
        """None: the CLI loads a provider when the program's first resource needs it."""
        return language_pb2.GetRequiredPackagesResponse()

    def Run(  # noqa: N802
        self, request: language_pb2.RunRequest, context: grpc.ServicerContext
    ) -> language_pb2.RunResponse:
        config = {
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        with _supervised(self._program(request), env=os.environ | config) as process:
            _end_with_call(context, process)
            code = process.wait()
        if code in (0, ERROR_WAS_SHOWN):
            return language_pb2.RunResponse(bail=code == ERROR_WAS_SHOWN)
        return language_pb2.RunResponse(error=f"Program exited with non-zero exit code: {code}")

    def RunPlugin(  # noqa: N802
        self, request: language_pb2.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        """Run a policy pack (`analyzer`) or any other plugin in Python until the CLI ends the call."""
        folder, arguments = request.info.program_directory, list(request.args)
        if request.kind == "analyzer":
            argv = ["-m", "pulumi.policy", *arguments[:1], folder, *arguments[1:]]
        else:
            argv = [folder, *arguments]
        environment = dict(pair.split("=", 1) for pair in request.env) or None
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with _supervised(argv, cwd=request.pwd, env=environment, **pipes) as process:
            _end_with_call(context, process)
            yield from _output(process)
            yield language_pb2.RunPluginResponse(exitcode=process.wait())

    def _program(self, request: language_pb2.RunRequest) -> list[str]:
        info = request.info
        flags = {
            "monitor": request.monitor_address,
            "engine": self._engine,
            "project": request.project,
            "root_directory": info.root_directory,
            "stack": request.stack,
            "pwd": request.pwd,
            "organization": request.organization,
            "dry_run": "true" if request.dryRun else "false",
            "parallel": str(request.parallel),
        }
        named = [part for name, value in flags.items() if value for part in (f"--{name}", value)]
        return [str(self._entry_point), *named, str(Path(info.program_directory, info.entry_point)), *request.args]


def _supervised(argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
    bare = (sys.executable, "-I", "-S")
    command = [*bare, SUPERVISOR, *bare, FORK_CLIENT, "-u", *argv]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, **options)


def _end_with_call(context: grpc.ServicerContext, process: subprocess.Popen[bytes]) -> None:
    assert process.stdin  # noqa: S101 - always a pipe
    if not context.add_callback(process.stdin.close):
        process.stdin.close()  # the call was cancelled meanwhile


def _output(process: subprocess.Popen[bytes]) -> Iterator[language_pb2.RunPluginResponse]:
    with selectors.DefaultSelector() as streams:
        for stream in (process.stdout, process.stderr):
            assert stream  # noqa: S101 - both are pipes
            streams.register(stream, selectors.EVENT_READ)
        while streams.get_map():
            for key, _ in streams.select():
                chunk = os.read(key.fd, CHUNK_BYTES)
                if not chunk:
                    streams.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    yield language_pb2.RunPluginResponse(stdout=chunk)
                else:
                    yield language_pb2.RunPluginResponse(stderr=chunk)


def main(launcher: str, *arguments: str) -> None:
    engine = next((argument for argument in arguments if not argument.startswith("-")), "")
    for number in (signal.SIGINT, signal.SIGTERM):  # the CLI interrupts its plugins when it is done with them
        signal.signal(number, lambda *_: os._exit(0))
    server = grpc.server(ThreadPoolExecutor(16), options=UNLIMITED)
    host = LanguageHost(Path(f"{launcher}-exec"), engine)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)  # noqa: T201
    while os.read(0, CHUNK_BYTES):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
