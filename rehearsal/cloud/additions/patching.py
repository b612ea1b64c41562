"""How an addition takes the place of a part of moto."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def put_into(owner: Any, **functions: Callable[..., Any]) -> None:
    """Sets methods on a class of moto; the type checker, rightly, refuses the plain assignment."""
    for name, function in functions.items():
        setattr(owner, name, function)


def check_before(owner: Any, method: str, check: Callable[..., None]) -> None:
    """Passes each call of a method to `check` first, which refuses it by raising; nothing has happened then."""
    plain = getattr(owner, method)

    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        check(self, *args, **kwargs)
        return plain(self, *args, **kwargs)

    put_into(owner, **{method: checked})
