"""A deployment followed while the emulated Auto Scaling replaces one abandoned machine by the next."""

from __future__ import annotations

from typing import Any

import pytest

from fleet import launches
from fleet.colors import Color
from fleet.launches import CapacityWait, LaunchesStoppedError, wait_for_capacity
from fleet.state import is_stopped
from scripts.rollout import deployment_watch
from scripts.rollout.deployment_watch import LaunchWatch, WatchedDeployment, watching_launches
from tests.rehearsal.cloud.conftest import cloud, make_fleet, running
from tests.rehearsal.cloud.fleet import Fleet, Maker, wait

__all__ = ["cloud", "make_fleet", "running"]

DELIVERY = WatchedDeployment(stack="dev", color=Color.BLUE, release="v1", ami="ami-1", max_failed_launches=2)


class Session:
    """Clients of the emulated account, as a boto3 session gives them."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def client(self, service: str, config: object = None) -> Any:
        return self._fleet.cloud.client(service)


@pytest.fixture
def fleet(make_fleet: Maker, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(deployment_watch, "POLL_S", 0.05)
    tags = {"Stack": "dev", "Color": "blue", "Release": "v1", "Ami": "ami-1"}
    return make_fleet(Tags=[{"Key": key, "Value": value, "PropagateAtLaunch": True} for key, value in tags.items()])


def described(fleet: Fleet) -> Any:
    groups = fleet.cloud.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[fleet.group])
    return groups["AutoScalingGroups"][0]


def abandon_one(fleet: Fleet, known: set[str]) -> str:
    """The next machine that waits for its hook is of no use."""

    def waiting() -> list[str]:
        return [
            one["InstanceId"]
            for one in fleet.members()
            if one["LifecycleState"] == "Pending:Wait" and one["InstanceId"] not in known
        ]

    wait(lambda: None if waiting() else "none waits", "a new machine")
    instance = str(waiting()[0])
    fleet.complete(instance, "boot", "ABANDON")
    known.add(instance)
    return instance


def lost(launch_watch: LaunchWatch) -> list[str]:
    return [loss.instance for loss in launch_watch.failed_launches]


def test_after_the_last_machine_that_it_may_lose_the_group_launches_no_more(fleet: Fleet) -> None:
    session, known = Session(fleet), set[str]()
    with watching_launches(session, DELIVERY) as launch_watch:
        first = abandon_one(fleet, known)
        wait(lambda: None if lost(launch_watch) == [first] else f"{lost(launch_watch)}", "the first loss")
        assert not launch_watch.has_aborted
        second = abandon_one(fleet, known)
        wait(lambda: None if launch_watch.has_aborted else "it goes on", "the end of the deployment")
    assert lost(launch_watch) == [first, second]
    assert launch_watch.stopped_groups == [fleet.group]
    assert is_stopped(described(fleet))
    awaited = CapacityWait(group=fleet.group, instances=1, target_groups=[fleet.target_group])
    with pytest.raises(LaunchesStoppedError, match="may launch no more instances: 0 of 1 instances are healthy"):
        wait_for_capacity(session, awaited, 60)


def test_the_next_delivery_goes_on_with_the_group_and_forgets_what_was(fleet: Fleet) -> None:
    session, known = Session(fleet), set[str]()
    with watching_launches(session, WatchedDeployment(**{**vars(DELIVERY), "max_failed_launches": 1})) as given_up:
        abandoned = abandon_one(fleet, known)
        wait(lambda: None if given_up.has_aborted else "it goes on", "the end of the deployment")
    fleet.wait_for(["Terminating:Wait"])
    fleet.complete(abandoned, "drain", "CONTINUE")
    fleet.wait_for([])
    with watching_launches(session, DELIVERY) as launch_watch:
        assert not is_stopped(described(fleet))
        wait(lambda: None if fleet.members() else "none", "a machine that is launched again")
        fleet.complete(fleet.member(), "boot", "CONTINUE")
        fleet.wait_for(["InService"])
        launch_watch.poll()
        assert (lost(launch_watch), launch_watch.has_aborted, launch_watch.last_error) == ([], False, "")


def test_groups_of_another_release_color_or_image_are_left_alone(fleet: Fleet) -> None:
    for other in ({"release": "v2"}, {"color": Color.GREEN}, {"ami": "ami-2"}, {"stack": "prod"}):
        with watching_launches(
            Session(fleet), WatchedDeployment(**{**vars(DELIVERY), **other, "max_failed_launches": 1})
        ) as launch_watch:
            launch_watch.poll()
        assert (launch_watch.failed_launches, launch_watch.stopped_groups) == ([], [])
    abandon_one(fleet, set())
    with watching_launches(
        Session(fleet), WatchedDeployment(**{**vars(DELIVERY), "release": "v2", "max_failed_launches": 1})
    ) as launch_watch:
        launch_watch.poll()
    assert launch_watch.stopped_groups == []
    assert not is_stopped(described(fleet))


def test_a_look_that_fails_is_made_again(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import EndpointConnectionError

    notes: list[str] = []
    launch_watch = LaunchWatch(deployment=DELIVERY, session=Session(fleet), note=notes.append)
    with monkeypatch.context() as patch:

        def unreachable(_group: str) -> Any:
            raise EndpointConnectionError(endpoint_url="https://autoscaling")

        patch.setattr(launches, "activities", lambda _client, group: unreachable(group))
        launch_watch.poll()
        assert "Could not connect to the endpoint URL" in launch_watch.last_error
        patch.setattr(launches, "activities", lambda _client, _group: [{}])
        launch_watch.poll()
        assert launch_watch.last_error == "'StartTime'"
    assert notes == [
        "failed launches can't be counted, or launches not be stopped, now: "
        'Could not connect to the endpoint URL: "https://autoscaling"'
    ]
    launch_watch.poll()
    assert launch_watch.last_error == ""
