"""Scripts with the Pulumi CLI: locks of killed updates, invalid config, an unusable backend."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pulumi.automation as auto
import pytest
import yaml

from ami.boot.unpack import BundleKind
from rehearsal.workspace import Workspace
from scripts.cli.exits import Exit
from scripts.releases.bucket import Migration, ReleaseManifest, manifest_key
from scripts.stack.automation import NO_STACK
from tests.rehearsal.cloud.fleet import Running
from tests.rehearsal.pulumi.load_balancer_stub import LoadBalancerStub

from .conftest import OpenStack
from .test_killed import killed
from .test_stack_lifecycle import StackLifecycle

pytestmark = pytest.mark.engine
TIMEOUT_S = 300
CREATED = "2026-11-29T05:00:00.000+00:00"


def script(workspace: Workspace, name: str, *args: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON output of a script in the project's folder."""
    done = subprocess.run(
        [sys.executable, "-m", f"scripts.{name}", *args, "--stack", "dev", "--json"],
        cwd=workspace.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_after_a_killed_update_the_next_command_names_pulumis_lock_and_succeeds_without_it(
    workspace: Workspace, stack_in_bucket: OpenStack
) -> None:
    dev = stack_in_bucket("dev")
    killed(dev, after=3, pause=0)
    code, answer = script(workspace, "up")
    assert code == Exit.LOCKED
    assert "Pulumi's own lock of the stack is held since an update by" in answer["error"]
    assert "`pulumi cancel --stack dev` and the same command again" in answer["error"]
    dev.cancel()
    code, answer = script(workspace, "up")
    assert (code, answer["ok"]) == (Exit.OK, True)
    dev.refresh(clear_pending_creates=True)
    assert (dev.export_stack().deployment or {}).get("pending_operations") in (None, [])
    assert script(workspace, "up")[1]["changed_resources"] == 0


def test_the_selected_stack_is_pulumis_own_also_without_pulumi(
    workspace: Workspace, stack: OpenStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "from scripts.stack.automation import {0}; print({0}())"
    programs = [program.format("selected_stack"), program.format("selected_stack_on_disk")]
    run = functools.partial(subprocess.run, cwd=workspace.project, capture_output=True, text=True, check=False)
    for name in ("dev", "prod"):  # creating a stack selects it
        stack(name)
        assert [run([sys.executable, "-c", each]).stdout for each in programs] == [f"{name}\n"] * 2
    monkeypatch.setenv("PULUMI_STACK", "dev")
    assert [run([sys.executable, "-c", each]).stdout for each in programs] == ["dev\n"] * 2
    monkeypatch.delenv("PULUMI_STACK")
    run(["pulumi", "stack", "unselect"])
    none = run([sys.executable, "-m", "scripts.status", "--json"])
    assert (none.returncode, json.loads(none.stdout)["error"]) == (Exit.USAGE, NO_STACK)


@pytest.fixture
def lifecycle(stack: OpenStack, cloud: Running) -> StackLifecycle:
    """Blue is idle with v1, green is live with v2; part of the config is secret."""
    created = StackLifecycle(stack("dev"), cloud)
    created.stack.set_config("ingressCidrs[0]", auto.ConfigValue("0.0.0.0/0", secret=True), path=True)
    created.up("without instances")
    created.deploy("blue", "v1")
    created.up("blue")
    created.deploy("green", "v2")
    created.set("activeColor", "green")
    created.up("traffic on green")
    return created


def test_a_rollback_succeeds_though_the_program_would_refuse_the_checkouts_config(
    workspace: Workspace, lifecycle: StackLifecycle
) -> None:
    file = workspace.project / "Pulumi.dev.yaml"
    lifecycle.set("alertWebhooks[0]", "garbage")
    lifecycle.set("zoneCount", "77")
    with pytest.raises(auto.CommandError):  # also the newest update's recorded config is bad now
        lifecycle.stack.up()
    before = yaml.safe_load(file.read_text())
    code, answer = script(workspace, "cutover", "blue")
    assert code == Exit.USAGE
    assert "  zoneCount: 77: allowed is a whole number from 2 to 8" in answer["error"].splitlines()
    assert yaml.safe_load(file.read_text()) == before
    code, answer = script(workspace, "rollback")
    assert (code, answer["error"]) == (Exit.OK, "")
    assert lifecycle.weights() == {"blue": 100, "green": 0}
    assert answer["changed_resources"] == 1
    [warning] = answer["warnings"]
    assert "zoneCount: 77" in warning
    assert "repair Pulumi.dev.yaml before the next one" in warning
    after = yaml.safe_load(file.read_text())
    revision = after["config"].pop("bluegreen:revision")
    assert revision.endswith(f"/{lifecycle.stack.outputs()['revision'].value}")
    assert {**after["config"], "bluegreen:activeColor": "green"} == {
        key: value for key, value in before["config"].items() if key != "bluegreen:revision"
    }
    newest = lifecycle.stack.history(page_size=1, page=1, show_secrets=True)[0]
    assert (newest.result, newest.config["bluegreen:zoneCount"].value) == ("succeeded", "2")
    ranges = newest.config["bluegreen:ingressCidrs"]
    assert (ranges.secret, ranges.value) == (True, '["0.0.0.0/0"]')
    assert newest.config["bluegreen:alertWebhooks"].value == "[]"


def test_a_refused_command_leaves_the_config_file_unchanged(
    workspace: Workspace,
    lifecycle: StackLifecycle,
    load_balancer: LoadBalancerStub,
    cloud: Running,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = workspace.project / "Pulumi.dev.yaml"
    file.write_text(f"# ours\n{file.read_text()}")
    lifecycle.stack.remove_config("bluegreen:canaryPercent")
    before = file.read_bytes()
    load_balancer.broken = {"blue"}
    code, answer = script(workspace, "canary", "5")
    assert (code, file.read_bytes()) == (Exit.REFUSED, before)
    assert answer["error"].startswith(
        'blue keeps its 0 %: before hook "gate-before-users" failed: blue is not ready for'
    )
    assert len(answer["error"].splitlines()) == 1
    load_balancer.broken = set()
    bucket = str(lifecycle.stack.outputs()["artifactsBucket"].value)
    release = ReleaseManifest(
        version="v3",
        commit="",
        kind=BundleKind.SOURCE,
        migration=Migration.NONE,
        sha256="0" * 64,
        size=1,
        created=CREATED,
    )
    cloud.client("s3").put_object(Bucket=bucket, Key=manifest_key("v3"), Body=release.to_json())
    code, answer = script(workspace, "deploy", "v3", "--ami", "ami-00000000000000000")
    assert (code, file.read_bytes()) == (Exit.USAGE, before)
    assert answer["error"].startswith("--ami ami-00000000000000000: eu-central-1 has no such image")
    lock = Path(workspace.folder, "backend", ".pulumi", "locks", "organization", "bluegreen", "dev", "1f.json")
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = {"pid": 4711, "username": "ada", "hostname": "laptop", "timestamp": "2026-11-29T05:00:00Z"}
    lock.write_text(json.dumps(held))
    for command in (("deploy", "v3"), ("retire",), ("canary", "5"), ("cutover", "blue")):
        code, answer = script(workspace, *command)
        assert (command, code, file.read_bytes()) == (command, Exit.LOCKED, before)
        assert "`pulumi cancel --stack dev` and the same command again" in answer["error"]


def test_a_cutover_whose_update_was_killed_is_resumed_and_releases_pulumis_lock(
    workspace: Workspace, lifecycle: StackLifecycle
) -> None:
    lifecycle.set("activeColor", "blue")
    killed(lifecycle.stack, after=1, pause=0)
    code, answer = script(workspace, "cutover", "blue", "--break-lock")
    assert (code, "Pulumi's own lock of the stack is held" in answer["error"]) == (Exit.LOCKED, True)
    code, answer = script(workspace, "cutover", "blue", "--resume", "--bake", "0")
    assert (code, answer["error"]) == (Exit.OK, "")
    assert lifecycle.weights() == {"blue": 100, "green": 0}
    assert lifecycle.up("again") == {}


def test_an_unusable_backend_is_a_one_line_error(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{file}/state")
    code, answer = script(workspace, "status")
    assert code == Exit.FAILED
    assert str(file) in answer["error"]
    assert len(answer["error"].splitlines()) == 1
