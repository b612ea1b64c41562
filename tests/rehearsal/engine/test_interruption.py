"""Killed, crowded out or cancelled: the next run puts things right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation.errors import CommandError, ConcurrentUpdateError

from rehearsal.engine import lock

from .conftest import Workshop

Client = Callable[[str], Any]

MANY = """
provider = aws.Provider("p", default_tags={"tags": {"Stack": "killed"}})
o = pulumi.ResourceOptions(provider=provider)
vpc = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", tags={"Name": "net"}, opts=o)
subnets = [aws.ec2.Subnet(f"sub-{n}", vpc_id=vpc.id, cidr_block=f"10.0.{n}.0/24", tags={"Name": f"s{n}"}, opts=o)
           for n in range(12)]
groups = [aws.ec2.SecurityGroup(f"group-{n}", vpc_id=vpc.id, tags={"Name": f"g{n}"}, opts=o) for n in range(12)]
"""


def census(aws: Client) -> tuple[int, int, int]:
    ec2 = aws("ec2")
    own = [{"Name": "tag:Stack", "Values": ["killed"]}]
    return (
        len(ec2.describe_vpcs(Filters=own)["Vpcs"]),
        len(ec2.describe_subnets(Filters=own)["Subnets"]),
        len(ec2.describe_security_groups(Filters=own)["SecurityGroups"]),
    )


def worker(parent: int) -> int | None:
    """The engine process of a `python -c … up()`."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(children[0]) if children else None


@pytest.mark.parametrize("created", [1, 12])
def test_a_killed_run_converges_on_the_next(shop: Workshop, aws: Client, created: int) -> None:
    """The kill comes as soon as the state announces that many resources: some are half made."""
    shop.program(MANY)
    code = (
        "import sys, pathlib; from rehearsal.engine import Stack\n"
        "Stack('test', project=pathlib.Path(sys.argv[1]), state_dir=pathlib.Path(sys.argv[2])).up()"
    )
    runner = subprocess.Popen([sys.executable, "-c", code, shop.root, shop.state_dir], stderr=subprocess.PIPE)
    state = shop.state_dir / "test" / "state.json"
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if state.exists() and len(json.loads(state.read_text())["resources"]) > created:
            break
        time.sleep(0.001)
    child = worker(runner.pid)
    assert child is not None, "the run ended before it could be killed"
    os.kill(child, signal.SIGKILL)
    _, errors = runner.communicate(timeout=20)
    assert b"run it again to converge" in errors
    shop.up()
    assert census(aws) == (1, 12, 12)
    shop.stack.destroy()
    assert census(aws) == (0, 0, 0)


def test_what_was_made_but_not_recorded_is_cleared_away(shop: Workshop, aws: Client) -> None:
    shop.up(MANY)
    state = shop.state_dir / "test" / "state.json"
    data = json.loads(state.read_text())
    lost = next(each for each in data["resources"] if each["name"] == "group-3")
    data["resources"].remove(lost)
    data["begun"][lost["urn"]] = {"provider": lost["provider"], "inputs": lost["inputs"]}
    state.write_text(json.dumps(data))
    assert shop.up() == {"create": 1}
    assert census(aws) == (1, 12, 12)


def test_a_bucket_whose_tags_never_came_is_cleared_away_and_a_chosen_one_is_not(shop: Workshop, aws: Client) -> None:
    """S3 takes tags by a second call: killed between the two, a bucket bears none."""
    program = """
    aws.s3.Bucket("drawn", tags={"Name": "drawn"})
    aws.s3.Bucket("chosen", bucket="chosen", tags={"Name": "chosen"})
    """
    shop.up(program)
    state = shop.state_dir / "test" / "state.json"
    data = json.loads(state.read_text())
    for lost in [each for each in data["resources"] if each["type"] == "aws:s3/bucket:Bucket"]:
        data["resources"].remove(lost)
        data["begun"][lost["urn"]] = {"provider": "", "inputs": lost["inputs"]}
        aws("s3").delete_bucket_tagging(Bucket=lost["id"])
    state.write_text(json.dumps(data))
    aws("s3").put_object(Bucket="chosen", Key="kept", Body=b"")
    shop.up(program)
    names = sorted(each["Name"].partition("-")[0] for each in aws("s3").list_buckets()["Buckets"])
    assert names == ["chosen", "drawn"]
    assert "Contents" in aws("s3").list_objects_v2(Bucket="chosen")


