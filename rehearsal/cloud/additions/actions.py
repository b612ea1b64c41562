"""API actions: clear errors for those that moto lacks, call counts, and a lock for those on instances."""

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
from rehearsal.cloud.additions.patching import replace_methods

GAPS = [
    Gap(
        service="all",
        action="(actions that moto lacks)",
        reason="moto returns 500, which clients retry for many minutes; here it is 400 with the code NotEmulated",
    ),
]

LOCK = threading.RLock()  # moto keeps no locks; the controller changes the same groups, instances and targets
INSTANCE_SERVICES = frozenset({"autoscaling", "ec2", "elbv2"})
# Using a key doesn't change the account either.
READS = (
    *("Assume", "BatchGet", "Decrypt", "Describe", "Encrypt", "Filter", "GenerateDataKey", "Get", "Head", "List"),
    *("Lookup", "Search", "Simulate"),
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One kind of API call: S3's are named by their HTTP method, all others by their action."""

    caller: str
    service: str
    action: str

    @property
    def writes(self) -> bool:
        return self.action not in ("GET", "HEAD") if self.service == "s3" else not self.action.startswith(READS)


CALLS: Counter[Call] = Counter()
CALLER = threading.local()  # `.address`, set by the server for the thread that handles a request

_call_plain_action = BaseResponse.call_action


def extend() -> None:
    replace_methods(BaseResponse, call_action=_call_action)


def _call_action(self: Any) -> Any:
    CALLS[Call(caller=CALLER.address, service=self.service_name, action=str(self._get_action()))] += 1
    turn = LOCK if self.service_name in INSTANCE_SERVICES else contextlib.nullcontext()
    with turn:
        try:
            return _call_plain_action(self)
        except NotImplementedError as error:
            return _error_response(self, "NotEmulated", f"{self._get_action()}: {error or 'moto has no such action'}")
        except Exception as error:
            # A bug in moto or an addition: no client should retry it, and the developer needs the traceback.
            traceback.print_exc(file=sys.stderr)
            return _error_response(self, "EmulatorFault", f"{self._get_action()}: {type(error).__name__}: {error}")


class EmulatorError(ServiceException):
    """A client error. It is defined outside moto, which looks up the service by the module of an exception's class."""


def _error_response(response: Any, code: str, message: str) -> Any:
    return response.serialized(ActionResult(EmulatorError(code, message)))
