"""What CloudWatch does by itself: each second it takes the balancer's metrics in and judges the alarms."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from rehearsal.cloud import account
from rehearsal.cloud.additions.actions import LOCK
from rehearsal.cloud.additions.metrics import store_of
from rehearsal.cloud.cloudwatch import load_balancer_metrics
from rehearsal.cloud.cloudwatch.alarms import Alarms
from rehearsal.cloud.load_balancer_emulators import Door

TICK_S = 1.0
TIDY_S = 60.0

log = logging.getLogger(__name__)


class Monitoring:
    """In a thread of its own, from `start` until `close`."""

    def __init__(self, door: Door, alarms: Alarms, clock: Callable[[], float] = time.time) -> None:
        self._door, self._alarms, self._clock = door, alarms, clock
        self._tidied = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitoring", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def tick(self) -> None:
        now, traffic = self._clock(), self._door.traffic()
        with LOCK:
            load_balancer_metrics.tell(account.balancer_backends(), traffic, now)
            for backend in account.metric_backends():
                self._alarms.judge(backend, now)
        if now - self._tidied > TIDY_S:
            self._tidied = now
            for backend in account.metric_backends():
                store_of(backend).forget_old(now)

    def _run(self) -> None:
        while not self._stopped.wait(TICK_S):
            try:
                self.tick()
            except Exception:
                # One odd moment must not stop everything that follows.
                log.exception("monitoring tick failed")
