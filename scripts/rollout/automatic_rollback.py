"""Automatic rollback of a release that fails with its traffic."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from fleet.colors import Color
from scripts.cli.display import Display, update_error
from scripts.cli.exits import RollbackFailedError, RolledBackError
from scripts.cli.interrupts import uninterruptible
from scripts.rollout.bake import WatchedRelease, watch
from scripts.stack.automation import Stack
from scripts.stack.runs import Run


@dataclass(frozen=True, kw_only=True)
class AutomaticRollback:
    """How the traffic leaves `color`: `set_config` writes the stack's config, and an `up` applies it.

    When that fails, `restore_capacity` scales up what may have been missing, and the `up` is retried once.
    `is_rolled_back` asks AWS whether the traffic has left. `action`, `result` and `manual_step` are the texts for
    before it, after it, and for when it failed.
    """

    stack: Stack
    color: Color
    set_config: Callable[[], None]
    restore_capacity: Callable[[], None]
    is_rolled_back: Callable[[], bool]
    action: str
    result: str
    manual_step: str

    def roll_back(self, run: Run, display: Display, reason: str, first_bad: float | None = None) -> NoReturn:
        """Raises RolledBackError or RollbackFailedError. `first_bad`: the first failure, by `time.monotonic()`."""
        display.note(f"the release on {self.color} is bad ({reason}); {self.action}")
        run.reason = reason
        with uninterruptible():
            try:
                self._apply()
            except Exception as error:
                if not self._is_confirmed():
                    raise RollbackFailedError(
                        f"the release on {self.color} is bad ({reason}), and {self.action} failed too: "
                        f"{update_error(str(error))}. Act now: {self.manual_step}"
                    ) from error
        if first_bad is not None:
            run.figures["first_bad_to_back_seconds"] = round(time.monotonic() - first_bad, 1)
        raise RolledBackError(f"{self.result}; the release on {self.color} was bad: {reason}")

    def _apply(self) -> None:
        self.set_config()
        try:
            self.stack.up(on_output=None)
        except Exception:  # whatever it was: the traffic is on a bad release
            if not self._is_confirmed():
                self.restore_capacity()
                self.stack.up(on_output=None)

    def _is_confirmed(self) -> bool:
        try:
            return self.is_rolled_back()
        except Exception:  # AWS may be what failed: without its answer an operator must check
            return False


def bake(rollback: AutomaticRollback, release: WatchedRelease, seconds: float, run: Run, display: Display) -> None:
    """Watch a release with its traffic, and roll back when it is bad. An interrupt leaves the traffic where it is."""
    report = watch(release, seconds, display.note)
    run.figures.update(report.as_json())
    if report.failure:
        rollback.roll_back(run, display, report.failure, report.first_bad)
