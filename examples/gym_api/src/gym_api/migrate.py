"""Schema migrations by alembic, in one transaction: it is the old schema or the new one, also after an interruption.

One transaction is also what pgbouncer's transaction mode asks for: role, timeouts and lock are local to it.
"""

import logging
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

log = logging.getLogger(__name__)

SCHEMA = "gym"
OWNER = "gym_owner"
# Any number, as long as it is ours: two migrators take turns.
ADVISORY_LOCK = 0x67796D
_WAIT_FOR_MIGRATOR, _WAIT_FOR_TABLE = "60s", "3s"
_ATTEMPTS = 10


def migrate(url: str, revision: str = "head") -> dict[str, Any]:
    """Bring the schema to a revision and say from where to where.

    A table that is busy makes DDL wait, and everybody else behind it: so it gives up after three seconds, lets the
    others go first and tries again.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _migrate(url, revision)
        except OperationalError as error:
            if attempt == _ATTEMPTS or not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                raise
            log.warning("a table is in use, trying again", extra={"attempt": attempt})
            time.sleep(attempt)
    raise AssertionError("unreachable")


def own_the_transaction(connection: psycopg.Connection[Any]) -> None:
    """Act as the owner of the schema, alone, until the end of the transaction."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"set local role {OWNER}")
        cursor.execute(f"set local lock_timeout = '{_WAIT_FOR_MIGRATOR}'")
        cursor.execute("select pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        cursor.execute(f"set local lock_timeout = '{_WAIT_FOR_TABLE}'")


def _migrate(url: str, revision: str) -> dict[str, Any]:
    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(url, prepare_threshold=None, connect_timeout=10, application_name="gym-migrate")

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    with engine.begin() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)  # noqa: S101 - tells the type checker what `creator` made
        own_the_transaction(raw)
        _ensure_schema(connection)
        before = _current(connection)
        configuration = Config()
        configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, revision)
        after = _current(connection)
    log.info("schema migrated", extra={"before": before, "after": after})
    return {"changed": before != after, "before": before, "after": after}


def _ensure_schema(connection: Connection) -> None:
    # `create schema if not exists` needs the right to create one even when it exists.
    found = connection.exec_driver_sql("select 1 from pg_namespace where nspname = %s", (SCHEMA,))
    if found.first() is None:
        connection.exec_driver_sql(f"create schema {SCHEMA}")


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_revision()
