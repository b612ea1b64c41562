"""What the embedded engine registers, records and deletes is what Pulumi's own does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi.automation as auto
import pytest

from rehearsal import engine as embedded
from tests.rehearsal.cloud.fleet import DNS_NAME, Running, start, stop
from tests.rehearsal.engine.front import Front

from .conftest import PASSED_ON, OpenReal
from .likeness import Recorded, misplaced

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]
BOTH = {
    f"{color}.{key}": value
    for color, release in (("blue", "v1"), ("green", "v2"))
    for key, value in {
        "release": release,
        "releaseUrl": f"https://releases.example/{release}.tar.gz",
        "sha256": "0" * 64,
        "amiId": "ami-0deb1a12000000001",
    }.items()
}


@pytest.fixture
def other_cloud(engine: str, tmp_path: Path) -> Iterator[Running]:
    folder = tmp_path / "cloud"
    folder.mkdir()
    known = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    process, found = start(folder, "--listen", "127.0.0.1", "--dns-name", DNS_NAME, environment=known)
    yield found
    stop(process, folder)


def recorded(stack: auto.Stack | embedded.Stack) -> Recorded:
    deployment = stack.export_stack().deployment
    assert deployment is not None
    return Recorded.of(deployment)


def ended(stack: auto.Stack | embedded.Stack, known: Mapping[str, Any]) -> list[str]:
    """URNs in the order in which they were gone."""
    gone: list[str] = []

    def note(event: auto.EngineEvent) -> None:
        done = event.res_outputs_event
        if done and done.metadata.op == auto.OpType.DELETE and done.metadata.urn in known:
            gone.append(done.metadata.urn)

    stack.destroy(on_event=note)
    return gone


def test_both_engines_record_the_same_and_delete_in_an_order_that_holds(
    real: OpenReal, front: Front, other_cloud: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = real("dev")
    theirs.set_all_config({key: auto.ConfigValue(value) for key, value in BOTH.items()}, path=True)
    theirs.up()
    expected = recorded(theirs)
    order = ended(theirs, expected.resources)

    monkeypatch.setenv("AWS_ENDPOINT_URL", other_cloud.aws)
    monkeypatch.setenv("BLUEGREEN_STATE_DIR", str(tmp_path / "embedded"))
    (tmp_path / "embedded").mkdir()
    front.elb, front.ec2 = other_cloud.client("elbv2"), other_cloud.client("ec2")
    ours = embedded.create_stack("dev")
    own = BOTH | {"bluegreen:httpPort": str(front.port)}
    ours.set_all_config({key: auto.ConfigValue(value) for key, value in own.items()}, path=True)
    ours.up()
    found = recorded(ours)

    ours_alike, theirs_alike = (each.alike(expected.defaults()) for each in (found, expected))
    assert sorted(ours_alike) == sorted(theirs_alike)
    token = "web-preview-token"
    for name, resource in ours_alike.items():
        wanted = theirs_alike[name]
        if name.endswith(token):  # each run draws one
            assert len(resource["inputs"].pop("value")) == len(wanted["inputs"].pop("value")) == 32
        assert resource == wanted, name
    assert list(misplaced(expected.resources, order)) == []
    our_order = ended(ours, found.resources)
    assert list(misplaced(found.resources, our_order)) == []
    assert sorted(our_order) == sorted(order)
