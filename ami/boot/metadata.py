"""EC2 metadata service (IMDSv2): identity, user data, target lifecycle state."""

import json
import os
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from .retrying import TransientError

DEFAULT_ENDPOINT = "http://169.254.169.254"
TIMEOUT = 2.0  # seconds; it answers in milliseconds when it answers at all
TOKEN_SECONDS = 21600  # the maximum that the service allows
TERMINATED = "Terminated"

# A proxy set for downloads must never see metadata: credentials are part of it.
_OPENER = build_opener(ProxyHandler({}))


@dataclass(frozen=True, kw_only=True)
class Identity:
    instance_id: str
    region: str
    zone: str = ""


class Metadata:
    def __init__(self, endpoint: str | None = None) -> None:
        address = endpoint or os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or DEFAULT_ENDPOINT
        self._endpoint = address.rstrip("/")
        self._token = ""

    def identity(self) -> Identity:
        document = json.loads(self.read("dynamic/instance-identity/document"))
        zone = document.get("availabilityZone", "")
        return Identity(instance_id=document["instanceId"], region=document["region"], zone=zone)

    def user_data(self) -> str:
        return self.read("user-data")

    def target_lifecycle_state(self) -> str:
        """The state that Auto Scaling moves the instance to; empty without a group."""
        try:
            return self.read("meta-data/autoscaling/target-lifecycle-state").strip()
        except FileNotFoundError:
            return ""

    def read(self, path: str) -> str:
        if not self._token:
            self._token = self._new_token()
        try:
            return self._request(Request(f"{self._endpoint}/latest/{path}", headers=self._headers()))  # noqa: S310
        except PermissionError:
            self._token = self._new_token()
            return self._request(Request(f"{self._endpoint}/latest/{path}", headers=self._headers()))  # noqa: S310

    def _headers(self) -> dict[str, str]:
        return {"X-aws-ec2-metadata-token": self._token}

    def _new_token(self) -> str:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
        return self._request(Request(f"{self._endpoint}/latest/api/token", method="PUT", headers=headers))  # noqa: S310

    def _request(self, request: Request) -> str:
        try:
            with _OPENER.open(request, timeout=TIMEOUT) as response:
                return str(response.read().decode())
        except HTTPError as error:
            if error.code == 401:
                raise PermissionError(f"metadata {request.selector}: the token is no longer accepted") from error
            if error.code == 404:
                raise FileNotFoundError(f"metadata {request.selector}: the instance has no such value") from error
            raise TransientError(f"metadata {request.selector}: the service answered {error.code}") from error
        except (URLError, HTTPException, OSError) as error:
            raise TransientError(f"metadata {request.selector}: no answer ({error})") from error
