from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from fleet.colors import Color
from fleet.state import ColorState, describe
from scripts import smoke_test
from scripts.cli.exits import Exit, UsageError
from scripts.cli.private_addresses import PrivateAddress, addresses_of, parse
from tests.scripts.world import OPEN, STACK, World, WorldStack, select_world, two_colors


@pytest.fixture
def stack(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorldStack]:
    monkeypatch.setattr("pulumi.automation.select_stack", select_world)
    OPEN[STACK] = two_colors(world)
    yield OPEN[STACK]
    OPEN.clear()


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [("10.0.1.5", "10.0.1.5", 8080), ("192.168.0.9:80", "192.168.0.9", 80), ("172.16.0.1:65535", "172.16.0.1", 65535)],
)
def test_an_address_may_come_with_a_port(text: str, address: str, port: int) -> None:
    assert parse(text) == PrivateAddress(address=address, port=port)
    assert parse(text).url == f"http://{address}:{port}"


@pytest.mark.parametrize(
    "text", ["", "host", "10.0.1", "8.8.8.8", "10.0.1.5:", "10.0.1.5:0", "10.0.1.5:65536", "10.0.1.5:x", "fd00::1"]
)
def test_what_is_no_private_address_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert str(caught.value) == f"--private {text}: allowed is a private IPv4 address, perhaps with :PORT, or instances"


def test_a_colors_machines_are_found_with_their_port(world: World, stack: WorldStack) -> None:
    side = describe(STACK, world.session).colors[Color.GREEN]
    ids = [one["instance"] for one in world.machines_of(Color.GREEN)]
    reservations = world.ec2.describe_instances(InstanceIds=ids)["Reservations"]
    expected = {one["PrivateIpAddress"] for each in reservations for one in each["Instances"]}
    found = addresses_of(side, world.session)
    assert {one.address for one in found} == expected
    assert {one.port for one in found} == {8080}
    assert len(found) == len(ids) > 0


def test_a_color_without_machines_is_named(world: World, stack: WorldStack) -> None:
    for group in {one["group"] for one in world.machines_of(Color.GREEN)}:
        world.stop_group(group)
    with pytest.raises(UsageError, match="green has no instance in service: deploy a release to it first"):
        addresses_of(describe(STACK, world.session).colors[Color.GREEN], world.session)


def test_each_address_is_asked_and_each_check_says_which(stack: WorldStack, world: World) -> None:
    at = world.url.removeprefix("http://")
    dead = "127.0.0.1:1"
    words = ["--private", at, "--private", dead, "--release", "v1", "--deadline", "0.1", "--json"]
    ran = CliRunner().invoke(smoke_test.cli, words)
    assert ran.exit_code == Exit.FAILED, ran.output
    checks = {check["name"]: check["ok"] for check in json.loads(ran.stdout)["checks"]}
    assert (checks[f"{at} health"], checks[f"{dead} health"]) == (True, False)
    assert all(name.startswith((f"{at} ", f"{dead} ")) for name in checks)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--url", "http://127.0.0.1:1", "--private", "10.0.0.1"), "exclude each other"),
        (("--private", "instances", "--private", "10.0.0.1"), "--private instances means all of them"),
        (("--private", "everything"), "allowed is a private IPv4 address"),
    ],
)
def test_what_does_not_go_together_is_refused(stack: WorldStack, words: tuple[str, ...], sentence: str) -> None:
    ran = CliRunner().invoke(smoke_test.cli, list(words))
    assert (ran.exit_code, sentence in ran.stderr) == (Exit.USAGE, True)


def test_machines_are_looked_up_and_asked(stack: WorldStack, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    here = world.url.removeprefix("http://127.0.0.1:")
    found = (PrivateAddress(address="127.0.0.1", port=int(here)),)
    asked: list[str] = []

    def look_up(side: ColorState, _session: Any) -> tuple[PrivateAddress, ...]:
        asked.append(side.release)
        return found

    monkeypatch.setattr(smoke_test, "addresses_of", look_up)
    ran = CliRunner().invoke(smoke_test.cli, ["--private", "instances", "--deadline", "0.1", "--json"])
    assert asked == ["v1"]
    assert ran.exit_code == Exit.OK, ran.output
    assert f"127.0.0.1:{here} release" in {check["name"] for check in json.loads(ran.stdout)["checks"]}
