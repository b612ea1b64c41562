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
from .cloud import Cloud
from .drift import settled
from .handlers import UnknownTypeError, handler_for
from .handlers.base import Handler, Naming, is_busy, is_gone
from .invokes import invoke
from .operation import CancelledError, Operation, performing
from .values import UNKNOWN, Props, Secret, Unknown, from_struct, has_unknown, plain, to_struct

DEFAULTED = "__defaults"  # the inputs that the provider filled in, noted among the inputs as Pulumi's bridge does
# The inputs that AWS has after a failure half way, noted among the outputs: as inputs Pulumi records the desired ones
# of a creation, the old ones of an update.
ACTUAL = "__actual"
BUSY_TIMEOUT_S, BUSY_PAUSE_S = 120.0, 0.3
AWS_TAGS = "aws:"  # prefix of tags that belong to AWS itself
CONFIG_REPLACES = "region"

_Diff = provider_pb2.DiffResponse
_Kind = provider_pb2.PropertyDiff
# Errors whose text is a sentence already.
_SENTENCES = (ValueError, TimeoutError, CancelledError, UnknownTypeError)


def _reported(method: Callable[..., Any]) -> Callable[..., Any]:
    """Turn an exception into the one message that Pulumi shows beside the resource."""

    @functools.wraps(method)
    def call(self: Any, request: Any, context: Any) -> Any:
        try:
            return method(self, request, context)
        except _AbortedError:
            raise
        except Exception as error:
            context.abort(grpc.StatusCode.UNKNOWN, _sentence(error))

    return call


