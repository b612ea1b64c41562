from __future__ import annotations

import json
import re
from dataclasses import replace

from ami.boot.messages import ChangeRecord, ColorSnapshot, Kind, Outcome, content
from scripts.stack import history
from tests.scripts.world import BUCKET, STACK, World

DEPLOYED = ChangeRecord(
    kind=Kind.DEPLOY,
    stack=STACK,
    time="2026-11-21T10:00:00.000Z",
    outcome=Outcome.OK,
    seconds=1,
    who="ann",
    host="laptop",
)


def test_the_newest_records_come_first_and_whole(world: World) -> None:
    written = [
        replace(
            DEPLOYED,
            kind=Kind.CUTOVER,
            source=ColorSnapshot(color="blue", release="v1"),
            target=ColorSnapshot(color="green", release="v2", ami="ami-1"),
            time=f"2026-11-21T10:47:{second}.490Z",
        )
        for second in (30, 31, 32)
    ]
    for number, record in enumerate(written):
        history.write(world.s3, BUCKET, STACK, record, f"{number}f00d")
    assert history.read(world.s3, BUCKET, STACK, newest=2) == [written[2], written[1]]


def test_a_records_key_holds_nothing_that_tools_must_escape(world: World) -> None:
    history.write(world.s3, BUCKET, STACK, DEPLOYED, "f00d")
    (found,) = world.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"deployments/{STACK}/history/")["Contents"]
    assert re.fullmatch(r"[A-Za-z0-9/._-]+", found["Key"])
    assert found["Key"].endswith("Z-f00d.json")


def test_records_of_other_versions_and_broken_ones_hide_nothing(world: World) -> None:
    history.write(world.s3, BUCKET, STACK, DEPLOYED, "f00d")
    newer = {**content(DEPLOYED), "weather": "fine", "source": {"color": "blue", "zone": "a"}}
    for name, body in (("3", json.dumps(newer)), ("2", "{"), ("1", "[]"), ("0", "{}")):
        world.s3.put_object(Bucket=BUCKET, Key=f"deployments/{STACK}/history/3{name}.json", Body=body)
    found = history.read(world.s3, BUCKET, STACK)
    assert [each.outcome for each in found] == ["ok", *["unreadable"] * 3, "ok"]
    assert found[0].source == ColorSnapshot(color="blue")
    assert found[1].error == f"deployments/{STACK}/history/32.json"
