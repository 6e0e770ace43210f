"""Redis: sessions, rate limits, cached attendance and marks of delivered notifications.

Each use has its own user, confined to its own key prefix, and its own longest life of a key. What happens when Redis
is down differs: a session cannot be checked, so the request fails; everything else does without Redis.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import date
from typing import Any, Self, TypeVar
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError

from gym_api.metrics import CACHE_REQUESTS
from gym_api.security import token_digest
from gym_api.settings import RedisSettings, Use

log = logging.getLogger(__name__)

T = TypeVar("T")

SESSION_SECONDS = 30 * 24 * 3600
RATE_LIMIT_SECONDS = 3600
ATTENDANCE_SECONDS = 24 * 3600
NOTIFICATION_SECONDS = 24 * 3600

PREFIX = {
    Use.SESSIONS: "session:",
    Use.RATE_LIMIT: "rate:",
    Use.NOTIFICATIONS: "notification:",
    Use.ATTENDANCE: "attendance:",
}
# What a request may lose when Redis does not answer, for the uses that can do without it.
_SOFT_SECONDS = 0.5
_HARD_SECONDS = 3.0
DOWN = (RedisError, OSError)


class CacheUnavailableError(Exception):
    """Redis did not answer, and the request cannot do without."""


class Sentinels(Sentinel):
    """Sentinels that are asked at the same time.

    One after the other, a Sentinel whose host is gone would take all the time that a request gives to Redis, and no
    request would ever come to the second one.
    """

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the address of the primary from the first Sentinel that knows it; raise MasterNotFoundError."""

        async def ask(sentinel: Redis) -> tuple[str, int] | None:
            masters: Any = await sentinel.sentinel_masters()
            state = masters.get(service_name)
            if state is None or not self.check_master_state(state, service_name):
                return None
            return state["ip"], state["port"]

        asked = [asyncio.create_task(ask(sentinel)) for sentinel in self.sentinels]
        try:
            for answer in asyncio.as_completed(asked):
                with suppress(*DOWN):
                    if address := await answer:
                        return address
        finally:
            for question in asked:
                question.cancel()
        raise MasterNotFoundError(f"no Sentinel knows a primary of {service_name}")


