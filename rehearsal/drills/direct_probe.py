"""Direct probe of an instance's own address, many times a second, without the load balancer's connection retries."""

from __future__ import annotations

import threading
import time
from http.client import HTTPConnection, HTTPException
from typing import Self

PAUSE_S, TIMEOUT_S = 0.02, 2.0


class DirectProbe:
    """Requests / during a `with` block, each time on a new connection and without retries."""

    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)
        self.requests = 0
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stopped.wait(PAUSE_S):
            self.requests += 1
            if error := self._error():
                self.errors.append(f"after {time.monotonic() - began:.2f} s: {error}")

    def _error(self) -> str:
        connection = HTTPConnection(self._address, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/", headers={"Connection": "close"})
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            return str(error) or type(error).__name__
        finally:
            connection.close()
        return "" if status == 200 else f"answered {status}"
