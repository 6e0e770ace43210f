"""Schema migrations by alembic, in two phases around the switch of a release: expand before it, contract after it.

Two branches hang on the first revision. A release applies the *expand* branch while the old code serves, so that
branch holds only what the old code can live with; the *contract* branch is applied when the old code is gone.

Each revision is a transaction of its own, and every transaction begins by taking the owner's role and a
`lock_timeout`: both are local to it, which is what pgbouncer's transaction mode asks for.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import psycopg
from alembic import command
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import to_tuple
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from gym_api import RefusedError

log = logging.getLogger(__name__)

Phase = Literal["expand", "contract", "all"]

SCHEMA = "gym"
OWNER = "gym_owner"
# Any number, as long as it is ours: two migrators take turns.
ADVISORY_LOCK = 0x67796D
_WAIT_FOR_MIGRATOR, _WAIT_FOR_TABLE = "60s", "3s"
_ATTEMPTS = 10
_TARGET: dict[Phase, str] = {"expand": "expand@head", "contract": "contract@head", "all": "heads"}


class MigrationError(RefusedError):
    """The schema cannot be brought to where this release needs it."""


def migrate(url: str, phase: Phase = "all") -> dict[str, Any]:
    """Apply a phase's revisions; return what was applied and which revisions of the contract are still to come.

    A table that is busy makes DDL wait, and everybody else behind it: so it gives up after three seconds, lets the
    others go first and tries again. What was applied stays applied: an interrupted run goes on where it was.
    """
    before: set[str] | None = None
    with _alone(url):
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                engine = _engine(url)
                directory, heads = scripts(), _prepare(engine)
                known = {script.revision for script in directory.walk_revisions()}
                if ahead := sorted(set(heads) - known):
                    return _ahead(ahead)
                before = _behind(directory, heads) if before is None else before
                _upgrade(engine, phase)
                after = _behind(directory, _prepare(engine))
                break
            except OperationalError as error:
                if attempt == _ATTEMPTS or not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                    raise
                log.warning("a table is in use, trying again", extra={"attempt": attempt})
                time.sleep(attempt)
    applied = sorted(after - (before or set()))
    log.info("schema migrated", extra={"phase": phase, "applied": applied})
    return {
        "changed": bool(applied),
        "applied": applied,
        "contract_pending": sorted(filter(is_contract, known - after)),
    }


def own_the_transaction(connection: psycopg.Connection[Any]) -> None:
    """Act as the owner of the schema until the end of the transaction, and do not wait for tables."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"set local role {OWNER}")
        cursor.execute(f"set local lock_timeout = '{_WAIT_FOR_TABLE}'")


def take_turns(connection: psycopg.Connection[Any]) -> None:
    """Be the only one who changes the schema until the end of the transaction."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"set local lock_timeout = '{_WAIT_FOR_MIGRATOR}'")
        # It waits, holding nothing, for as long as the longest migration takes.
        cursor.execute("set local idle_in_transaction_session_timeout = 0")
        # Without a parameter: that would leave an open portal and its snapshot, for which an index that is built
        # concurrently waits until the end of this transaction, which waits for the index.
        cursor.execute(f"select pg_advisory_xact_lock({ADVISORY_LOCK})")


def scripts() -> ScriptDirectory:
    """Return all revisions of this release."""
    return ScriptDirectory.from_config(_configuration())


def render(directory: Path) -> list[Path]:
    """Write the SQL of every revision to `<directory>/<expand or contract>/<its file>.sql`, for a linter to read."""
    written = []
    for script in scripts().walk_revisions():
        buffer = StringIO()
        options = {"as_sql": True, "output_buffer": buffer, "transaction_per_migration": True}
        context = MigrationContext.configure(dialect_name="postgresql", opts=options)
        # What `own_the_transaction` says at the start of each transaction.
        context.impl.static_output(f"set lock_timeout = '{_WAIT_FOR_TABLE}';")
        with Operations.context(context), context.begin_transaction(_per_migration=True):
            script.module.upgrade()
        path = directory / ("contract" if is_contract(script.revision) else "expand") / f"{Path(script.path).stem}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(buffer.getvalue())
        written.append(path)
    return sorted(written)


def is_contract(revision: str) -> bool:
    """Tell the branch by the id alone: an older release, which lacks the file, must be able to."""
    return revision.endswith("_contract")


@contextmanager
def _alone(url: str) -> Iterator[None]:
    """Hold the lock in a transaction of its own: the migrations' are many, and a session's lock pgbouncer cannot do."""
    with _connect(url) as connection:
        take_turns(connection)
        yield


def _connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url, prepare_threshold=None, connect_timeout=10, application_name="gym-migrate")


def _engine(url: str) -> Engine:
    engine = create_engine("postgresql+psycopg://", creator=lambda: _connect(url), poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        raw = connection.connection.driver_connection
        # In autocommit, which is what `concurrently` is for, there is no transaction that anything could be local to.
        if isinstance(raw, psycopg.Connection) and not raw.autocommit:
            own_the_transaction(raw)

    return engine


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return configuration


def _upgrade(engine: Engine, phase: Phase) -> None:
    configuration = _configuration()
    with engine.connect() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, _TARGET[phase])


def _ahead(revisions: list[str]) -> dict[str, Any]:
    """Return what there is to do on a schema that a later release has expanded: nothing, this release lives with it."""
    contracted = [revision for revision in revisions if is_contract(revision)]
    if contracted:
        raise MigrationError(
            f"The schema has {', '.join(contracted)} of a later release, which this one cannot work with; "
            "release that one or one after it."
        )
    log.info("the schema is ahead of this release", extra={"revisions": revisions})
    return {"changed": False, "applied": [], "contract_pending": []}


def _prepare(engine: Engine) -> tuple[str, ...]:
    """Have the schema, and return the heads that it is at."""
    with engine.begin() as connection:
        # `create schema if not exists` needs the right to create one even when it exists.
        found = connection.exec_driver_sql("select 1 from pg_namespace where nspname = %s", (SCHEMA,))
        if found.first() is None:
            connection.exec_driver_sql(f"create schema {SCHEMA}")
        return MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_heads()


def _behind(directory: ScriptDirectory, heads: tuple[str, ...]) -> set[str]:
    """Return all revisions that these heads stand for: what they follow, and what they depend on."""
    found: set[str] = set()
    waiting = list(heads)
    while waiting:
        revision = waiting.pop()
        if revision not in found:
            found.add(revision)
            script = directory.get_revision(revision)
            waiting += to_tuple(script.down_revision, default=()) + to_tuple(script.dependencies, default=())
    return found
