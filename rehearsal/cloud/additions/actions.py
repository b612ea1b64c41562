"""Actions that moto lacks fail at once and by name, calls are counted, and what touches machines takes turns."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from collections import Counter
from dataclasses import dataclass
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import put_into

GAPS = [
    Gap(
        service="all",
        action="(actions that moto lacks)",
        reason="moto answers 500, which clients retry for many minutes; here 400 with the code NotEmulated, at once",
    ),
]

LOCK = threading.RLock()  # moto keeps no locks; the controller changes the same groups, instances and targets
MACHINE_SERVICES = frozenset({"autoscaling", "ec2", "elbv2"})
# A key at work is none of the account's changes either.
READS = (
    *("Assume", "BatchGet", "Decrypt", "Describe", "Encrypt", "Filter", "GenerateDataKey", "Get", "Head", "List"),
    *("Lookup", "Search", "Simulate"),
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One kind of call: S3's are named by their HTTP method, all others by their action."""

    caller: str
    service: str
    action: str

    @property
    def writes(self) -> bool:
        return self.action not in ("GET", "HEAD") if self.service == "s3" else not self.action.startswith(READS)


CALLS: Counter[Call] = Counter()
CALLER = threading.local()  # `.address`, set by the server for the thread that answers one request

_call_plain_action = BaseResponse.call_action


def extend() -> None:
    put_into(BaseResponse, call_action=_call_action)


def _call_action(self: Any) -> Any:
    CALLS[Call(caller=CALLER.address, service=self.service_name, action=str(self._get_action()))] += 1
    turn = LOCK if self.service_name in MACHINE_SERVICES else contextlib.nullcontext()
    with turn:
        try:
            return _call_plain_action(self)
        except NotImplementedError as error:
            return _refused(self, "NotEmulated", f"{self._get_action()}: {error or 'moto has no such action'}")
        except Exception as error:
            # Whatever moto stumbles over: no client should retry it, and the developer needs the place.
            traceback.print_exc(file=sys.stderr)
            return _refused(self, "EmulatorFault", f"{self._get_action()}: {type(error).__name__}: {error}")


class Refused(ServiceException):
    """A class outside moto: for its own plain one, moto looks up a service by the name of its module, and fails."""


def _refused(response: Any, code: str, message: str) -> Any:
    return response.serialized(ActionResult(Refused(code, message)))
