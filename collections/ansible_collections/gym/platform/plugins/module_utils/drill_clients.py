"""How markers of a drill are written and looked for: through what the clients of the platform use."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import psycopg
import redis
from ansible_collections.gym.platform.plugins.module_utils.drill_journal import Marker
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

Session = psycopg.Connection[tuple[Any, ...]]

# A server that takes longer to let a client in is taken for dead, in seconds.
CONNECT_SECONDS = 3
# A peer that acknowledges nothing for this long is gone, in seconds; a client that waits for an answer finds out.
SILENCE_SECONDS = 5
# A marker of the cache is forgotten after this long, in seconds, should nobody remove it.
KEY_SECONDS = 3600
# A replica has this long to confirm a key, in milliseconds.
REPLICA_MILLISECONDS = 1000
# What is read in one go.
BATCH = 500
# The options of whoever speaks to them: where a database takes clients in, and who writes to what.
PLACE: dict[str, dict[str, Any]] = {
    "addresses": {"type": "list", "elements": "str", "required": True},
    "port": {"type": "int", "required": True},
    "hostname": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "authority": {"type": "path", "required": True},
}
_DATABASE: dict[str, dict[str, Any]] = {
    "place": {"type": "dict", "options": PLACE, "required": True},
    "owner": {"type": "str", "required": True},
    "owner_password": {"type": "str", "required": True, "no_log": True},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
}
_CACHE: dict[str, dict[str, Any]] = {
    "sentinels": {"type": "list", "elements": "list", "required": True},
    "primary": {"type": "str", "required": True},
    "prefix": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "authority": {"type": "path", "required": True},
}
CLIENTS: dict[str, dict[str, Any]] = {
    "database": {"type": "dict", "options": _DATABASE},
    "cache": {"type": "dict", "options": _CACHE},
}


class NotAcknowledgedError(Exception):
    """The system did not say that it has what was written: it may be there or not."""


class Client(Protocol):
    """One client, with one connection that is made when it is needed."""

    def write(self, marker: Marker) -> None:
        """Write a marker; return when that is acknowledged. Raises NotAcknowledgedError."""

    def close(self) -> None:
        """Give the connection up."""


@dataclasses.dataclass(frozen=True)
class Database:
    """Where the database takes clients in: any of the addresses, all under one name, that of the certificate.

    Without addresses the name leads there.
    """

    addresses: Sequence[str]
    port: int
    hostname: str
    name: str
    authority: str

    def connect(self, user: str, password: str, first: int = 0) -> Session:
        """Return a connection that commits each statement; the addresses are tried in turn, beginning with `first`.

        Raises psycopg.OperationalError when none lets the user in.
        """
        turn = first % len(self.addresses) if self.addresses else 0
        addresses = [*self.addresses[turn:], *self.addresses[:turn]]
        return psycopg.connect(
            host=",".join([self.hostname] * len(addresses)) or self.hostname,
            hostaddr=",".join(addresses) or None,
            port=str(self.port),
            dbname=self.name,
            user=user,
            password=password,
            sslmode="verify-full",
            sslrootcert=self.authority,
            application_name="drill",
            connect_timeout=CONNECT_SECONDS,
            keepalives_idle=1,
            keepalives_interval=1,
            keepalives_count=SILENCE_SECONDS,
            tcp_user_timeout=SILENCE_SECONDS * 1000,
            autocommit=True,
            # Poolers share connections between transactions, and prepared statements with them.
            prepare_threshold=None,
        )


class DatabaseClient:
    """Writes to the database: rows of the drill's own table, or messages, which need none and leave nothing behind."""

    ROW = "insert into drill.markers (number, tenant, payload) values (%(number)s, %(tenant)s, %(payload)s)"
    # Goes the way of a row, to the other members too, and is acknowledged like one, but belongs to no table.
    MESSAGE = "select pg_logical_emit_message(true, 'drill', %(payload)s)"

    def __init__(self, place: Database, user: str, password: str, *, statement: str = ROW, first: int = 0) -> None:
        """Connect to nothing yet."""
        self._connect = functools.partial(place.connect, user, password, first)
        self._statement = statement.encode()
        self._connection: Session | None = None

    def write(self, marker: Marker) -> None:
        """Write a marker in a transaction of its own."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.execute(self._statement, dataclasses.asdict(marker))
        except psycopg.Error as error:
            self.close()
            raise NotAcknowledgedError(_sentence(error)) from error

    def close(self) -> None:
        """Close the connection, so that the next marker is written through another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class CacheClient:
    """Writes keys to the primary that the Sentinels name, and takes them for written when a replica has them."""

    def __init__(self, cache: Mapping[str, Any]) -> None:
        """Connect to nothing yet. `cache` has sentinels, primary, prefix, user, password and authority."""
        common = {
            "username": cache["user"],
            "password": cache["password"],
            "ssl": True,
            "ssl_ca_certs": cache["authority"],
            "socket_connect_timeout": 1,
            "socket_timeout": 2,
            "retry": Retry(NoBackoff(), 0),
        }
        sentinels = [tuple(address) for address in cache["sentinels"]]
        self._sentinel = Sentinel(sentinels, sentinel_kwargs=common, decode_responses=True, **common)  # type: ignore[no-untyped-call]
        self._primary: Any = self._sentinel.master_for(cache["primary"])  # type: ignore[no-untyped-call]
        self._prefix = f"{cache['prefix']}drill:"

    def _key(self, marker: Marker) -> str:
        return f"{self._prefix}{marker.tenant}:{marker.number}"

    def write(self, marker: Marker) -> None:
        """Write a key, and wait until a replica has it, too."""
        try:
            with self._primary.pipeline(transaction=False) as both:
                both.set(self._key(marker), marker.payload, ex=KEY_SECONDS)
                both.execute_command("WAIT", 1, REPLICA_MILLISECONDS)
                _, replicas = both.execute()
        except (redis.RedisError, OSError) as error:
            self.close()
            raise NotAcknowledgedError(_sentence(error)) from error
        if not replicas:
            raise NotAcknowledgedError("no replica has it")

    def close(self) -> None:
        """Forget the connections, so that the Sentinels are asked again."""
        self._primary.connection_pool.disconnect()

    def found(self, markers: Sequence[Marker]) -> list[Marker]:
        """Return those of the markers that the primary has. Raises NotAcknowledgedError."""
        there: list[Marker] = []
        try:
            for begin in range(0, len(markers), BATCH):
                some = markers[begin : begin + BATCH]
                values = self._primary.mget([self._key(marker) for marker in some])
                pairs = zip(some, values, strict=True)
                there += [dataclasses.replace(marker, payload=value) for marker, value in pairs if value is not None]
        except (redis.RedisError, OSError) as error:
            raise NotAcknowledgedError(_sentence(error)) from error
        return there

    def forget(self, markers: Sequence[Marker]) -> None:
        """Remove the markers. Raises redis.RedisError."""
        for begin in range(0, len(markers), BATCH):
            self._primary.delete(*(self._key(marker) for marker in markers[begin : begin + BATCH]))


def prepare(owner: Session, writer: str) -> None:
    """Make the drill's own schema, empty, in which the writer may write and read."""
    clear(owner)
    owner.execute("create schema drill")
    owner.execute(
        "create table drill.markers (number bigint primary key, tenant text not null, payload text not null,"
        " written timestamptz not null default clock_timestamp())"
    )
    grant = "grant usage on schema drill to {user}; grant select, insert on drill.markers to {user}"
    owner.execute(sql.SQL(grant).format(user=sql.Identifier(writer)))


def clear(owner: Session) -> None:
    """Remove the drill's own schema, and all that an earlier drill left in it."""
    owner.execute("drop schema if exists drill cascade")


def rows(reader: Session) -> list[Marker]:
    """Return all markers that are there."""
    return [Marker(*row) for row in reader.execute("select number, tenant, payload from drill.markers order by number")]


def _sentence(error: Exception) -> str:
    """Return an error in one line, with its kind, without what stands below its first line."""
    first = (str(error).strip().splitlines() or ["no reason was given"])[0]
    return f"{type(error).__name__}: {first}"[:300]
