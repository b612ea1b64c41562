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
from rehearsal.host.ledger import LedgerContent, RunLedger, StartedProcess, TemporaryFile
from rehearsal.host.processes import ProcessIdentity
from rehearsal.host.sandbox import Process, Sandbox, SandboxError, port_answers, sweep, url_answers, wait_until
from rehearsal.host.teardown import MARK

ROOT = Path(__file__).resolve().parents[3]
STUBBORN = "trap '' TERM; echo ready; while :; do read -t 60 < /dev/zero 2>/dev/null || sleep 60; done"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox.open(runs=tmp_path, with_network=False) as opened:
        yield opened


def sleeper(sandbox: Sandbox, name: str = "sleeper") -> Process:
    return sandbox.start(name, ["sleep", "300"])


def listening(process: Process) -> str | None:
    return None if "ready" in process.log_tail() else "it has not said ready"


def test_closing_ends_all_processes_and_retains_the_logs(tmp_path: Path) -> None:
    with Sandbox.open(runs=tmp_path, with_network=False) as sandbox:
        process = sandbox.start("talker", ["sh", "-c", "echo hello; sleep 300 & sleep 300"])
        session = processes.session_of(process.identity)
        sandbox.temporary("data").joinpath("big").write_text("bytes")
        assert processes.alive(process.identity)
    assert len(session) >= 1
    assert not any(processes.alive(one) for one in processes.session_of(process.identity))
    assert process.log_tail() == "hello"
    assert not (sandbox.folder / "tmp").exists()
    assert not sandbox.sockets.exists()
    assert RunLedger(sandbox.folder).read().closed


def test_closing_reports_nothing_on_success_and_is_idempotent(sandbox: Sandbox) -> None:
    sleeper(sandbox)
    assert sandbox.close() == ()
    assert sandbox.close() == ()


def test_the_ledger_holds_a_process_before_start_returns(sandbox: Sandbox) -> None:
    process = sleeper(sandbox)
    entries = json.loads((sandbox.folder / "ledger.json").read_text())["entries"]
    recorded = [entry for entry in entries if entry["kind"] == "process"]
    assert [(entry["name"], entry["leader"]["pid"]) for entry in recorded] == [("sleeper", process.pid)]
    assert recorded[0]["leader"]["started"] == process.identity.started


def test_what_ignores_term_is_killed_after_its_grace(sandbox: Sandbox) -> None:
    process = sandbox.start("stubborn", ["bash", "-c", STUBBORN], grace=0.2)
    sandbox.wait_ready(process, lambda: listening(process), what="stubborn", deadline=5)
    assert sandbox.close() == ()
    assert not processes.alive(process.identity)
    assert process.popen.wait(timeout=5) == -signal.SIGKILL


def test_a_child_that_left_its_session_is_ended_too(sandbox: Sandbox) -> None:
    script = f"setsid sleep 300 & echo $! > {sandbox.folder}/child; echo ready; wait"
    process = sandbox.start("parent", ["bash", "-c", script])
    sandbox.wait_ready(process, lambda: listening(process), what="parent", deadline=5)
    process.popen.kill()
    process.popen.wait()
    escaped = processes.marked(MARK, sandbox.id)
    assert escaped
    sandbox.close()
    assert not any(processes.alive(one) for one in escaped)


def test_cleanup_commands_run_in_reverse_order_between_the_processes(sandbox: Sandbox) -> None:
    trace = sandbox.folder / "trace"
    sandbox.add_cleanup(["sh", "-c", f"echo first >> {trace}"], "first")
    process = sleeper(sandbox)
    sandbox.add_cleanup(["sh", "-c", f"kill -0 {process.pid} && echo $WORD >> {trace}"], "second", {"WORD": "second"})
    assert sandbox.close() == ()
    assert trace.read_text().split() == ["second", "first"]


def test_a_failing_cleanup_is_reported_and_does_not_stop_the_rest(sandbox: Sandbox) -> None:
    process = sleeper(sandbox)
    sandbox.add_cleanup(["sh", "-c", "echo no such bridge >&2; exit 4"], "drop bridge")
    sandbox.add_cleanup(["sleep", "60"], "slow", timeout=0.2)
    assert sandbox.close() == ("slow: timed out after 0.2 s", "drop bridge: exit 4: no such bridge")
    assert not processes.alive(process.identity)


