"""Published ports stay open while Docker's daemon restarts: a copy of its iptables rules covers the gap.

A separate program: Docker's unit runs `hold` before the daemon, which flushes its chains and fills them again at every
start, and `release` once it is ready.
"""

import subprocess
import sys

DOCKER_CHAIN, COPY_CHAIN = "DOCKER", "BLUEGREEN"
# By table: the jump into the copy, as iptables-save writes it, and what a rule must contain to let traffic in.
JUMPS = {
    "nat": (f"-A PREROUTING -m addrtype --dst-type LOCAL -j {COPY_CHAIN}", "-j DNAT "),
    "filter": (f"-A FORWARD -j {COPY_CHAIN}", "-j ACCEPT"),
}
# Docker itself may hold the xtables lock; the daemon's start is delayed by no more than this.
LOCK_SECONDS, COMMAND_SECONDS = 5, 10


def rules_to_hold(saved: str) -> str:
    """Input for iptables-restore that adds the copy; empty while Docker lets no traffic in: an older copy stays."""
    tables = _tables(saved)
    held = {name: _copied(tables.get(name, [])) for name in JUMPS}
    if not all(any(JUMPS[name][1] in line for line in lines) for name, lines in held.items()):
        return ""
    sections = []
    for name, lines in held.items():
        jump = [] if JUMPS[name][0] in tables[name] else [JUMPS[name][0]]
        sections.append(_section(name, [f":{COPY_CHAIN} - [0:0]", *lines, *jump]))
    return "".join(sections)


def rules_to_release(saved: str) -> str:
    """Input for iptables-restore that removes the copy; empty where there is none."""
    sections = []
    for name, lines in _tables(saved).items():
        if not any(line.startswith(f":{COPY_CHAIN} ") for line in lines):
            continue
        jumps = [line.replace("-A", "-D", 1) for line in lines if line.endswith(f" -j {COPY_CHAIN}")]
        sections.append(_section(name, [*jumps, f"-F {COPY_CHAIN}", f"-X {COPY_CHAIN}"]))
    return "".join(sections)


def _tables(saved: str) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            lines = tables.setdefault(line[1:], [])
        elif line.startswith((":", "-A ")):
            lines.append(line.rstrip())
    return tables


def _copied(lines: list[str]) -> list[str]:
    start = f"-A {DOCKER_CHAIN} "
    return [f"-A {COPY_CHAIN} {line.removeprefix(start)}" for line in lines if line.startswith(start)]


def _section(table: str, lines: list[str]) -> str:
    return "\n".join([f"*{table}", *lines, "COMMIT", ""])


def main(arguments: list[str]) -> int:
    change = {"hold": rules_to_hold, "release": rules_to_release}.get(arguments[0] if len(arguments) == 1 else "")
    if change is None:
        sys.stderr.write(f"ports {' '.join(arguments)}: must be hold or release\n")
        return 2
    rules = change(_run(["iptables-save"]))
    if rules:
        # Each table is changed as a unit; rules that are not named stay.
        _run(["iptables-restore", "--noflush", "--wait", str(LOCK_SECONDS)], rules)
    return 0


def _run(command: list[str], stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, text=True, timeout=COMMAND_SECONDS, check=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
