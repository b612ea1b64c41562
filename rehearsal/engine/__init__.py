"""The embedded engine: Pulumi's stack interface where no Pulumi CLI can be had."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .stack import Stack, create_stack, open_stack

__all__ = ["Stack", "create_stack", "open_stack"]


def __getattr__(name: str) -> Any:
    """Imported when asked for: the process of a run needs none of it, and would pay 0.2 s."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import stack

    return getattr(stack, name)
