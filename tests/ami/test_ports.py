"""Copy of Docker's iptables rules while its daemon starts, also in a real kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ami.boot.ports import main, rules_to_hold, rules_to_release

PROGRAM = Path(__file__).resolve().parents[2] / "ami" / "boot" / "ports.py"
# Output of iptables-save on an instance whose app is published on port 8080, Docker's part.
NAT = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:8080
COMMIT
"""
FILTER = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 8080 -j ACCEPT
COMMIT
"""
DNAT = "! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:8080"
ACCEPT = "-d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 8080 -j ACCEPT"
HELD = f"""*nat
:BLUEGREEN - [0:0]
-A BLUEGREEN -i docker0 -j RETURN
-A BLUEGREEN {DNAT}
-A PREROUTING -m addrtype --dst-type LOCAL -j BLUEGREEN
COMMIT
*filter
:BLUEGREEN - [0:0]
-A BLUEGREEN {ACCEPT}
-A FORWARD -j BLUEGREEN
COMMIT
"""


def test_dockers_rules_are_copied_with_a_way_into_them() -> None:
    assert rules_to_hold(NAT + FILTER) == HELD
    assert rules_to_hold(FILTER + NAT) == HELD


@pytest.mark.parametrize("gone", [DNAT, ACCEPT, "-A DOCKER"], ids=["nat", "filter", "both"])
def test_a_daemon_that_exits_before_its_rules_are_back_leaves_the_older_copy(gone: str) -> None:
    saved = "".join(line for line in (NAT + FILTER).splitlines(keepends=True) if gone not in line)
    assert rules_to_hold(saved) == ""


def test_without_dockers_rules_there_is_nothing_to_hold_or_release() -> None:
    for saved in ("", "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n", NAT + FILTER):
        assert rules_to_release(saved) == ""
    assert rules_to_hold("*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n") == ""


def test_an_unknown_command_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keep"]) == 2
    assert capsys.readouterr().err == "ports keep: must be hold or release\n"


class Kernel:
    """A network namespace, separate from this host's rules."""

    def __init__(self) -> None:
        # `unshare` becomes the sleep: its process is all that keeps the namespace.
        self.process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        self.inside = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"]

    def run(self, *command: str, stdin: str = "") -> str:
        done = subprocess.run([*self.inside, *command], input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ports(self, verb: str) -> None:
        self.run(sys.executable, "-I", str(PROGRAM), verb)

    def rules(self) -> list[str]:
        """As one set, without comments and counters: `chain` has the kernel's order where it matters."""
        saved = self.run("iptables-save").splitlines()
        return sorted(line.partition(" [")[0] for line in saved if not line.startswith("#"))

    def chain(self, table: str, name: str) -> list[str]:
        return self.run("iptables", "--table", table, "--list-rules", name).splitlines()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    if os.geteuid() != 0 or not all(shutil.which(name) for name in ("unshare", "nsenter", "iptables-save")):
        pytest.skip("needs root, unshare and iptables")
    started = Kernel()
    own = Path("/proc/self/ns/net").stat().st_ino
    while Path(f"/proc/{started.process.pid}/ns/net").stat().st_ino == own:
        assert started.process.poll() is None
    started.run("iptables-restore", stdin=NAT + FILTER)
    yield started
    started.process.kill()
    started.process.wait(timeout=10)


@pytest.mark.network
class TestKernel:
    def test_the_copy_outlives_dockers_chains_and_goes_without_a_trace(self, kernel: Kernel) -> None:
        before = kernel.rules()
        kernel.ports("hold")
        for table in ("nat", "filter"):
            kernel.run("iptables", "--table", table, "--flush", "DOCKER")  # what a daemon does first
        assert kernel.chain("nat", "BLUEGREEN")[-1] == f"-A BLUEGREEN {DNAT}"
        assert kernel.chain("filter", "BLUEGREEN")[-1] == f"-A BLUEGREEN {ACCEPT}"
        assert kernel.chain("nat", "PREROUTING")[-1] == "-A PREROUTING -m addrtype --dst-type LOCAL -j BLUEGREEN"
        assert kernel.chain("filter", "FORWARD")[-1] == "-A FORWARD -j BLUEGREEN"

        kernel.ports("hold")  # a daemon that was killed while it started
        assert kernel.chain("nat", "BLUEGREEN")[-1] == f"-A BLUEGREEN {DNAT}"
        kernel.run("iptables-restore", "--noflush", stdin="".join(only_dockers(part) for part in (NAT, FILTER)))
        kernel.ports("release")
        assert kernel.rules() == before

    def test_holding_twice_is_holding_once(self, kernel: Kernel) -> None:
        kernel.ports("hold")
        once = kernel.rules()
        kernel.ports("hold")
        assert kernel.rules() == once

    def test_releasing_what_is_not_held_changes_nothing(self, kernel: Kernel) -> None:
        before = kernel.rules()
        kernel.ports("release")
        assert kernel.rules() == before


def only_dockers(table: str) -> str:
    """What a daemon writes into its emptied chain."""
    lines = table.splitlines()
    return "\n".join([lines[0], *(line for line in lines if line.startswith("-A DOCKER ")), "COMMIT", ""])
