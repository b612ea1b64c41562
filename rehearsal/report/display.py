"""Live progress of a rehearsal: a table in a terminal, one line per step elsewhere (CI, a pipe)."""

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

from rehearsal.report.journal import Journal, StepRecord

REFRESH_PER_SECOND = 4
BAR_CELLS = 40
STYLES = {"blue": "blue", "green": "green"}


class View:
    """Steps and load. `load` returns the latest second of load ({} while there is none)."""

    def __init__(self, journal: Journal, load: Callable[[], Mapping[str, Any]], console: Console) -> None:
        self._journal, self._load, self._console = journal, load, console
        self._spinner = Spinner("dots")

    def __rich__(self) -> RenderableType:
        return Group(self._steps(), self._traffic())

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show the progress while the block runs."""
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

    def _mark(self, step: StepRecord) -> RenderableType:
        return self._spinner if step.running else _result_mark(step)

    def _traffic(self) -> RenderableType:
        second = self._load()
        if not second:
            return Text("")
        counts = second["by"]
        total = sum(counts.values()) or 1
        line = Text("\n traffic  ")
        for name, count in counts.items():
            line.append("█" * max(1, round(BAR_CELLS * count / total)), STYLES.get(name.split(" ")[0], "red"))
        names = ", ".join(f"{name} {count}/s" for name, count in counts.items())
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


def _result_mark(step: StepRecord) -> Text:
    return Text("✓", "green") if step.ok else Text("✗", "bold red")


def _seconds(step: StepRecord, journal: Journal) -> float:
    return journal.now() - step.started if step.running else step.seconds
