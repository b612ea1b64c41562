from __future__ import annotations

from typing import Any

import pytest

from fleet.colors import Color
from fleet.waiting import TimedOut, wait_until
from scripts import restart as restarting
from scripts.cli.display import Display
from scripts.cli.exits import InterruptedByUserError, LockedError, RefusedError, UsageError
from scripts.cutover import CutoverArgs, cut_over
from scripts.restart import RestartArgs, restart
from scripts.retire import RetireArgs, retire
from scripts.stack.lock import locked
from scripts.status import read_status, show
from tests.scripts.world import BUCKET, STACK, World, two_colors

QUIET = Display(as_json=True)


def test_retire_turns_the_idle_color_off_and_users_notice_nothing(world: World) -> None:
    stack = two_colors(world)
    record = retire(stack, RetireArgs(), QUIET)
    assert record is not None
    assert record.source.release == "v2"
    assert world.machines_of(Color.GREEN) == []
    assert (stack.config["green"]["release"], world.served()) == ("", "v1")


def test_a_color_with_users_is_not_retired(world: World) -> None:
    stack = two_colors(world)
    with pytest.raises(RefusedError, match=r"blue has 100 % of the traffic and is the active color.*now that is green"):
        retire(stack, RetireArgs(color=Color.BLUE), QUIET)
    stack.config["canaryPercent"] = "10"
    stack.up()
    with pytest.raises(
        RefusedError,
        match=r"green has 10 % of the traffic, a canary; end it first: `./bluegreen canary 0",
    ):
        retire(stack, RetireArgs(), QUIET)
    assert len(world.machines_of(Color.GREEN)) == 2


def test_restart_takes_each_machine_out_before_it_reboots_and_back_in_before_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = two_colors(world)
    seen: list[tuple[str, ...]] = []
    reboot = restarting.reboot

    def watched(context: Any, machine: Any) -> None:
        group = world.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[context.group.name])
        suspended = {one["ProcessName"] for one in group["AutoScalingGroups"][0]["SuspendedProcesses"]}
        assert suspended == {"HealthCheck", "ReplaceUnhealthy"}
        seen.append(tuple(sorted(_registered(world))))
        reboot(context, machine)

    monkeypatch.setattr(restarting, "reboot", watched)
    both = sorted(one["instance"] for one in world.machines_of(Color.BLUE))
    done = restart(stack, RestartArgs(), QUIET)
    assert sorted(one.instance for one in done) == both
    assert world.rebooted == [one.instance for one in done]
    assert seen == [tuple(name for name in both if name != one.instance) for one in done]
    assert _registered(world) == set(both)
    assert _suspended(world) == set()


def _registered(world: World) -> set[str]:
    told = world.elbv2.describe_target_health(TargetGroupArn=world.groups[Color.BLUE])["TargetHealthDescriptions"]
    return {one["Target"]["Id"] for one in told if one["TargetHealth"]["State"] == "healthy"}


def _suspended(world: World) -> set[str]:
    name = world.machines_of(Color.BLUE)[0]["group"]
    group = world.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]
    return {one["ProcessName"] for one in group["SuspendedProcesses"]}


