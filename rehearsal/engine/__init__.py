"""The embedded engine: Pulumi's stack interface where no Pulumi CLI can be had."""

from .stack import Stack, create_stack, open_stack

__all__ = ["Stack", "create_stack", "open_stack"]
