"""Patching of moto's classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def replace_methods(owner: Any, **functions: Callable[..., Any]) -> None:
    """Set methods on a class of moto; the type checker refuses the plain assignment."""
    for name, function in functions.items():
        setattr(owner, name, function)


def validate_before(owner: Any, method: str, check: Callable[..., None]) -> None:
    """Call `check` before a method, with its arguments; an exception of `check` prevents the call."""
    plain = getattr(owner, method)

    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        check(self, *args, **kwargs)
        return plain(self, *args, **kwargs)

    replace_methods(owner, **{method: checked})
