"""Instance metadata service (IMDSv2) for all instances; the caller's address identifies the instance."""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAX_TOKEN_SECONDS = 21_600  # six hours, as AWS
CREDENTIALS_HOURS = 6
SHUTDOWN_S = 0.1  # how often the listening thread checks whether it was shut down
VERSION = re.compile(r"^/(latest|\d{4}-\d{2}-\d{2})(/|$)")


@dataclass(frozen=True, kw_only=True)
class InstanceMetadata:
    """Metadata of one instance."""

    instance_id: str
    ami: str
    instance_type: str
    address: str
    hostname: str
    zone: str
    region: str
    account_id: str
    user_data: bytes
    role: str = ""
    profile_arn: str = ""
    target_lifecycle_state: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def metadata_tree(metadata: InstanceMetadata) -> dict[str, str]:
    """Text by path under /latest."""
    leaves = {
        "meta-data/ami-id": metadata.ami,
        "meta-data/hostname": metadata.hostname,
        "meta-data/instance-id": metadata.instance_id,
        "meta-data/instance-type": metadata.instance_type,
        "meta-data/local-hostname": metadata.hostname,
        "meta-data/local-ipv4": metadata.address,
        "meta-data/placement/availability-zone": metadata.zone,
        "meta-data/placement/region": metadata.region,
        "dynamic/instance-identity/document": json.dumps(_identity(metadata), indent=2),
    }
    if metadata.target_lifecycle_state:
        leaves["meta-data/autoscaling/target-lifecycle-state"] = metadata.target_lifecycle_state
    if metadata.role:
        leaves["meta-data/iam/info"] = json.dumps(_profile(metadata), indent=2)
        leaves[f"meta-data/iam/security-credentials/{metadata.role}"] = json.dumps(_credentials(), indent=2)
    for key, value in metadata.tags.items():
        leaves[f"meta-data/tags/instance/{key}"] = value
    return leaves


def listing(leaves: Mapping[str, str], path: str) -> str | None:
    """Names in a folder, one a line, subfolders with a trailing slash; None when there is no such folder."""
    start = f"{path.strip('/')}/" if path.strip("/") else ""
    below = [leaf[len(start) :] for leaf in leaves if leaf.startswith(start)]
    names = {name.partition("/")[0] + ("/" if "/" in name else "") for name in below}
    return "\n".join(sorted(names)) if names else None


def _identity(metadata: InstanceMetadata) -> dict[str, object]:
    return {
        "accountId": metadata.account_id,
        "architecture": "x86_64",
        "availabilityZone": metadata.zone,
        "imageId": metadata.ami,
        "instanceId": metadata.instance_id,
        "instanceType": metadata.instance_type,
        "privateIp": metadata.address,
        "region": metadata.region,
        "version": "2017-09-30",
    }


def _profile(metadata: InstanceMetadata) -> dict[str, str]:
    return {"Code": "Success", "LastUpdated": _time(datetime.now(UTC)), "InstanceProfileArn": metadata.profile_arn}


def _credentials() -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "Code": "Success",
        "LastUpdated": _time(now),
        "Type": "AWS-HMAC",
        "AccessKeyId": "ASIAREHEARSALREHEARS",
        "SecretAccessKey": "rehearsal",
        "Token": "rehearsal",
        "Expiration": _time(now + timedelta(hours=CREDENTIALS_HOURS)),
    }


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


class Tokens:
    """Session tokens, each valid for one address and for the requested number of seconds."""

    def __init__(self) -> None:
        self._issued: dict[str, tuple[str, float]] = {}

    def issue(self, address: str, seconds: int) -> str:
        token = base64.urlsafe_b64encode(secrets.token_bytes(40)).decode()
        self._issued[token] = (address, time.monotonic() + seconds)
        return token

    def is_valid(self, token: str | None, address: str) -> bool:
        holder, end = self._issued.get(token or "", ("", 0.0))
        return holder == address and time.monotonic() < end


class _MetadataHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MetadataServer

    def do_PUT(self) -> None:
        seconds = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != "/latest/api/token":
            return self._answer(HTTPStatus.NOT_FOUND)
        if self.headers.get("X-Forwarded-For"):
            return self._answer(HTTPStatus.FORBIDDEN)  # it came by way of a proxy
        if not seconds.isdigit() or not 1 <= int(seconds) <= MAX_TOKEN_SECONDS:
            return self._answer(HTTPStatus.BAD_REQUEST)
        return self._answer(HTTPStatus.OK, self.server.tokens.issue(self._address(), int(seconds)).encode())

    def do_GET(self) -> None:
        if not self.server.tokens.is_valid(self.headers.get("X-aws-ec2-metadata-token"), self._address()):
            return self._answer(HTTPStatus.UNAUTHORIZED)
        metadata = self.server.find(self._address())
        body = self._body(metadata) if metadata else None
        return self._answer(HTTPStatus.OK if body is not None else HTTPStatus.NOT_FOUND, body or b"")

    def _body(self, metadata: InstanceMetadata) -> bytes | None:
        if not VERSION.match(self.path):
            return None
        path = VERSION.sub("", self.path)
        if path == "user-data":
            return metadata.user_data or None
        leaves = metadata_tree(metadata)
        if path in leaves:
            return leaves[path].encode()
        names = listing(leaves, path)
        return None if names is None else names.encode()

    def _address(self) -> str:
        return str(self.client_address[0])

    def _answer(self, status: HTTPStatus, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        if self.command == "PUT" and status == HTTPStatus.OK:
            self.send_header(
                "X-aws-ec2-metadata-token-ttl-seconds", self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
            )
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: instances poll every second, which would hide everything else in the log."""


class MetadataServer(ThreadingHTTPServer):
    """Listens in a thread of its own from construction until `close`."""

    daemon_threads = True

    def __init__(self, address: str, port: int, find: Callable[[str], InstanceMetadata | None]) -> None:
        super().__init__((address, port), _MetadataHandler)
        self.find = find
        self.tokens = Tokens()
        self._thread = threading.Thread(target=self.serve_forever, args=(SHUTDOWN_S,), name="metadata", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()
