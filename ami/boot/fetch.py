"""Download of the release's bundle over https, with stall detection and sha256."""

import hashlib
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from .masking import without_credentials
from .retrying import Deadline, TransientError, retry

LOG = logging.getLogger("boot")
CHUNK = 1 << 18
ATTEMPTS = 4

Presign = Callable[[str, str], str]


class FetchError(Exception):
    """A failure that a retry would not get past."""


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    max_bytes: int = 4 << 30  # the root volume is 16 GiB by default, and the bundle is unpacked and built on it
    stall_seconds: float = 15.0  # within this time …
    stall_bytes: int = 128 << 10  # … at least so much must arrive, or the download counts as stalled


def fetch(
    url: str, destination: Path, *, presign: Presign, deadline: Deadline, limits: FetchLimits | None = None
) -> str:
    """Returns the sha256. S3 objects come by a presigned URL, so that both schemes share one download.

    Raises FetchError or TransientError.
    """
    limits = limits or FetchLimits()
    return retry(
        lambda: _download(_address(url, presign), url, destination, limits, deadline),
        what="download",
        deadline=deadline,
        attempts=ATTEMPTS,
    )


def _address(url: str, presign: Presign) -> str:
    parts = urlsplit(url)
    match parts.scheme:
        case "https":
            return url
        case "s3":
            return presign(parts.netloc, parts.path.removeprefix("/"))
    raise FetchError(f"release URL {without_credentials(url)}: only s3:// and https:// can be fetched")


class _HttpsOnlyRedirects(HTTPRedirectHandler):
    """Follows redirects to other hosts (GitHub's archives need it), but never from https to cleartext."""

    def redirect_request(  # type: ignore[no-untyped-def]  # urllib's own signature
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers, newurl: str
    ) -> Request | None:
        if req.type == "https" and not newurl.startswith("https:"):
            raise FetchError(
                f"{without_credentials(req.full_url)} redirects to {without_credentials(newurl)}: not https"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(address: str, url: str, destination: Path, limits: FetchLimits, deadline: Deadline) -> str:
    shown = without_credentials(url)
    try:
        opener = build_opener(_HttpsOnlyRedirects)
        with opener.open(address, timeout=limits.stall_seconds) as response, destination.open("wb") as target:
            return _copy(response, target, shown, limits, deadline)
    except HTTPError as error:
        raise _http_failure(error, shown) from error
    except TimeoutError as error:
        raise TransientError(f"{shown}: stalled, nothing arrived for {limits.stall_seconds:g} s") from error
    except (URLError, HTTPException, ConnectionError) as error:
        raise TransientError(f"{shown}: {_reason(error)}") from error


def _copy(response: HTTPResponse, target: IO[bytes], shown: str, limits: FetchLimits, deadline: Deadline) -> str:
    expected = int(response.headers.get("Content-Length") or -1)
    if expected > limits.max_bytes:
        raise FetchError(f"{shown}: {expected} bytes, more than the allowed {limits.max_bytes}")
    digest, received = hashlib.sha256(), 0
    window, in_window = time.monotonic(), 0
    while chunk := response.read1(CHUNK):
        target.write(chunk)
        digest.update(chunk)
        received += len(chunk)
        in_window += len(chunk)
        if received > limits.max_bytes:
            raise FetchError(f"{shown}: more than the allowed {limits.max_bytes} bytes")
        if deadline.passed:
            raise FetchError(f"{shown}: timed out after {received} bytes")
        if time.monotonic() - window >= limits.stall_seconds:
            if in_window < limits.stall_bytes:
                raise TransientError(f"{shown}: stalled, {in_window} bytes in {limits.stall_seconds:g} s")
            window, in_window = time.monotonic(), 0
    if 0 <= received < expected:
        raise TransientError(f"{shown}: the connection ended after {received} of {expected} bytes")
    LOG.info("fetch bundle url=%s bytes=%d", shown, received)
    return digest.hexdigest()


def _http_failure(error: HTTPError, shown: str) -> Exception:
    code = re.search(rb"<Code>(\w+)</Code>", error.read(4096))
    text = f"{shown}: answered {error.code} {code[1].decode() if code else error.reason}"
    return TransientError(text) if error.code >= 500 or error.code == 429 else FetchError(text)


def _reason(error: Exception) -> str:
    return str(error.reason) if isinstance(error, URLError) else str(error) or type(error).__name__
