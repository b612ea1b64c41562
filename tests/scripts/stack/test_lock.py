from __future__ import annotations

import json
import socket
from dataclasses import asdict, replace
from typing import Any

import pytest

from scripts.cli.exits import LockedError
from scripts.stack import lock
from scripts.stack.lock import Holder, enter_stage, holder, locked, me, who
from tests.scripts.world import BUCKET, STACK, World

KEY = f"deployments/{STACK}/lock.json"


def put(world: World, body: bytes) -> None:
    world.s3.put_object(Bucket=BUCKET, Key=KEY, Body=body)


def test_the_lock_names_the_stage_that_its_holder_is_in(world: World) -> None:
    with locked(world.s3, BUCKET, STACK, "cutover") as mine:
        enter_stage(world.s3, BUCKET, STACK, mine, "bake: watch green for 60 s")
        found = holder(world.s3, BUCKET, STACK)
        assert found is not None
        assert replace(found, stage="", stage_since="") == mine
        assert str(found) == f"{mine}, in the stage `bake: watch green for 60 s` since {found.stage_since}"
    assert holder(world.s3, BUCKET, STACK) is None


def test_a_lock_that_another_has_taken_over_stays_the_others(world: World) -> None:
    with locked(world.s3, BUCKET, STACK, "cutover") as mine:
        other = me("rollback")
        put(world, json.dumps(asdict(other)).encode())
        enter_stage(world.s3, BUCKET, STACK, mine, "smoke test")
        assert holder(world.s3, BUCKET, STACK) == other
    assert holder(world.s3, BUCKET, STACK) == other


def test_a_lock_that_was_taken_without_hearing_of_it_is_held(world: World) -> None:
    mine = me("cutover")
    lock._acquire(world.s3, BUCKET, KEY, mine)
    lock._acquire(world.s3, BUCKET, KEY, mine)
    with pytest.raises(LockedError):
        lock._acquire(world.s3, BUCKET, KEY, me("cutover"))


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"holder": "ann", "color": "green"}', b"\xff"])
def test_a_lock_that_another_version_wrote_refuses_in_a_sentence_and_can_be_broken(world: World, body: bytes) -> None:
    put(world, body)
    with pytest.raises(LockedError, match=r"on unknown .* use --break-lock"), locked(world.s3, BUCKET, STACK, "x"):
        pytest.fail("the lock was taken")
    with locked(world.s3, BUCKET, STACK, "x", break_lock=True) as mine:
        assert mine.lock_broken.endswith(" on unknown (pid 0) for unknown since unknown")


def test_only_of_this_host_it_is_known_who_is_gone() -> None:
    mine = me("cutover")
    assert mine.is_gone is False
    assert replace(mine, host=f"not-{socket.gethostname()}").is_gone is None
    assert replace(mine, pid=2**22 + 1).is_gone is True


def test_a_lock_that_cant_be_given_back_is_noted_and_hides_no_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []

    def down(**_: Any) -> Any:
        from botocore.exceptions import EndpointConnectionError

        raise EndpointConnectionError(endpoint_url="http://s3")

    def work() -> None:
        with locked(world.s3, BUCKET, STACK, "x", note=notes.append):
            monkeypatch.setattr(world.s3, "delete_object", down, raising=False)
            raise ValueError("what the block said")

    with pytest.raises(ValueError, match="what the block said"):
        work()
    [note] = notes
    assert note.startswith("the stack's lock could not be released, the next run must say --break-lock: Could not")


def test_a_holder_reads_back_as_it_was_written() -> None:
    mine = replace(me("cutover"), lock_broken="ann", stage="bake", stage_since="now")
    assert Holder.parse(json.dumps(asdict(mine)).encode()) == mine


def test_a_user_id_without_a_name_holds_a_lock_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTOR", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def nameless(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", nameless)
    monkeypatch.setattr("os.getuid", lambda: 4711)
    assert who() == "uid 4711"
    assert me("deploy").holder == "uid 4711"
    monkeypatch.setenv("GITHUB_ACTOR", "ada")
    assert who() == "ada"
