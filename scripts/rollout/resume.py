"""Resumption of a change whose command was killed: releases the locks of dead processes, and no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.cli.display import Display, PulumiLockHolder
from scripts.cli.exits import LockedError
from scripts.stack.automation import Value
from scripts.stack.lock import Holder, is_gone


def require_gone(holder: Holder | None) -> None:
    """Raise LockedError unless the lock's holder was a process of this host that has ended."""
    if holder is None:
        return
    if holder.is_gone is False:
        raise LockedError(f"the stack is locked by {holder}, which still runs: wait for it to end")
    if holder.is_gone is None:
        raise LockedError(
            f"the stack is locked by {holder}: only that host knows whether the process has ended; resume there, "
            "or, when you know that it is dead, say --break-lock"
        )


@dataclass(kw_only=True)
class ResumedStack:
    """A stack whose `up` first releases Pulumi's lock of an update that was killed on this host."""

    name: str
    stack: Any
    display: Display

    def get_all_config(self) -> Mapping[str, Value]:
        config: Mapping[str, Value] = self.stack.get_all_config()
        return config

    def outputs(self) -> Mapping[str, Value]:
        outputs: Mapping[str, Value] = self.stack.outputs()
        return outputs

    def set_config(self, key: str, value: Any, *, path: bool = False) -> None:
        self.stack.set_config(key, value, path=path)

    def up(self, *, on_output: Callable[[str], Any] | None = None, refresh: bool = False) -> Any:
        from pulumi.automation.errors import ConcurrentUpdateError

        try:
            return self.stack.up(on_output=on_output, refresh=refresh)
        except ConcurrentUpdateError as error:
            holder = PulumiLockHolder.parse(str(error))
            if holder is None or not is_gone(holder.host, holder.pid):
                raise
            self.display.note(f"released Pulumi's own lock, left by {holder}: that process is gone")
            self.stack.cancel()
        # The state may lack what the killed update did.
        return self.stack.up(on_output=on_output, refresh=True)
