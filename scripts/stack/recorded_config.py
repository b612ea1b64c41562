"""Config of a stack's last successful update, for a rollback where the checkout's config is invalid."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fleet.deployments import ALLOW_SHIFT
from scripts.cli.display import Display, update_error
from scripts.cli.exits import ScriptError, UsageError
from scripts.rollout.traffic import allowed
from scripts.stack.automation import NAMESPACE, ROOT, Stack, Value
from scripts.stack.config_change import problem
from scripts.stack.config_file import write_config

# Updates that are searched. Pulumi lists the newest first.
NEWEST = 50


@dataclass(kw_only=True)
class RecordedConfigStack:
    """The stack with the recorded config in a temporary file; values are set in the checkout's file too."""

    name: str
    stack: Any
    file: Path
    values: Mapping[str, Value]
    display: Display

    def get_all_config(self) -> Mapping[str, Value]:
        return self.values

    def outputs(self) -> Mapping[str, Value]:
        found: Mapping[str, Value] = self.stack.outputs()
        return found

    def set_config(self, key: str, value: Any, *, path: bool = False) -> None:
        from pulumi.automation.errors import CommandError

        write_config(self.file, {key: value.value})
        try:
            self.stack.set_config(key, value, path=path)
        except CommandError as error:
            self.display.warn(f"{key} was not set in this checkout's config: {update_error(str(error))}")

    def up(self, *, on_output: Callable[[str], Any] | None = None, refresh: bool = False) -> Any:
        # The only change that this file asks for is the traffic shift, which the rollback has checked.
        write_config(self.file, {f"{NAMESPACE}:revision": str(self.outputs()["revision"].value)})
        with allowed(ALLOW_SHIFT):
            return self.stack.up(on_output=on_output, refresh=refresh, config_file=str(self.file))


@contextmanager
def recorded(stack: Stack, refused: str, display: Display) -> Iterator[RecordedConfigStack]:
    """The stack with the config of its last successful update. `refused`: why the checkout's is invalid."""
    from pulumi.automation import ConfigValue

    opened: Any = stack  # the Automation API's
    checkout = ROOT / f"Pulumi.{opened.name.rpartition('/')[2]}.yaml"
    update = last_good(opened)
    if update is None:
        raise UsageError(f"{refused}\nNo update of the stack is known whose config can be used instead")
    display.warn(
        f"{refused}\nThis checkout's config is left alone but for the traffic. The rollback takes the config of the "
        f"stack's last successful update, of {update.start_time:%Y-%m-%d %H:%M} UTC; repair {checkout.name} before "
        "the next one"
    )
    config = {**update.config, f"{NAMESPACE}:revision": ConfigValue(value=str(opened.outputs()["revision"].value))}
    with tempfile.TemporaryDirectory(prefix="bluegreen-") as folder:
        file = Path(folder) / checkout.name
        write(file, checkout, opened.name, config)
        yield RecordedConfigStack(name=opened.name, stack=opened, file=file, values=config, display=display)


def last_good(stack: Any) -> Any:
    """The newest successful update whose config is still valid, or None."""
    for update in stack.history(page_size=NEWEST, page=1, show_secrets=True):
        config = {key: each.value for key, each in update.config.items()}
        if (update.kind, update.result) == ("update", "succeeded") and not problem(stack.name, config):
            return update
    return None


def write(file: Path, checkout: Path, stack: str, config: Mapping[str, Any]) -> None:
    """A config file with these values; secrets are encrypted as in the checkout's, and never written in plaintext."""
    header = {key: value for key, value in (yaml.safe_load(checkout.read_text()) or {}).items() if key != "config"}
    plain = {key: _plain(_value(each), secret=each.secret) for key, each in config.items()}
    known = {key: value for key, value in plain.items() if value is not None}
    file.write_text(yaml.safe_dump({**header, "config": known}, sort_keys=False))
    for key, each in config.items():
        if each.secret:
            for path, secret in _texts(_value(each), key):
                _set_secret(file, stack, path, secret)


def _value(each: Any) -> Any:
    """A list or object, which Pulumi returns as JSON, or a text; a text that looks like a number stays one."""
    return json.loads(each.value) if each.value[:1] in ("{", "[") else each.value


def _plain(value: Any, *, secret: bool) -> Any:
    """The part of a value that is no secret: of a secret value all but its texts; None where nothing is left."""
    if not secret:
        return value
    if isinstance(value, dict):
        return {key: plain for key, each in value.items() if (plain := _plain(each, secret=True)) is not None} or None
    if isinstance(value, list):
        return [plain for each in value if (plain := _plain(each, secret=True)) is not None] or None
    return None if isinstance(value, str) else value


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Each text in a value, by Pulumi's path to it."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(each, f"{path}[{json.dumps(key)}]")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _texts(each, f"{path}[{index}]")
    elif isinstance(value, str):
        yield path, value


def _set_secret(file: Path, stack: str, path: str, secret: str) -> None:
    argv = ["pulumi", "config", "set", "--secret", "--path", path, "--config-file", str(file), "--stack", stack]
    done = subprocess.run(  # by standard input: arguments can be read by others
        [*argv, "--non-interactive"], cwd=ROOT, input=secret, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise ScriptError(f"{path} of the last successful update can't be encrypted: {update_error(done.stderr)}")
