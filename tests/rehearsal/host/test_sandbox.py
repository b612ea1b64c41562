from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from rehearsal.host import processes
from rehearsal.host.claims import POOL, Claims, host_routes
from rehearsal.host.ledger import Content, Ledger, StartedProcess, TemporaryFile
from rehearsal.host.processes import Identity
from rehearsal.host.sandbox import Ground, GroundError, Process, port_answers, sweep, url_answers, wait_until
from rehearsal.host.teardown import MARK

ROOT = Path(__file__).resolve().parents[3]
STUBBORN = "trap '' TERM; echo ready; while :; do read -t 60 < /dev/zero 2>/dev/null || sleep 60; done"


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with Ground.open(runs=tmp_path, with_network=False) as opened:
        yield opened


def sleeper(ground: Ground, name: str = "sleeper") -> Process:
    return ground.start(name, ["sleep", "300"])


def listening(process: Process) -> str | None:
    return None if "ready" in process.log_tail() else "it has not said ready"


def test_closing_ends_whatever_was_started_and_keeps_the_logs(tmp_path: Path) -> None:
    with Ground.open(runs=tmp_path, with_network=False) as ground:
        process = ground.start("talker", ["sh", "-c", "echo hello; sleep 300 & sleep 300"])
        session = processes.session_of(process.identity)
        ground.temporary("data").joinpath("big").write_text("bytes")
        assert processes.alive(process.identity)
    assert len(session) >= 1
    assert not any(processes.alive(one) for one in processes.session_of(process.identity))
    assert process.log_tail() == "hello"
    assert not (ground.folder / "tmp").exists()
    assert not ground.sockets.exists()
    assert Ledger(ground.folder).read().closed


def test_closing_reports_nothing_when_all_went_well_and_can_be_repeated(ground: Ground) -> None:
    sleeper(ground)
    assert ground.close() == ()
    assert ground.close() == ()


def test_the_ledger_holds_a_process_before_start_returns(ground: Ground) -> None:
    process = sleeper(ground)
    entries = json.loads((ground.folder / "ledger.json").read_text())["entries"]
    recorded = [entry for entry in entries if entry["kind"] == "process"]
    assert [(entry["name"], entry["leader"]["pid"]) for entry in recorded] == [("sleeper", process.pid)]
    assert recorded[0]["leader"]["started"] == process.identity.started


def test_what_ignores_term_is_killed_after_its_grace(ground: Ground) -> None:
    process = ground.start("stubborn", ["bash", "-c", STUBBORN], grace=0.2)
    ground.wait_ready(process, lambda: listening(process), what="stubborn", deadline=5)
    assert ground.close() == ()
    assert not processes.alive(process.identity)
    assert process.popen.wait(timeout=5) == -signal.SIGKILL


def test_a_child_that_left_its_session_is_ended_too(ground: Ground) -> None:
    script = f"setsid sleep 300 & echo $! > {ground.folder}/child; echo ready; wait"
    process = ground.start("parent", ["bash", "-c", script])
    ground.wait_ready(process, lambda: listening(process), what="parent", deadline=5)
    process.popen.kill()
    process.popen.wait()
    escaped = processes.marked(MARK, ground.id)
    assert escaped
    ground.close()
    assert not any(processes.alive(one) for one in escaped)


def test_cleanup_commands_run_in_reverse_order_between_the_processes(ground: Ground) -> None:
    trace = ground.folder / "trace"
    ground.add_cleanup(["sh", "-c", f"echo first >> {trace}"], "first")
    process = sleeper(ground)
    ground.add_cleanup(["sh", "-c", f"kill -0 {process.pid} && echo $WORD >> {trace}"], "second", {"WORD": "second"})
    assert ground.close() == ()
    assert trace.read_text().split() == ["second", "first"]


def test_a_failing_cleanup_is_told_and_does_not_stop_the_rest(ground: Ground) -> None:
    process = sleeper(ground)
    ground.add_cleanup(["sh", "-c", "echo no such bridge >&2; exit 4"], "drop bridge")
    ground.add_cleanup(["sleep", "60"], "slow", timeout=0.2)
    assert ground.close() == ("slow: took longer than 0.2 s", "drop bridge: exit 4: no such bridge")
    assert not processes.alive(process.identity)


