from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from ami.boot.messages import AppExited, body, log_stream
from fleet import launches
from fleet.colors import Color
from fleet.state import client, is_stopped
from fleet.waiting import TimedOut
from scripts.cli.display import Display
from scripts.cli.exits import Exit, InterruptedByUserError, RefusedError, UsageError
from scripts.cutover import CutoverArgs, cut_over
from scripts.deploy import DeployArgs, cli, deploy, require_arguments
from scripts.rollout import deployment_watch, failure_report
from scripts.rollout.deployment_watch import DeploymentFailedError, LaunchWatch, WatchedDeployment
from scripts.stack.history import read
from scripts.status import read_status, show
from tests.scripts.world import BUCKET, STACK, World, WorldStack, two_colors


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment_watch, "POLL_S", 0.02)


def go(stack: WorldStack, version: str, **options: Any) -> Any:
    return deploy(stack, DeployArgs(version=version, deadline_s=0.3, **options), Display(as_json=True))


def test_the_first_release_goes_to_the_active_color_and_serves(world: World) -> None:
    world.publish("v1")
    record = go(WorldStack(world, {}), "v1", ami=world.ami)
    assert (record.target.color, record.target.release, record.target.ami) == ("blue", "v1", world.ami)
    assert world.served() == "v1"


def test_the_next_release_goes_to_the_idle_color_and_no_user_sees_it(world: World) -> None:
    stack = two_colors(world, green="v2")
    go(stack, "v3")
    assert world.release_of(Color.GREEN) == "v3"
    assert world.served() == "v1"
    assert world.weights() == {Color.BLUE: 100, Color.GREEN: 0}
    assert stack.config["green"] == {
        "release": "v3",
        "releaseUrl": f"s3://{BUCKET}/releases/v3/bundle.tar.gz",
        "sha256": "0" * 63 + "3",
        "amiId": world.ami,
        "minSize": 2,
    }


def test_the_new_machines_are_there_before_the_old_ones_go(world: World) -> None:
    stack = two_colors(world)
    go(stack, "v3")
    assert [call for call in world.calls if call.startswith(("create", "delete"))] == [
        "create green v3",
        "delete dev-green-v2",
    ]


def test_the_color_that_serves_keeps_its_release(world: World) -> None:
    stack = two_colors(world)
    with pytest.raises(RefusedError, match="blue is live with release v1, which is never changed in place; "):
        go(stack, "v3", color=Color.BLUE)
    assert (world.calls, stack.config["blue"]["release"]) == ([], "v1")


def test_a_release_that_was_never_published_is_named_with_those_that_were(world: World) -> None:
    with pytest.raises(UsageError, match=r"release v9 was never published to artifacts-dev; published: v1, v2, v3"):
        go(two_colors(world), "v9")


def test_without_any_ami_one_must_be_named(world: World) -> None:
    world.publish("v1")
    with pytest.raises(UsageError, match="no color has an AMI yet"):
        go(WorldStack(world, {}), "v1")


def test_machines_that_stay_ill_are_told_with_the_evidence(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    stack = two_colors(world)
    ill = world.machines_of(Color.GREEN)[0]["instance"]
    world.ill.add(ill)
    with pytest.raises(TimedOut, match=r"waited 0\.3 s for release v2 on green: green has 1 of 2 healthy instances"):
        deploy(stack, DeployArgs(version="v2", deadline_s=0.3), Display())
    told = capsys.readouterr().err
    assert f"{ill}: InService, unhealthy Target.ResponseCodeMismatch" in told
    assert "the live color was not touched" in told
    [record] = read(world.s3, BUCKET, STACK)
    assert (record.kind, record.outcome) == ("deploy", "failed")
    assert world.served() == "v1"


def test_the_newest_image_is_the_one_that_packer_built_last(world: World) -> None:
    stack = two_colors(world)
    for name in ("bluegreen-debian-12-20261108-030000", "bluegreen-debian-12-20261101-030000", "someone-elses-9"):
        world.ec2.register_image(Name=name, RootDeviceName="/dev/xvda")
    newest = {image["Name"]: image["ImageId"] for image in world.ec2.describe_images(Owners=["self"])["Images"]}
    assert go(stack, "v3", ami="newest").target.ami == newest["bluegreen-debian-12-20261108-030000"]


def test_without_an_image_of_packers_the_newest_is_none(world: World) -> None:
    with pytest.raises(UsageError, match=r"there is no image named bluegreen-debian-12-\* in eu-central-1 yet"):
        go(two_colors(world), "v3", ami="newest")


def test_without_a_version_the_release_that_serves_is_delivered_anew(world: World) -> None:
    stack = two_colors(world)
    ami = world.ec2.register_image(Name="bluegreen-debian-12-1", RootDeviceName="/dev/xvda")["ImageId"]
    record = go(stack, "", ami="newest")
    assert (record.target.color, record.target.release, record.target.ami) == ("green", "v1", ami)


def test_without_a_version_and_a_release_that_serves_one_must_be_named(world: World) -> None:
    world.publish("v1")
    with pytest.raises(UsageError, match="no release is live yet, so there is none to deploy again"):
        go(WorldStack(world, {}), "", ami=world.ami)


def failed_delivery(world: World, **options: Any) -> tuple[WorldStack, DeploymentFailedError]:
    """v3, whose machines never boot, on green."""
    stack = two_colors(world)
    world.never_boots.add("v3")
    with pytest.raises(DeploymentFailedError) as caught:
        deploy(stack, DeployArgs(version="v3", deadline_s=600, **options), Display(as_json=True))
    return stack, caught.value


def green_group(world: World) -> Any:
    name = next(name for name, (color, release) in world.running.items() if (color, release) == (Color.GREEN, "v3"))
    return world.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]


