# ruff: noqa: S608 - names come from the catalogue, and are quoted
"""Which rows of a restored database go back into the live one, in which order, and by which statements. Pure."""

from __future__ import annotations

import difflib
import graphlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.gym.platform.plugins.module_utils.postgresql_objects import identifier, literal
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import RefusedError

# What becomes of rows that the live database has and the backup has not, or has otherwise.
ALL, MISSING = "all", "missing"
ROWS = (ALL, MISSING)
# How many differences of two schemas a refusal lists.
LISTED = 12
# How many names a refusal offers.
NEAREST = 3


@dataclass(frozen=True)
class Column:
    """A column."""

    name: str
    kind: str
    """Its type, as PostgreSQL writes it, with NOT NULL where that is so."""
    computed: bool = False
    """Its value follows from others, and cannot be written."""
    fixed: bool = False
    """Its value is given once, and cannot be changed: GENERATED ALWAYS AS IDENTITY."""
    sequence: str = ""
    """What gives it its next value; empty where nothing does."""


@dataclass(frozen=True)
class Table:
    """A table, as far as its rows are to be copied."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    """The columns of the primary key; empty without one."""
    parents: frozenset[str] = frozenset()
    """The full names of the tables that its foreign keys lead to, but for those that may be checked at the end."""

    @property
    def full_name(self) -> str:
        """The name with the schema, as people write it."""
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        """The name with the schema, for a statement."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    @property
    def writable(self) -> list[str]:
        """The columns whose values are copied."""
        return [column.name for column in self.columns if not column.computed]


@dataclass(frozen=True)
class Tenants:
    """Where a service keeps its tenants, in names of its schema."""

    table: str
    key: str
    name: str
    column: str
    """How the other tables call the key."""


