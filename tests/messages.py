"""The messages' JSON schema, for whatever a test reads of them."""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator

from scripts.ci.message_reference import SCHEMA

_SCHEMA = json.loads(SCHEMA.read_text())
_VALIDATOR = Draft202012Validator(_SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)


def require_valid(content: Any) -> None:
    """Fails unless a message is as docs/messages.schema.json says, and has no field besides."""
    _VALIDATOR.validate(content)
    for definition in _SCHEMA["$defs"].values():
        if content["kind"] in definition["properties"].get("kind", {}).get("enum", ()):
            assert content.keys() <= definition["properties"].keys()