class _AbortedError(Exception):
    """The call has been answered with an error."""


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One plugin process; calls come from many threads at once."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._cloud = Cloud({})
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
        """End all waiting; a call to AWS that is under way comes to its end."""
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
        # Calls that are under way end with the settings that they began with, and cancelled if they were.
        self._cloud, self._cancelled = Cloud(known), threading.Event()
        # Inputs come without their secret marks, and Pulumi marks the outputs of the same names again.
        return provider_pb2.ConfigureResponse(
            acceptSecrets=False, supportsPreview=True, supports_autonaming_configuration=True
        )

    @_reported
    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        handler, olds = _handler(request.urn), from_struct(request.olds)
        news = {key: value for key, value in from_struct(request.news).items() if key != DEFAULTED}
        if problems := shapes.problems(handler.pulumi_type, news):
            # Without `property`: Pulumi would show its value, which can be a secret, or none where the path is nested.
            failures = [provider_pb2.CheckFailure(reason=f"{each.path}: {each.reason}") for each in problems]
            return provider_pb2.CheckResponse(failures=failures)
        news = shapes.typed(handler.pulumi_type, news)
        inputs = {**handler.defaults, **news}
        if handler.tagged:
            inputs["tags"] = self._tags(news.get("tags"))
        try:
            inputs = _named(handler, request, inputs, olds)
            if not has_unknown(inputs):
                handler.check(inputs)
        except ValueError as error:
            return provider_pb2.CheckResponse(failures=[provider_pb2.CheckFailure(reason=str(error))])
        inputs[DEFAULTED] = sorted(key for key in inputs if key not in news)
        return provider_pb2.CheckResponse(inputs=to_struct(inputs))

    def _tags(self, tags: Any) -> Any:
        """The provider's default tags and the resource's own, as pulumi-aws merges them."""
        return UNKNOWN if isinstance(tags, Unknown) else self._cloud.default_tags | (tags or {})

    @_reported
    def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        handler = _handler(request.urn)
        news, olds = from_struct(request.news), _actual(from_struct(request.olds), from_struct(request.old_inputs))
        paths = difference.changes(olds, _own(news))
        replacing = difference.touched(paths, handler.force_new)
        return _Diff(
            changes=_Diff.DIFF_SOME if paths else _Diff.DIFF_NONE,
            diffs=sorted({str(path[0]) for path in paths}),
            replaces=sorted({str(path[0]) for path in replacing}),
            deleteBeforeReplace=bool(replacing) and (handler.delete_first or _keeps_name(handler, olds, news)),
            detailedDiff={
                difference.show(path): _Kind(kind=_kind(path, olds, news, path in replacing), inputDiff=True)
                for path in paths
            },
            hasDetailedDiff=True,
        )

    @_reported
    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        handler, cloud, inputs = _handler(request.urn), self._cloud, from_struct(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=_outputs(handler, inputs))
        new = _own(inputs)
        with self._operation(request):
            created = handler.create(cloud, new)
            try:
                handler.complete(cloud, created.id, new)
                read = handler.read(cloud, created.id, new) or {}
            except Exception as error:
                actual = _found_actual(handler, cloud, created.id, new, new)
                outputs = _outputs(handler, inputs | created.outputs | (actual or {}) | _note(actual, new))
                _fail_incomplete(context, created.id, outputs, request.properties, error)
        return provider_pb2.CreateResponse(id=created.id, properties=_outputs(handler, inputs | created.outputs | read))

    @_reported
    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        handler, cloud = _handler(request.urn), self._cloud
        olds, recorded, inputs = (from_struct(each) for each in (request.olds, request.old_inputs, request.news))
        kept = {key: value for key, value in olds.items() if key not in recorded and key != ACTUAL}
        if request.preview:
            outputs = kept | inputs | dict.fromkeys(handler.moving, UNKNOWN)
            return provider_pb2.UpdateResponse(properties=_outputs(handler, outputs))
        was, new = _actual(olds, recorded), _own(inputs)
        try:
            with self._operation(request):
                handler.update(cloud, request.id, _own(kept | was), new)
        except Exception as error:
            actual = _found_actual(handler, cloud, request.id, was, new)
            if actual not in (None, was):
                outputs = kept | (actual or {}) | _note(actual, was)
                _fail_incomplete(context, request.id, _outputs(handler, outputs), request.news, error)
            raise
        outputs = kept | inputs | (handler.read(cloud, request.id, new) or {})
        return provider_pb2.UpdateResponse(properties=_outputs(handler, outputs))

    @_reported
    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        handler, cloud = _handler(request.urn), self._cloud
        state = _own(from_struct(request.old_inputs) | from_struct(request.properties))
        with self._operation(request) as operation:
            end = time.monotonic() + (operation.timeout_s or BUSY_TIMEOUT_S)
            while not _is_deleted(handler, cloud, request.id, state, end):
                if operation.cancelled.wait(BUSY_PAUSE_S):
                    raise CancelledError(f"cancelled while {request.id} was still in use")
        return empty_pb2.Empty()

    @_reported
    def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        handler = _handler(request.urn)
        state, inputs = from_struct(request.properties), from_struct(request.inputs)
        try:
            found = _found(handler, self._cloud, request.id, _own(inputs))
        except KeyError as error:
            raise ValueError(f"{handler.pulumi_type} can't be imported by its id alone: {error} is needed") from error
        if found is None:
            return provider_pb2.ReadResponse()
        read, current = found
        if known := _own(inputs):
            fresh = _refreshed(known, read | current)
            fresh[DEFAULTED] = [key for key in inputs.get(DEFAULTED) or () if key in fresh]
        else:
            fresh = _imported(handler, current)
        outputs = {key: value for key, value in (state | read).items() if key not in inputs and key != ACTUAL}
        return provider_pb2.ReadResponse(
            id=request.id, properties=_outputs(handler, outputs | fresh), inputs=to_struct(fresh)
        )

    @_reported
    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        args = from_struct(request.args)
        if has_unknown(args):
            return provider_pb2.InvokeResponse()
        return provider_pb2.InvokeResponse(**{"return": to_struct(invoke(request.tok, self._cloud, args))})

    @contextmanager
    def _operation(self, request: Any) -> Iterator[Operation]:
        operation = Operation(timeout_s=request.timeout, cancelled=self._cancelled)
        with performing(operation):
            yield operation


def _handler(urn: str) -> Handler:
    return handler_for(urn.split("::")[2].rpartition("$")[2])


def _own(props: Props) -> Props:
    """Without the provider's notes, and without secret marks."""
    return {key: plain(value) for key, value in props.items() if key != DEFAULTED}


def _named(handler: Handler, request: Any, inputs: Props, olds: Props) -> Props:
    """Auto-naming, as the stack's `pulumi:autonaming` config wants it."""
    naming, options = handler.naming, request.autonaming
    if naming is None:
        return inputs
    modes = provider_pb2.CheckRequest.AutonamingOptions.Mode
    kept = olds if naming.key in (olds.get(DEFAULTED) or ()) else None
    is_chosen = inputs.get(naming.key) is not None or inputs.get(naming.prefix_key) is not None
    if request.HasField("autonaming") and kept is None and not is_chosen:
        if options.mode == modes.Value("DISABLE"):
            raise ValueError(f"{naming.key}: automatic naming is disabled by pulumi:autonaming: give a name")
        return inputs | {naming.key: _proposed(naming, options, is_fixed=options.mode == modes.Value("ENFORCE"))}
    logical = request.name or request.urn.rpartition("::")[2]
    return naming.complete(inputs, proposed=logical, old=kept, seed=request.randomSeed)


