"""AWS clients for this machine's region, with short timeouts, at the endpoint that the environment names."""

import os
import threading
from typing import Any

Client = Any  # Debian's boto3 has no types


class Cloud:
    def __init__(self, region: str) -> None:
        self.region = region
        self.endpoint = os.environ.get("AWS_ENDPOINT_URL") or None
        self._clients: dict[tuple[str, bool], Client] = {}
        self._lock = threading.Lock()  # boto3 makes clients one at a time only

    def client(self, service: str, *, impatient: bool = False) -> Client:
        """Imports boto3 on first use: the units that only wait never pay its 0.2 s and 30 MB.

        An impatient client tries once and gives up within 5 s: whoever uses it tries again, as long as there is time.
        """
        with self._lock:
            if (service, impatient) not in self._clients:
                self._clients[service, impatient] = self._make(service, impatient)
            return self._clients[service, impatient]

    def _make(self, service: str, impatient: bool) -> Client:
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=2 if impatient else 3,
            read_timeout=3 if impatient else 10,
            retries={"mode": "standard", "total_max_attempts": 1 if impatient else 3},
            signature_version="s3v4" if service == "s3" else None,
            # One name for the endpoint means that a bucket can't be part of its host name.
            s3={"addressing_style": "path" if self.endpoint else "virtual"},
        )
        make: Any = boto3.client  # typed newer versions ask for the service as a literal
        # Debian 12's botocore does not read AWS_ENDPOINT_URL by itself (later ones do).
        return make(service, region_name=self.region, endpoint_url=self.endpoint, config=config)


def may_pass(error: Exception) -> bool:
    """Connections, missing credentials (a new profile takes seconds to arrive), throttling and 5xx may pass."""
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status == 429 or "Throttl" in error.response.get("Error", {}).get("Code", "")
    return isinstance(error, BotoCoreError) and not isinstance(error, ParamValidationError)
