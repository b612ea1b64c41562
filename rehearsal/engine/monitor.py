"""The SDK's resource monitor that does what it is told: it feeds a deployment instead of mocking one."""

from __future__ import annotations

from typing import Any

from google.protobuf import empty_pb2
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.settings import get_project, get_stack

from .deployment import Deployment, StepFailedError, Wanted
from .hooks import Moment
from .invokes import invoke
from .state import STACK
from .values import from_struct, plain, to_struct


class NoMocks(Mocks):
    """The base class wants some; this engine's monitor never asks them."""

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise NotImplementedError

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        raise NotImplementedError


class EngineMonitor(MockMonitor):
    """Called from the SDK's threads, one call per resource, so independent resources are made at the same time."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(NoMocks())
        self._deployment = deployment

    def features(self) -> set[int]:
        return set(self.GetDeploymentInfo(empty_pb2.Empty()).supportedFeatures)  # type: ignore[no-untyped-call]

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        chain = parent.split("::")[2] if parent else ""
        qualified = f"{chain}${type_}" if chain and chain != STACK else type_
        return f"urn:pulumi:{get_stack()}::{get_project()}::{qualified}::{name}"

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        urn = self.make_urn(request.parent, request.type, request.name)
        if self._deployment.failed.is_set() and request.type != STACK:
            return resource_pb2.RegisterResourceResponse(urn=urn, result=resource_pb2.Result.FAIL)
        try:
            _refuse_unknown_options(request)
            done = self._deployment.register(_wanted(urn, request))
        except StepFailedError:
            return resource_pb2.RegisterResourceResponse(urn=urn, result=resource_pb2.Result.FAIL)
        return resource_pb2.RegisterResourceResponse(urn=urn, id=done.id, object=to_struct(done.outputs))

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        self._deployment.register_outputs(request.urn, from_struct(request.outputs))
        return empty_pb2.Empty()

    def ReadResource(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        raise ValueError(
            f"{request.type} ({request.name}): the embedded engine does not read resources that it did not make; "
            "use a data source (get_…) instead."
        )

    def Invoke(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        cloud = self._deployment.cloud(request.provider, request.tok)
        answer = to_struct(invoke(request.tok, cloud, dict(plain(from_struct(request.args)))))
        return resource_pb2.ResourceInvokeResponse(**{"return": answer})

    def RegisterResourceHook(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        self._deployment.hooks.register(request)
        return empty_pb2.Empty()

    def RegisterStackTransform(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        raise ValueError("The embedded engine does not run transforms.")

    def SignalAndWaitForShutdown(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        """The program has registered all it has; its hooks can still be called."""
        if not self._deployment.failed.is_set():
            self._deployment.remove_rest()
        return empty_pb2.Empty()


def _refuse_unknown_options(request: Any) -> None:
    """An option that is silently left out is worse than one that is refused."""
    asked = {
        "import_": request.importId,
        "replacement_trigger": request.HasField("replacement_trigger"),
        "replace_with": request.replace_with,
        "transforms": request.transforms,
    }
    used = [name for name, value in asked.items() if value]
    if used:
        raise ValueError(f"{request.type} ({request.name}): the embedded engine has no {', '.join(used)}.")


def _wanted(urn: str, request: Any) -> Wanted:
    return Wanted(
        urn=urn,
        type=request.type,
        name=request.name,
        custom=request.custom,
        inputs=from_struct(request.object),
        parent=request.parent,
        provider=request.provider,
        dependencies=tuple(sorted(request.dependencies)),
        property_dependencies={
            key: sorted(value.urns) for key, value in sorted(request.propertyDependencies.items()) if value.urns
        },
        deleted_with=request.deletedWith,
        protect=request.protect,
        retain=request.retainOnDelete,
        delete_before_replace=request.deleteBeforeReplace if request.deleteBeforeReplaceDefined else None,
        ignore_changes=tuple(request.ignoreChanges),
        replace_on_changes=tuple(request.replaceOnChanges),
        additional_secret_outputs=tuple(request.additionalSecretOutputs),
        hooks={moment: list(getattr(request.hooks, moment)) for moment in Moment},
    )
