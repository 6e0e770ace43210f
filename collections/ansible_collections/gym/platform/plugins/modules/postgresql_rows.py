#!/usr/bin/python
# ruff: noqa: S608 - names come from the catalogue, and are quoted
"""Copy the rows of a tenant, or of tables, out of a restored database into the live one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_rows
short_description: Copy the rows of a tenant, or of tables, out of a restored database into the live one
version_added: "0.2.0"
description:
  - Reads both schemas, refuses where they differ, copies the rows beside the live ones, and then replaces in one
    transaction what is other than in the backup. Rows of other tenants are neither read nor locked.
  - With O(tenant) these are the rows of one tenant, in all tables that have the tenant's column; its writers wait until
    the transaction is over. With O(tables) these are whole tables. A table that the live database has lost is made anew
    first, with all that was lost with it.
  - Run it on every node of a cluster - a standby gets everything by replication, and the module changes nothing there.
options:
  source:
    description: How to reach the restored database as a superuser, in the words of libpq.
    type: dict
    required: true
  socket_directory:
    description: Where the socket of the live server is.
    type: path
    default: /run/postgresql
  database:
    description: The database's name, on both sides.
    type: str
    required: true
  tenant:
    description: The tenant's name.
    type: str
    default: ""
  tables:
    description: The tables' names, with or without the schema.
    type: list
    elements: str
    default: []
  rows:
    description:
      - V(all) makes the live tables what they are in the backup; what was written since is lost.
      - V(missing) only puts back rows that the live tables do not have, and leaves everything else as it is.
      - A tenant is always restored as a whole.
    type: str
    default: all
  tenants:
    description: Where the service keeps its tenants.
    type: dict
    required: true
    suboptions:
      table: {description: The table of the tenants., type: str, required: true}
      key: {description: Its key., type: str, required: true}
      name: {description: The column with the name., type: str, required: true}
      column: {description: How the other tables call the key., type: str, required: true}
  lock_timeout:
    description: Seconds for which a lock is waited for before everything is left as it was.
    type: int
    default: 15
requirements: [psycopg2]
attributes:
  check_mode:
    support: full
    description: Counts the rows that would be deleted, updated and inserted, and locks nothing.
  diff_mode:
    support: none
    description: Rows are nobody's business.
author: The gym platform's engineers (@gym)
"""

EXAMPLES = r"""
- name: Bring back a gym
  gym.platform.postgresql_rows:
    source: {host: backup-1.gym.internal, port: 5433, user: postgres, sslmode: verify-full}
    database: gym
    tenant: north-gym
    tenants: {table: gym.tenants, key: id, name: slug, column: tenant_id}
"""

RETURN = r"""
tables:
  description: By table, how many rows the backup has, and how many were deleted, updated and inserted.
  type: dict
  returned: success
  sample: {gym.members: {backup: 120, deleted: 0, updated: 1, inserted: 7}}
made:
  description: The tables that were made anew.
  type: list
  elements: str
  returned: success
"""

import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.gym.platform.plugins.module_utils.postgresql_objects import identifier
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import RefusedError
from ansible_collections.gym.platform.plugins.module_utils.restored_rows import (
    ALL,
    Column,
    Part,
    Table,
    Tenants,
    check_schemas,
    check_tenant_tables,
    contents_of,
    is_parent,
    parents_first,
    statements_of,
    table_parts,
    tenant_parts,
    unknown_tenant,
)

try:
    import psycopg2
except ImportError:
    psycopg2 = None

# Every table with rows of its own: a partition's rows are its parent's.
TABLES = """
    SELECT n.nspname, c.relname,
           (SELECT json_agg(json_build_array(
                       a.attname,
                       format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
                       a.attgenerated <> '',
                       a.attidentity = 'a',
                       coalesce(pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname), '')
                   ) ORDER BY a.attnum)
              FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
           (SELECT json_agg(a.attname ORDER BY array_position(k.conkey, a.attnum))
              FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (k.conkey)
             WHERE k.conrelid = c.oid AND k.contype = 'p'),
           (SELECT json_agg(DISTINCT s.nspname || '.' || p.relname)
              FROM pg_constraint k JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace s ON s.oid = p.relnamespace
             WHERE k.conrelid = c.oid AND k.contype = 'f' AND NOT k.condeferrable)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
       AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""

# What goes with a table, and with what goes with it. A view hangs on its rule, which hangs on the table.
DEPENDENTS = """
    WITH RECURSIVE needed (catalogue, number) AS (
        SELECT 'pg_class'::regclass::oid, to_regclass(name)::oid FROM unnest(%s) AS name
        UNION
        SELECT found.catalogue, found.number FROM needed n, LATERAL (
            SELECT d.classid, d.objid FROM pg_depend d
             WHERE d.refclassid = n.catalogue AND d.refobjid = n.number AND d.deptype IN ('n', 'a', 'i')
            UNION ALL
            SELECT 'pg_class'::regclass, r.ev_class FROM pg_rewrite r
             WHERE n.catalogue = 'pg_rewrite'::regclass AND r.oid = n.number
        ) AS found (catalogue, number)
    )
    SELECT catalogue::bigint, number::bigint FROM needed
