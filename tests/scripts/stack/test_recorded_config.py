"""The config of the last successful update: which update that is, and what of it may stand in a file."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from pulumi.automation import ConfigValue

from scripts.cli.exits import ScriptError
from scripts.stack.recorded_config import last_good, write
from tests.scripts.world import REGION

GOOD = {"aws:region": ConfigValue(REGION), "bluegreen:zoneCount": ConfigValue("3")}
BAD = {**GOOD, "bluegreen:zoneCount": ConfigValue("77")}


def update(kind: str, result: str, config: dict[str, Any], version: int) -> Any:
    return SimpleNamespace(kind=kind, result=result, config=config, version=version)


def test_the_newest_update_that_succeeded_with_a_config_that_is_allowed_counts() -> None:
    told = [
        update("update", "failed", BAD, 6),
        update("update", "succeeded", BAD, 5),  # by another version of the program
        update("refresh", "succeeded", GOOD, 4),
        update("update", "in-progress", GOOD, 3),
        update("update", "succeeded", GOOD, 2),
        update("update", "succeeded", GOOD, 1),
    ]
    for known, version in ((told, 2), (told[:4], None)):
        asked: dict[str, Any] = {}

        def history(known: Any = known, asked: dict[str, Any] = asked, **how: Any) -> Any:
            asked.update(how)
            return known

        found = last_good(SimpleNamespace(name="dev", history=history))
        assert (found.version if found else None) == version
        assert asked == {"page_size": 50, "page": 1, "show_secrets": True}


def test_every_text_of_a_secret_value_goes_to_pulumi_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vpn = {"presharedKeys": ["first.key", "second.key"], "allow": [{"port": 22, "protocol": "tcp"}], "flag": True}
    config = {
        **GOOD,
        "bluegreen:alarms": ConfigValue("{}"),
        "bluegreen:vpn": ConfigValue(json.dumps(vpn), secret=True),
        "bluegreen:domain": ConfigValue("hidden.example", secret=True),
    }
    checkout, file = tmp_path / "Pulumi.dev.yaml", tmp_path / "own.yaml"
    checkout.write_text("config:\n  bluegreen:zoneCount: 77\nencryptionsalt: v1:abc\n")
    ran: list[tuple[list[str], str]] = []

    def run(argv: list[str], *, input: str, **_: Any) -> Any:
        ran.append((argv, input))
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr("subprocess.run", run)
    write(file, checkout, "dev", config)
    assert yaml.safe_load(file.read_text()) == {
        "encryptionsalt": "v1:abc",
        "config": {
            "aws:region": REGION,
            "bluegreen:zoneCount": "3",
            "bluegreen:alarms": {},
            "bluegreen:vpn": {"allow": [{"port": 22}], "flag": True},
        },
    }
    paths = {argv[argv.index("--path") + 1]: text for argv, text in ran}
    assert paths == {
        'bluegreen:vpn["presharedKeys"][0]': "first.key",
        'bluegreen:vpn["presharedKeys"][1]': "second.key",
        'bluegreen:vpn["allow"][0]["protocol"]': "tcp",
        "bluegreen:domain": "hidden.example",
    }
    assert not any(text in argv for argv, _ in ran for text in paths.values())
    assert all(argv[argv.index("--config-file") + 1] == str(file) and "--secret" in argv for argv, _ in ran)


def test_a_secret_that_cannot_be_encrypted_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Pulumi.dev.yaml").touch()
    refused = subprocess.CompletedProcess([], 255, "", "error: AccessDeniedException: kms\n")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: refused)
    with pytest.raises(ScriptError, match=r"^a of the last successful update can't be encrypted: AccessDeniedExc"):
        write(tmp_path / "own.yaml", tmp_path / "Pulumi.dev.yaml", "dev", {"a": ConfigValue("b", secret=True)})
