"""PostgreSQL: a writer pool and a reader pool, tenants set per transaction, failovers survived.

Connections go through pgbouncer in transaction mode, so nothing may outlive a transaction: no prepared statements, no
session settings. The tenant is `set_config(..., is_local => true)` at the start of each transaction.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Self, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from gym_api import RefusedError
from gym_api.metrics import DATABASE_RETRIES, DATABASE_SECONDS
from gym_api.settings import DatabaseSettings

log = logging.getLogger(__name__)

T = TypeVar("T")
Connection = psycopg.AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]
Endpoint = Literal["writer", "reader"]

# What a failover looks like from here. A demoted leader answers "read-only transaction" until it is gone.
LOST = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)
# A Patroni failover takes up to 25 s at a ttl of 20; the edge waits for 30.
DEADLINE_SECONDS = 25.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 1.0


class DatabaseUnavailableError(RefusedError):
    """No transaction could be committed before the deadline."""


class Database:
    """The writer and the readers."""

    def __init__(self, settings: DatabaseSettings) -> None:
        """Prepare the pools; nothing connects before `open`."""
        self._pools: dict[Endpoint, Pool] = {
            "writer": _pool("writer", settings.writer_url, settings.pool_size),
            "reader": _pool("reader", settings.reader_url, settings.pool_size),
        }

    async def __aenter__(self) -> Self:
        """Open both pools without waiting: a service may start before its database."""
        for pool in self._pools.values():
            await pool.open(wait=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close both pools."""
        for pool in self._pools.values():
            await pool.close(timeout=5)

    async def run(
        self,
        operation: str,
        work: Callable[[Connection], Awaitable[T]],
        *,
        tenant: UUID | None = None,
        endpoint: Endpoint = "writer",
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> T:
        """Run `work` in one transaction and return its result after the commit.

        A lost connection runs the work again, because it is not known whether the commit arrived: **`work` must be
        safe to run twice**. Ids are therefore made outside it, and inserts say what to do on conflict.
        """
        started = time.monotonic()
        pause = _FIRST_PAUSE_SECONDS
        try:
            async with asyncio.timeout(deadline_seconds):
                while True:
                    try:
                        return await self._attempt(operation, work, tenant, endpoint)
                    except LOST as error:
                        log.warning("database lost", extra={"operation": operation, "error": str(error).strip()})
                        if time.monotonic() - started + pause > deadline_seconds:
                            raise DatabaseUnavailableError(operation) from error
                    DATABASE_RETRIES.inc()
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        except TimeoutError as error:
            raise DatabaseUnavailableError(operation) from error

    async def _attempt(
        self, operation: str, work: Callable[[Connection], Awaitable[T]], tenant: UUID | None, endpoint: Endpoint
    ) -> T:
        with DATABASE_SECONDS.labels(operation, endpoint).time():
            async with self._pools[endpoint].connection() as connection:
                try:
                    async with connection.transaction():
                        if tenant is not None:
                            await connection.execute("select set_config('gym.tenant_id', %s, true)", [str(tenant)])
                        return await work(connection)
                except psycopg.errors.ReadOnlySqlTransaction:
                    # This connection leads to a server that is no longer the leader.
                    await connection.close()
                    raise

    async def ping(self, endpoint: Endpoint = "writer") -> None:
        """Raise unless a query is answered."""
        async with self._pools[endpoint].connection() as connection:
            await connection.execute("select 1")


async def rows(connection: Connection, query: str, *parameters: object) -> list[dict[str, Any]]:
    """Return all rows of a query."""
    cursor = await connection.execute(query.encode(), parameters)
    return await cursor.fetchall()


async def row(connection: Connection, query: str, *parameters: object) -> dict[str, Any] | None:
    """Return the first row of a query."""
    cursor = await connection.execute(query.encode(), parameters)
    return await cursor.fetchone()


def _pool(name: str, url: str, size: int) -> Pool:
    return AsyncConnectionPool(
        url,
        name=name,
        open=False,
        min_size=min(2, size),
        max_size=size,
        # How long a request waits for a connection in one attempt; `Database.run` makes several.
        timeout=3,
        max_lifetime=600,
        reconnect_timeout=5,
        check=AsyncConnectionPool.check_connection,
        connection_class=psycopg.AsyncConnection[DictRow],
        kwargs={
            "autocommit": True,
            "prepare_threshold": None,
            "row_factory": dict_row,
            "connect_timeout": 3,
            "application_name": "gym-api",
            # A peer that vanished without a word is noticed in seconds, not in the kernel's quarter of an hour.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        },
    )