@dataclass(frozen=True)
class Part:
    """The rows of one table that are copied."""

    table: Table
    stage: str
    """The temporary table that holds what the backup has."""
    condition: str = "true"
    """Which rows of the table belong to it."""
    rows: str = ALL

    def _same(self, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{identifier(name)} = {right}.{identifier(name)}" for name in self.table.key)

    def _columns(self, prefix: str = "") -> str:
        return ", ".join(prefix + identifier(name) for name in self.table.writable)

    @property
    def _absent_in_backup(self) -> str:
        if not self.table.key:
            return "true"
        return f"NOT EXISTS (SELECT FROM {self.stage} b WHERE {self._same('b', 'l')})"

    @property
    def _absent_in_live(self) -> str:
        if not self.table.key:
            return "true"
        return f"NOT EXISTS (SELECT FROM {self.table.quoted} l WHERE {self._same('l', 'b')})"

    @property
    def _differs(self) -> str:
        # As text, because not every type knows when two of its values are the same.
        live, backup = (", ".join(f"{side}.{identifier(name)}" for name in self._changing) for side in "lb")
        return f"ROW({live})::text IS DISTINCT FROM ROW({backup})::text"

    @property
    def _changing(self) -> list[str]:
        fixed = {column.name for column in self.table.columns if column.fixed or column.computed}
        return [name for name in self.table.writable if name not in fixed.union(self.table.key)]

    @property
    def updatable(self) -> bool:
        """Tell whether a row can be the same one and look otherwise."""
        return self.rows == ALL and bool(self.table.key) and bool(self._changing)

    def make_stage(self) -> str:
        """Return what makes the temporary table."""
        return (
            f"CREATE TEMPORARY TABLE {self.stage} ON COMMIT DROP AS"
            f" SELECT {self._columns()} FROM {self.table.quoted} WITH NO DATA"
        )

    def copy_out(self) -> str:
        """Return what reads the rows from the backup."""
        return f"COPY (SELECT {self._columns()} FROM {self.table.quoted} l WHERE {self.condition}) TO STDOUT"

    def copy_in(self) -> str:
        """Return what writes them into the temporary table."""
        return f"COPY {self.stage} FROM STDIN"

    def copy_into_table(self) -> str:
        """Return what writes them into a table that has none."""
        return f"COPY {self.table.quoted} ({self._columns()}) FROM STDIN"

    def count(self) -> str:
        """Return the query for what would be deleted, updated and inserted, and how many rows the backup has."""
        same = f"{self.table.quoted} l JOIN {self.stage} b ON {self._same('b', 'l') or 'false'}"
        return (
            f"SELECT {self._tally(f'{self.table.quoted} l', self._absent_in_backup, self.rows == ALL)},"
            f" {self._tally(same, self._differs, self.updatable)},"
            f" (SELECT count(*) FROM {self.stage} b WHERE {self._absent_in_live}),"
            f" (SELECT count(*) FROM {self.stage})"
        )

    def _tally(self, source: str, condition: str, wanted: bool) -> str:
        return f"(SELECT count(*) FROM {source} WHERE {self.condition} AND {condition})" if wanted else "0"

    def delete(self) -> str:
        """Return what deletes the rows that the backup has not."""
        return f"DELETE FROM {self.table.quoted} l WHERE {self.condition} AND {self._absent_in_backup}"

    def update(self) -> str:
        """Return what gives the rows that look otherwise the look that they have in the backup."""
        values = ", ".join(f"{identifier(name)} = b.{identifier(name)}" for name in self._changing)
        return (
            f"UPDATE {self.table.quoted} l SET {values} FROM {self.stage} b"
            f" WHERE {self._same('b', 'l')} AND {self.condition} AND {self._differs}"
        )

    def insert(self) -> str:
        """Return what inserts the rows that the live table has not."""
        return (
            f"INSERT INTO {self.table.quoted} ({self._columns()}) OVERRIDING SYSTEM VALUE"
            f" SELECT {self._columns('b.')} FROM {self.stage} b WHERE {self._absent_in_live}"
        )

    def lock(self, is_parent: bool) -> str | None:
        """Return what keeps others off the rows: their writers wait, and everybody else goes on."""
        if self.rows == MISSING:
            return None
        if self.condition == "true":
            return f"LOCK TABLE {self.table.quoted} IN SHARE ROW EXCLUSIVE MODE"
        if not is_parent:
            return None
        # A row that refers to one of these waits.
        return f"SELECT count(*) FROM (SELECT FROM {self.table.quoted} l WHERE {self.condition} FOR UPDATE) locked"

    def count_live(self) -> str:
        """Return the query for how many rows the live table has of it."""
        return f"SELECT count(*) FROM {self.table.quoted} l WHERE {self.condition}"

    def advance(self) -> list[str]:
        """Return what lets sequences go on behind the restored values."""
        return [
            f"SELECT setval({literal(column.sequence)}, greatest((SELECT max({identifier(column.name)})::bigint"
            f" FROM {self.table.quoted}), (SELECT last_value FROM {column.sequence}), 1))"
            for column in self.table.columns
            if column.sequence
        ]


def tenant_parts(tables: Mapping[str, Table], words: Tenants, tenant: str) -> list[Part]:
    """Return what belongs to a tenant, whose key is given: a part of every table that has the tenant's column."""
    if words.table not in tables:
        raise RefusedError(f"There is no table {words.table} with the tenants: correct database_restore_tenants.")
    columns = {words.table: words.key}
    for name, table in tables.items():
        if name != words.table and any(column.name == words.column for column in table.columns):
            columns[name] = words.column
    return [
        Part(tables[name], f"restore_{number}", f"l.{identifier(column)} = {literal(tenant)}")
        for number, (name, column) in enumerate(sorted(columns.items()))
    ]


def unknown_tenant(name: str, known: Sequence[str]) -> RefusedError:
    """Say that nobody was called so, and who is nearest."""
    near = difflib.get_close_matches(name, known, NEAREST) or list(known[:NEAREST])
    there_is = f"of {len(known)} tenants the nearest are {', '.join(near)}" if known else "there was none at all"
    return RefusedError(
        f"restore_tenant is '{name}', and at that moment no tenant was called so; {there_is}. Give one of them, or"
        " another moment."
    )


def table_parts(tables: Mapping[str, Table], names: Sequence[str], rows: str) -> list[Part]:
    """Return whole tables of the backup, by their names with or without the schema. Raises RefusedError."""
    if rows not in ROWS:
        raise RefusedError(f"restore_rows is '{rows}'; give one of {', '.join(ROWS)}.")
    parts = [
        Part(_named(tables, name), f"restore_{number}", rows=rows)
        for number, name in enumerate(sorted({name.strip() for name in names}))
    ]
    for part in parts:
        if rows == MISSING and not part.table.key:
            raise RefusedError(
                f"{part.table.full_name} has no primary key, so nothing tells which of its rows are missing: leave"
                " restore_rows out to replace all of them, or copy by hand."
            )
    return parts


def _named(tables: Mapping[str, Table], name: str) -> Table:
    found = [table for table in tables.values() if name in (table.name, table.full_name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RefusedError(
            f"restore_table is '{name}', and there are {', '.join(sorted(table.full_name for table in found))}:"
            " write it with the schema."
        )
    words = {word: table.full_name for table in tables.values() for word in (table.full_name, table.name)}
    near = sorted({words[word] for word in difflib.get_close_matches(name, words, NEAREST)})
    known = ", ".join(near or sorted(tables)) or "none"
    raise RefusedError(f"restore_table is '{name}', and the backup has no such table; there is {known}.")


def check_schemas(parts: Sequence[Part], live: Mapping[str, Table], may_be_missing: bool) -> list[Part]:
    """Return the parts whose table the live database lacks. Raises RefusedError where a table is another one now."""
    missing = [part for part in parts if part.table.full_name not in live]
    found: list[str] = []
    for part in parts:
        if part not in missing:
            found += _differences(part.table, live[part.table.full_name])
    if not may_be_missing:
        found += [f"{part.table.full_name} is only in the backup" for part in missing]
    _refuse_differences(found)
    return missing


def check_tenant_tables(parts: Sequence[Part], live: Mapping[str, Table], words: Tenants) -> None:
    """Refuse tables of tenants that the backup does not know. Raises RefusedError."""
    known = {part.table.full_name for part in parts}
    _refuse_differences(
        f"{name} is only in the live database"
        for name, table in sorted(live.items())
        if name not in known and any(column.name == words.column for column in table.columns)
    )


def _refuse_differences(differences: Iterable[str]) -> None:
    found = list(differences)
    if found:
        more = f", and {len(found) - LISTED} more" if len(found) > LISTED else ""
        raise RefusedError(
            f"The schema of the backup is not that of the live database: {'; '.join(found[:LISTED])}{more}. Restore to"
            " a moment when it was, or take what is needed from the restored instance by hand (leave restore_tenant and"
            " restore_table out)."
        )


def _differences(backup: Table, live: Table) -> list[str]:
    ours = {column.name: column for column in backup.columns}
    theirs = {column.name: column for column in live.columns}
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(name), theirs.get(name)
        column = f"{backup.full_name}.{name}"
        if other is None:
            found.append(f"{column} is only in the backup")
        elif one is None:
            found.append(f"{column} is only in the live database")
        elif (one.kind, one.computed) != (other.kind, other.computed):
            found.append(f"{column} is {one.kind} in the backup and {other.kind} in the live database")
    if backup.key != live.key:
        found.append(f"the primary key of {backup.full_name} is ({', '.join(backup.key)}) in the backup and"
                     f" ({', '.join(live.key)}) in the live database")  # fmt: skip
    return found


def parents_first(parts: Sequence[Part]) -> list[Part]:
    """Return the parts in an order in which rows can be inserted; deleted they are the other way round."""
    by_name = {part.table.full_name: part for part in parts}
    graph = {name: (part.table.parents & by_name.keys()) - {name} for name, part in by_name.items()}
    try:
        return [by_name[name] for name in graphlib.TopologicalSorter(graph).static_order()]
    except graphlib.CycleError as error:
        raise RefusedError(
            f"The tables {' -> '.join(error.args[1])} refer to each other, and their foreign keys are not DEFERRABLE:"
            " no order of copying them works; take what is needed from the restored instance by hand."
        ) from error


def is_parent(part: Part, parts: Iterable[Part]) -> bool:
    """Tell whether rows of other parts refer to rows of this one."""
    return any(part.table.full_name in other.table.parents for other in parts)


# --- a table that is gone: what pg_dump knows about it


_ENTRY = re.compile(r"(?P<id>\d+); (?P<catalogue>\d+) (?P<object>\d+) (?P<rest>.+)")
# What has no place of its own in the catalogue, and names what it belongs to.
_BELONGING = re.compile(r"(?:ACL|COMMENT|SECURITY LABEL) (?P<schema>\S+) \S+ (?P<name>.+) \S+")
_OWNED = re.compile(r"SEQUENCE OWNED BY (?P<schema>\S+) (?P<name>\S+) \S+")
_NAMED = re.compile(
    r"(?:MATERIALIZED VIEW|TABLE|VIEW|SEQUENCE|FUNCTION|PROCEDURE|TYPE) (?P<schema>\S+) (?P<name>.+) \S+"
)


def contents_of(listing: str, objects: Collection[tuple[int, int]]) -> list[str]:
    """Return the entries of `pg_restore --list` that make these objects, given as catalogue and number.

    What belongs to them goes along: privileges, comments, whose a sequence is, and that a table has row-level security.
    """
    entries = [found for line in listing.splitlines() if (found := _ENTRY.match(line))]
    numbers = {number for _, number in objects}
    chosen, names = [], set()
    for entry in entries:
        catalogue, number = int(entry["catalogue"]), int(entry["object"])
        # Row-level security is listed with the number of its table and no catalogue.
        if (catalogue, number) in objects or (catalogue == 0 and number in numbers):
            chosen.append(entry)
            if named := _NAMED.match(entry["rest"]):
                names.add((named["schema"], _plain(named["name"])))
    for entry in entries:
        belonging = _BELONGING.match(entry["rest"]) or _OWNED.match(entry["rest"])
        if entry not in chosen and belonging:
            # A column's is its table's.
            name, table = _plain(belonging["name"]), belonging["name"].rsplit(".", 1)[0]
            if {(belonging["schema"], name), (belonging["schema"], table)} & names:
                chosen.append(entry)
    return [entry[0] for entry in sorted(chosen, key=entries.index)]


def _plain(name: str) -> str:
    """Return a name without arguments: a function is listed with their types alone, its privileges with names, too."""
    return name.split("(", 1)[0]


def statements_of(script: str) -> str:
    """Return the SQL of what pg_restore writes, without what only psql understands."""
    return "\n".join(line for line in script.splitlines() if not line.startswith(("\\", "--")))