def test_a_reused_pid_is_never_touched(ground: Ground) -> None:
    """A stranger now has the pid in the ledger: same number, another start time."""
    stranger = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        known = processes.identify(stranger.pid)
        assert known is not None
        before = Identity(pid=stranger.pid, started=known.started - 1)
        ground.ledger.record(StartedProcess(name="gone", leader=before, grace=0.1, log=""))
        assert ground.close() == ()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


OWNER = """
import sys, time
from pathlib import Path
from rehearsal.host.sandbox import Ground
with Ground.open(runs=Path(sys.argv[1]), with_network=False) as ground:
    process = ground.start("sleeper", ["sleep", "300"])
    print(process.pid, process.identity.started, ground.folder, flush=True)
    time.sleep(300)
"""


def owner_process(runs: Path) -> tuple[subprocess.Popen[str], Identity, Path]:
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(runs)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid, started, folder = owner.stdout.readline().split()
    return owner, Identity(pid=int(pid), started=int(started)), Path(folder)


def closed(folder: Path) -> str | None:
    return None if Ledger(folder).read().closed else "the ledger is still open"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_however_the_owner_dies_the_janitor_clears_up(tmp_path: Path, number: signal.Signals) -> None:
    owner, started, folder = owner_process(tmp_path)
    with owner:
        owner.send_signal(number)
        wait_until(lambda: closed(folder), what="the janitor", deadline=10)
        assert not processes.alive(started)
        owner.wait(timeout=10)


def test_a_sweep_clears_a_run_whose_janitor_died_as_well(tmp_path: Path) -> None:
    owner, started, folder = owner_process(tmp_path)
    with owner:
        janitor = Ledger(folder).read().janitor
        assert janitor is not None
        processes.send(janitor, signal.SIGKILL)
        owner.kill()
        owner.wait()
        assert processes.wait_gone([janitor], seconds=5) == []
        assert processes.alive(started)
        assert sweep(tmp_path) == ()
        assert not processes.alive(started)
        assert closed(folder) is None


def test_the_owner_clears_up_itself_when_its_janitor_was_killed(ground: Ground) -> None:
    process = sleeper(ground)
    janitor = ground.ledger.read().janitor
    assert janitor is not None
    processes.send(janitor, signal.SIGKILL)
    assert ground.close() == ()
    assert not processes.alive(process.identity)


def test_a_sweep_leaves_living_runs_and_strange_folders_alone(ground: Ground) -> None:
    process = sleeper(ground)
    strange = ground.folder.parent / "run-of-somebody"
    strange.mkdir()
    assert sweep(ground.folder.parent) == ()
    assert processes.alive(process.identity)
    assert strange.exists()


def test_a_ledger_of_an_earlier_boot_ends_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "run-old"
    folder.mkdir()
    stranger = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        known = processes.identify(stranger.pid)
        assert known is not None
        entry = StartedProcess(name="old", leader=known, grace=0.1, log="")
        dead = Identity(pid=known.pid, started=known.started + 1)
        Ledger(folder).create(Content(run="old", boot="another boot", owner=dead, entries=(entry,)))
        assert sweep(tmp_path) == ()
        assert closed(folder) is None
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_file_beside_the_project_goes_with_its_run_also_after_a_reboot(tmp_path: Path) -> None:
    folder, file = tmp_path / "run-old", tmp_path / "Pulumi.playground.yaml"
    folder.mkdir()
    file.touch()
    entries = (TemporaryFile(name="settings", path=str(file)), TemporaryFile(name="gone", path=str(tmp_path / "gone")))
    dead = Identity(pid=1, started=0)
    Ledger(folder).create(Content(run="old", boot="another boot", owner=dead, entries=entries))
    assert sweep(tmp_path) == ()
    assert not file.exists()


def test_a_file_that_can_not_be_removed_is_told(tmp_path: Path) -> None:
    folder, strange = tmp_path / "run-old", tmp_path / "folder"
    folder.mkdir()
    strange.mkdir()
    entry = TemporaryFile(name="settings", path=str(strange))
    Ledger(folder).create(Content(run="old", boot="another boot", owner=Identity(pid=1, started=0), entries=(entry,)))
    assert sweep(tmp_path) == (f"file {strange} could not be removed: Is a directory",)


