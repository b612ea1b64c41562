"""gRPC client of the provider: Pulumi's calls for one resource."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import struct_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from rehearsal.provider.values import Props, from_struct, to_struct

REPLACING = ("ADD_REPLACE", "DELETE_REPLACE", "UPDATE_REPLACE")
Kinds = provider_pb2.PropertyDiff


class CallError(Exception):
    """Error of a call; `incomplete` is what Pulumi records in spite of it."""

    def __init__(self, error: Any) -> None:
        super().__init__(error.details())
        self.incomplete: Any = None
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                self.incomplete = provider_pb2.ErrorResourceInitFailed()
                status_pb2.Status.FromString(value).details[0].Unpack(self.incomplete)


class CheckError(Exception):
    """Failures of Check, one a line."""


@dataclass
class Resource:
    """A resource in Pulumi's state, and its declared inputs."""

    type: str
    name: str
    declared: Props
    id: str = ""
    inputs: Props = field(default_factory=dict)
    outputs: Props = field(default_factory=dict)
    init_errors: list[str] = field(default_factory=list)

    @property
    def urn(self) -> str:
        return f"urn:pulumi:dev::shop::{self.type}::{self.name}"

    def __getitem__(self, output: str) -> Any:
        return self.outputs[output]


def full_type(short: str) -> str:
    """aws:sns:Topic is aws:sns/topic:Topic, as in Pulumi's YAML."""
    package, module, kind = short.split(":")
    return f"{package}:{module}/{kind[0].lower()}{kind[1:]}:{kind}"


