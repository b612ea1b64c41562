"""One run's decisions and steps: each registered resource is made, changed, replaced or left alone; the rest goes."""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import difference
from .cloud import Cloud
from .display import Display
from .events import Change, Op
from .handlers import handler_for
from .handlers.base import Created, FailedCreationError, Handler, is_gone, is_taken
from .hooks import HookFailedError, Hooks, Moment, Occasion
from .removal import Removal
from .state import STACK, Resource, State
from .values import UNKNOWN, Props, Secret, Unknown, has_secret, has_unknown, plain

PROVIDER = "pulumi:providers:"


class StepFailedError(Exception):
    """A step failed and was reported; what depends on it can't go on."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A resource as the program registers it."""

    urn: str
    type: str
    name: str
    custom: bool
    inputs: Props
    parent: str = ""
    provider: str = ""
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, list[str]] = field(default_factory=dict)
    deleted_with: str = ""
    protect: bool = False
    retain: bool = False
    delete_before_replace: bool | None = None
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    additional_secret_outputs: tuple[str, ...] = ()
    hooks: Mapping[str, list[str]] = field(default_factory=dict)

    def resource(self, *, id: str = "", inputs: Props | None = None, outputs: Props | None = None) -> Resource:
        return Resource(
            urn=self.urn,
            type=self.type,
            name=self.name,
            custom=self.custom,
            id=id,
            parent=self.parent,
            provider=self.provider,
            inputs=self.inputs if inputs is None else inputs,
            outputs=outputs or {},
            dependencies=self.dependencies,
            property_dependencies=self.property_dependencies,
            deleted_with=self.deleted_with,
            protect=self.protect,
            retain=self.retain,
            hooks={moment: names for moment, names in self.hooks.items() if names},
            additional_secret_outputs=self.additional_secret_outputs,
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do about one resource, and why."""

    op: Op
    paths: tuple[difference.Path, ...] = ()
    why: str = ""
    delete_first: bool = False

    def change(self, step: Step, new: Resource | None = None) -> Change:
        """As events tell it: with the new resource as it is planned, or as it was made."""
        planned = new or step.wanted.resource(id=step.id, inputs=step.inputs, outputs={})
        return Change(op=self.op, old=step.old, new=planned, paths=self.paths)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A resource on its way: what the program wants, with complete inputs, and what stands now."""

    wanted: Wanted
    inputs: Props
    old: Resource | None
    handler: Handler
    cloud: Cloud

    @property
    def id(self) -> str:
        return self.old.id if self.old else ""

    def occasion(self, *, id: str = "", new_outputs: Props | None = None) -> Occasion:
        return Occasion(
            urn=self.wanted.urn,
            id=id or self.id,
            name=self.wanted.name,
            type=self.wanted.type,
            new_inputs=self.inputs,
            old_inputs=self.old.inputs if self.old else None,
            new_outputs=new_outputs,
            old_outputs=self.old.outputs if self.old else None,
        )


class Deployment:
    """Used by the monitor from many threads at once; one URN is only ever handled by one of them."""

    def __init__(
        self, *, state: State, display: Display, hooks: Hooks, provider_config: Mapping[str, Props], dry_run: bool
    ) -> None:
        self.state = state
        self.display = display
        self.hooks = hooks
        self.dry_run = dry_run
        self.failed = threading.Event()
        self.outputs: Props | None = None
        self._provider_config = provider_config
        self._clouds: dict[str, Cloud] = {}
        self._seen: set[str] = set()
        self._planned: list[Resource] = []
        self._planned_providers: dict[str, Props] = {}
        self._lock = threading.Lock()

    # -- registration -------------------------------------------------------------------------------------------

    def register(self, wanted: Wanted) -> Resource:
        """The resource as it stands after this step (as it would stand, in a preview)."""
        with self._lock:
            if wanted.urn in self._seen:
                self._report(wanted, f"Duplicate resource URN '{wanted.urn}'; try giving it a unique name")
                raise StepFailedError
            self._seen.add(wanted.urn)
        started = time.monotonic()
        try:
            if wanted.type.startswith(PROVIDER):
                return self._provider(wanted)
            planned = self._managed(wanted) if wanted.custom else self._component(wanted)
            with self._lock:
                self._planned.append(planned)
            return planned
        except StepFailedError:
            raise
        except Exception as error:
            self.failed.set()
            old = self.state.get(wanted.urn)
            change = Change(op=Op.UPDATE if old else Op.CREATE, old=old, new=wanted.resource())
            self.display.fail(change, since=started, message=_told(error))
            raise StepFailedError from error

    def planned(self) -> list[Resource]:
        """All that the program registered, as it stands or would stand."""
        with self._lock:
            return list(self._planned)

    def _report(self, wanted: Wanted, message: str) -> None:
        self.failed.set()
        self.display.diagnose(f"{wanted.type} ({wanted.name})", f"error: {message}", wanted.urn)

    def register_outputs(self, urn: str, outputs: Props) -> None:
        resource = self.state.get(urn)
        if urn.split("::")[2] == STACK:
            self.outputs = outputs
        elif resource is not None and not self.dry_run and resource.outputs != outputs:
            self.state.put(dataclasses.replace(resource, outputs=outputs))

    def _component(self, wanted: Wanted) -> Resource:
        old = self.state.get(wanted.urn)
        entry = wanted.resource(id="", inputs=wanted.inputs, outputs=old.outputs if old else {})
        self._record(entry, old, Op.SAME if old else Op.CREATE)
        return entry

    def _provider(self, wanted: Wanted) -> Resource:
        old = self.state.get(wanted.urn)
        same = old is not None and old.inputs == wanted.inputs
        entry = wanted.resource(
            id=old.id if old else str(uuid.uuid4()), inputs=wanted.inputs, outputs=dict(wanted.inputs)
        )
        with self._lock:
            self._planned_providers[wanted.urn] = dict(plain(wanted.inputs))
            self._clouds.pop(wanted.urn, None)
        self._record(entry, old, Op.SAME if same else Op.UPDATE if old else Op.CREATE)
        return entry

    def _record(self, entry: Resource, old: Resource | None, op: Op) -> None:
        """Note a resource that lives in the state alone."""
        if op is Op.SAME:
            self.display.same(entry, old)
        else:
            paths = difference.changes(old.plain_inputs, entry.plain_inputs) if old else ()
            self.display.done(Change(op=op, old=old, new=entry, paths=tuple(paths)))
        if entry != old and not self.dry_run:
            self.state.put(entry)

    def cloud(self, provider: str, type_: str) -> Cloud:
        """The connection of a provider resource, or of the stack's config where none was chosen."""
        urn = provider.rpartition("::")[0]
        key = urn if PROVIDER in urn and "::default" not in urn else type_.partition(":")[0]
        with self._lock:
            if key not in self._clouds:
                recorded = self.state.get(key)
                settings = self._planned_providers.get(key) or (recorded.plain_inputs if recorded else None)
                self._clouds[key] = Cloud(settings or self._provider_config.get(key, {}))
            return self._clouds[key]

    # -- one managed resource -----------------------------------------------------------------------------------

    def _managed(self, wanted: Wanted) -> Resource:
        handler = handler_for(wanted.type)
        cloud = self.cloud(wanted.provider, wanted.type)
        old = self.state.get(wanted.urn)
        step = Step(
            wanted=wanted, inputs=self._complete(wanted, handler, cloud, old), old=old, handler=handler, cloud=cloud
        )
        if not self.dry_run and has_unknown(step.inputs):
            raise ValueError("an input is still unknown: what it depends on was not created")
        plan = self._plan(step)
        if plan.op is Op.SAME:
            return self._same(step)
        if plan.op is Op.REPLACE:
            step = _renamed(step)
        if not has_unknown(step.inputs):
            handler.check(dict(plain(step.inputs)))
        return self._preview(step, plan) if self.dry_run else self._perform(step, plan)

    def _complete(self, wanted: Wanted, handler: Handler, cloud: Cloud, old: Resource | None) -> Props:
        inputs = {**handler.defaults, **wanted.inputs}
        if old is not None and not old.incomplete:
            inputs = difference.ignoring(old.inputs, inputs, wanted.ignore_changes)
        if handler.tagged:
            inputs["tagsAll"] = _merged_tags(cloud.default_tags, inputs.get("tags"))
        return handler.naming.complete(wanted.name, inputs, old.inputs if old else None) if handler.naming else inputs

    def _plan(self, step: Step) -> Plan:
        if step.old is None:
            return Plan(op=Op.CREATE)
        if step.old.incomplete:
            return Plan(op=Op.REPLACE, why="creation did not finish", delete_first=True)
        paths = difference.changes(step.old.plain_inputs, dict(plain(step.inputs)))
        if not paths:
            return Plan(op=Op.SAME)
        patterns = [*step.handler.force_new, *step.wanted.replace_on_changes]
        if not difference.touched(paths, patterns):
            return Plan(op=Op.UPDATE, paths=tuple(paths))
        return Plan(op=Op.REPLACE, paths=tuple(paths), delete_first=_delete_first(step))

    def _same(self, step: Step) -> Resource:
        old = step.old
        assert old is not None  # noqa: S101 - a plan of SAME has one
        entry = step.wanted.resource(id=old.id, inputs=step.inputs, outputs=old.outputs)
        self.display.same(entry, old)
        if entry != old and not self.dry_run:
            self.state.put(entry)
        return entry

    def _preview(self, step: Step, plan: Plan) -> Resource:
        moment = (Moment.BEFORE_UPDATE, Moment.AFTER_UPDATE)
        if plan.op is not Op.UPDATE:
            moment = (Moment.BEFORE_CREATE, Moment.AFTER_CREATE)
        outputs = dict(step.inputs)
        if plan.op is Op.UPDATE and step.old is not None:
            outputs = _kept(step.old) | step.inputs | dict.fromkeys(step.handler.moving, UNKNOWN)
        elif plan.op is Op.REPLACE and step.old is not None:
            self._refuse_protected(step, plan)
        self.hooks.run(moment[0], step.wanted.hooks.get(moment[0], ()), step.occasion())
        planned = step.wanted.resource(
            id=step.id if plan.op is Op.UPDATE else "", inputs=step.inputs, outputs=self._marked(step, outputs)
        )
        self.display.done(plan.change(step, planned), detail=plan.why)
        self.hooks.run(moment[1], step.wanted.hooks.get(moment[1], ()), step.occasion(new_outputs=outputs))
        return dataclasses.replace(planned, outputs=outputs)

    def _perform(self, step: Step, plan: Plan) -> Resource:
        if plan.op is Op.UPDATE:
            return self._tell(step, plan, lambda: self._update(step))
        if plan.op is Op.CREATE:
            return self._tell(step, plan, lambda: self._create(step))
        old = step.old
        assert old is not None  # noqa: S101 - only what exists is replaced
        self._refuse_protected(step, plan)
        if plan.delete_first:
            try:
                self._remove_for_replacement(old)
            except Exception as error:  # the removal has told of it
                self.failed.set()
                raise StepFailedError from error
        return self._tell(step, plan, lambda: self._create(step))

    def _tell(self, step: Step, plan: Plan, act: Callable[[], Resource]) -> Resource:
        wanted, started = step.wanted, time.monotonic()
        self.display.begin(plan.change(step))
        before, after = Moment.BEFORE_CREATE, Moment.AFTER_CREATE
        if plan.op is Op.UPDATE:
            before, after = Moment.BEFORE_UPDATE, Moment.AFTER_UPDATE
        try:
            self.hooks.run(before, wanted.hooks.get(before, ()), step.occasion())
            made = act()
            self.hooks.run(after, wanted.hooks.get(after, ()), step.occasion(id=made.id, new_outputs=made.outputs))
        except Exception as error:
            self.failed.set()
            self.display.fail(plan.change(step), since=started, message=_told(error))
            raise StepFailedError from error
        self.display.end(plan.change(step, made), since=started, detail=plan.why)
        return made

    def _create(self, step: Step) -> Resource:
        wanted, new = step.wanted, dict(plain(step.inputs))
        self._clear_leftovers(wanted.urn)
        self.state.begin(wanted.urn, wanted.provider, new)
        try:
            made = step.handler.create(step.cloud, new)
        except FailedCreationError as error:
            entry = wanted.resource(id=error.id, inputs=step.inputs, outputs=dict(step.inputs))
            self._put_new(step, dataclasses.replace(entry, incomplete=True))
            raise
        except Exception as error:
            if is_taken(error):  # what bears the name is someone else's
                self.state.end(wanted.urn)
            self._clear_leftovers(wanted.urn)
            raise
        outputs = step.inputs | made.outputs | (self._read(step, made, new) or {})
        return self._put_new(step, wanted.resource(id=made.id, inputs=step.inputs, outputs=self._marked(step, outputs)))

    def _read(self, step: Step, made: Created, new: Props) -> Props:
        return step.handler.read(step.cloud, made.id, new) or {}

    def _put_new(self, step: Step, entry: Resource) -> Resource:
        """Record the new one; the one it replaces stays recorded beside it until it is deleted."""
        old = self.state.get(step.wanted.urn)
        if old is not None and old.id != entry.id:
            self.state.put(dataclasses.replace(old, superseded=True), entry)
        else:
            self.state.put(entry)
        return entry

    def _clear_leftovers(self, urn: str) -> None:
        """A run that was killed, or failed, while it made this resource may have left one that nobody knows."""
        begun = self.state.begun().get(urn)
        if begun is None:
            return
        type_ = urn.split("::")[2].rpartition("$")[2]
        handler, cloud = handler_for(type_), self.cloud(begun["provider"], type_)
        known = {resource.id for resource in self.state.all() if resource.type == type_}
        for id in handler.find(cloud, begun["inputs"]):
            if id not in known:
                _gone_is_fine(functools.partial(handler.delete, cloud, id, begun["inputs"]))
        self.state.end(urn)

    def _update(self, step: Step) -> Resource:
        old = step.old
        assert old is not None  # noqa: S101 - only what exists is updated
        new = dict(plain(step.inputs))
        step.handler.update(step.cloud, old.id, {**old.plain_outputs, **old.plain_inputs}, new)
        outputs = _kept(old) | step.inputs | (step.handler.read(step.cloud, old.id, new) or {})
        entry = step.wanted.resource(id=old.id, inputs=step.inputs, outputs=self._marked(step, outputs))
        self.state.put(entry)
        return entry

    def _marked(self, step: Step, outputs: Props) -> Props:
        """Outputs that repeat a secret input, or are secret by their type or by the program, are secret."""
        hidden = {key for key, value in step.inputs.items() if has_secret(value)}
        hidden |= step.handler.secret_outputs | set(step.wanted.additional_secret_outputs)
        return {
            key: Secret(plain(value)) if key in hidden and value is not None else value
            for key, value in outputs.items()
        }

    # -- removal ------------------------------------------------------------------------------------------------

    def _refuse_protected(self, step: Step, plan: Plan) -> None:
        """As in Pulumi, one run may unprotect a resource and replace it; what would go with it must be free already."""
        old = step.old
        assert old is not None  # noqa: S101 - only what exists is replaced
        if old.protect and step.wanted.protect:
            raise ValueError(_protected(old, "replaced"))
        for other in self._goes_with(old.urn) if plan.delete_first else ():
            if other.protect:
                raise ValueError(_protected(other, f"replaced as part of replacing '{old.urn}'"))

    def _goes_with(self, urn: str) -> list[Resource]:
        """All that would not survive the resource, at any remove."""
        found: dict[str, Resource] = {}
        waiting = [urn]
        while waiting:
            gone = waiting.pop()
            new = [each for each in self.state.all() if not each.superseded and _dies_with(each, gone)]
            waiting += [each.urn for each in new if each.urn not in found]
            found |= {each.urn: each for each in new}
        return list(found.values())

    def _remove_for_replacement(self, old: Resource) -> None:
        """The old one goes first, and before it all that would not survive it."""
        for other in self.state.all():
            if not other.superseded and _dies_with(other, old.urn):
                self._remove_for_replacement(other)
        self._removal().one(old, Op.DELETE_REPLACED)
        for ended in [each for each in self.state.all() if each.superseded and each.urn == old.urn]:
            self._removal().one(ended, Op.DELETE_REPLACED)

    def _removal(self) -> Removal:
        return Removal(state=self.state, display=self.display, hooks=self.hooks, cloud=self.cloud, dry_run=self.dry_run)

    def remove_rest(self) -> None:
        """Delete what was replaced, and what the program no longer has; dependents first."""
        rest = [each for each in self.state.all() if each.superseded or each.urn not in self._seen]
        self._forget_begun()
        if not self._removal().all(rest):
            self.failed.set()

    def _forget_begun(self) -> None:
        """Clear up half-made resources that the program no longer has."""
        for urn in self.state.begun():
            if urn not in self._seen and not self.dry_run:
                self._clear_leftovers(urn)


def _told(error: Exception) -> str:
    if isinstance(error, (HookFailedError, ValueError, TimeoutError, FailedCreationError)):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _merged_tags(defaults: Mapping[str, str], tags: Any) -> Any:
    if isinstance(tags, Unknown):
        return UNKNOWN
    own = tags.value if isinstance(tags, Secret) else tags or {}
    return {**defaults, **own}


def _renamed(step: Step) -> Step:
    """A replacement gets a name of its own: it may stand beside its predecessor."""
    naming = step.handler.naming
    if naming is None or step.wanted.inputs.get(naming.key) is not None:
        return step
    nameless = {key: value for key, value in step.inputs.items() if key != naming.key}
    return dataclasses.replace(step, inputs=naming.complete(step.wanted.name, nameless, None))


def _kept(old: Resource) -> Props:
    """Outputs that don't come from the inputs."""
    return {key: value for key, value in old.outputs.items() if key not in old.inputs}


def _delete_first(step: Step) -> bool:
    chosen = step.wanted.delete_before_replace
    if chosen is not None:
        return chosen
    naming, old = step.handler.naming, step.old
    fixed = naming is not None and step.wanted.inputs.get(naming.key) is not None
    same_name = (
        fixed and old is not None and naming is not None and old.inputs.get(naming.key) == step.inputs.get(naming.key)
    )
    return step.handler.delete_first or same_name


def _dies_with(other: Resource, urn: str) -> bool:
    if other.type.startswith(PROVIDER) or not other.custom:
        return False
    keys: Iterable[str] = [key for key, urns in other.property_dependencies.items() if urn in urns]
    return any(key in handler_for(other.type).force_new for key in keys)


def _protected(resource: Resource, done: str) -> str:
    return f"unable to have resource '{resource.urn}' {done}: it is protected; set protect to false and run `up` first"


def _gone_is_fine(act: Callable[[], None]) -> None:
    try:
        act()
    except Exception as error:
        if not is_gone(error):
            raise
