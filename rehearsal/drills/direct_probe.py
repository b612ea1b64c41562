"""A machine asked at its own address, many times a second: the front door retries what is refused, AWS does not."""

from __future__ import annotations

import threading
import time
from http.client import HTTPConnection, HTTPException
from typing import Self

PAUSE_S, PATIENCE_S = 0.02, 2.0


class Knocks:
    """Asks for / within a `with` block, each time on a new connection, without a second try."""

    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="knocks", daemon=True)
        self.asked = 0
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _go_on(self) -> None:
        began = time.monotonic()
        while not self._over.wait(PAUSE_S):
            self.asked += 1
            if error := self._error():
                self.errors.append(f"after {time.monotonic() - began:.2f} s: {error}")

    def _error(self) -> str:
        connection = HTTPConnection(self._address, self._port, timeout=PATIENCE_S)
        try:
            connection.request("GET", "/", headers={"Connection": "close"})
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            return str(error) or type(error).__name__
        finally:
            connection.close()
        return "" if status == 200 else f"answered {status}"
