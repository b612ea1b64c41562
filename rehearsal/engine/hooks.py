"""The program's resource hooks, called back over gRPC as the real engine does."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import grpc
from pulumi.runtime.proto import callback_pb2, callback_pb2_grpc, resource_pb2

from .values import Props, to_struct


class Moment(StrEnum):
    """When a hook runs."""

    BEFORE_CREATE = "before_create"
    AFTER_CREATE = "after_create"
    BEFORE_UPDATE = "before_update"
    AFTER_UPDATE = "after_update"
    BEFORE_DELETE = "before_delete"
    AFTER_DELETE = "after_delete"

    @property
    def edge(self) -> str:
        return self.value.partition("_")[0]


class HookFailedError(Exception):
    """A hook refused; its message is meant for the user."""


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """What a hook is told about its resource."""

    urn: str
    id: str
    name: str
    type: str
    new_inputs: Props | None = None
    old_inputs: Props | None = None
    new_outputs: Props | None = None
    old_outputs: Props | None = None

    def request(self) -> resource_pb2.ResourceHookRequest:
        values = {
            key: to_struct(props)
            for key in ("new_inputs", "old_inputs", "new_outputs", "old_outputs")
            if (props := getattr(self, key)) is not None
        }
        return resource_pb2.ResourceHookRequest(
            urn=self.urn,
            id=self.id,
            name=self.name,
            type=self.type,
            new_inputs=values.get("new_inputs"),
            old_inputs=values.get("old_inputs"),
            new_outputs=values.get("new_outputs"),
            old_outputs=values.get("old_outputs"),
        )


class Hooks:
    """Hooks by name, as the program registered them."""

    def __init__(self, *, dry_run: bool) -> None:
        self._dry_run = dry_run
        self._hooks: dict[str, resource_pb2.RegisterResourceHookRequest] = {}
        self._channels: dict[str, grpc.Channel] = {}
        self._lock = threading.Lock()
        self.warnings: list[str] = []

    def register(self, hook: resource_pb2.RegisterResourceHookRequest) -> None:
        if hook.name in self._hooks:
            raise ValueError(f"resource hook already registered for name {hook.name!r}")
        self._hooks[hook.name] = hook

    def run(self, moment: Moment, names: Iterable[str], occasion: Occasion) -> None:
        for name in names:
            hook = self._hooks.get(name)
            if hook is None:
                self.warnings.append(f"hook {name!r} was not registered by this run and is skipped")
            elif hook.on_dry_run or not self._dry_run:
                self._call(moment, hook, occasion)

    def _call(self, moment: Moment, hook: resource_pb2.RegisterResourceHookRequest, occasion: Occasion) -> None:
        stub = callback_pb2_grpc.CallbacksStub(self._channel(hook.callback.target))
        request = callback_pb2.CallbackInvokeRequest(
            token=hook.callback.token, request=occasion.request().SerializeToString()
        )
        try:
            answer = resource_pb2.ResourceHookResponse.FromString(stub.Invoke(request).response)
        except grpc.RpcError as error:
            answer = resource_pb2.ResourceHookResponse(error=str(error.details()))
        if not answer.error:
            return
        message = f'{moment.edge} hook "{hook.name}" failed: {answer.error}'
        if not hook.ignore_errors:
            raise HookFailedError(message)
        self.warnings.append(message)

    def _channel(self, target: str) -> grpc.Channel:
        with self._lock:
            if target not in self._channels:
                options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
                self._channels[target] = grpc.insecure_channel(target, options=options)
            return self._channels[target]

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
