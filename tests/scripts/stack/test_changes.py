from __future__ import annotations

from typing import Any

import pytest
from pulumi.automation import EngineEvent

from scripts.stack.change_report import MAX_ROWS, markdown
from scripts.stack.changes import PROTECTED, Changes, PolicyViolation, ResourceChange, read_events, refusal
from tests.scripts.event_log import diagnostic, replacement, step, summary, violation

RULE, VPC, BUCKET = "aws:lb/listenerRule:ListenerRule", "aws:ec2/vpc:Vpc", "aws:s3/bucket:Bucket"


def read(*events: dict[str, Any]) -> Changes:
    return read_events([EngineEvent.from_json(event) for event in events])


def test_what_stays_the_same_is_counted_and_not_listed() -> None:
    found = read(
        step("same", VPC, "network"), step("read", "aws:ec2/x:X", "x"), summary(same=70, update=1, create_replacement=1)
    )
    assert found.changes == ()
    assert found.counts == {"same": 70, "update": 1}


def test_an_update_names_its_properties() -> None:
    diff = {"actions[0].forward.targetGroups[1].weight": "update", "tags.Release": "add"}
    [change] = read(step("update", RULE, "live", diff=diff)).changes
    assert change == ResourceChange(op="update", type=RULE, name="live", properties=tuple(sorted(diff)))


def test_without_a_detailed_difference_the_plain_one_is_named() -> None:
    [change] = read(step("update", RULE, "live", diffs=["tags", "actions"])).changes
    assert change.properties == ("actions", "tags")


def test_the_three_steps_of_a_replacement_are_one_change() -> None:
    assert read(*replacement(VPC, "network", "cidrBlock")).changes == (
        ResourceChange(op="replace", type=VPC, name="network", properties=("cidrBlock",), replacing=("cidrBlock",)),
    )


def test_the_stack_itself_is_no_row() -> None:
    assert read(step("update", "pulumi:pulumi:Stack", "bluegreen-dev")).changes == ()


def test_violations_and_diagnostics_come_without_the_engines_colors() -> None:
    found = read(
        violation("public-bucket", "mandatory", "<{%fg 1%}>is public<{%reset%}>\n", "logs"),
        violation("tagged", "advisory", "has no tag"),
        diagnostic("error", "<{%reset%}>error: boom<{%reset%}>"),
        diagnostic("warning", "\x1b[33mold\x1b[0m"),
        diagnostic("info", "hello"),
    )
    assert found.violations == (
        PolicyViolation(policy="public-bucket", mandatory=True, resource="logs", message="is public"),
        PolicyViolation(policy="tagged", mandatory=False, resource="", message="has no tag"),
    )
    assert (found.errors, found.warnings) == (("error: boom",), ("old",))


@pytest.mark.parametrize("kind", PROTECTED)
@pytest.mark.parametrize("op", ["delete", "replace"])
def test_what_must_be_kept_is_not_replaced_or_deleted_unless_that_is_said(kind: str, op: str) -> None:
    found = read(step(op, kind, "kept"))
    refused = refusal(found, allow_replace=False)
    assert refused is not None
    assert refused.startswith(f"{PROTECTED[kind]} kept would be {op}d; if that is intended, say --allow-replace")
    assert refusal(found, allow_replace=True) is None


@pytest.mark.parametrize(("op", "kind"), [("update", VPC), ("create", BUCKET), ("delete", RULE), ("discard", VPC)])
def test_everything_else_may_go_on(op: str, kind: str) -> None:
    assert refusal(read(step(op, kind, "x")), allow_replace=False) is None


def test_a_mandatory_policy_refuses_whatever_is_allowed_and_an_advisory_one_does_not() -> None:
    assert refusal(read(violation("tagged", "advisory", "has no tag", "x")), allow_replace=False) is None
    broken = read(violation("public-bucket", "mandatory", "is public", "logs"))
    assert refusal(broken, allow_replace=True) == "policy public-bucket forbids logs: is public"


def test_the_page_shows_losses_first_and_no_value() -> None:
    found = read(
        step("create", RULE, "live"),
        *replacement(VPC, "network", "cidrBlock"),
        step("update", RULE, "preview", diff={"priority": "update"}),
        violation("tagged", "advisory", "has | no tag", "logs"),
        summary(same=68, create=1, replace=1, update=1),
    )
    page = markdown("dev", found, refusal(found, allow_replace=False))
    assert page.startswith(
        "### Preview of `dev`\n\nTraffic: unchanged.\n\n1 to create, 1 to update, 1 to replace, 68 unchanged\n"
    )
    assert [line for line in page.splitlines() if line.startswith(("| +", "| ~"))] == [
        "| +- | replace | `aws:ec2/vpc:Vpc` | `network` | **destroys a VPC**, `cidrBlock` (forces replacement) |",
        f"| + | create | `{RULE}` | `live` |  |",
        f"| ~ | update | `{RULE}` | `preview` | `priority` |",
    ]
    assert "**Refused:**\n\n```\nVPC network would be replaced" in page
    assert "| advisory | `tagged` | `logs` | has \\| no tag |" in page
    assert "never-shown" not in page


def test_what_was_allowed_by_hand_is_told() -> None:
    found = read(step("delete", BUCKET, "artifacts"))
    assert "**Allowed by hand:** delete of bucket `artifacts`" in markdown("dev", found, None)


def test_a_preview_that_broke_off_counts_what_it_saw_and_tells_why() -> None:
    page = markdown("dev", read(step("create", RULE, "live"), diagnostic("error", "no such zone")), None)
    assert "1 to create, 0 unchanged" in page
    assert "**The preview ended with errors**\n\n```\nno such zone\n```" in page


def test_a_preview_that_pulumi_gave_up_claims_nothing() -> None:
    page = markdown("dev", read(), None, failure="alertEmails must be of type array")
    assert page == "### Preview of `dev`\n\n**The preview failed**\n\n```\nalertEmails must be of type array\n```\n"


def test_a_preview_of_no_change_says_so() -> None:
    assert markdown("dev", read(summary(same=71)), None) == (
        "### Preview of `dev`\n\nTraffic: unchanged.\n\nno changes, 71 unchanged\n\nPolicies: no violations.\n\n"
    )


def test_a_very_long_table_ends_with_how_many_are_left_out() -> None:
    found = read(*(step("create", RULE, f"rule{number}") for number in range(MAX_ROWS + 3)))
    page = markdown("dev", found, None)
    assert page.count("| + | create |") == MAX_ROWS
    assert "… and 3 more" in page
