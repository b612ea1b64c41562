from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pulumi.automation.errors import CommandError

from fleet.colors import Color
from fleet.deployments import ALLOW_RETIRE
from scripts.ci.workflow import SUMMARY
from scripts.cli.display import Display
from scripts.cli.exits import LockedError, RefusedError
from scripts.preview import PreviewFailedError, checked_preview
from scripts.rollout.traffic import allowed
from scripts.stack.drift import DriftError
from scripts.stack.drift import report as report_drift
from scripts.stack.history import read
from scripts.stack.lock import locked
from scripts.sync_config import SyncArgs, sync_config
from scripts.up import UpArgs, bring_up
from tests.scripts.event_log import diagnostic, step, summary, violation
from tests.scripts.world import BUCKET, STACK, World, WorldStack, two_colors

QUIET = Display(as_json=True)
LOSS = step("replace", "aws:ec2/vpc:Vpc", "network")


def preview(stack: WorldStack, report: Path | None = None, *, allow_replace: bool = False) -> Any:
    return checked_preview(stack, QUIET, allow_replace=allow_replace, report=report)


def test_a_preview_writes_its_page_to_the_report_and_the_summary_and_changes_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SUMMARY, str(tmp_path / "summary"))
    stack = two_colors(world)
    stack.events = [step("create", "aws:sns/topic:Topic", "alerts"), summary(create=1, same=70)]
    found = preview(stack, tmp_path / "new" / "page.md")
    assert found.counts == {"create": 1, "same": 70}
    page = (tmp_path / "new" / "page.md").read_text()
    assert "1 to create, 70 unchanged" in page
    assert (tmp_path / "summary").read_text() == f"{page.rstrip()}\n\n"
    assert world.calls == ["preview"]


def test_a_refused_preview_has_a_page_all_the_same(world: World, tmp_path: Path) -> None:
    stack = two_colors(world)
    stack.events = [LOSS]
    with pytest.raises(RefusedError, match="VPC network would be replaced"):
        preview(stack, tmp_path / "page.md")
    assert "**Refused:**" in (tmp_path / "page.md").read_text()
    assert preview(stack, allow_replace=True).destructive


def test_a_mandatory_policy_is_a_refusal_although_the_engine_fails_as_well(world: World) -> None:
    stack = two_colors(world)
    stack.events = [violation("public-bucket", "mandatory", "is public", "logs")]
    stack.preview_error = "preview failed"
    with pytest.raises(RefusedError, match="policy public-bucket forbids logs: is public"):
        preview(stack, allow_replace=True)


def test_a_program_that_fails_is_no_refusal(world: World, tmp_path: Path) -> None:
    stack = two_colors(world)
    bad = "The stack's config can't be used:\n  zoneCount: 9: allowed is 2 to 8"
    stack.events, stack.preview_error = [diagnostic("error", bad)], "the program failed"
    with pytest.raises(PreviewFailedError, match="zoneCount: 9: allowed is 2 to 8"):
        preview(stack, tmp_path / "page.md")
    assert bad in (tmp_path / "page.md").read_text()


def test_an_engine_that_fails_without_a_word_on_a_resource_is_told_by_its_own(world: World) -> None:
    stack = two_colors(world)
    stack.preview_error = "the state is locked"
    with pytest.raises(PreviewFailedError, match=r"^the state is locked$"):
        preview(stack)


def test_up_previews_applies_and_is_in_the_history(world: World) -> None:
    stack = two_colors(world)
    stack.events = [summary(same=20)]
    assert bring_up(stack, UpArgs(), Display(as_json=True))["changed_resources"] == 0
    assert world.calls == ["preview", "up"]
    [record] = read(world.s3, BUCKET, STACK)
    assert (record.kind, record.outcome) == ("up", "ok")


def test_up_changes_nothing_when_the_preview_would_lose_something(world: World) -> None:
    stack = two_colors(world)
    stack.events = [LOSS]
    with pytest.raises(RefusedError):
        bring_up(stack, UpArgs(), QUIET)
    assert world.calls == ["preview"]
    [record] = read(world.s3, BUCKET, STACK)
    assert (record.kind, record.outcome) == ("up", "refused")
    bring_up(stack, UpArgs(allow_replace=True), QUIET)
    assert world.calls == ["preview", "preview", "up"]