"""


def connect(words: Mapping[str, Any]) -> Any:
    """Connect as a superuser, whom row-level security does not hold back."""
    try:
        return psycopg2.connect(
            application_name="ansible", connect_timeout=10, options="-c search_path=pg_catalog", **words
        )
    except psycopg2.OperationalError as error:
        raise RefusedError(f"The database at {words['host']} cannot be reached: {_reason(error)}") from error


def read_tables(cursor: Any) -> dict[str, Table]:
    """Read the tables by their full names."""
    cursor.execute(TABLES)
    tables = [
        Table(schema, name, tuple(Column(*row) for row in columns or ()), tuple(key or ()), frozenset(parents or ()))
        for schema, name, columns, key, parents in cursor.fetchall()
    ]
    return {table.full_name: table for table in tables}


def find_tenant(cursor: Any, words: Tenants, name: str) -> str | None:
    """Return the key of a tenant; None when nobody is called so."""
    table = ".".join(map(identifier, words.table.split(".", 1)))
    query = f"SELECT {identifier(words.key)}::text FROM {table} WHERE {identifier(words.name)} = %s"
    cursor.execute(query, (name,))
    found = cursor.fetchone()
    return None if found is None else str(found[0])


def tenant_names(cursor: Any, words: Tenants) -> list[str]:
    """Return how all tenants are called."""
    table = ".".join(map(identifier, words.table.split(".", 1)))
    cursor.execute(f"SELECT {identifier(words.name)} FROM {table} ORDER BY 1")
    return [str(name) for (name,) in cursor.fetchall()]


def plan(options: Mapping[str, Any], source: Any, live: Any) -> tuple[list[Part], list[Part]]:
    """Return the parts in the order in which rows are inserted, and those whose table has to be made. Refuses."""
    backup_tables, live_tables = read_tables(source), read_tables(live)
    words = Tenants(**options["tenants"])
    if not options["tenant"]:
        parts = table_parts(backup_tables, options["tables"], options["rows"])
        return parents_first(parts), check_schemas(parts, live_tables, may_be_missing=True)
    tenant = find_tenant(source, words, options["tenant"])
    if tenant is None:
        raise unknown_tenant(options["tenant"], tenant_names(source, words))
    parts = tenant_parts(backup_tables, words, tenant)
    check_tenant_tables(parts, live_tables, words)
    check_schemas(parts, live_tables, may_be_missing=False)
    if (now := find_tenant(live, words, options["tenant"])) not in (None, tenant):
        raise RefusedError(
            f"'{options['tenant']}' is another tenant now ({now}, and {tenant} in the backup): rename the one that is"
            " there, and run this again."
        )
    return parents_first(parts), []


def copy(source: Any, read: str, target: Any, write: str) -> None:
    """Let the rows flow from one database into the other, without a file between them."""
    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def feed() -> None:
        try:
            with os.fdopen(writing, "wb") as stream:
                source.copy_expert(read, stream)
        except BaseException as error:
            failures.append(error)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        with os.fdopen(reading, "rb") as stream:
            target.copy_expert(write, stream)
    finally:
        feeder.join()
    if failures:
        raise failures[0]


def ask(cursor: Any, query: str) -> tuple[Any, ...]:
    """Return the one row of the answer."""
    cursor.execute(query)
    row: tuple[Any, ...] = cursor.fetchone()
    return row


def compare(live: Any, part: Part) -> dict[str, int]:
    """Count what would be done."""
    return dict(zip(("deleted", "updated", "inserted", "backup"), ask(live, part.count()), strict=True))


def replace_rows(live: Any, parts: Sequence[Part]) -> dict[str, dict[str, int]]:
    """Make the live rows those of the backup, and return what was done, by table."""
    for part in parts:
        if lock := part.lock(is_parent(part, parts)):
            live.execute(lock)
    done = {part.table.full_name: dict.fromkeys(("deleted", "updated", "inserted"), 0) for part in parts}
    for part in reversed(parts):
        if part.rows == ALL:
            live.execute(part.delete())
            done[part.table.full_name]["deleted"] = live.rowcount
    for part in parts:
        if part.updatable:
            live.execute(part.update())
            done[part.table.full_name]["updated"] = live.rowcount
        live.execute(part.insert())
        done[part.table.full_name]["inserted"] = live.rowcount
    for part in parts:
        (staged,) = ask(live, f"SELECT count(*) FROM {part.stage}")
        (now,) = ask(live, part.count_live())
        if part.rows == ALL and now != staged:
            raise RefusedError(
                f"{part.table.full_name} would have {now} rows and the backup has {staged}: somebody wrote at the same"
                " time, or a key belongs to another tenant now; nothing was changed."
            )
        for statement in part.advance():
            live.execute(statement)
        done[part.table.full_name]["backup"] = staged
    return done


def make_tables(module: AnsibleModule, source: Any, words: Mapping[str, Any], parts: Sequence[Part]) -> tuple[str, str]:
    """Return what makes lost tables and all that was lost with them: before their rows are there, and after."""
    source.execute(DEPENDENTS, ([part.table.quoted for part in parts],))
    objects = set(source.fetchall())
    dsn = psycopg2.extensions.make_dsn(**words)
    with tempfile.TemporaryDirectory() as directory:
        dump, listing = f"{directory}/schema.dump", f"{directory}/contents"
        run(module, "pg_dump", "--schema-only", "--format=custom", f"--file={dump}", f"--dbname={dsn}")
        chosen = contents_of(run(module, "pg_restore", "--list", dump), objects)
        Path(listing).write_text("\n".join(chosen) + "\n", encoding="utf-8")
        before, after = (
            statements_of(
                run(module, "pg_restore", "--file=-", f"--use-list={listing}", f"--section={section}-data", dump)
            )
            for section in ("pre", "post")
        )
    return before, after


def run(module: AnsibleModule, *command: str) -> str:
    """Run a program of PostgreSQL, and return what it wrote."""
    status, output, errors = module.run_command(list(command))
    if status != 0:
        raise RefusedError(f"{command[0]} failed: {errors.strip()}")
    return str(output)


def bring_back(module: AnsibleModule, source: Any, live: Any, words: Mapping[str, Any]) -> dict[str, Any]:
    """Read, refuse, copy, compare or replace, report."""
    options = module.params
    parts, lost = plan(options, source, live)
    present = [part for part in parts if part not in lost]
    live.execute(f"SET LOCAL lock_timeout = '{options['lock_timeout']}s'")
    live.execute("SET LOCAL statement_timeout = 0")
    before, after = make_tables(module, source, words, lost) if lost else ("", "")
    for part in present:
        live.execute(part.make_stage())
        copy(source, part.copy_out(), live, part.copy_in())
        live.execute(f"ANALYZE {part.stage}")
    tables: dict[str, dict[str, int]] = {}
    for part in lost:
        (rows,) = ask(source, part.count_live())
        tables[part.table.full_name] = {"deleted": 0, "updated": 0, "inserted": rows, "backup": rows}
    if module.check_mode:
        tables |= {part.table.full_name: compare(live, part) for part in present}
    else:
        live.execute(before or "SELECT")
        for part in lost:
            copy(source, part.copy_out(), live, part.copy_into_table())
        tables |= replace_rows(live, present)
        live.execute(after or "SELECT")
        for part in lost:
            for statement in part.advance():
                live.execute(statement)
    changed = any(count for name in tables for word, count in tables[name].items() if word != "backup")
    return {"changed": changed or bool(lost), "tables": tables, "made": [part.table.full_name for part in lost]}


def _reason(error: Any) -> str:
    return " ".join(str(error).split())


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "dict", "required": True},
            "socket_directory": {"type": "path", "default": "/run/postgresql"},
            "database": {"type": "str", "required": True},
            "tenant": {"type": "str", "default": ""},
            "tables": {"type": "list", "elements": "str", "default": []},
            "rows": {"type": "str", "default": "all"},
            "tenants": {
                "type": "dict",
                "required": True,
                "options": {word: {"type": "str", "required": True} for word in ("table", "key", "name", "column")},
            },
            "lock_timeout": {"type": "int", "default": 15},
        },
        supports_check_mode=True,
        required_one_of=[("tenant", "tables")],
    )
    if psycopg2 is None:
        module.fail_json(msg=missing_required_lib("psycopg2"))
    options = module.params
    words = {**options["source"], "dbname": options["database"]}
    source = live = None
    result: dict[str, Any] = {}
    try:
        live = connect({"host": options["socket_directory"], "user": "postgres", "dbname": options["database"]})
        if ask(live.cursor(), "SELECT pg_is_in_recovery()")[0]:
            module.exit_json(changed=False, tables={}, made=[])
        source = connect(words)
        # All tables of the backup at one moment, although nobody should write there.
        source.set_session(isolation_level="REPEATABLE READ", readonly=True)
        result = bring_back(module, source.cursor(), live.cursor(), words)
        if module.check_mode:
            live.rollback()
        else:
            live.commit()
    except RefusedError as error:
        module.fail_json(msg=str(error))
    except psycopg2.Error as error:
        module.fail_json(msg=f"PostgreSQL refused, and everything is as it was: {_reason(error)}")
    finally:
        for connection in filter(None, (source, live)):
            connection.close()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
