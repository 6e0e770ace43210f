"""The environment variables of the service, read once into frozen records.

A missing or bad value ends the process with one sentence that names the variable; see `SettingsError`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import ProgrammingError

from gym_api import RefusedError

_SSL_MODES = ("disable", "require", "verify-ca", "verify-full")
# What the load balancers wait for an answer is longer; what a test needs of a slow request is not.
_LONGEST_DELAY_SECONDS = 15.0


class SettingsError(RefusedError):
    """A variable is missing or has a value that cannot be used."""


class Use(Enum):
    """What Redis is used for: one user, confined to one key prefix, for each."""

    SESSIONS = "sessions"
    RATE_LIMIT = "rate_limit"
    NOTIFICATIONS = "notifications"
    ATTENDANCE = "attendance"


@dataclass(frozen=True)
class Reader:
    """Typed access to environment variables."""

    environ: Mapping[str, str]

    def text(self, name: str, default: str | None = None) -> str:
        """Return the value, which must not be empty unless there is a default."""
        value = self.environ.get(name, "")
        if value:
            return value
        if default is None:
            raise SettingsError(f"{name} is not set.")
        return default

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Return a number from `low` to `high`."""
        value = self.environ.get(name, "")
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            raise SettingsError(f"{name} is {value!r}; it must be a number from {low:g} to {high:g}.")
        return number

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`."""
        number = self.number(name, default, low, high)
        if number != int(number):
            raise SettingsError(f"{name} is {number:g}; it must be a whole number.")
        return int(number)

    def choice(self, name: str, default: str, legal: tuple[str, ...]) -> str:
        """Return one of the legal words."""
        value = self.text(name, default)
        if value not in legal:
            raise SettingsError(f"{name} is {value!r}; it must be one of {', '.join(legal)}.")
        return value

    def one_of(self, *names: str) -> str:
        """Return the name of the first variable that is set."""
        for name in names:
            if self.text(name, ""):
                return name
        raise SettingsError(f"{' and '.join(names)} are not set; set one of them.")

    def database_url(self, url: str, host: str, login: str, username: str) -> str:
        """Return libpq's connection string: the variable `url`, or the parts at `host`, DATABASE_* and `<login>_*`."""
        ca_file = self.text("CA_FILE", "")
        if self.one_of(url, host) == host:
            # Without the authority's certificate, an encrypted connection is all that can be had.
            usual = "verify-full" if ca_file else "require"
            mode = self.choice(host.replace("_HOST", "_SSL_MODE"), usual, _SSL_MODES)
            return make_conninfo(
                host=self.text(host),
                port=self.whole("DATABASE_PORT", 5432, 1, 65535),
                dbname=self.text("DATABASE_NAME"),
                user=self.text(f"{login}_USERNAME", username),
                password=self.text(f"{login}_PASSWORD"),
                sslmode=mode,
                # With one, libpq would verify where it is only to encrypt.
                sslrootcert=ca_file if ca_file and mode.startswith("verify") else None,
            )
        value = self.text(url)
        try:
            given = conninfo_to_dict(value)
        except ProgrammingError:
            # The value holds a password, and so does the driver's message: neither is repeated.
            raise SettingsError(f"{url} is not a PostgreSQL connection string (postgresql://...).") from None
        return make_conninfo(value, sslrootcert=ca_file) if ca_file and "sslrootcert" not in given else value

    def migration_url(self) -> str:
        """Return how migrations log in: as the user that may become the owner of the schema."""
        return self.database_url(
            "MIGRATION_DATABASE_URL", "DATABASE_WRITER_HOST", "MIGRATION_DATABASE", "gym_migration"
        )


@dataclass(frozen=True)
class DatabaseSettings:
    """Where the writer and the readers answer."""

    writer_url: str = field(repr=False)
    reader_url: str = field(repr=False)
    pool_size: int

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read DATABASE_*."""
        return cls(
            writer_url=reader.database_url("DATABASE_WRITER_URL", "DATABASE_WRITER_HOST", "DATABASE", "gym_app"),
            reader_url=reader.database_url("DATABASE_READER_URL", "DATABASE_READER_HOST", "DATABASE", "gym_app"),
            pool_size=reader.whole("DATABASE_POOL_SIZE", 10, 1, 100),
        )


@dataclass(frozen=True)
class Credentials:
    """A user of Redis, and of the Sentinels under the same name."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class RedisSettings:
    """Sentinels and the primary that they watch, or one address that leads to the primary; a user for each use."""

    sentinels: tuple[tuple[str, int], ...]
    primary_name: str
    address: tuple[str, int] | None
    users: Mapping[Use, Credentials]
    tls: bool
    ca_file: str | None

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read REDIS_* and CA_FILE."""
        sentinels: tuple[tuple[str, int], ...] = ()
        address, primary_name = None, ""
        if reader.one_of("REDIS_SENTINELS", "REDIS_HOST") == "REDIS_SENTINELS":
            sentinels = tuple(_address("REDIS_SENTINELS", part) for part in reader.text("REDIS_SENTINELS").split(","))
            primary_name = reader.text("REDIS_PRIMARY_NAME")
        else:
            address = reader.text("REDIS_HOST"), reader.whole("REDIS_PORT", 6379, 1, 65535)
        return cls(
            sentinels=sentinels,
            primary_name=primary_name,
            address=address,
            users={use: cls._user(reader, use) for use in Use},
            tls=reader.choice("REDIS_TLS", "true", ("true", "false")) == "true",
            # Without one, the authorities that the image trusts: a cloud's certificates are everybody's.
            ca_file=reader.text("CA_FILE", "") or None,
        )

    @staticmethod
    def _user(reader: Reader, use: Use) -> Credentials:
        name = f"REDIS_{use.name}"
        return Credentials(reader.text(f"{name}_USERNAME", use.value), reader.text(f"{name}_PASSWORD"))


@dataclass(frozen=True)
class QueueSettings:
    """The queue of notifications and how failed deliveries are spaced."""

    endpoint_url: str | None
    region: str
    notifications: str
    backoff_initial_seconds: int
    backoff_maximum_seconds: int

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read QUEUE_* and AWS_DEFAULT_REGION; the keys themselves are read by boto3."""
        endpoint = reader.text("QUEUE_ENDPOINT_URL", "") or None
        if endpoint is not None and urlsplit(endpoint).scheme not in ("http", "https"):
            raise SettingsError(f"QUEUE_ENDPOINT_URL is {endpoint!r}; it must begin with http:// or https://.")
        return cls(
            endpoint_url=endpoint,
            region=reader.text("AWS_DEFAULT_REGION"),
            notifications=reader.text("QUEUE_NOTIFICATIONS"),
            backoff_initial_seconds=reader.whole("QUEUE_BACKOFF_INITIAL_SECONDS", 1, 1, 43200),
            backoff_maximum_seconds=reader.whole("QUEUE_BACKOFF_MAXIMUM_SECONDS", 60, 1, 43200),
        )


@dataclass(frozen=True)
class FaultSettings:
    """Faults that drills switch on."""

    error_rate: float = 0.0
    latency_seconds: float = 0.0
    ready: bool = True
    crash_after_seconds: float = 0.0
    longest_delay_seconds: float = 0.0

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read FAULT_*; only development lets a request say how long it is to take."""
        development = reader.text("PLATFORM_ENVIRONMENT", "") == "development"
        return cls(
            error_rate=reader.number("FAULT_ERROR_RATE", 0, 0, 1),
            latency_seconds=reader.number("FAULT_LATENCY_MS", 0, 0, 60_000) / 1000,
            ready=reader.choice("FAULT_READY", "true", ("true", "false")) == "true",
            crash_after_seconds=reader.number("FAULT_CRASH_AFTER_SECONDS", 0, 0, 86_400),
            longest_delay_seconds=_LONGEST_DELAY_SECONDS if development else 0,
        )


@dataclass(frozen=True)
class Release:
    """What `/version` and the header X-Release answer."""

    version: str
    colour: str

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read RELEASE_*."""
        return cls(reader.text("RELEASE_VERSION", "unreleased"), reader.text("RELEASE_COLOUR", "none"))


@dataclass(frozen=True)
class Settings:
    """Everything that the API and the worker read from their environment."""

    release: Release
    port: int
    faults: FaultSettings
    database: DatabaseSettings
    redis: RedisSettings
    queue: QueueSettings
    session_signing_key: bytes = field(repr=False)
    requests_per_hour: int
    assets_directory: Path | None

    @classmethod
    def parse(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the environment of the API or of the worker."""
        reader = Reader(environ)
        signing_key = reader.text("SESSION_SIGNING_KEY").encode()
        if len(signing_key) < 32:
            raise SettingsError("SESSION_SIGNING_KEY is too short; it must have at least 32 characters.")
        return cls(
            release=Release.parse(reader),
            port=reader.whole("PORT", 8000, 1, 65535),
            faults=FaultSettings.parse(reader),
            database=DatabaseSettings.parse(reader),
            redis=RedisSettings.parse(reader),
            queue=QueueSettings.parse(reader),
            session_signing_key=signing_key,
            requests_per_hour=reader.whole("RATE_LIMIT_PER_HOUR", 36_000, 1, 10**9),
            assets_directory=Path(reader.text("ASSETS_DIRECTORY")) if reader.text("ASSETS_DIRECTORY", "") else None,
        )


def _address(name: str, text: str) -> tuple[str, int]:
    host, _, port = text.strip().rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(f"{name} has {text!r}; each address must be host:port.")
    return host, int(port)