def test_a_reused_pid_is_never_touched(sandbox: Sandbox) -> None:
    """The pid in the ledger now belongs to another process: same pid, different start time."""
    unrelated = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        known = processes.identify(unrelated.pid)
        assert known is not None
        before = ProcessIdentity(pid=unrelated.pid, started=known.started - 1)
        sandbox.ledger.record(StartedProcess(name="gone", leader=before, grace=0.1, log=""))
        assert sandbox.close() == ()
        assert unrelated.poll() is None
    finally:
        unrelated.kill()
        unrelated.wait()


OWNER = """
import sys, time
from pathlib import Path
from rehearsal.host.sandbox import Sandbox
with Sandbox.open(runs=Path(sys.argv[1]), with_network=False) as sandbox:
    process = sandbox.start("sleeper", ["sleep", "300"])
    print(process.pid, process.identity.started, sandbox.folder, flush=True)
    time.sleep(300)
"""


def owner_process(runs: Path) -> tuple[subprocess.Popen[str], ProcessIdentity, Path]:
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(runs)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid, started, folder = owner.stdout.readline().split()
    return owner, ProcessIdentity(pid=int(pid), started=int(started)), Path(folder)


def closed(folder: Path) -> str | None:
    return None if RunLedger(folder).read().closed else "the ledger is still open"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_however_the_owner_ends_the_janitor_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    owner, started, folder = owner_process(tmp_path)
    with owner:
        owner.send_signal(number)
        wait_until(lambda: closed(folder), what="the janitor", deadline=10)
        assert not processes.alive(started)
        owner.wait(timeout=10)


def test_a_sweep_cleans_up_a_run_whose_janitor_died_too(tmp_path: Path) -> None:
    owner, started, folder = owner_process(tmp_path)
    with owner:
        janitor = RunLedger(folder).read().janitor
        assert janitor is not None
        processes.send(janitor, signal.SIGKILL)
        owner.kill()
        owner.wait()
        assert processes.wait_gone([janitor], seconds=5) == []
        assert processes.alive(started)
        assert sweep(tmp_path) == ()
        assert not processes.alive(started)
        assert closed(folder) is None


def test_the_owner_cleans_up_when_its_janitor_was_killed(sandbox: Sandbox) -> None:
    process = sleeper(sandbox)
    janitor = sandbox.ledger.read().janitor
    assert janitor is not None
    processes.send(janitor, signal.SIGKILL)
    assert sandbox.close() == ()
    assert not processes.alive(process.identity)


def test_a_sweep_leaves_living_runs_and_unknown_folders_alone(sandbox: Sandbox) -> None:
    process = sleeper(sandbox)
    strange = sandbox.folder.parent / "run-unknown"
    strange.mkdir()
    assert sweep(sandbox.folder.parent) == ()
    assert processes.alive(process.identity)
    assert strange.exists()


def test_a_ledger_of_an_earlier_boot_ends_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "run-old"
    folder.mkdir()
    unrelated = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        known = processes.identify(unrelated.pid)
        assert known is not None
        entry = StartedProcess(name="old", leader=known, grace=0.1, log="")
        dead = ProcessIdentity(pid=known.pid, started=known.started + 1)
        RunLedger(folder).create(LedgerContent(run="old", boot="another boot", owner=dead, entries=(entry,)))
        assert sweep(tmp_path) == ()
        assert closed(folder) is None
        assert unrelated.poll() is None
    finally:
        unrelated.kill()
        unrelated.wait()


def test_a_temporary_file_is_removed_with_its_run_also_after_a_reboot(tmp_path: Path) -> None:
    folder, file = tmp_path / "run-old", tmp_path / "Pulumi.playground.yaml"
    folder.mkdir()
    file.touch()
    entries = (TemporaryFile(name="settings", path=str(file)), TemporaryFile(name="gone", path=str(tmp_path / "gone")))
    dead = ProcessIdentity(pid=1, started=0)
    RunLedger(folder).create(LedgerContent(run="old", boot="another boot", owner=dead, entries=entries))
    assert sweep(tmp_path) == ()
    assert not file.exists()