def _is_deleted(handler: Handler, cloud: Cloud, id: str, state: Props, end: float) -> bool:
    """False while what depends on the resource is still on its way out."""
    try:
        handler.delete(cloud, id, state)
    except Exception as error:
        if is_gone(error):
            return True
        if not is_busy(error) or time.monotonic() > end:
            raise
        return False
    return True


def _found(handler: Handler, cloud: Cloud, id: str, known: Props) -> tuple[Props, Props] | None:
    """Outputs and current inputs of a resource; None when it is gone. Without known inputs it is an import."""
    try:
        read = handler.read(cloud, id, known)
        current = None if read is None else handler.current(cloud, id, known)
    except Exception as error:
        if not is_gone(error):
            raise
        return None
    if read is None or current is None:
        return None
    if handler.tagged and current.get("tags"):
        current["tags"] = {key: tag for key, tag in current["tags"].items() if not key.startswith(AWS_TAGS)}
    return read, current


def _found_actual(handler: Handler, cloud: Cloud, id: str, was: Props, desired: Props) -> Props | None:
    """The inputs that AWS has after a failure between `was` and `desired`; None where it answers nothing."""
    try:
        found = _found(handler, cloud, id, desired)
    except Exception:  # the failure itself is what to report
        return None
    if found is None:
        return None
    actual, told = dict(was), found[0] | found[1]
    for key in [key for key in was | desired if key in told]:
        actual[key] = settled(desired.get(key, was.get(key)), told[key], key)
    return {key: value for key, value in actual.items() if value is not None}


def _note(actual: Props | None, recorded: Props) -> Props:
    """As a secret: some inputs are, and Pulumi marks only outputs that bear an input's name."""
    return {} if actual in (None, recorded) else {ACTUAL: Secret(actual)}


def _actual(outputs: Props, inputs: Props) -> Props:
    """The recorded inputs, or those that AWS was found to have instead."""
    return _own(plain(outputs.get(ACTUAL, inputs)))


def _proposed(naming: Naming, options: Any, *, is_fixed: bool) -> str:
    name = str(options.proposed_name)
    if naming.lower and not is_fixed:
        name = name.lower()
    if len(name) > naming.limit:
        raise ValueError(f"{naming.key}: {name}, as pulumi:autonaming proposes: allowed are {naming.limit} characters")
    return name


def _keeps_name(handler: Handler, olds: Props, news: Props) -> bool:
    """Whether old and new one can't stand side by side, as the program fixed their name."""
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


def _refreshed(known: Props, found: Props) -> Props:
    """Each input as AWS has it now, in the shape that the program gave it."""
    values = {key: settled(value, found[key], key) if key in found else value for key, value in known.items()}
    return {key: value for key, value in values.items() if value is not None}


def _imported(handler: Handler, current: Props) -> Props:
    """All inputs that AWS tells of a resource that no program has described yet.

    Of those that the provider fills in, the resource keeps what it has.
    """
    filled = {"tags"} if handler.tagged else set()
    filled |= {handler.naming.key} if handler.naming else set()
    names = shapes.properties(handler.pulumi_type)
    inputs = {key: value for key, value in current.items() if key in names and value not in (None, "", [], {})}
    inputs |= {key: current[key] for key in sorted(filled) if current.get(key) is not None}
    return inputs | {DEFAULTED: [key for key in sorted(filled) if key in inputs]}


def _sentence(error: Exception) -> str:
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

    if isinstance(error, (ConnectionError, HTTPClientError)) and "endpoint_url" in error.kwargs:
        return f"AWS does not answer at {error.kwargs['endpoint_url']}: is the emulator still running?"
    known = (*_SENTENCES, ClientError, BotoCoreError)
    return str(error) if isinstance(error, known) else f"{type(error).__name__}: {error}"


def _fail_incomplete(
    context: Any, id: str, outputs: struct_pb2.Struct, inputs: struct_pb2.Struct, error: Exception
) -> NoReturn:
    """Fail, and have Pulumi record what exists all the same."""
    text = _sentence(error)
    detail = provider_pb2.ErrorResourceInitFailed(id=id, properties=outputs, reasons=[text], inputs=inputs)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=text)
    status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    try:
        context.abort(grpc.StatusCode.UNKNOWN, text)
    except Exception as ended:  # how gRPC leaves a call
        raise _AbortedError from ended
    raise _AbortedError
