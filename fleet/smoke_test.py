"""Smoke test of a release over HTTP, before and after it gets traffic."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from fleet.waiting import FIRST_PAUSE_S, MAX_PAUSE_S

REQUEST_TIMEOUT_S = 10.0
# ACM renews 60 days before expiry; with a week left, the renewal has failed.
MIN_CERTIFICATE_DAYS = 7
# Characters of the app's own texts in messages.
MAX_QUOTED_LENGTH = 300


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of one check."""

    name: str
    ok: bool
    detail: str
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PathCheck:
    """An additional path that must respond with this status, and with this text in its body."""

    path: str
    status: int = 200
    contains: str = ""


@dataclass(frozen=True, kw_only=True)
class _Probe:
    url: str
    headers: Mapping[str, str]
    expect_release: str
    expect_color: str
    health_path: str
    deep: bool
    require: Sequence[str]
    session: requests.Session


class _CheckError(Exception):
    """Why a check hasn't passed yet."""


def smoke(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    expect_release: str = "",
    expect_color: str = "",
    health_path: str = "/health",
    deep: bool = True,
    require: Sequence[str] = (),
    paths: Sequence[PathCheck] = (),
    deadline: float = 30.0,
    in_a_row: int = 1,
) -> list[CheckResult]:
    """Run the checks until all pass or `deadline` seconds are over; the results are those of the last attempt."""
    end = time.monotonic() + deadline
    with requests.Session() as session:
        probe = _Probe(
            url=url.rstrip("/"),
            headers=headers or {},
            expect_release=expect_release,
            expect_color=expect_color,
            health_path=health_path,
            deep=deep,
            require=require,
            session=session,
        )
        results = _until(lambda: _health(probe), end, in_a_row)
        for path in paths:
            results += _until(lambda path=path: [_path(probe, path)], end, 1)  # type: ignore[misc]
    if url.startswith("https:"):
        results += _until(lambda: [_certificate(url)], end, 1)
    return results


def failures(results: Sequence[CheckResult]) -> str | None:
    """The failed checks as one reason, or None when every check passed."""
    failed = [f"{result.name}: {result.detail}" for result in results if not result.ok]
    return "; ".join(failed) or None


def _until(check: Callable[[], list[CheckResult]], end: float, in_a_row: int) -> list[CheckResult]:
    pause, passed = FIRST_PAUSE_S, 0
    while True:
        results = check()
        passed = passed + 1 if failures(results) is None else 0
        left = end - time.monotonic()
        if passed >= in_a_row or left <= 0:
            return results
        if not passed:
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, MAX_PAUSE_S)


def _health(probe: _Probe) -> list[CheckResult]:
    started = time.monotonic()
    target = probe.health_path + ("?deep=1" if probe.deep else "")
    try:
        answer = _get(probe, target)
        body = _health_body(answer, target)
    except _CheckError as error:
        return [CheckResult(name="health", ok=False, detail=str(error), seconds=time.monotonic() - started)]
    seconds = time.monotonic() - started
    results = [_status(answer, body, target, seconds), *_parts(probe, body)]
    if probe.expect_release:
        results.append(_same("release", probe.expect_release, _quoted(body.get("release", ""))))
    if probe.expect_color:
        results.append(_same("color", probe.expect_color, answer.headers.get("X-Color", "")))
    return results


def _get(probe: _Probe, path: str) -> requests.Response:
    try:
        # A new connection each time: a reused one may stay with an instance that gets no new traffic.
        headers = {**probe.headers, "Connection": "close"}
        return probe.session.get(probe.url + path, headers=headers, timeout=REQUEST_TIMEOUT_S, allow_redirects=False)
    except requests.RequestException as error:
        raise _CheckError(f"GET {probe.url}{path} got no answer: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    """The innermost cause: requests wraps the operating system's error several times."""
    inner = error
    while (deeper := inner.__cause__ or inner.__context__) is not None:
        inner = deeper
    return getattr(inner, "strerror", None) or str(inner)


def _health_body(answer: requests.Response, target: str) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _CheckError(f"GET {target} answered {answer.status_code} without a JSON object: {answer.text[:80]!r}")
    return body


def _status(answer: requests.Response, body: Mapping[str, Any], target: str, seconds: float) -> CheckResult:
    ok = answer.status_code == 200 and body.get("status") == "ok"
    detail = f"GET {target} answered {answer.status_code} with status {_quoted(body.get('status'))!r}"
    return CheckResult(name="health", ok=ok, detail=detail + ("" if ok else ", not 200 with 'ok'"), seconds=seconds)


def _parts(probe: _Probe, body: Mapping[str, Any]) -> list[CheckResult]:
    checks = body.get("checks")
    parts = {_quoted(name): _quoted(state) for name, state in checks.items()} if isinstance(checks, dict) else {}
    missing = [name for name in probe.require if name not in parts]
    return [CheckResult(name=name, ok=state == "ok", detail=state) for name, state in parts.items()] + [
        CheckResult(
            name=name, ok=False, detail=f"the app answers no check of this name, only {sorted(parts) or 'none'}"
        )
        for name in missing
    ]


def _quoted(value: Any) -> str:
    """The text without lone surrogates, which JSON may contain and no terminal or file accepts; shortened."""
    return str(value).encode(errors="replace").decode()[:MAX_QUOTED_LENGTH]


def _same(name: str, expected: str, found: str) -> CheckResult:
    ok = found == expected
    return CheckResult(name=name, ok=ok, detail=found if ok else f"{found or 'nothing'} answered, not {expected}")


def _path(probe: _Probe, check: PathCheck) -> CheckResult:
    started = time.monotonic()
    try:
        answer = _get(probe, check.path)
    except _CheckError as error:
        return CheckResult(name=check.path, ok=False, detail=str(error))
    seconds = time.monotonic() - started
    if answer.status_code != check.status:
        detail = f"answered {answer.status_code}, not {check.status}"
        return CheckResult(name=check.path, ok=False, detail=detail, seconds=seconds)
    if check.contains not in answer.text:
        detail = f"answered without the text {check.contains!r}"
        return CheckResult(name=check.path, ok=False, detail=detail, seconds=seconds)
    return CheckResult(name=check.path, ok=True, detail=f"answered {answer.status_code}", seconds=seconds)


def _certificate(url: str) -> CheckResult:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    context = ssl.create_default_context(cafile=requests.utils.DEFAULT_CA_BUNDLE_PATH)
    environment = requests.Session().merge_environment_settings(url, {}, None, None, None)
    if isinstance(environment["verify"], str):
        context.load_verify_locations(environment["verify"])
    try:
        with (
            socket.create_connection((host, port), timeout=REQUEST_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            not_after = str((secure.getpeercert() or {})["notAfter"])
    except (OSError, ssl.SSLError) as error:
        return CheckResult(name="tls", ok=False, detail=f"{host}:{port}: {error}")
    days = int((ssl.cert_time_to_seconds(not_after) - time.time()) // 86400)
    detail = f"valid for {days} more days, until {not_after}"
    return CheckResult(name="tls", ok=days >= MIN_CERTIFICATE_DAYS, detail=detail)
