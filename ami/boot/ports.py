"""Users reach published ports while Docker's daemon starts: a copy of its rules leads them until it has its own again.

A program of its own beside the boot: Docker's unit runs `hold` before the daemon, which empties its chains and fills
them again at every start, and `release` once it is ready.
"""

import subprocess
import sys

DOCKERS, COPY = "DOCKER", "BLUEGREEN"
# By table: the way into the copy, as iptables-save writes it, and what a rule must do to let users in.
JUMPS = {
    "nat": (f"-A PREROUTING -m addrtype --dst-type LOCAL -j {COPY}", "-j DNAT "),
    "filter": (f"-A FORWARD -j {COPY}", "-j ACCEPT"),
}
# Docker itself may hold the lock of the rules; no daemon waits for longer than this for a copy.
LOCK_SECONDS, COMMAND_SECONDS = 5, 10


def rules_to_hold(saved: str) -> str:
    """What iptables-restore adds, given all rules; empty while Docker lets nobody in, so that an older copy stays."""
    tables = _tables(saved)
    held = {name: _copied(tables.get(name, [])) for name in JUMPS}
    if not all(any(JUMPS[name][1] in line for line in lines) for name, lines in held.items()):
        return ""
    sections = []
    for name, lines in held.items():
        jump = [] if JUMPS[name][0] in tables[name] else [JUMPS[name][0]]
        sections.append(_section(name, [f":{COPY} - [0:0]", *lines, *jump]))
    return "".join(sections)


def rules_to_release(saved: str) -> str:
    """What iptables-restore takes away, given all rules; empty where no copy is."""
    sections = []
    for name, lines in _tables(saved).items():
        if not any(line.startswith(f":{COPY} ") for line in lines):
            continue
        jumps = [line.replace("-A", "-D", 1) for line in lines if line.endswith(f" -j {COPY}")]
        sections.append(_section(name, [*jumps, f"-F {COPY}", f"-X {COPY}"]))
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
    start = f"-A {DOCKERS} "
    return [f"-A {COPY} {line.removeprefix(start)}" for line in lines if line.startswith(start)]


def _section(table: str, lines: list[str]) -> str:
    return "\n".join([f"*{table}", *lines, "COMMIT", ""])


def main(arguments: list[str]) -> int:
    change = {"hold": rules_to_hold, "release": rules_to_release}.get(arguments[0] if len(arguments) == 1 else "")
    if change is None:
        sys.stderr.write(f"ports {' '.join(arguments)}: hold or release is what there is\n")
        return 2
    rules = change(_run(["iptables-save"]))
    if rules:
        # All of a table or nothing of it; rules that are not named stay.
        _run(["iptables-restore", "--noflush", "--wait", str(LOCK_SECONDS)], rules)
    return 0


def _run(command: list[str], given: str = "") -> str:
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True, timeout=COMMAND_SECONDS, check=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
