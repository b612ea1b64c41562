"""Sample web app that follows docs/app-contract.md, and counts visits in PostgreSQL if it has one."""

from __future__ import annotations

import asyncio
import contextlib
import html
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from aiohttp import web

DATABASE_TIMEOUT_S = 2.0
VISIT_TIMEOUT_S = 6.0  # longer than a health check's: users would rather wait than get an error
POOL_SIZE = 5
SHUTDOWN_S = 20.0  # below the stack's drainTimeout, the time between SIGTERM and SIGKILL
TABLE = "CREATE TABLE IF NOT EXISTS visits (release text PRIMARY KEY, count bigint NOT NULL)"
VISIT = """INSERT INTO visits VALUES ($1, 1) ON CONFLICT (release) DO UPDATE SET count = visits.count + 1
           RETURNING count"""

NOT_SET = "DATABASE_URL is not set"

log = logging.getLogger("hello")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Values of environment variables."""

    port: int
    release: str
    color: str
    environment: str
    health_path: str
    greeting: str
    database_url: str
    database_host: str

    @property
    def uses_database(self) -> bool:
        """Whether a database is configured: by its URL, or by the release's own host, which needs the URL too."""
        return bool(self.database_url or self.database_host)

    @classmethod
    def read(cls, values: Mapping[str, str] = os.environ) -> Config:
        return cls(
            port=int(values.get("PORT", "8080")),
            release=values.get("RELEASE", "unreleased"),
            color=values.get("COLOR", "none"),
            environment=values.get("ENVIRONMENT", "local"),
            health_path=values.get("HEALTH_PATH", "/health"),
            greeting=values.get("GREETING", "Hello"),
            database_url=values.get("DATABASE_URL", ""),
            database_host=values.get("DATABASE_HOST", ""),
        )


def with_host(url: str, host: str) -> str:
    """The URL with another host and the same user, password and port; unchanged for an empty host."""
    if not host:
        return url
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host}{port}"))


@dataclass(kw_only=True)
class Database:
    """Connection pool that connects on first use: the app starts, and stays up, without its database."""

    url: str
    host: str = ""
    _pool: Any = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def visit(self, release: str) -> int:
        """Count a visit of a release; returns the total."""
        try:
            return int(await self.value(VISIT, release, timeout=VISIT_TIMEOUT_S))
        except asyncpg.UndefinedTableError:
            with contextlib.suppress(asyncpg.UniqueViolationError):  # another instance has just created it
                await self.value(TABLE)
            return int(await self.value(VISIT, release, timeout=VISIT_TIMEOUT_S))

    async def value(self, statement: str, *arguments: Any, timeout: float = DATABASE_TIMEOUT_S) -> Any:
        """The first value of a statement's result; raises TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            pool = await self._connected_pool()
            connection = await pool.acquire()
            try:
                return await connection.fetchval(statement, *arguments)
            except asyncio.CancelledError:
                # A pool takes a connection back once the server confirms the cancellation: a frozen one never does.
                connection.terminate()
                raise
            finally:
                await pool.release(connection)

    async def _connected_pool(self) -> Any:
        async with self._lock:
            if self._pool is None:
                url = with_host(self.url, self.host)
                self._pool = await asyncpg.create_pool(url, min_size=0, max_size=POOL_SIZE, timeout=DATABASE_TIMEOUT_S)
            return self._pool

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()


@dataclass(frozen=True, kw_only=True)
class Hello:
    """Request handlers."""

    config: Config
    database: Database

    async def home(self, request: web.Request) -> web.StreamResponse:
        config = self.config
        values = {name: getattr(config, name) for name in ("greeting", "release", "color", "environment")}
        if "application/json" in request.headers.get("Accept", ""):
            return web.json_response(values)
        text = html.escape(f"{config.greeting} from {config.release} on {config.color} in {config.environment}")
        color = html.escape(config.color)
        page = f"<!doctype html><meta charset=utf-8><title>{text}</title><body style='background:{color}'><h1>"
        return web.Response(text=f"{page}{text}</h1>\n", content_type="text/html")

    async def visits(self, _request: web.Request) -> web.StreamResponse:
        if not self.config.database_url:
            return web.json_response({"error": NOT_SET}, status=503)
        try:
            count = await self.database.visit(self.config.release)
        except Exception as error:  # the app responds, whatever the database does
            log.warning("count visit failed error=%s", reason(error))
            return web.json_response({"error": "the database does not answer"}, status=503)
        return web.json_response({"release": self.config.release, "visits": count})

    async def health(self, request: web.Request) -> web.StreamResponse:
        """Shallow by default: a database outage must not make the group replace every instance."""
        deep = request.query.get("deep") == "1" and self.config.uses_database
        checks = {"database": await self._database_check()} if deep else {}
        ok = all(result == "ok" for result in checks.values())
        body = {"status": "ok" if ok else "failing", "release": self.config.release, "checks": checks}
        return web.json_response(body, status=200 if ok else 503)

    async def _database_check(self) -> str:
        if not self.config.database_url:
            return NOT_SET
        try:
            await self.database.value("SELECT 1")
        except Exception as error:  # a health check responds, it must not crash
            return reason(error)
        return "ok"


def application(config: Config) -> web.Application:
    database = Database(url=config.database_url, host=config.database_host)
    hello = Hello(config=config, database=database)

    async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
        """On errors too, so that they can be counted by release."""
        response.headers["X-Release"], response.headers["X-Color"] = config.release, config.color

    async def close(_app: web.Application) -> None:
        await database.close()

    app = web.Application()
    app.router.add_get("/", hello.home)
    app.router.add_get("/visits", hello.visits)
    app.router.add_get(config.health_path, hello.health)
    app.on_response_prepare.append(add_headers)
    app.on_cleanup.append(close)
    return app


def reason(error: Exception) -> str:
    """A readable error without secrets: a driver's error about a malformed URL quotes its password."""
    if isinstance(error, TimeoutError):
        return f"no answer within {DATABASE_TIMEOUT_S:g} s"
    if isinstance(error, ValueError):
        return "DATABASE_URL is not of the form postgresql://user:password@host:port/name"
    return f"{type(error).__name__}: {error}".rstrip(": ")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    config = Config.read()
    log.info("start release=%s color=%s port=%s", config.release, config.color, config.port)
    # On SIGTERM: no new connection, requests in flight finish, exit code 0.
    web.run_app(application(config), port=config.port, access_log=None, shutdown_timeout=SHUTDOWN_S, print=None)


if __name__ == "__main__":
    main()
