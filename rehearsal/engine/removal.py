"""Deletion: dependents before what they depend on, and independent resources at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from .cloud import Cloud
from .display import Display
from .events import Change, Op
from .handlers import handler_for
from .handlers.base import is_busy, is_gone
from .hooks import Hooks, Moment, Occasion
from .state import Resource, State

_THREADS = 32
_BUSY_S = 120.0  # a machine's network interface holds its security group for a while after the machine ended
_PAUSE_S = 0.3


class Removal:
    """Deletes resources from the cloud and the state."""

    def __init__(
        self, *, state: State, display: Display, hooks: Hooks, cloud: Callable[[str, str], Cloud], dry_run: bool
    ) -> None:
        self.state = state
        self.display = display
        self.hooks = hooks
        self.cloud = cloud
        self.dry_run = dry_run

    def all(self, resources: Iterable[Resource]) -> bool:
        """Delete them all, unless one is protected: then none. False when something could not be deleted."""
        waiting = {each.key: each for each in resources}
        protected = [each for each in waiting.values() if each.protect and not each.superseded]
        for each in protected:
            self.display.diagnose(
                f"{each.type} ({each.name})",
                f"error: resource {each.urn!r} cannot be deleted because it is protected; "
                "set protect to false and run `up` first",
                each.urn,
            )
        return not protected and self._in_order(waiting)

    def _in_order(self, waiting: dict[str, Resource]) -> bool:
        holders = _holders(waiting.values())
        running: dict[Future[None], Resource] = {}
        failed: set[str] = set()
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="delete") as pool:
            while waiting or running:
                for each in [each for each in waiting.values() if not holders[each.key]]:
                    del waiting[each.key]
                    running[pool.submit(self.one, each)] = each
                if not running:
                    break  # the rest stays: something that needs it could not be deleted
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    done = running.pop(future)
                    if future.exception() is not None:
                        failed.add(done.key)
                        continue
                    for needed_by in holders.values():
                        needed_by.discard(done.key)
        return not failed

    def one(self, resource: Resource, op: Op | None = None) -> None:
        started = time.monotonic()
        if resource.retain:
            op = Op.DISCARD
        op = op or (Op.DELETE_REPLACED if resource.superseded else Op.DELETE)
        change = Change(op=op, old=resource)
        if not resource.custom or resource.type.startswith("pulumi:providers:"):
            self._from_state(change)
            return
        self.display.begin(change)
        try:
            self._delete(resource, op)
        except Exception as error:
            self.display.fail(change, since=started, message=str(error))
            raise
        self.display.end(change, since=started)

    def _from_state(self, change: Change) -> None:
        self.display.done(change)
        if not self.dry_run:
            self.state.drop(change.resource.key)

    def _delete(self, resource: Resource, op: Op) -> None:
        occasion = Occasion(
            urn=resource.urn,
            id=resource.id,
            name=resource.name,
            type=resource.type,
            old_inputs=resource.inputs,
            old_outputs=resource.outputs,
        )
        self.hooks.run(Moment.BEFORE_DELETE, resource.hooks.get(Moment.BEFORE_DELETE, ()), occasion)
        if self.dry_run:
            return
        if op is not Op.DISCARD:
            self._call(resource)
        self.state.drop(resource.key)
        self.hooks.run(Moment.AFTER_DELETE, resource.hooks.get(Moment.AFTER_DELETE, ()), occasion)

    def _call(self, resource: Resource) -> None:
        handler = handler_for(resource.type)
        cloud = self.cloud(resource.provider, resource.type)
        state: dict[str, Any] = {**resource.plain_inputs, **resource.plain_outputs}
        end = time.monotonic() + _BUSY_S
        while True:
            try:
                handler.delete(cloud, resource.id, state)
            except Exception as error:
                if is_gone(error):
                    return
                if not is_busy(error) or time.monotonic() > end:
                    raise
                time.sleep(_PAUSE_S)
            else:
                return


def _holders(resources: Iterable[Resource]) -> dict[str, set[str]]:
    """For each resource the keys of those that need it, and so must go before it."""
    listed = list(resources)
    keys: dict[str, list[str]] = {}
    for each in listed:
        keys.setdefault(each.urn, []).append(each.key)
    holders: dict[str, set[str]] = {each.key: set() for each in listed}
    for each in listed:
        for urn in each.needs():
            for key in keys.get(urn, ()):
                if key != each.key:
                    holders[key].add(each.key)
    return holders