def test_up_waits_for_nobody_who_holds_the_lock(world: World) -> None:
    with locked(world.s3, BUCKET, STACK, "cutover", break_lock=False), pytest.raises(LockedError):
        bring_up(two_colors(world), UpArgs(), QUIET)


def test_the_first_up_of_a_stack_needs_no_bucket(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = WorldStack(world, {})
    monkeypatch.setattr(stack, "outputs", dict)
    bring_up(stack, UpArgs(), QUIET)
    assert world.calls == ["preview", "up"]
    assert read(world.s3, BUCKET, STACK) == []


def fresh_checkout(world: World, stack: WorldStack) -> WorldStack:
    """The same stack, with the config that Git has."""
    checkout = WorldStack(world, {"blue": {"minSize": 3}, "green": {"minSize": 3}})
    checkout.applied = stack.applied
    world.calls.clear()
    return checkout


def test_a_fresh_checkout_recalls_what_was_delivered_and_keeps_what_git_says(world: World) -> None:
    stack = two_colors(world)
    stack.config |= {"activeColor": "green", "canaryPercent": "10"}
    stack.up()
    checkout = fresh_checkout(world, stack)
    assert sync_config(checkout, SyncArgs()) == {
        "activeColor": "green",
        "canaryPercent": "10",
        "blue": f"v1 {world.ami}",
        "green": f"v2 {world.ami}",
    }
    assert checkout.config["activeColor"] == "green"
    assert checkout.config["green"] == {**stack.config["green"], "minSize": 3}
    assert "up" not in world.calls


def test_a_second_recall_finds_nothing_to_write(world: World) -> None:
    checkout = fresh_checkout(world, two_colors(world))
    assert sync_config(checkout, SyncArgs())
    world.calls.clear()
    assert (sync_config(checkout, SyncArgs()), world.calls) == ({}, [])


def test_what_an_up_refused_is_not_recalled(world: World) -> None:
    stack = two_colors(world)
    world.apps["v2"].database = "down"
    stack.config["activeColor"] = "green"
    with pytest.raises(CommandError):
        stack.up()
    checkout = fresh_checkout(world, stack)
    sync_config(checkout, SyncArgs())
    assert (checkout.config.get("activeColor", "blue"), world.served()) == ("blue", "v1")


def test_a_color_that_was_retired_is_recalled_as_off(world: World) -> None:
    stack = two_colors(world)
    stack.config["green"] = {"minSize": 2}
    with allowed(ALLOW_RETIRE):
        stack.up()
    checkout = fresh_checkout(world, stack)
    checkout.config["green"] = {"release": "v9", "releaseUrl": "s3://x", "sha256": "1", "amiId": "ami-1"}
    assert sync_config(checkout, SyncArgs())["green"] == "off"
    assert checkout.color(Color.GREEN)["release"] == ""


def test_a_stack_that_was_never_up_has_nothing_to_recall(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = WorldStack(world, {})
    monkeypatch.setattr(stack, "outputs", dict)
    assert (sync_config(stack, SyncArgs()), world.calls) == ({}, [])


def test_a_stack_that_is_what_its_program_says_has_not_drifted(world: World) -> None:
    stack = two_colors(world)
    stack.events = [step("refresh", "aws:ec2/vpc:Vpc", "network"), summary(same=71)]
    report_drift(stack, QUIET)
    assert world.calls == ["preview refreshed"]


def test_what_drifted_is_named_and_in_the_summary(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SUMMARY, str(tmp_path / "summary"))
    stack = two_colors(world)
    stack.events = [step("update", "aws:cloudwatch/logGroup:LogGroup", "app", diff={"retentionInDays": "update"})]
    with pytest.raises(DriftError, match=r"dev is not what its program .*: aws:cloudwatch/logGroup:LogGroup app"):
        report_drift(stack, QUIET)
    assert "`retentionInDays`" in (tmp_path / "summary").read_text()