def test_a_release_that_never_boots_is_given_up_after_three_machines(world: World) -> None:
    _, error = failed_delivery(world)
    group = green_group(world)
    lost = [f"i-{number:017x}" for number in range(3)]
    message = str(error)
    assert message.startswith(
        f"release v3 did not become healthy on green: 3 instances failed to launch ({', '.join(lost)}), and "
        "--max-failed-launches is 3; the last failed at step ready: the container ended with 1 before it was ready. "
        f"{group['AutoScalingGroupName']} launches no more instances until the next deploy; the live color was not "
        "touched\n"
    )
    assert message.endswith(
        f"{lost[2]} failed at step ready: the container ended with 1 before it was ready\n"
        "  seconds: identity 0.01, ready 3.5\n  | start step=ready\n  | app: ValueError: no database"
    )
    assert error.details["failed_launches"] == lost
    assert [failure["instance"] for failure in error.details["boot_failures"]] == lost
    assert is_stopped(group)
    assert (group["MinSize"], group["DesiredCapacity"]) == (2, 2)
    assert world.served() == "v1"


@pytest.mark.parametrize("most", [1, 2])
def test_how_many_machines_may_be_lost_is_the_callers_choice(world: World, most: int) -> None:
    _, error = failed_delivery(world, max_failed_launches=most)
    assert len(error.details["failed_launches"]) == most
    assert f"on green: {most} instance{'s' if most > 1 else ''} failed to launch" in str(error)


def test_people_are_told_of_a_delivery_that_failed_and_the_record_says_so(world: World) -> None:
    failed_delivery(world)
    ((subject, content),) = world.heard()
    assert subject == "Deployment failed, live traffic unchanged: dev green v3"
    assert (content["kind"], content["color"], content["release"], content["ami"]) == (
        "deployment_failed",
        "green",
        "v3",
        world.ami,
    )
    assert content["error"].startswith("release v3 did not become healthy on green: 3 instances failed to launch")
    assert [one["instance"] for one in content["failed_launches"]] == [f"i-{number:017x}" for number in range(3)]
    failure = content["boot_failure"]
    assert (failure["step"], failure["lines"]) == ("ready", ["start step=ready", "app: ValueError: no database"])
    [record] = read(world.s3, BUCKET, STACK)
    assert (record.outcome, record.notification) == ("failed", "published")
    assert record.error.startswith("release v3 did not become healthy on green")


def test_machines_that_left_no_word_are_told_by_what_the_group_says(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure_report, "LOG_WAIT_S", 0.0)
    world.keeps_boot_logs = False
    _, error = failed_delivery(world)
    assert error.details["boot_failures"] == []
    assert "i-00000000000000002: Instance failed to complete user's Lifecycle Action" in str(error)


def test_the_next_delivery_lets_a_stopped_group_go_on_and_counts_anew(world: World) -> None:
    stack, _ = failed_delivery(world)
    group = green_group(world)
    world.never_boots.clear()
    world.ill.clear()
    record = deploy(stack, DeployArgs(version="v3", deadline_s=5), Display(as_json=True))
    assert record is not None
    assert (record.outcome, record.target.asg) == ("ok", group["AutoScalingGroupName"])
    assert not is_stopped(green_group(world))
    assert [call for call in world.calls if call.startswith("create")] == ["create green v3"]


def lose_one(world: World, stack: WorldStack, then: Callable[[], None]) -> None:
    """One machine of v3 is abandoned, which is too few for the bound; the others stay ill."""
    wait = world.told_activities

    def once(group: str) -> list[dict[str, Any]]:
        color, release = world.running.get(group, (Color.BLUE, ""))
        if release == "v3" and not world.activities.get(group):
            world.ill.update(one["instance"] for one in world.machines_of(color))
            world.abandon(group, color, release)
            then()
        return wait(group)

    world.told_activities = once  # type: ignore[method-assign]


def test_a_delivery_that_nobody_follows_any_more_launches_nothing_more(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = two_colors(world)
    lose_one(world, stack, lambda: None)
    with pytest.raises(TimedOut, match="waited 3 s for release v3 on green"):
        deploy(stack, DeployArgs(version="v3", deadline_s=3), Display())
    group = green_group(world)
    assert is_stopped(group)
    assert (
        f"{group['AutoScalingGroupName']} launches no more instances until the next deploy" in capsys.readouterr().err
    )
    ((_, content),) = world.heard()
    assert content["launches_stopped"] == [group["AutoScalingGroupName"]]


def test_an_interrupted_delivery_that_lost_machines_launches_no_more(world: World) -> None:
    stack = two_colors(world)
    lose_one(world, stack, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT))
    with pytest.raises(InterruptedByUserError):
        deploy(stack, DeployArgs(version="v3", deadline_s=30), Display(as_json=True))
    assert is_stopped(green_group(world))