def test_a_file_that_can_not_be_removed_is_reported(tmp_path: Path) -> None:
    folder, strange = tmp_path / "run-old", tmp_path / "folder"
    folder.mkdir()
    strange.mkdir()
    entry = TemporaryFile(name="settings", path=str(strange))
    RunLedger(folder).create(
        LedgerContent(run="old", boot="another boot", owner=ProcessIdentity(pid=1, started=0), entries=(entry,))
    )
    assert sweep(tmp_path) == (f"file {strange} could not be removed: Is a directory",)


def test_a_name_is_claimed_once_until_it_is_released() -> None:
    name, first, second = f"test-{os.getpid()}", Claims(), Claims()
    assert (first.exclusive(name), second.exclusive(name)) == (True, False)
    first.release()
    assert second.exclusive(name)
    second.release()


def test_only_the_last_finished_runs_are_retained(tmp_path: Path) -> None:
    for number in range(8):
        folder = tmp_path / f"run-{number}"
        folder.mkdir()
        owner = ProcessIdentity(pid=1, started=0)
        RunLedger(folder).create(LedgerContent(run=str(number), boot=processes.boot_id(), owner=owner, closed=True))
    sweep(tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["run-3", "run-4", "run-5", "run-6", "run-7"]


def test_a_timeout_names_the_reason_and_shows_the_log(sandbox: Sandbox) -> None:
    process = sandbox.start("shy", ["sh", "-c", "echo cannot find my shoes; exec sleep 300"])
    port = sandbox.port()
    with pytest.raises(SandboxError) as failure:
        sandbox.wait_ready(process, port_answers("127.0.0.1", port), what="the shy server", deadline=0.3)
    text = str(failure.value)
    assert f"the shy server: not ready within 0.3 s: 127.0.0.1:{port}: Connection refused" in text
    assert "cannot find my shoes" in text


def test_waiting_for_an_ended_process_fails_at_once(sandbox: Sandbox) -> None:
    process = sandbox.start("brief", ["sh", "-c", "echo bad flag; exit 7"])
    began = time.monotonic()
    with pytest.raises(SandboxError, match=r"the brief one: brief exited with code 7") as failure:
        sandbox.wait_ready(process, lambda: "no answer", what="the brief one", deadline=60)
    assert time.monotonic() - began < 10
    assert "bad flag" in str(failure.value)


def test_waiting_ends_when_the_server_answers(sandbox: Sandbox) -> None:
    port = sandbox.port()
    server = sandbox.start("web", [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"])
    sandbox.wait_ready(server, url_answers(f"http://127.0.0.1:{port}/"), what="the web server", deadline=10)
    reason = url_answers(f"http://127.0.0.1:{port}/missing")()
    assert reason == f"http://127.0.0.1:{port}/missing: answered 404, not 200"


def test_a_missing_program_is_named(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="ghost can't be started: /no/such/program: No such file"):
        sandbox.start("ghost", ["/no/such/program"])


def test_networks_overlap_neither_each_other_nor_the_hosts_routes() -> None:
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


def test_ports_are_free_and_claimed_once(sandbox: Sandbox) -> None:
    ports = [sandbox.port() for _ in range(20)]
    assert len(set(ports)) == 20
    other = Claims()
    taken = {other.port("127.0.0.1") for _ in range(20)}
    assert not taken & set(ports)
    other.release()


def test_a_port_can_be_claimed_at_an_address_that_is_not_up_yet(sandbox: Sandbox) -> None:
    assert sandbox.port("10.127.255.1") in range(18000, 32000)


def test_commands_with_the_sandbox_environment_are_ended_too(sandbox: Sandbox) -> None:
    read, write = os.pipe()
    command = subprocess.Popen(["sleep", "300"], env=sandbox.environment, pass_fds=(write,), start_new_session=True)
    os.close(write)
    sandbox.close()
    assert select.select([read], [], [], 10)[0]  # the only writer has ended
    os.close(read)
    assert command.wait(timeout=5) == -signal.SIGTERM
