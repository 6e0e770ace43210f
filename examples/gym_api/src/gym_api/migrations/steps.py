# ruff: noqa: S608 - names of tables and columns come from migrations
"""What a migration of a large table is made of, so that it never holds a lock for longer than a moment."""

from collections.abc import Sequence
from typing import Any

from alembic import op
from sqlalchemy import text

from gym_api.migrate import OWNER

BATCH_ROWS = 5000


def commit() -> None:
    """End the transaction, and with it its locks; go on in the next one.

    What stands before it is done again when the migration is interrupted after it: write it so that it may be.
    """
    with op.get_context().autocommit_block():
        pass


def concurrently(statement: str) -> None:
    """Run a statement that must not be in a transaction, such as `create index concurrently if not exists`."""
    with op.get_context().autocommit_block():
        # Through pgbouncer this stays with the server's connection, which only migrations use, and all as the owner.
        op.execute(f"set role {OWNER}")
        op.execute(statement)
        op.execute("reset role")


def backfill(table: str, key: Sequence[str], assignment: str, where: str) -> int:
    """Update the rows `where` in batches along the key, each a transaction of its own; return how many there were.

    A batch holds BATCH_ROWS row locks for as long as its update takes. `where` must be false for what is done: that is
    how an interrupted backfill goes on, and why a second one finds nothing.
    """
    names = ", ".join(key)
    downwards = ", ".join(f"{name} desc" for name in key)
    join = " and ".join(f"t.{name} = batch.{name}" for name in key)
    total = 0
    last: dict[str, Any] = {}
    while True:
        beyond = f" and ({names}) > ({', '.join(f':{name}' for name in key)})" if last else ""
        batch = f"select {names} from {table} where {where}{beyond} order by {names} limit {BATCH_ROWS} for update"
        statement = (
            f"with batch as ({batch}),"
            f" done as (update {table} t set {assignment} from batch where {join})"
            f" select {names}, count(*) over () as rows from batch order by {downwards} limit 1"
        )
        if op.get_context().as_sql:
            op.execute(statement)
            commit()
            return 0
        found = op.get_bind().execute(text(statement), last).mappings().first()
        commit()
        if found is None:
            return total
        total += int(found["rows"])
        last = {name: found[name] for name in key}