def test_two_runs_at_once_are_refused_by_name(shop: Workshop) -> None:
    shop.program(
        "import time\nimport pathlib\npathlib.Path('started').touch()\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
    )
    first = threading.Thread(target=shop.stack.up)
    first.start()
    while not (shop.root / "started").exists():
        time.sleep(0.01)
    with pytest.raises(ConcurrentUpdateError, match=rf"the stack is currently locked by .* \(pid {os.getpid()}\)"):
        shop.stack.up()
    (shop.root / "go").touch()
    first.join()
    shop.up("")


def test_the_lock_of_a_dead_holder_is_explained_and_taken_over(shop: Workshop) -> None:
    path = shop.stack.folder / "lock.json"
    code = (
        "import sys, os, pathlib; from rehearsal.engine import lock\n"
        "lock.Lock(pathlib.Path(sys.argv[1]), 'update').__enter__(); os._exit(9)"
    )
    dead = subprocess.Popen([sys.executable, "-c", code, path])
    assert dead.wait() == 9
    lines: list[str] = []
    shop.program("").stack.up(on_output=lines.append)
    assert f"(pid {dead.pid})" in lines[0]
    assert "that process is gone" in lines[0]
    assert not path.exists()


def test_the_lock_of_another_host_is_explained_and_released_by_cancel(shop: Workshop) -> None:
    path = shop.stack.folder / "lock.json"
    path.parent.mkdir(parents=True)
    elsewhere = {"pid": 1, "who": "ann@far.example", "since": "2026-01-02T03:04:05Z", "doing": "update"}
    path.write_text(json.dumps(elsewhere))
    with pytest.raises(ConcurrentUpdateError) as caught:
        shop.program("").stack.up()
    told = str(caught.value)
    assert "locked by ann@far.example (pid 1), update since 2026-01-02T03:04:05Z" in told
    assert "can't see whether that process still runs on far.example" in told
    assert "`cancel`" in told
    assert json.loads(path.read_text()) == elsewhere
    shop.stack.cancel()
    shop.stack.up()
    assert not path.exists()


def test_cancel_releases_the_lock(shop: Workshop) -> None:
    with lock.Lock(shop.stack.folder / "lock.json", "update"):
        with pytest.raises(ConcurrentUpdateError):
            shop.stack.destroy()
        shop.stack.cancel()
        shop.stack.destroy()


def test_a_killed_caller_takes_its_run_along(shop: Workshop) -> None:
    shop.program("import time\nimport pathlib, os\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(60)\n")
    code = (
        "import sys, pathlib; from rehearsal.engine import Stack\n"
        "Stack('test', project=pathlib.Path(sys.argv[1]), state_dir=pathlib.Path(sys.argv[2])).up()"
    )
    runner = subprocess.Popen([sys.executable, "-c", code, shop.root, shop.state_dir])
    note = shop.root / "pid"
    while not (note.exists() and note.read_text()):
        time.sleep(0.01)
    runner.kill()
    runner.wait()
    end = time.monotonic() + 10
    while Path(f"/proc/{note.read_text()}").exists():
        assert time.monotonic() < end, "the run outlived its caller"
        time.sleep(0.01)
    shop.up("")


def test_a_failed_command_is_a_command_error(shop: Workshop) -> None:
    with pytest.raises(CommandError):
        shop.up("import no_such_module")