def test_a_machine_that_does_not_come_back_is_left_to_its_group(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = two_colors(world)
    world.boots_fail = True
    monkeypatch.setattr(restarting, "BACK_DEADLINE_S", 0.2)
    with pytest.raises(TimedOut, match="to boot: its boot hasn't reported yet, it is marked unhealthy"):
        restart(stack, RestartArgs(count=1), QUIET)
    assert len(world.rebooted) == 1
    assert _suspended(world) == set()
    assert len(_registered(world)) == 2


@pytest.mark.parametrize(
    ("waited_for", "left"),
    [
        ("to drain", "{} was taken out of the load balancer and put back in, and not rebooted"),
        (
            "to boot",
            "{} was marked unhealthy and rebooted, and put back into the load balancer; the group {} may replace it "
            "before it is ready",
        ),
        ("to serve", "{} was rebooted and put back into the load balancer"),
    ],
)
@pytest.mark.parametrize("nth", [0, 1])
def test_an_interrupted_restart_says_what_was_done(
    world: World, monkeypatch: pytest.MonkeyPatch, waited_for: str, left: str, nth: int
) -> None:
    stack = two_colors(world)
    first, second = (one["instance"] for one in world.machines_of(Color.BLUE))
    interrupted = (first, second)[nth]
    wait = wait_until

    def press_ctrl_c(problem: Any, *, what: str, deadline_s: float) -> Any:
        if what == f"{interrupted} {waited_for}":
            raise KeyboardInterrupt
        return wait(problem, what=what, deadline_s=deadline_s)

    monkeypatch.setattr(restarting, "wait_until", press_ctrl_c)
    with pytest.raises(InterruptedByUserError) as ended:
        restart(stack, RestartArgs(instances=(first, second)), QUIET)
    group = world.machines_of(Color.BLUE)[0]["group"]
    done = f"restarted: {first}; " if nth else ""
    assert str(ended.value) == f"interrupted; {done}{left.format(interrupted, group)}"
    assert (_registered(world), _suspended(world)) == ({first, second}, set())


def test_count_and_names_choose_machines(world: World) -> None:
    stack = two_colors(world)
    assert len(restart(stack, RestartArgs(count=1), QUIET)) == 1
    green = world.machines_of(Color.GREEN)[1]["instance"]
    done = restart(stack, RestartArgs(color=Color.GREEN, instances=(green,)), QUIET)
    assert [one.instance for one in done] == [green]
    with pytest.raises(UsageError, match="i-nope: blue has no such healthy instance, it has i-"):
        restart(stack, RestartArgs(instances=("i-nope",)), QUIET)


def test_the_only_machine_with_users_is_not_restarted(world: World) -> None:
    stack = two_colors(world, sizes=(1, 1))
    with pytest.raises(RefusedError, match="blue serves 100 % of the traffic with 1 healthy instance"):
        restart(stack, RestartArgs(), QUIET)
    assert world.rebooted == []


def test_everything_that_changes_a_stack_respects_the_lock(world: World) -> None:
    stack = two_colors(world)
    with locked(world.s3, BUCKET, STACK, "cutover"):
        for change in (
            lambda: restart(stack, RestartArgs(), QUIET),
            lambda: retire(stack, RetireArgs(), QUIET),
        ):
            with pytest.raises(LockedError, match="the stack is locked by"):
                change()
    assert world.calls == []


def test_status_tells_what_belongs_together_and_what_was_done(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    stack = two_colors(world)
    cut_over(stack, CutoverArgs(target=Color.GREEN), QUIET)
    with locked(world.s3, BUCKET, STACK, "deploy") as holder:
        status = read_status(stack, 10)
    told = status.as_json()
    assert told["serving"] == "green"
    assert told["lock"]["id"] == holder.id
    assert told["colors"]["green"] == {
        "release": "v2",
        "configured": "v2",
        "ami": world.ami,
        "asg": world.machines_of(Color.GREEN)[0]["group"],
        "target_group": world.groups[Color.GREEN],
        "healthy": 2,
        "launches_stopped": False,
        "instances": 2,
        "weight": 100,
    }
    assert [(one["kind"], one["source"]["release"], one["target"]["release"]) for one in told["history"]] == [
        ("cutover", "v1", "v2")
    ]
    show(Display(), status)
    printed = capsys.readouterr().out
    assert "blue v1 → green v2" in printed
    assert f"locked by {holder.holder}" in printed


def test_history_shows_the_newest_first_and_only_so_many(world: World) -> None:
    stack = two_colors(world)
    for target in (Color.GREEN, Color.BLUE, Color.GREEN):
        cut_over(stack, CutoverArgs(target=target), QUIET)
    assert [str(one.target) for one in read_status(stack, 2).records] == ["green v2", "blue v1"]


def test_status_warns_while_nobody_gets_the_alerts(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    stack = two_colors(world)
    warning = (
        "nobody is notified of alarms and failures of dev: alertEmails and alertWebhooks are both empty; "
        "`pulumi config set --path 'alertEmails[0]' ops@example.org --stack dev` and `pulumi up --stack dev` add an "
        "address"
    )
    assert read_status(stack, 0).as_json()["no_subscribers"] == warning
    show(Display(), read_status(stack, 0))
    assert capsys.readouterr().out.splitlines()[-1] == warning
    stack.config["alertWebhooks"] = ["https://hooks.example.org/1"]
    status = read_status(stack, 0)
    assert status.as_json()["no_subscribers"] is None
    show(Display(), status)
    assert "nobody is notified" not in capsys.readouterr().out


def test_status_names_config_values_that_the_program_would_refuse(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = two_colors(world)
    assert read_status(stack, 0).as_json()["config_problem"] is None
    stack.config["green"]["amiId"] = "ami-12"
    stack.config["activeColor"] = "purple"  # which nothing else can be read by
    status = read_status(stack, 0)
    told = [
        "The stack's config can't be used:",
        "  activeColor: purple: allowed is blue or green",
        "  green.amiId: ami-12: allowed is an image id, such as ami-0123456789abcdef0, or empty",
    ]
    assert status.as_json()["config_problem"].splitlines() == told
    show(Display(), status)
    assert capsys.readouterr().out.splitlines()[-3:] == told