@pytest.mark.parametrize(("ill", "stops"), [(0, False), (1, True)])
def test_a_group_that_serves_is_not_stopped(world: World, ill: int, stops: bool) -> None:
    two_colors(world)
    world.ill.update(one["instance"] for one in world.machines_of(Color.GREEN)[:ill])
    deployment = WatchedDeployment(stack=STACK, color=Color.GREEN, release="v2", ami=world.ami, max_failed_launches=3)
    stopped = LaunchWatch(deployment=deployment, session=world.session).stop_launches()
    assert [name.rsplit("-", 1)[0] for name in stopped] == ["dev-green-v2"] * stops


def test_a_stopped_group_that_serves_launches_again_once_it_gets_users(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = two_colors(world)
    [name] = {one["group"] for one in world.machines_of(Color.GREEN)}
    launches.stop(world.autoscaling, name)
    show(Display(), read_status(stack, 0))
    assert "2 of 2, launches stopped" in capsys.readouterr().out
    cut_over(stack, CutoverArgs(target=Color.GREEN), Display(as_json=True))
    groups = world.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    assert (world.served(), is_stopped(groups[0])) == ("v2", False)


def test_too_few_machines_of_a_stopped_group_are_not_waited_for(world: World) -> None:
    stack = two_colors(world, sizes=(3, 2))
    [name] = {one["group"] for one in world.machines_of(Color.GREEN)}
    launches.stop(world.autoscaling, name)
    told = rf"green has 2 of 3 healthy instances of release v2, .* stopped {name} from launching more; deploy it again"
    with pytest.raises(RefusedError, match=told):
        cut_over(stack, CutoverArgs(target=Color.GREEN), Display(as_json=True))
    assert world.served() == "v1"


@pytest.mark.parametrize("most", ["0", "-1", "51", "many"])
def test_how_many_machines_may_be_lost_has_bounds(most: str) -> None:
    assert CliRunner().invoke(cli, ["v3", "--max-failed-launches", most]).exit_code == Exit.USAGE


def test_a_new_image_within_the_release_that_stands_ready_replaces_its_machines(world: World) -> None:
    stack = two_colors(world)
    ami = world.ec2.register_image(Name="bluegreen-debian-12-2", RootDeviceName="/dev/xvda")["ImageId"]
    record = go(stack, "v2", ami="newest")
    assert (record.target.color, record.target.release, record.target.ami) == ("green", "v2", ami)
    assert {(one["release"], one["ami"]) for one in world.machines_of(Color.GREEN)} == {("v2", ami)}
    assert [call for call in world.calls if call.startswith(("create", "delete"))] == [
        "create green v2",
        "delete dev-green-v2",
    ]


def test_the_color_that_serves_keeps_its_image(world: World) -> None:
    stack = two_colors(world)
    with pytest.raises(RefusedError, match=f"blue is live on {world.ami}, which is never changed in place; deploy"):
        go(stack, "v1", color=Color.BLUE, ami="ami-0123456789abcdef0")
    assert (world.calls, stack.config["blue"]["amiId"]) == ([], world.ami)


def test_a_word_that_comes_a_moment_late_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    two_colors(world)
    boots = failure_report.Boots(stack=STACK, color=Color.GREEN, release="v3")
    monkeypatch.setattr("time.sleep", lambda _seconds: world.write_failure(Color.GREEN, "v3", "i-2"))
    world.write_failure(Color.GREEN, "v3", "i-1")
    found = failure_report.boot_failures(world.session, boots, ["i-0", "i-1", "i-2"])
    assert {instance: failure.instance for instance, failure in found.items()} == {"i-1": "i-1", "i-2": "i-2"}


def test_what_a_machine_lost_after_its_boot_is_no_failed_boot(world: World) -> None:
    two_colors(world)
    boots = failure_report.Boots(stack=STACK, color=Color.GREEN, release="v3")
    world.write_failure(Color.GREEN, "v3", "i-1")
    place = {"logGroupName": f"/bluegreen/{STACK}/boot", "logStreamName": log_stream("green", "v3", "i-1")}
    exited = AppExited(
        stack=STACK, color="green", release="v3", instance="i-1", error="the app exited with 137", exit_code=137
    )
    event = {"timestamp": int(world.began.timestamp() * 1000) + 1, "message": body(exited)}
    client(world.session, "logs").put_log_events(**place, logEvents=[event])
    assert failure_report.boot_failures(world.session, boots, ["i-1"])["i-1"].step == "ready"


def test_without_a_version_another_image_must_be_named() -> None:
    """Else the live release would take the place of the one to roll back to."""
    with pytest.raises(UsageError, match="name a VERSION; without one --ami says on which other image"):
        require_arguments(DeployArgs())
    require_arguments(DeployArgs(ami="newest"))
