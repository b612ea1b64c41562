"""CloudWatch's background loop: every second it collects load balancer metrics and evaluates the alarms."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from rehearsal.cloud import account
from rehearsal.cloud.additions.actions import LOCK
from rehearsal.cloud.additions.metrics import store_of
from rehearsal.cloud.cloudwatch import load_balancer_metrics
from rehearsal.cloud.cloudwatch.alarms import AlarmEvaluator
from rehearsal.cloud.load_balancer_emulators import LoadBalancerControl

TICK_S = 1.0
TIDY_S = 60.0

log = logging.getLogger(__name__)


class MonitoringLoop:
    """Runs in a thread of its own, from `start` until `close`."""

    def __init__(
        self, load_balancer: LoadBalancerControl, alarms: AlarmEvaluator, clock: Callable[[], float] = time.time
    ) -> None:
        self._load_balancer, self._alarms, self._clock = load_balancer, alarms, clock
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
        now, traffic = self._clock(), self._load_balancer.traffic()
        with LOCK:
            load_balancer_metrics.publish(account.load_balancer_backends(), traffic, now)
            for backend in account.metric_backends():
                self._alarms.evaluate(backend, now)
        if now - self._tidied > TIDY_S:
            self._tidied = now
            for backend in account.metric_backends():
                store_of(backend).drop_expired(now)

    def _run(self) -> None:
        while not self._stopped.wait(TICK_S):
            try:
                self.tick()
            except Exception:
                # One failed tick must not stop the loop.
                log.exception("monitoring tick failed")
