from __future__ import annotations

from dataclasses import replace

import pytest

from config.colors import ColorSettings
from fleet.colors import Color
from fleet.deployments import (
    ALLOW_OFFLINE,
    ALLOW_RETIRE,
    ALLOW_SHIFT,
    Deployment,
    EffectKind,
    StackUpdate,
    effects,
    interrupted_weights,
    is_current,
    refusal,
)

BLUE, GREEN = Color.BLUE, Color.GREEN
V1, V2, V3 = (
    ColorSettings(version=name, url=f"s3://bucket/releases/{name}/bundle.tar.gz", sha256="0" * 64, ami="ami-12345678")
    for name in ("v1", "v2", "v3")
)
OFF = ColorSettings()
LAST = Deployment(
    active=GREEN, colors={BLUE: V2, GREEN: V3}, revision="a" * 12, account="111111111111", region="eu-central-1"
)
FRESH_CLONE = Deployment(account=LAST.account, region=LAST.region)


def asked(base: str = LAST.revision, **changes: object) -> Deployment:
    return replace(LAST, revision=base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("desired", "expected"),
    [
        (asked(), []),
        (asked(active=BLUE), [(EffectKind.SHIFTS, "move all traffic from green v3 to blue v2")]),
        (
            asked(canary_percent=10),
            [(EffectKind.SHIFTS, "send 10 % of the traffic to blue v2 and 90 % to green v3, now 0 % and 100 %")],
        ),
        (
            asked(colors={BLUE: V1, GREEN: V3}),
            [(EffectKind.DEPLOYS, "start new instances of v1 on blue, the idle color, instead of v2")],
        ),
        (
            asked(colors={BLUE: V2.model_copy(update={"ami": "ami-87654321"}), GREEN: V3}),
            [(EffectKind.DEPLOYS, "start new instances of v2 on blue, the idle color")],
        ),
        (
            asked(colors={BLUE: OFF, GREEN: V3}),
            [(EffectKind.DELETES_IDLE, "delete blue v2, the only release to roll back to")],
        ),
        (
            asked(colors={BLUE: V2, GREEN: V1}),
            [(EffectKind.REPLACES_LIVE, "replace green v3, which has traffic, by green v1")],
        ),
        (
            asked(active=BLUE, colors={BLUE: V1, GREEN: OFF}),
            [
                (EffectKind.DELETES_LIVE, "delete the fleet of green v3, which has traffic"),
                (EffectKind.SHIFTS, "move all traffic from green v3 to blue v1"),
                (EffectKind.DEPLOYS, "start new instances of v1 on blue, the idle color, instead of v2"),
            ],
        ),
        (
            FRESH_CLONE,
            [
                (EffectKind.OFFLINE, "take all traffic off green v3: every request would get a 503"),
                (EffectKind.DELETES_LIVE, "delete the fleet of green v3, which has traffic"),
                (EffectKind.DELETES_IDLE, "delete blue v2, the only release to roll back to"),
            ],
        ),
    ],
)
def test_what_a_change_does_to_users_the_worst_first(
    desired: Deployment, expected: list[tuple[EffectKind, str]]
) -> None:
    assert [(one.kind, one.text) for one in effects(LAST, desired)] == expected


def test_the_first_release_goes_to_all_users() -> None:
    first = replace(FRESH_CLONE, colors={BLUE: V1, GREEN: OFF})
    assert [one.text for one in effects(Deployment(), first)] == [
        "send all traffic to blue v1, the first release",
        "start new instances of v1 on blue, which has traffic",
    ]
    assert refusal("dev", Deployment(), first, {}) is None


@pytest.mark.parametrize(
    "desired",
    [
        FRESH_CLONE,
        asked("b" * 12, active=BLUE),
        asked("", active=BLUE, colors={BLUE: V1, GREEN: OFF}),
        asked("b" * 12, colors={BLUE: V1, GREEN: V3}),
        asked(f"{'b' * 12}/{'c' * 12}", canary_percent=5),
    ],
    ids=["fresh", "stale cutover", "stale and off", "stale idle color", "stale canary"],
)
def test_config_older_than_the_stack_changes_nothing_whatever_the_words(desired: Deployment) -> None:
    words = {ALLOW_OFFLINE: "1", ALLOW_RETIRE: "1", ALLOW_SHIFT: "1"}
    said = refusal("dev", LAST, desired, words)
    assert said
    assert said.startswith(
        "the config of this checkout is older than the last change of stack dev: green v3 has 100 % of the traffic, "
        f"and this would {effects(LAST, desired)[0].text}"
    )
    assert "`./bluegreen sync-config --stack dev` brings the config up to date" in said


