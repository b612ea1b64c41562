"""AWS clients for the instance's region, with short timeouts, honouring AWS_ENDPOINT_URL."""

import os
import threading
from typing import Any

Client = Any  # Debian's boto3 has no types
# SNS, CloudWatch and CloudWatch Logs answer within a second. They may have processed a request whose answer never came,
# and don't deduplicate: this is how long to wait before it counts as failed.
ANSWER_SECONDS = 8.0


class Cloud:
    def __init__(self, region: str) -> None:
        self.region = region
        self.endpoint = os.environ.get("AWS_ENDPOINT_URL") or None
        self._clients: dict[tuple[str, float, int], Client] = {}
        self._lock = threading.Lock()  # boto3 can't create clients concurrently

    def client(self, service: str, *, fail_fast: bool = False) -> Client:
        """Imports boto3 on first use: the units that only wait never pay its 0.2 s and 30 MB.

        One that fails fast tries once, for 5 s at most: its caller retries, as long as there is time.
        """
        return self._client(service, read_timeout=3 if fail_fast else 10, attempts=1 if fail_fast else 3)

    def client_without_retries(self, service: str) -> Client:
        """For requests that count or notify: the SDK never retries, and waits ANSWER_SECONDS for an answer."""
        return self._client(service, read_timeout=ANSWER_SECONDS, attempts=1)

    def _client(self, service: str, *, read_timeout: float, attempts: int) -> Client:
        key = (service, read_timeout, attempts)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._create(service, read_timeout, attempts)
            return self._clients[key]

    def _create(self, service: str, read_timeout: float, attempts: int) -> Client:
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=2 if attempts == 1 else 3,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": attempts},
            signature_version="s3v4" if service == "s3" else None,
            # One name for the endpoint means that a bucket can't be part of its host name.
            s3={"addressing_style": "path" if self.endpoint else "virtual"},
        )
        create: Any = boto3.client  # typed newer versions ask for the service as a literal
        # Debian 12's botocore does not read AWS_ENDPOINT_URL (later ones do).
        return create(service, region_name=self.region, endpoint_url=self.endpoint, config=config)


def is_retryable(error: Exception) -> bool:
    """Failed connections, missing credentials (a new instance profile takes seconds), throttling and 5xx."""
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status == 429 or "Throttl" in error.response.get("Error", {}).get("Code", "")
    return isinstance(error, BotoCoreError) and not isinstance(error, ParamValidationError)


def may_have_been_processed(error: Exception) -> bool:
    """The request was sent and no answer came: AWS may have processed it, or not."""
    from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

    return isinstance(error, ConnectionClosedError | ReadTimeoutError)


def is_safe_to_repeat(error: Exception) -> bool:
    """Retryable and not processed: repeating the request counts or notifies nothing twice."""
    return is_retryable(error) and not may_have_been_processed(error)