class Cache:
    """One client a use, all following the primary: by Sentinel, or by an address that does."""

    def __init__(self, settings: RedisSettings) -> None:
        """Prepare the clients; nothing connects before the first command."""
        tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": settings.ca_file} if settings.tls else {}
        self._sentinels: dict[Use, Sentinels] = {}
        self.clients: dict[Use, Redis] = {}
        for use, user in settings.users.items():
            common: dict[str, Any] = {
                "username": user.username,
                "password": user.password,
                "protocol": 2,
                "socket_connect_timeout": 1,
                "socket_timeout": 2,
                **tls,
            }
            data: dict[str, Any] = {
                "decode_responses": True,
                # One more try: after a failover, the pool's connections lead to a primary that is gone.
                "retry": Retry(NoBackoff(), 1),
                "health_check_interval": 10,
                **common,
            }
            if settings.address:
                host, port = settings.address
                # The address leads to the new primary; a connection from before, to one that refuses to write.
                self.clients[use] = Redis(host=host, port=port, retry_on_error=[ReadOnlyError], **data)
            else:
                self._sentinels[use] = Sentinels(  # type: ignore[no-untyped-call]
                    list(settings.sentinels), sentinel_kwargs=common, **data
                )
                self.clients[use] = self._sentinels[use].master_for(settings.primary_name)
        self.sessions = Sessions(self.clients[Use.SESSIONS])
        self.rate_limit = RateLimit(self.clients[Use.RATE_LIMIT])
        self.attendance = AttendanceCache(self.clients[Use.ATTENDANCE])
        self.delivered = DeliveredMarks(self.clients[Use.NOTIFICATIONS])

    async def __aenter__(self) -> Self:
        """Return itself: connections are made when they are needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        for client in self.clients.values():
            await client.aclose()
        for sentinel in self._sentinels.values():
            for client in sentinel.sentinels:
                await client.aclose()

    async def ping(self) -> None:
        """Raise unless the primary answers."""
        await self.clients[Use.SESSIONS].ping()


class Sessions:
    """Login sessions of staff. Redis holds a digest of the token, so a copy of Redis lets nobody in."""

    def __init__(self, client: Redis) -> None:
        """Keep sessions with this client."""
        self._client = client

    async def create(self, token: str, tenant: UUID, staff: UUID) -> None:
        """Remember a session for its whole life."""
        value = json.dumps({"tenant_id": str(tenant), "staff_id": str(staff)})
        await _hard(lambda: self._client.set(self._key(token), value, ex=SESSION_SECONDS))

    async def find(self, token: str) -> tuple[UUID, UUID] | None:
        """Return the tenant and the person of a session."""
        value = await _hard(lambda: self._client.get(self._key(token)))
        if value is None:
            return None
        session = json.loads(value)
        return UUID(session["tenant_id"]), UUID(session["staff_id"])

    async def end(self, token: str) -> None:
        """Forget a session."""
        await _hard(lambda: self._client.delete(self._key(token)))

    @staticmethod
    def _key(token: str) -> str:
        return PREFIX[Use.SESSIONS] + token_digest(token).hex()


class RateLimit:
    """Counters in windows of one hour. Fails open: a gym that cannot be counted is still served."""

    def __init__(self, client: Redis) -> None:
        """Count with this client."""
        self._client = client

    async def exceeded(self, subject: str, limit: int) -> bool:
        """Count one request and tell whether it is one too many."""
        return await self._count(subject) > limit

    async def reached(self, subject: str, limit: int) -> bool:
        """Tell whether the limit is used up, without counting."""
        value = await _soft("rate limit", lambda: self._client.get(self._key(subject)), None)
        return value is not None and int(value) >= limit

    async def count(self, subject: str) -> None:
        """Count one more."""
        await self._count(subject)

    async def _count(self, subject: str) -> int:
        key = self._key(subject)

        async def increment() -> int:
            # One transaction: a counter without an end of life cannot be left behind.
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.incr(key)
                pipeline.expire(key, RATE_LIMIT_SECONDS, nx=True)
                return int((await pipeline.execute())[0])

        return await _soft("rate limit", increment, 0)

    @staticmethod
    def _key(subject: str) -> str:
        return f"{PREFIX[Use.RATE_LIMIT]}{subject}:{int(time.time()) // RATE_LIMIT_SECONDS}"


class AttendanceCache:
    """A gym's attendance of a day, until the next check-in.

    A check-in replaces the gym's epoch, and an entry's key contains the epoch that was read *before* counting. So a
    count that raced with a check-in is stored under an epoch that nobody will ever read, and never shown as current.
    """

    def __init__(self, client: Redis) -> None:
        """Cache with this client."""
        self._client = client

    async def get(self, tenant: UUID, day: date, load: Callable[[], Awaitable[dict[str, int]]]) -> dict[str, int]:
        """Return the cached attendance, or load and cache it."""
        # None: Redis did not answer. "": there was no check-in since the epoch ended.
        epoch = await _soft("attendance", lambda: self._epoch(tenant, day), None)
        if epoch is None:
            CACHE_REQUESTS.labels("error").inc()
            return await load()
        key = f"{self._key(tenant, day)}:{epoch}"
        cached = await _soft("attendance", lambda: self._client.get(key), None)
        if cached is not None:
            CACHE_REQUESTS.labels("hit").inc()
            attendance: dict[str, int] = json.loads(cached)
            return attendance
        CACHE_REQUESTS.labels("miss").inc()
        loaded = await load()
        await _soft("attendance", lambda: self._client.set(key, json.dumps(loaded), ex=ATTENDANCE_SECONDS), None)
        return loaded

    async def invalidate(self, tenant: UUID, day: date) -> None:
        """Make every entry of the day unreachable."""
        epoch = secrets.token_hex(8)
        key = f"{self._key(tenant, day)}:epoch"
        await _soft("attendance", lambda: self._client.set(key, epoch, ex=ATTENDANCE_SECONDS), None)

    async def _epoch(self, tenant: UUID, day: date) -> str:
        return str(await self._client.get(f"{self._key(tenant, day)}:epoch") or "")

    @staticmethod
    def _key(tenant: UUID, day: date) -> str:
        return f"{PREFIX[Use.ATTENDANCE]}{tenant}:{day.isoformat()}"


class DeliveredMarks:
    """Which notifications were delivered lately: spares the database the duplicates that a queue may hand out.

    Only a shortcut. That nothing is delivered twice is the database's business.
    """

    def __init__(self, client: Redis) -> None:
        """Mark with this client."""
        self._client = client

    async def add(self, notification: UUID) -> None:
        """Mark a notification."""
        key = PREFIX[Use.NOTIFICATIONS] + str(notification)
        await _soft("notifications", lambda: self._client.set(key, "delivered", ex=NOTIFICATION_SECONDS), None)

    async def has(self, notification: UUID) -> bool:
        """Tell whether a notification is known to be delivered."""
        key = PREFIX[Use.NOTIFICATIONS] + str(notification)
        return await _soft("notifications", lambda: self._client.exists(key), 0) == 1


async def _hard(command: Callable[[], Awaitable[T]]) -> T:
    try:
        async with asyncio.timeout(_HARD_SECONDS):
            return await command()
    except DOWN as error:
        raise CacheUnavailableError from error


async def _soft(use: str, command: Callable[[], Awaitable[T]], otherwise: T) -> T:
    try:
        async with asyncio.timeout(_SOFT_SECONDS):
            return await command()
    except DOWN as error:
        log.warning("redis did not answer", extra={"use": use, "error": repr(error)})
        return otherwise