def test_old_config_that_asks_for_what_the_stack_has_is_harmless() -> None:
    assert refusal("dev", LAST, asked("b" * 12), {}) is None


@pytest.mark.parametrize(
    ("desired", "word", "command"),
    [
        (asked(colors={BLUE: OFF, GREEN: OFF}), ALLOW_OFFLINE, "retire --all"),
        (asked(active=BLUE, colors={BLUE: V2, GREEN: OFF}), ALLOW_OFFLINE, "retire --all"),
        (asked(colors={BLUE: OFF, GREEN: V3}), ALLOW_RETIRE, "retire"),
    ],
    ids=["all off", "serving color off", "idle color off"],
)
def test_what_takes_users_or_the_rollback_away_needs_its_own_word(desired: Deployment, word: str, command: str) -> None:
    said = refusal("dev", LAST, desired, {})
    assert said
    assert f"`./bluegreen {command} --stack dev`, or `{word}=1 pulumi up --stack dev`" in said
    assert refusal("dev", LAST, desired, {word: "0"}) == said
    rest = {ALLOW_OFFLINE: "1", ALLOW_RETIRE: "1"} if desired.is_off else {word: "1"}
    assert refusal("dev", LAST, desired, rest) is None


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (
            {"account": "222222222222"},
            "stack dev is in the AWS account 111111111111, and this would create it in 22222",
        ),
        ({"region": "us-east-1"}, "stack dev is in the AWS region eu-central-1, and this would create it in us-east-1"),
    ],
)
def test_another_account_or_region_is_refused_even_without_a_change(place: dict[str, str], text: str) -> None:
    assert str(refusal("dev", LAST, replace(LAST, **place), {})).startswith(text)  # type: ignore[arg-type]


def test_each_change_has_its_own_revision_and_none_has_none() -> None:
    back = asked(active=BLUE)
    forward = replace(LAST, revision=back.next_revision(LAST))
    assert len({LAST.revision, back.next_revision(LAST), LAST.next_revision(replace(back, revision="c" * 12))}) == 3
    assert back.next_revision(LAST) == forward.revision
    assert asked().next_revision(LAST) == LAST.revision
    assert FRESH_CLONE.next_revision(LAST) == ""


def test_a_stack_from_before_gets_its_first_revision_without_a_change() -> None:
    change = StackUpdate(stack="dev", last=replace(LAST, revision=""), desired=asked(""))
    assert len(change.revision) == 12
    assert change.revision_at_begin == change.revision_at_end == change.revision
    assert refusal("dev", replace(LAST, revision=change.revision), FRESH_CLONE, {})


def test_config_is_the_newest_from_the_begin_of_its_change_to_whatever_end() -> None:
    change = StackUpdate(stack="dev", last=LAST, desired=asked(active=BLUE))
    begun = asked(change.revision_at_begin, active=BLUE)
    assert begun.revision == f"{LAST.revision}/{change.revision}"
    done = replace(LAST, active=BLUE, revision=change.revision)
    assert is_current(LAST, begun)
    assert is_current(done, begun)
    assert interrupted_weights(LAST, begun) == {BLUE: 100, GREEN: 0}
    assert interrupted_weights(done, begun) is None
    assert change.revision_at_end == change.revision_at_begin
    third = replace(done, active=GREEN, revision=replace(LAST, revision="").next_revision(done))
    assert not is_current(third, begun)


def test_taken_back_after_a_failure_it_asks_for_the_traffic_that_the_stack_left() -> None:
    """An `up` whose last gate failed has moved users already: the way back must not look like a stale checkout."""
    begun = StackUpdate(stack="dev", last=LAST, desired=asked(active=BLUE)).revision_at_begin
    back = StackUpdate(stack="dev", last=LAST, desired=asked(begun))
    recorded = back.recorded({})
    assert recorded
    assert recorded.may_change_from({BLUE: 100, GREEN: 0})
    assert not recorded.may_change_from({BLUE: 90, GREEN: 10})  # what others set since is not its own to take back
    assert back.revision_at_begin == begun
    assert back.revision_at_end == LAST.revision


def test_without_a_change_nobody_asked_to_move_users() -> None:
    unchanged = StackUpdate(stack="dev", last=LAST, desired=asked())
    assert [getattr(unchanged.recorded(word), "may_change", None) for word in ({}, {ALLOW_SHIFT: "1"})] == [
        False,
        True,
    ]
    assert StackUpdate(stack="dev", last=Deployment(), desired=FRESH_CLONE).recorded({}) is None


def test_outputs_of_a_stack_that_was_never_updated_are_an_empty_deployment() -> None:
    assert Deployment.from_outputs({}) == Deployment()
    assert Deployment.from_outputs({"activeColor": None, "colors": None, "canaryPercent": 0.0}) == Deployment()
