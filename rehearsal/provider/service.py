"""Pulumi's provider protocol over the handlers: Check, Diff, Create, Read, Update, Delete, Invoke, Cancel.

The messages are described in Pulumi's `proto/pulumi/provider.proto`.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from . import difference, shapes
from .aws_clients import AwsClients
from .drift import normalize
from .handlers import UnknownTypeError, handler_for
from .handlers.base import Handler, Naming, is_busy, is_not_found
from .invokes import invoke
from .operation import CancelledError, Operation, performing
from .values import UNKNOWN, Props, Secret, UnknownValue, from_struct, has_unknown, plain, to_struct

DEFAULTED = "__defaults"  # input that lists those with the provider's default, as in Pulumi's bridge
# Output with the actual inputs after a partial failure: as inputs Pulumi records the desired ones of a creation, the
# old ones of an update.
ACTUAL = "__actual"
BUSY_TIMEOUT_S, BUSY_PAUSE_S = 120.0, 0.3
AWS_TAGS = "aws:"  # prefix of tags by AWS itself
CONFIG_REPLACES = "region"

_Diff = provider_pb2.DiffResponse
_Kind = provider_pb2.PropertyDiff
# Errors whose text is readable without the exception's type.
_READABLE_ERRORS = (ValueError, TimeoutError, CancelledError, UnknownTypeError)


def _reported(method: Callable[..., Any]) -> Callable[..., Any]:
    """Convert an exception into the message that Pulumi shows with the resource."""

    @functools.wraps(method)
    def call(self: Any, request: Any, context: Any) -> Any:
        try:
            return method(self, request, context)
        except _AbortedError:
            raise
        except Exception as error:
            context.abort(grpc.StatusCode.UNKNOWN, _message(error))

    return call


class _AbortedError(Exception):
    """The call has been aborted with an error."""


class ProviderService(provider_pb2_grpc.ResourceProviderServicer):
    """One plugin process; calls come from many threads at once."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._aws = AwsClients({})
        self._cancelled = threading.Event()

    def Handshake(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's names
        return provider_pb2.ProviderHandshakeResponse(supports_autonaming_configuration=True)

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return plugin_pb2.PluginInfo(version=self._version)

    def GetSchema(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.GetSchemaResponse(schema="{}")

    def Attach(self, request: Any, context: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: N802
        """End all waits; a call to AWS in progress is finished."""
        self._cancelled.set()
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.CheckResponse(inputs=request.news)

    @_reported
    def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        olds, news = from_struct(request.olds), from_struct(request.news)
        changed = sorted(key for key in olds | news if olds.get(key) != news.get(key))
        return _Diff(
            changes=_Diff.DIFF_SOME if changed else _Diff.DIFF_NONE,
            diffs=changed,
            replaces=[key for key in changed if key == CONFIG_REPLACES],
        )

    @_reported
    def Configure(self, request: Any, context: Any) -> Any:  # noqa: N802
        known = {key: value for key, value in from_struct(request.args).items() if value is not UNKNOWN}
        # Calls in progress keep the settings and the cancellation that they started with.
        self._aws, self._cancelled = AwsClients(known), threading.Event()
        # Pulumi sends inputs without their secret marks, and marks the outputs of the same names again.
        return provider_pb2.ConfigureResponse(
            acceptSecrets=False, supportsPreview=True, supports_autonaming_configuration=True
        )

    @_reported
    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        handler, olds = _handler(request.urn), from_struct(request.olds)
        news = {key: value for key, value in from_struct(request.news).items() if key != DEFAULTED}
        if problems := shapes.problems(handler.pulumi_type, news):
            # Without `property`: Pulumi would print its value, which can be a secret, or none where the path is nested.
            failures = [provider_pb2.CheckFailure(reason=f"{problem.path}: {problem.reason}") for problem in problems]
            return provider_pb2.CheckResponse(failures=failures)
        news = shapes.typed(handler.pulumi_type, news)
        inputs = {**handler.defaults, **news}
        if handler.tagged:
            inputs["tags"] = self._tags(news.get("tags"))
        try:
            inputs = _with_name(handler, request, inputs, olds)
            if not has_unknown(inputs):
                handler.check(inputs)
        except ValueError as error:
            return provider_pb2.CheckResponse(failures=[provider_pb2.CheckFailure(reason=str(error))])
        inputs[DEFAULTED] = sorted(key for key in inputs if key not in news)
        return provider_pb2.CheckResponse(inputs=to_struct(inputs))

    def _tags(self, tags: Any) -> Any:
        """The provider's default tags and the resource's own, as pulumi-aws merges them."""
        return UNKNOWN if isinstance(tags, UnknownValue) else self._aws.default_tags | (tags or {})

    @_reported
    def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        handler = _handler(request.urn)
        news, olds = (
            from_struct(request.news),
            _recorded_inputs(from_struct(request.olds), from_struct(request.old_inputs)),
        )
        paths = difference.changes(olds, _plain_inputs(news))
        replacing = difference.matching(paths, handler.force_new)
        return _Diff(
            changes=_Diff.DIFF_SOME if paths else _Diff.DIFF_NONE,
            diffs=sorted({str(path[0]) for path in paths}),
            replaces=sorted({str(path[0]) for path in replacing}),
            deleteBeforeReplace=bool(replacing)
            and (handler.delete_before_replace or _has_fixed_name(handler, olds, news)),
            detailedDiff={
                difference.format_path(path): _Kind(kind=_kind(path, olds, news, path in replacing), inputDiff=True)
                for path in paths
            },
            hasDetailedDiff=True,
        )

    @_reported
    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        handler, aws, inputs = _handler(request.urn), self._aws, from_struct(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=_outputs(handler, inputs))
        new = _plain_inputs(inputs)
        with self._operation(request):
            created = handler.create(aws, new)
            try:
                handler.complete(aws, created.id, new)
                read = handler.read(aws, created.id, new) or {}
            except Exception as error:
                actual = _read_actual(handler, aws, created.id, new, new)
                outputs = _outputs(handler, inputs | created.outputs | (actual or {}) | _actual_output(actual, new))
                _fail_incomplete(context, created.id, outputs, request.properties, error)
        return provider_pb2.CreateResponse(id=created.id, properties=_outputs(handler, inputs | created.outputs | read))

    @_reported
    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        handler, aws = _handler(request.urn), self._aws
        olds, recorded, inputs = (from_struct(struct) for struct in (request.olds, request.old_inputs, request.news))
        unmanaged = {key: value for key, value in olds.items() if key not in recorded and key != ACTUAL}
        if request.preview:
            outputs = unmanaged | inputs | dict.fromkeys(handler.volatile_outputs, UNKNOWN)
            return provider_pb2.UpdateResponse(properties=_outputs(handler, outputs))
        before, new = _recorded_inputs(olds, recorded), _plain_inputs(inputs)
        try:
            with self._operation(request):
                handler.update(aws, request.id, _plain_inputs(unmanaged | before), new)
        except Exception as error:
            actual = _read_actual(handler, aws, request.id, before, new)
            if actual not in (None, before):
                outputs = unmanaged | (actual or {}) | _actual_output(actual, before)
                _fail_incomplete(context, request.id, _outputs(handler, outputs), request.news, error)
            raise
        outputs = unmanaged | inputs | (handler.read(aws, request.id, new) or {})
        return provider_pb2.UpdateResponse(properties=_outputs(handler, outputs))

    @_reported
    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        handler, aws = _handler(request.urn), self._aws
        state = _plain_inputs(from_struct(request.old_inputs) | from_struct(request.properties))
        with self._operation(request) as operation:
            deadline = time.monotonic() + (operation.timeout_s or BUSY_TIMEOUT_S)
            while not _is_deleted(handler, aws, request.id, state, deadline):
                if operation.cancelled.wait(BUSY_PAUSE_S):
                    raise CancelledError(f"cancelled while {request.id} was still in use")
        return empty_pb2.Empty()

    @_reported
    def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        handler = _handler(request.urn)
        state, inputs = from_struct(request.properties), from_struct(request.inputs)
        try:
            resource = _read_resource(handler, self._aws, request.id, _plain_inputs(inputs))
        except KeyError as error:
            raise ValueError(f"{handler.pulumi_type} can't be imported by its id alone: {error} is needed") from error
        if resource is None:
            return provider_pb2.ReadResponse()
        read, current = resource
        if known := _plain_inputs(inputs):
            refreshed = _refreshed(known, read | current)
            refreshed[DEFAULTED] = [key for key in inputs.get(DEFAULTED) or () if key in refreshed]
        else:
            refreshed = _imported(handler, current)
        outputs = {key: value for key, value in (state | read).items() if key not in inputs and key != ACTUAL}
        return provider_pb2.ReadResponse(
            id=request.id, properties=_outputs(handler, outputs | refreshed), inputs=to_struct(refreshed)
        )

    @_reported
    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        args = from_struct(request.args)
        if has_unknown(args):
            return provider_pb2.InvokeResponse()
        return provider_pb2.InvokeResponse(**{"return": to_struct(invoke(request.tok, self._aws, args))})

    @contextmanager
    def _operation(self, request: Any) -> Iterator[Operation]:
        operation = Operation(timeout_s=request.timeout, cancelled=self._cancelled)
        with performing(operation):
            yield operation


def _handler(urn: str) -> Handler:
    return handler_for(urn.split("::")[2].rpartition("$")[2])


def _plain_inputs(props: Props) -> Props:
    """Inputs without the list of defaults and without secret marks."""
    return {key: plain(value) for key, value in props.items() if key != DEFAULTED}


def _with_name(handler: Handler, request: Any, inputs: Props, olds: Props) -> Props:
    """Inputs with an auto-name, by the stack's `pulumi:autonaming` config."""
    naming, options = handler.naming, request.autonaming
    if naming is None:
        return inputs
    modes = provider_pb2.CheckRequest.AutonamingOptions.Mode
    unmanaged = olds if naming.key in (olds.get(DEFAULTED) or ()) else None
    is_named = inputs.get(naming.key) is not None or inputs.get(naming.prefix_key) is not None
    if request.HasField("autonaming") and unmanaged is None and not is_named:
        if options.mode == modes.Value("DISABLE"):
            raise ValueError(f"{naming.key}: automatic naming is disabled by pulumi:autonaming: give a name")
        return inputs | {naming.key: _proposed_name(naming, options, is_fixed=options.mode == modes.Value("ENFORCE"))}
    logical = request.name or request.urn.rpartition("::")[2]
    return naming.complete(inputs, proposed=logical, old=unmanaged, seed=request.randomSeed)


def _is_deleted(handler: Handler, aws: AwsClients, id: str, state: Props, deadline: float) -> bool:
    """False while dependent resources still exist."""
    try:
        handler.delete(aws, id, state)
    except Exception as error:
        if is_not_found(error):
            return True
        if not is_busy(error) or time.monotonic() > deadline:
            raise
        return False
    return True


def _read_resource(handler: Handler, aws: AwsClients, id: str, known: Props) -> tuple[Props, Props] | None:
    """Outputs and current inputs of a resource; None when it doesn't exist. An import has no known inputs."""
    try:
        read = handler.read(aws, id, known)
        current = None if read is None else handler.current(aws, id, known)
    except Exception as error:
        if not is_not_found(error):
            raise
        return None
    if read is None or current is None:
        return None
    if handler.tagged and current.get("tags"):
        current["tags"] = {key: tag for key, tag in current["tags"].items() if not key.startswith(AWS_TAGS)}
    return read, current


def _read_actual(handler: Handler, aws: AwsClients, id: str, before: Props, desired: Props) -> Props | None:
    """Actual inputs after a failed change from `before` to `desired`; None where they can't be read."""
    try:
        resource = _read_resource(handler, aws, id, desired)
    except Exception:  # the failed change is what to report
        return None
    if resource is None:
        return None
    actual, values = dict(before), resource[0] | resource[1]
    for key in [key for key in before | desired if key in values]:
        actual[key] = normalize(desired.get(key, before.get(key)), values[key], key)
    return {key: value for key, value in actual.items() if value is not None}


def _actual_output(actual: Props | None, recorded: Props) -> Props:
    """The ACTUAL output, where it differs; a secret, as inputs can be and Pulumi marks only outputs of their names."""
    return {} if actual in (None, recorded) else {ACTUAL: Secret(actual)}


def _recorded_inputs(outputs: Props, inputs: Props) -> Props:
    """The inputs that AWS has: the ACTUAL output of a failed change, else the recorded inputs."""
    return _plain_inputs(plain(outputs.get(ACTUAL, inputs)))


def _proposed_name(naming: Naming, options: Any, *, is_fixed: bool) -> str:
    name = str(options.proposed_name)
    if naming.lower and not is_fixed:
        name = name.lower()
    if len(name) > naming.max_length:
        raise ValueError(
            f"{naming.key}: {name}, as pulumi:autonaming proposes: allowed are {naming.max_length} characters"
        )
    return name


def _has_fixed_name(handler: Handler, olds: Props, news: Props) -> bool:
    """Whether old and new resource can't exist at once, as the program declares the same name for both."""
    naming = handler.naming
    if naming is None or naming.key in (news.get(DEFAULTED) or ()):
        return False
    return bool(olds.get(naming.key) == news.get(naming.key))


def _kind(path: difference.Path, olds: Props, news: Props, replaces: bool) -> Any:
    kind = _Kind.UPDATE if difference.has(news, path) else _Kind.DELETE
    if not difference.has(olds, path):
        kind = _Kind.ADD
    return kind + 1 if replaces else kind  # each kind is followed by its *_REPLACE


def _outputs(handler: Handler, outputs: Props) -> struct_pb2.Struct:
    known = {key: value for key, value in outputs.items() if key != DEFAULTED}
    if handler.tagged:
        known["tagsAll"] = known.get("tags") or {}
    return to_struct(
        {key: Secret(plain(value)) if key in handler.secret_outputs else value for key, value in known.items()}
    )


def _refreshed(known: Props, resource: Props) -> Props:
    """Actual values of the known inputs, normalized."""
    values = {key: normalize(value, resource[key], key) if key in resource else value for key, value in known.items()}
    return {key: value for key, value in values.items() if value is not None}


def _imported(handler: Handler, current: Props) -> Props:
    """All inputs that AWS returns for a resource that no program has declared yet.

    Name and tags are listed as defaults, so that an update keeps them.
    """
    filled = {"tags"} if handler.tagged else set()
    filled |= {handler.naming.key} if handler.naming else set()
    names = shapes.properties(handler.pulumi_type)
    inputs = {key: value for key, value in current.items() if key in names and value not in (None, "", [], {})}
    inputs |= {key: current[key] for key in sorted(filled) if current.get(key) is not None}
    return inputs | {DEFAULTED: [key for key in sorted(filled) if key in inputs]}


def _message(error: Exception) -> str:
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

    if isinstance(error, (ConnectionError, HTTPClientError)) and "endpoint_url" in error.kwargs:
        return f"AWS does not answer at {error.kwargs['endpoint_url']}: is the emulator still running?"
    known = (*_READABLE_ERRORS, ClientError, BotoCoreError)
    return str(error) if isinstance(error, known) else f"{type(error).__name__}: {error}"


def _fail_incomplete(
    context: Any, id: str, outputs: struct_pb2.Struct, inputs: struct_pb2.Struct, error: Exception
) -> NoReturn:
    """Fail, but let Pulumi record what exists."""
    text = _message(error)
    detail = provider_pb2.ErrorResourceInitFailed(id=id, properties=outputs, reasons=[text], inputs=inputs)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=text)
    status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    try:
        context.abort(grpc.StatusCode.UNKNOWN, text)
    except Exception as ended:  # gRPC's own exception
        raise _AbortedError from ended
    raise _AbortedError
