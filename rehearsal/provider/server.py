"""gRPC server of a provider plugin, on loopback."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from .service import ProviderService

LOOPBACK = "127.0.0.1"
MAX_CALLS = 64  # at once: some wait minutes for instances, and must not block the others
UNLIMITED = -1
OPTIONS = (
    ("grpc.max_send_message_length", UNLIMITED),
    ("grpc.max_receive_message_length", UNLIMITED),
    ("grpc.so_reuseport", 0),  # else a second plugin would silently share the port
)


class PortTakenError(Exception):
    """The requested port is in use."""


def start(provider: ProviderService, port: int = 0) -> tuple[grpc.Server, int]:
    """Serve on loopback; port 0 selects a free one. Returns the server and its port; raises PortTakenError."""
    server = grpc.server(ThreadPoolExecutor(MAX_CALLS, thread_name_prefix="call"), options=OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    try:
        bound = server.add_insecure_port(f"{LOOPBACK}:{port}")
    except RuntimeError as error:
        raise PortTakenError(f"port {port} of {LOOPBACK} is taken: leave out --port, or name a free port") from error
    server.start()
    return server, bound
