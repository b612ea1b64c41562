"""The rehearsal as it happens: a live table in a terminal, one line a step elsewhere (CI, a pipe)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from rehearsal.report.journal import Journal, Step

REFRESH_PER_SECOND = 4
BAR_CELLS = 40
STYLES = {"blue": "blue", "green": "green"}


class View:
    """What a person sees. `load` returns the latest second of load ({} while there is none)."""

    def __init__(self, journal: Journal, load: Callable[[], Mapping[str, Any]], console: Console) -> None:
        self._journal, self._load, self._console = journal, load, console
        self._spinner = Spinner("dots")

    def __rich__(self) -> RenderableType:
        return Group(self._steps(), self._users())

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Shows the rehearsal while the block runs."""
        if self._console.is_terminal:
            with Live(self, console=self._console, refresh_per_second=REFRESH_PER_SECOND):
                yield
        else:
            with self._plain():
                yield

    def _steps(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for step in self._journal.steps:
            table.add_row(
                self._mark(step), f"{_seconds(step, self._journal):7.1f} s", step.name, Text(step.note, "dim")
            )
        return table

    def _mark(self, step: Step) -> RenderableType:
        return self._spinner if step.running else _verdict(step)

    def _users(self) -> RenderableType:
        second = self._load()
        if not second:
            return Text("")
        by = second["by"]
        total = sum(by.values()) or 1
        line = Text("\n users  ")
        for name, count in by.items():
            line.append("█" * max(1, round(BAR_CELLS * count / total)), STYLES.get(name.split(" ")[0], "red"))
        names = ", ".join(f"{name} {count}/s" for name, count in by.items())
        line.append(f"  {names}  p50 {second['p50_ms'] or 0:.1f} ms  p99 {second['p99_ms'] or 0:.1f} ms  ")
        line.append(f"failed {second['failed_total']}", "bold red" if second["failed_total"] else "bold green")
        return line

    @contextmanager
    def _plain(self) -> Iterator[None]:
        done = threading.Event()
        printer = threading.Thread(target=self._print_steps, args=(done,), daemon=True)
        printer.start()
        try:
            yield
        finally:
            done.set()
            printer.join(timeout=5)

    def _print_steps(self, done: threading.Event) -> None:
        printed = 0
        while True:
            last = done.wait(0.2)
            for step in self._journal.steps[printed:]:
                if step.running and not last:
                    break
                state = "ok    " if step.ok else "FAILED"
                self._console.print(
                    f"{state} {step.seconds:7.1f} s  {step.name}  {step.note}".rstrip(), highlight=False
                )
                printed += 1
            if last:
                return


def _verdict(step: Step) -> Text:
    return Text("✓", "green") if step.ok else Text("✗", "bold red")


def _seconds(step: Step, journal: Journal) -> float:
    return journal.now() - step.started if step.running else step.seconds