def test_a_name_is_had_once_until_it_is_let_go_of() -> None:
    name, first, second = f"test-{os.getpid()}", Claims(), Claims()
    assert (first.only_one(name), second.only_one(name)) == (True, False)
    first.release()
    assert second.only_one(name)
    second.release()


def test_only_the_last_ended_runs_are_kept(tmp_path: Path) -> None:
    for number in range(8):
        folder = tmp_path / f"run-{number}"
        folder.mkdir()
        owner = Identity(pid=1, started=0)
        Ledger(folder).create(Content(run=str(number), boot=processes.boot_id(), owner=owner, closed=True))
    sweep(tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["run-3", "run-4", "run-5", "run-6", "run-7"]


def test_waiting_says_what_why_and_shows_the_log(ground: Ground) -> None:
    process = ground.start("shy", ["sh", "-c", "echo cannot find my shoes; exec sleep 300"])
    port = ground.port()
    with pytest.raises(GroundError) as failure:
        ground.wait_ready(process, port_answers("127.0.0.1", port), what="the shy server", deadline=0.3)
    text = str(failure.value)
    assert f"the shy server: not ready within 0.3 s: 127.0.0.1:{port}: Connection refused" in text
    assert "cannot find my shoes" in text


def test_waiting_for_an_ended_process_fails_at_once(ground: Ground) -> None:
    process = ground.start("brief", ["sh", "-c", "echo bad flag; exit 7"])
    began = time.monotonic()
    with pytest.raises(GroundError, match=r"the brief one: brief ended with exit code 7") as failure:
        ground.wait_ready(process, lambda: "no answer", what="the brief one", deadline=60)
    assert time.monotonic() - began < 10
    assert "bad flag" in str(failure.value)


def test_waiting_ends_when_the_server_answers(ground: Ground) -> None:
    port = ground.port()
    server = ground.start("web", [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"])
    ground.wait_ready(server, url_answers(f"http://127.0.0.1:{port}/"), what="the web server", deadline=10)
    objection = url_answers(f"http://127.0.0.1:{port}/missing")()
    assert objection == f"http://127.0.0.1:{port}/missing: answered 404, not 200"


def test_a_missing_program_is_named(ground: Ground) -> None:
    with pytest.raises(GroundError, match="ghost can't be started: /no/such/program: No such file"):
        ground.start("ghost", ["/no/such/program"])


def test_networks_are_apart_from_each_other_and_from_the_hosts_routes() -> None:
    claims = [Claims() for _ in range(6)]
    try:
        networks = [one.network() for one in claims]
        assert len(set(networks)) == 6
        for network in networks:
            assert network.prefixlen == 16
            assert network.overlaps(POOL)
            assert not any(network.overlaps(route) for route in host_routes())
    finally:
        for one in claims:
            one.release()


def test_host_routes_are_what_the_kernel_says() -> None:
    shown = json.loads(subprocess.run(["ip", "-j", "-4", "route"], capture_output=True, check=True).stdout)
    expected = {IPv4Network(route["dst"]) for route in shown if route["dst"] != "default"}
    assert set(host_routes()) == expected


def test_ports_are_free_and_given_once(ground: Ground) -> None:
    ports = [ground.port() for _ in range(20)]
    assert len(set(ports)) == 20
    other = Claims()
    taken = {other.port("127.0.0.1") for _ in range(20)}
    assert not taken & set(ports)
    other.release()


def test_a_port_can_be_had_at_an_address_that_is_not_up_yet(ground: Ground) -> None:
    assert ground.port("10.127.255.1") in range(18000, 32000)


def test_environment_marks_commands_that_run_beside(ground: Ground) -> None:
    read, write = os.pipe()
    beside = subprocess.Popen(["sleep", "300"], env=ground.environment, pass_fds=(write,), start_new_session=True)
    os.close(write)
    ground.close()
    assert select.select([read], [], [], 10)[0]  # the only writer has ended
    os.close(read)
    assert beside.wait(timeout=5) == -signal.SIGTERM
