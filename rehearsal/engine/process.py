"""One run of a program under the engine, in a process of its own: `python -m rehearsal.engine.process`.

The request comes as JSON on stdin; events go to the original stdout, one JSON object a line; what the
program prints goes to stderr.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import io
import os
import runpy
import signal
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .display import Display, ProgramLog
from .events import Op
from .run import CHANGES_PROPOSED, Run
from .state import State
from .values import has_unknown, to_json

_PR_SET_PDEATHSIG = 1
# The SDK starts one call a resource; a call may wait minutes for machines, and must not hold up the others.
_THREADS = 64
_TITLES = {
    ("up", False): "Updating",
    ("up", True): "Previewing update",
    ("destroy", False): "Destroying",
    ("refresh", False): "Refreshing",
    ("refresh", True): "Previewing refresh",
}


def main() -> int:
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = io.TextIOWrapper(os.fdopen(os.dup(2), "wb", buffering=0), write_through=True)
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the caller decides what it means
    run = Run.decode(sys.stdin.readline())
    return _Session(run, Display(events, dry_run=run.asked.dry_run, tells_events=run.tells_events)).play()


def _die_with_parent() -> None:
    """An update whose caller was killed must not go on by itself: the lock is free by then."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Session:
    def __init__(self, run: Run, display: Display) -> None:
        from .deployment import Deployment
        from .hooks import Hooks

        self.run = run
        self.display = display
        self.code = 1
        self.state = State(run.state, kept=not run.asked.dry_run)
        self.hooks = Hooks(dry_run=run.asked.dry_run)
        self.deployment = Deployment(
            state=self.state,
            display=display,
            hooks=self.hooks,
            provider_config=run.provider_config(),
            dry_run=run.asked.dry_run,
        )

    def play(self) -> int:
        self.display.line(f"{_TITLES[self.run.asked.action, self.run.asked.dry_run]} ({self.run.stack}):")
        if self.run.asked.refresh:
            self._refresh(alone=False)
        if not self.deployment.failed.is_set():
            acts = {"up": self._program, "destroy": self._destroy, "refresh": self._refresh}
            acts[self.run.asked.action]()
        if self.run.asked.policy_packs and not self.deployment.failed.is_set():
            self._judge()
        self._expect_nothing()
        self.hooks.close()
        for warning in self.hooks.warnings:
            self.display.diagnose("resource hooks", f"warning: {warning}")
        failed = self.deployment.failed.is_set()
        self._close(failed)
        return self.code if failed else 0

    def _close(self, failed: bool) -> None:
        outputs = self.state.outputs if failed or self.deployment.outputs is None else self.deployment.outputs
        if not self.run.asked.dry_run and not has_unknown(outputs):
            self.state.set_outputs(outputs)
        self.display.close({} if failed else outputs)
        self.display.event(
            result="failed" if failed else "succeeded",
            changes=self.display.changes(),
            outputs=to_json(outputs),
            diagnostics=[f"{about}: {message}" for about, message in self.display.diagnostics],
        )

    def _destroy(self) -> None:
        self.deployment.remove_rest()
        if not self.deployment.failed.is_set():
            self.deployment.outputs = {}

    def _refresh(self, *, alone: bool = True) -> None:
        from .refresh import refresh

        refresh(self.deployment, alone=alone)

    def _judge(self) -> None:
        from .policies import PackError, judge

        protected = self.run.config.get(f"{self.run.project}:protect") == "true"
        for pack in self.run.asked.policy_packs:
            try:
                broken = judge(Path(pack), self.deployment.planned(), self.display, protected=protected)
            except PackError as error:
                self.display.diagnose("policy", f"error: {error}")
                broken = 1
            if broken:
                self.deployment.failed.set()

    def _expect_nothing(self) -> None:
        changed = set(self.display.changes()) - {Op.SAME, Op.READ, Op.REFRESH}
        if self.run.asked.expect_no_changes and changed and not self.deployment.failed.is_set():
            what = "refresh" if self.run.asked.action == "refresh" else "preview"
            self.deployment.failed.set()
            self.code = CHANGES_PROPOSED
            self.display.diagnose(what, f"error: no changes were expected for {what} but changes were proposed")

    def _program(self) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="register"))
        try:
            loop.run_until_complete(self._run_program())
        except Exception as error:
            if not self.deployment.failed.is_set():
                self.deployment.failed.set()
                self.display.diagnose(
                    f"pulumi:pulumi:Stack ({self.run.project}-{self.run.stack})", _told(error, self.run)
                )

    async def _run_program(self) -> None:
        import pulumi.runtime
        from pulumi.runtime.mocks import MockSettings
        from pulumi.runtime.settings import configure
        from pulumi.runtime.stack import run_in_stack

        from .monitor import EngineMonitor

        # What set_mocks does, but for the root stack that it makes: run_in_stack makes the real one.
        monitor = EngineMonitor(self.deployment)
        settings = MockSettings(  # type: ignore[no-untyped-call]
            monitor=monitor,
            monitor_features=monitor.features(),
            engine=ProgramLog(self.display),
            project=self.run.project,
            stack=self.run.stack,
            root_directory=str(self.run.root),
            organization="organization",
            dry_run=self.run.asked.dry_run,
            callbacks=None,
            package_refs={},
            base_providers_by_ref={},
            outputs=set(),
        )
        configure(settings)
        pulumi.runtime.set_all_config(dict(self.run.config), self.run.secret_keys)
        os.chdir(self.run.root)
        sys.path.insert(0, str(self.run.main.parent))
        await run_in_stack(functools.partial(_execute, self.run.main))


def _execute(main: Path) -> None:
    runpy.run_path(str(main), run_name="__main__")


def _told(error: Exception, run: Run) -> str:
    from pulumi import RunError

    if isinstance(error, RunError):
        return f"error: {error}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _of_program(frame.filename, run.root)]
    where = "".join(traceback.format_list(frames))
    return f"error: Program failed with an unhandled exception:\n{where}{type(error).__name__}: {error}"


def _of_program(filename: str, root: Path) -> bool:
    path = Path(filename)
    return path.is_relative_to(root) and not any(part in {".venv", "engine"} for part in path.relative_to(root).parts)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads of the SDK and of gRPC have nothing left to do