class Client:
    """Each method makes the calls of one step, and records the responses in the resource."""

    def __init__(self, stub: provider_pb2_grpc.ResourceProviderStub) -> None:
        self.stub: Any = stub

    def call(self, method: str, request: Any) -> Any:
        try:
            return getattr(self.stub, method)(request, timeout=60)
        except grpc.RpcError as error:
            raise CallError(error) from None

    def configure(self, **settings: Any) -> None:
        self.call("Configure", provider_pb2.ConfigureRequest(args=to_struct(settings)))

    def check(self, resource: Resource, *, seed: bytes = b"", afresh: bool = False, **more: Any) -> Props:
        olds = {} if afresh else resource.inputs
        answer = self.call(
            "Check",
            provider_pb2.CheckRequest(
                urn=resource.urn,
                name=resource.name,
                olds=to_struct(olds) if olds else None,
                news=to_struct(resource.declared),
                randomSeed=seed,
                **more,
            ),
        )
        if answer.failures:
            raise CheckError("\n".join(f"{each.property} {each.reason}".strip() for each in answer.failures))
        return from_struct(answer.inputs)

    def declare(self, type: str, name: str, /, **inputs: Any) -> Resource:
        return Resource(type=full_type(type), name=name, declared=inputs)

    def create(self, type: str, name: str, /, *, timeout_s: float = 0, **inputs: Any) -> Resource:
        resource = self.declare(type, name, **inputs)
        self.apply(resource, timeout_s=timeout_s)
        return resource

    def apply(self, resource: Resource, *, timeout_s: float = 0) -> None:
        """Create the declared resource."""
        self._create(resource, self.check(resource), timeout_s)

    def _create(self, resource: Resource, inputs: Props, timeout_s: float = 0, *, preview: bool = False) -> None:
        request = provider_pb2.CreateRequest(
            urn=resource.urn, properties=to_struct(inputs), timeout=timeout_s, preview=preview
        )
        try:
            answer = self.call("Create", request)
        except CallError as error:
            if error.incomplete:
                resource.id, resource.inputs = error.incomplete.id, inputs
                resource.outputs = from_struct(error.incomplete.properties)
                resource.init_errors = list(error.incomplete.reasons)
            raise
        resource.id, resource.inputs, resource.outputs = answer.id, inputs, from_struct(answer.properties)
        resource.init_errors = []

    def preview(self, type: str, name: str, /, **inputs: Any) -> Props:
        """Outputs of a creation as a preview knows them."""
        resource = self.declare(type, name, **inputs)
        self._create(resource, self.check(resource), preview=True)
        return resource.outputs

    def diff(self, resource: Resource, /, **changes: Any) -> dict[str, str]:
        """Kinds of the differences between what is declared and what is recorded, by property path."""
        resource.declared |= changes
        return _kinds(self._diff(resource, self.check(resource)))

    def _diff(self, resource: Resource, news: Props) -> Any:
        request = provider_pb2.DiffRequest(id=resource.id, urn=resource.urn, **_olds(resource), news=to_struct(news))
        return self.call("Diff", request)

    def update(self, resource: Resource, /, **changes: Any) -> dict[str, str]:
        """Update the resource to its declaration, in place or by a replacement. Returns the differences."""
        resource.declared |= changes
        news = self.check(resource)
        difference = self._diff(resource, news)
        if difference.replaces:
            self._replace(resource, first=difference.deleteBeforeReplace)
        elif difference.changes == provider_pb2.DiffResponse.DIFF_SOME or resource.init_errors:
            self._update(resource, news)
        return _kinds(difference)

    def _update(self, resource: Resource, news: Props, *, preview: bool = False) -> None:
        request = provider_pb2.UpdateRequest(
            id=resource.id, urn=resource.urn, **_olds(resource), news=to_struct(news), preview=preview
        )
        try:
            answer = self.call("Update", request)
        except CallError as error:
            if error.incomplete:
                resource.outputs = from_struct(error.incomplete.properties)  # Pulumi keeps the old inputs
                resource.init_errors = list(error.incomplete.reasons)
            raise
        resource.inputs, resource.outputs, resource.init_errors = news, from_struct(answer.properties), []

    def preview_update(self, resource: Resource, /, **changes: Any) -> Props:
        """Outputs of an update as a preview knows them; the resource is not changed."""
        copy = Resource(**vars(resource) | {"declared": resource.declared | changes})
        self._update(copy, self.check(copy), preview=True)
        return copy.outputs

    def _replace(self, resource: Resource, *, first: bool) -> None:
        old = Resource(**vars(resource))
        if first:
            self.delete(old)
        self._create(resource, self.check(resource, afresh=True))
        if not first:
            self.delete(old)

    def delete(self, resource: Resource, *, timeout_s: float = 0) -> None:
        request = provider_pb2.DeleteRequest(
            id=resource.id,
            urn=resource.urn,
            properties=to_struct(resource.outputs),
            old_inputs=to_struct(resource.inputs),
            timeout=timeout_s,
        )
        self.call("Delete", request)

    def refresh(self, resource: Resource) -> dict[str, str] | None:
        """Record the actual state; returns what the next update would change, None for a missing resource."""
        answer = self._read(resource)
        if not answer.id:
            return None
        resource.inputs, resource.outputs = from_struct(answer.inputs), from_struct(answer.properties)
        resource.init_errors = []
        return self.diff(resource)

    def _read(self, resource: Resource) -> Any:
        request = provider_pb2.ReadRequest(
            id=resource.id,
            urn=resource.urn,
            properties=to_struct(resource.outputs),
            inputs=to_struct(resource.inputs),
        )
        return self.call("Read", request)

    def import_(self, type: str, name: str, id: str) -> Resource | None:
        resource = Resource(type=full_type(type), name=name, declared={}, id=id)
        answer = self._read(resource)
        if not answer.id:
            return None
        resource.inputs, resource.outputs = from_struct(answer.inputs), from_struct(answer.properties)
        return resource

    def invoke(self, function: str, **arguments: Any) -> Props:
        answer = self.call("Invoke", provider_pb2.InvokeRequest(tok=function, args=to_struct(arguments)))
        return from_struct(getattr(answer, "return"))


def _olds(resource: Resource) -> dict[str, struct_pb2.Struct]:
    return {"olds": to_struct(resource.outputs), "old_inputs": to_struct(resource.inputs)}


def _kinds(difference: Any) -> dict[str, str]:
    return {
        path: Kinds.Kind.Name(each.kind).lower().replace("_", "-") for path, each in difference.detailedDiff.items()
    }
