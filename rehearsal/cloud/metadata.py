"""Instance metadata, version 2, for all machines at once: the address of the caller says which instance it is."""

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
SHUTDOWN_S = 0.1  # how soon the listening thread notices that it shall end
VERSION = re.compile(r"^/(latest|\d{4}-\d{2}-\d{2})(/|$)")


@dataclass(frozen=True, kw_only=True)
class About:
    """What one instance may know of itself."""

    instance: str
    ami: str
    instance_type: str
    address: str
    hostname: str
    zone: str
    region: str
    account: str
    user_data: bytes
    role: str = ""
    profile_arn: str = ""
    target_lifecycle_state: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def tree(about: About) -> dict[str, str]:
    """Every path under /latest with its text."""
    leaves = {
        "meta-data/ami-id": about.ami,
        "meta-data/hostname": about.hostname,
        "meta-data/instance-id": about.instance,
        "meta-data/instance-type": about.instance_type,
        "meta-data/local-hostname": about.hostname,
        "meta-data/local-ipv4": about.address,
        "meta-data/placement/availability-zone": about.zone,
        "meta-data/placement/region": about.region,
        "dynamic/instance-identity/document": json.dumps(_identity(about), indent=2),
    }
    if about.target_lifecycle_state:
        leaves["meta-data/autoscaling/target-lifecycle-state"] = about.target_lifecycle_state
    if about.role:
        leaves["meta-data/iam/info"] = json.dumps(_profile(about), indent=2)
        leaves[f"meta-data/iam/security-credentials/{about.role}"] = json.dumps(_credentials(), indent=2)
    for key, value in about.tags.items():
        leaves[f"meta-data/tags/instance/{key}"] = value
    return leaves


def listing(leaves: Mapping[str, str], path: str) -> str | None:
    """What a folder holds, one name a line, folders with a slash behind; None when there is no such folder."""
    start = f"{path.strip('/')}/" if path.strip("/") else ""
    below = [leaf[len(start) :] for leaf in leaves if leaf.startswith(start)]
    names = {name.partition("/")[0] + ("/" if "/" in name else "") for name in below}
    return "\n".join(sorted(names)) if names else None


def _identity(about: About) -> dict[str, object]:
    return {
        "accountId": about.account,
        "architecture": "x86_64",
        "availabilityZone": about.zone,
        "imageId": about.ami,
        "instanceId": about.instance,
        "instanceType": about.instance_type,
        "privateIp": about.address,
        "region": about.region,
        "version": "2017-09-30",
    }


def _profile(about: About) -> dict[str, str]:
    return {"Code": "Success", "LastUpdated": _time(datetime.now(UTC)), "InstanceProfileArn": about.profile_arn}


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
    """Session tokens: each is good for one address and for as many seconds as were asked for."""

    def __init__(self) -> None:
        self._issued: dict[str, tuple[str, float]] = {}

    def issue(self, address: str, seconds: int) -> str:
        token = base64.urlsafe_b64encode(secrets.token_bytes(40)).decode()
        self._issued[token] = (address, time.monotonic() + seconds)
        return token

    def good(self, token: str | None, address: str) -> bool:
        holder, end = self._issued.get(token or "", ("", 0.0))
        return holder == address and time.monotonic() < end


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MetadataServer

    def do_PUT(self) -> None:
        seconds = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != "/latest/api/token":
            return self._answer(HTTPStatus.NOT_FOUND)
        if self.headers.get("X-Forwarded-For"):
            return self._answer(HTTPStatus.FORBIDDEN)  # a proxy asks, not the instance
        if not seconds.isdigit() or not 1 <= int(seconds) <= MAX_TOKEN_SECONDS:
            return self._answer(HTTPStatus.BAD_REQUEST)
        return self._answer(HTTPStatus.OK, self.server.tokens.issue(self._address(), int(seconds)).encode())

    def do_GET(self) -> None:
        if not self.server.tokens.good(self.headers.get("X-aws-ec2-metadata-token"), self._address()):
            return self._answer(HTTPStatus.UNAUTHORIZED)
        about = self.server.find(self._address())
        body = self._body(about) if about else None
        return self._answer(HTTPStatus.OK if body is not None else HTTPStatus.NOT_FOUND, body or b"")

    def _body(self, about: About) -> bytes | None:
        if not VERSION.match(self.path):
            return None
        path = VERSION.sub("", self.path)
        if path == "user-data":
            return about.user_data or None
        leaves = tree(about)
        if path in leaves:
            return leaves[path].encode()
        found = listing(leaves, path)
        return None if found is None else found.encode()

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
        """Machines ask every second: a log of that hides everything else."""


class MetadataServer(ThreadingHTTPServer):
    """Serves in a thread of its own from construction until `close`."""

    daemon_threads = True

    def __init__(self, address: str, port: int, find: Callable[[str], About | None]) -> None:
        super().__init__((address, port), _Handler)
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
