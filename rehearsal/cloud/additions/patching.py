"""How an addition takes the place of a part of moto."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def put_into(owner: Any, **functions: Callable[..., Any]) -> None:
    """Sets methods on a class of moto; the type checker, rightly, refuses the plain assignment."""
    for name, function in functions.items():
        setattr(owner, name, function)
