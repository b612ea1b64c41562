"""Users have left a release that was bad with users on it, or a person knows the one command that is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from fleet.colors import Color
from scripts.cli.display import Display, update_error
from scripts.cli.exits import StuckError, TurnedBackError
from scripts.cli.interrupts import shielded
from scripts.rollout.bake import Watched, watch
from scripts.stack.automation import Stack
from scripts.stack.runs import Run


@dataclass(frozen=True, kw_only=True)
class WayBack:
    """How users leave `color`. `set_config` says so in the stack's config, the `up` that follows does it.

    When that fails `make_room` does what may have been missing, and it is tried once more.
    `is_free` asks AWS whether they have left; `going`, `gone` and `stuck` are what people read before, after and when
    the `up` fails.
    """

    stack: Stack
    color: Color
    set_config: Callable[[], None]
    make_room: Callable[[], None]
    is_free: Callable[[], bool]
    going: str
    gone: str
    stuck: str

    def take(self, run: Run, display: Display, reason: str, first_bad: float | None = None) -> NoReturn:
        """Raises TurnedBackError, or StuckError. `first_bad`: when users met it first, by `time.monotonic()`."""
        display.note(f"{self.color} fails with users on it ({reason}); {self.going}")
        run.reason = reason
        with shielded():
            try:
                self._go()
            except Exception as error:
                if not self._is_known_to_be_free():
                    raise StuckError(
                        f"{self.color} fails with users on it ({reason}), and {self.going} failed too: "
                        f"{update_error(str(error))}. Act now: {self.stuck}"
                    ) from error
        if first_bad is not None:
            run.figures["first_bad_to_back_seconds"] = round(time.monotonic() - first_bad, 1)
        raise TurnedBackError(f"{self.gone}; {self.color} failed with users on it: {reason}")

    def _go(self) -> None:
        self.set_config()
        try:
            self.stack.up(on_output=None)
        except Exception:  # whatever it was: users are on a release that fails
            if not self._is_known_to_be_free():
                self.make_room()
                self.stack.up(on_output=None)

    def _is_known_to_be_free(self) -> bool:
        try:
            return self.is_free()
        except Exception:  # AWS may be what failed: without its word a person must look
            return False


def bake(way_back: WayBack, release: Watched, seconds: float, run: Run, display: Display) -> None:
    """Watch a release with users; when it is bad they leave it. An interrupt leaves them: nothing was wrong so far."""
    account = watch(release, seconds, display.note)
    run.figures.update(account.as_json())
    if account.objection:
        way_back.take(run, display, account.objection, account.first_bad)
