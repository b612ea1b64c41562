"""Pulumi protocol messages without the SDK, whose import takes half a second."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType


def import_messages_only() -> None:
    """Make `pulumi.runtime.proto` importable without the SDK. Call it before any import of `pulumi`."""
    if "pulumi" in sys.modules:
        return  # the fork server has imported all of it
    found = importlib.util.find_spec("pulumi")
    if found is None or found.submodule_search_locations is None:
        sys.exit(f"{sys.executable} has no Pulumi SDK: the first python3 on the PATH has to be the project's")
    folder = found.submodule_search_locations[0]
    for name, path in (("pulumi", folder), ("pulumi.runtime", f"{folder}/runtime")):
        package = ModuleType(name)
        package.__path__ = [path]
        sys.modules[name] = package
