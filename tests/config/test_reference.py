"""The documented config keys are those of the settings."""

from __future__ import annotations

from config import reference
from config.settings import parse
from tests.declared import ROOT


def test_the_pages_tables_are_current() -> None:
    text = (ROOT / "docs" / "reference" / "config.md").read_text()
    assert reference.page(text) == text, "run `python -m config.reference`"


def test_pulumis_declarations_are_current() -> None:
    text = (ROOT / "Pulumi.yaml").read_text()
    assert reference.pulumi_yaml(text) == text, "run `python -m config.reference`"


def test_every_key_says_what_it_is() -> None:
    keys = reference.entries()
    assert len({key.name for key in keys}) == len(keys) > 30
    for key in keys:
        assert key.description.endswith("."), key
        assert key.type in ("string", "integer", "boolean", "array", "object"), key


def test_the_documented_defaults_are_the_programs() -> None:
    config = {"aws:region": "eu-central-1"}
    declared = {f"bluegreen:{key.name}": key.default for key in reference.entries()}
    assert parse("dev", {**config, **declared}) == parse("dev", config)


def test_every_key_inside_an_object_says_what_is_allowed() -> None:
    tables = reference.object_tables()
    for _, model in reference.OBJECTS:
        for key in model.config_keys():
            assert f"| `{key}` | `" in tables
    assert "| `minSize` | `1` | a whole number from 1 to 100 |" in tables
    assert "| `routing` | `static` | static or bgp |" in tables
