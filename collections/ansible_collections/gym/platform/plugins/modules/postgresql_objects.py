"""Bring users, databases and privileges of PostgreSQL up to date."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_objects
short_description: Bring users, databases and privileges of PostgreSQL up to date
description:
  - Reads what the server has, works out the statements that are missing, and runs these. Run it on every node of a
    cluster - a standby gets everything by replication, and the module changes nothing there.
  - The server is given verifiers and never passwords, and is told not to log these statements.
  - Users and databases that are not described are left alone; none is dropped.
options:
  socket_directory:
    description: Where the server's socket is.
    type: path
    default: /run/postgresql
  users:
    description: The users.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The user's name.
        type: str
        required: true
      password:
        description: The password. A user without one cannot log in.
        type: str
      superuser:
        description: Whether the user may do everything.
        type: bool
        default: false
      replication:
        description: Whether the user may replicate.
        type: bool
        default: false
      member_of:
        description: The groups that the user is in, and no others.
        type: list
        elements: str
        default: []
      settings:
        description: Settings of the user's sessions, and no others.
        type: dict
        default: {}
  databases:
    description: The databases.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The database's name.
        type: str
        required: true
      owner:
        description: The user who owns it and what is in it.
        type: str
        required: true
      writers:
        description: Users who read and write the tables of the schema C(public), present and future ones.
        type: list
        elements: str
        default: []
      readers:
        description: Users who read them.
        type: list
        elements: str
        default: []
      connect:
        description: Further users who may connect.
        type: list
        elements: str
        default: []
      extensions:
        description: Extensions that the database has.
        type: list
        elements: str
        default: []
  pooler:
    description: The user of the connection pooler, who may ask C(pgbouncer.find_user) for the verifiers of plain users.
    type: str
attributes:
  check_mode:
    support: full
    description: Returns the statements without running them. What goes into a database that is missing is not foreseen.
  diff_mode:
    support: full
    description: Shows the statements, passwords hidden.
author: The gym platform's engineers
"""

EXAMPLES = r"""
- name: A database, its owner, and a user who works with its rows
  gym.platform.postgresql_objects:
    users:
      - name: gym_owner
      - {name: gym_app, password: "{{ password }}", settings: {statement_timeout: 30s}}
    databases:
      - {name: gym, owner: gym_owner, writers: [gym_app]}
"""

RETURN = r"""
statements:
  description: What was run, or would be run in check mode; passwords hidden.
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.gym.platform.plugins.module_utils.postgresql_objects import (
    FINDER_SCHEMA,
    Database,
    Server,
    Statement,
    User,
    plan_database,
    plan_databases,
    plan_users,
)

try:
    import psycopg2
except ImportError:
    psycopg2 = None

USERS = """
    SELECT r.rolname, r.rolcanlogin, r.rolpassword, r.rolsuper, r.rolreplication, r.rolcreatedb, r.rolcreaterole,
           r.rolbypassrls,
           ARRAY(SELECT g.rolname::text
                   FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid),
           (SELECT setconfig FROM pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0)
      FROM pg_authid r WHERE r.rolname !~ '^pg_'
"""
FLAG_COLUMNS = ("SUPERUSER", "REPLICATION", "CREATEDB", "CREATEROLE", "BYPASSRLS")

# The privileges that each kind of object has, those that it has by default included.
GRANTS = """
    WITH objects (kind, name, acl) AS (
        SELECT 'DATABASE', datname::text, coalesce(datacl, acldefault('d', datdba))
          FROM pg_database WHERE datname = current_database()
        UNION ALL
        SELECT 'SCHEMA', nspname::text, coalesce(nspacl, acldefault('n', nspowner))
          FROM pg_namespace WHERE nspname IN ('public', %(finder)s)
        UNION ALL
        SELECT 'FUNCTION', n.nspname || '.' || p.proname || '(text)', coalesce(p.proacl, acldefault('f', p.proowner))
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = %(finder)s
        UNION ALL
        SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relname::text, c.relacl
          FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
           AND o.rolname = %(owner)s
    )
    SELECT kind, name, grantee.rolname::text, entry.grantee = 0, entry.privilege_type
      FROM objects LEFT JOIN LATERAL aclexplode(acl) entry ON true
      LEFT JOIN pg_roles grantee ON grantee.oid = entry.grantee
"""
DEFAULTS = """
    SELECT CASE d.defaclobjtype WHEN 'r' THEN 'tables' ELSE 'sequences' END, u.rolname::text, entry.privilege_type
      FROM pg_default_acl d JOIN pg_roles o ON o.oid = d.defaclrole, LATERAL aclexplode(d.defaclacl) entry
      JOIN pg_roles u ON u.oid = entry.grantee
     WHERE o.rolname = %(owner)s AND d.defaclobjtype IN ('r', 'S')
       AND d.defaclnamespace = 'public'::regnamespace AND entry.grantee <> d.defaclrole
"""


def connect(socket_directory: str, database: str) -> Any:
    """Connect as the superuser, as whom root is known on the machine; nothing of the session is logged."""
    connection = psycopg2.connect(
        host=socket_directory,
        dbname=database,
        user="postgres",
        application_name="ansible",
        connect_timeout=10,
        options="-c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic"
        " -c search_path=pg_catalog",
    )
    connection.autocommit = True
    return connection


def read_server(cursor: Any) -> Server:
    """Read the users and the databases."""
    server = Server()
    cursor.execute(USERS)
    for name, login, verifier, *columns in cursor.fetchall():
        *flags, groups, settings = columns
        server.users[name] = User(
            login=login,
            flags=frozenset(word for word, has in zip(FLAG_COLUMNS, flags, strict=True) if has),
            verifier=verifier,
            member_of=frozenset(groups),
            settings=dict(entry.split("=", 1) for entry in settings or ()),
        )
    cursor.execute("SELECT d.datname, o.rolname FROM pg_database d JOIN pg_roles o ON o.oid = d.datdba")
    server.databases = dict(cursor.fetchall())
    return server


def read_database(cursor: Any, owner: str) -> Database:
    """Read the inside of the connected database."""
    names = {"owner": owner, "finder": FINDER_SCHEMA}
    cursor.execute(GRANTS, names)
    rows = cursor.fetchall()
    cursor.execute(DEFAULTS, names)
    defaults = set(cursor.fetchall())
    cursor.execute("SELECT extname FROM pg_extension")
    extensions = frozenset(name for (name,) in cursor.fetchall())
    cursor.execute(
        "SELECT p.prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = %(finder)s AND p.proname = 'find_user' AND p.prosecdef",
        names,
    )
    finder = cursor.fetchone()
    return Database(
        grants={
            (kind, name, "" if public else grantee, privilege)
            for kind, name, grantee, public, privilege in rows
            if privilege is not None
        },
        defaults=defaults,
        tables=frozenset(name for kind, name, *_ in rows if kind == "TABLE"),
        sequences=frozenset(name for kind, name, *_ in rows if kind == "SEQUENCE"),
        extensions=extensions,
        finder=finder[0] if finder else None,
    )


def run(cursor: Any, statements: list[Statement], check: bool) -> list[str]:
    """Run the statements, unless it is a check, and return them as they may be shown."""
    for statement in statements:
        if not check:
            try:
                cursor.execute(statement.sql)
            except psycopg2.Error as error:
                # The driver's message repeats the statement, and with it a verifier.
                reason = error.diag.message_primary or type(error).__name__
                raise StatementError(f"PostgreSQL refused `{statement}`: {reason}") from None
    return [str(statement) for statement in statements]


class StatementError(Exception):
    """PostgreSQL refused a statement; the message shows no password."""


def bring_up_to_date(options: dict[str, Any], check: bool) -> list[str]:
    """Read, compare, apply, and return the statements."""
    directory = options["socket_directory"]
    connection = connect(directory, "postgres")
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT pg_is_in_recovery()")
        if cursor.fetchone()[0]:
            return []
        server = read_server(cursor)
        done = run(cursor, plan_users(server, options["users"]), check)
        done += run(cursor, plan_databases(server, options["databases"]), check)
    finally:
        connection.close()
    for database in options["databases"]:
        if check and database["name"] not in server.databases:
            continue
        connection = connect(directory, database["name"])
        try:
            # All of a database or nothing of it.
            connection.autocommit = False
            cursor = connection.cursor()
            found = read_database(cursor, database["owner"])
            done += run(cursor, plan_database(found, database, options["pooler"]), check)
            connection.commit()
        finally:
            connection.close()
    return done


def main() -> None:
    """Read the options, and report in the words of Ansible."""
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "socket_directory": {"type": "path", "default": "/run/postgresql"},
            "users": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "password": {"type": "str", "no_log": True},
                    "superuser": {"type": "bool", "default": False},
                    "replication": {"type": "bool", "default": False},
                    "member_of": names,
                    "settings": {"type": "dict", "default": {}},
                },
            },
            "databases": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "owner": {"type": "str", "required": True},
                    "writers": names,
                    "readers": names,
                    "connect": names,
                    "extensions": names,
                },
            },
            "pooler": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if psycopg2 is None:
        if module.check_mode:
            module.exit_json(changed=True, statements=[], msg="PostgreSQL is not installed yet.")
        module.fail_json(msg=missing_required_lib("psycopg2"))
    try:
        statements = bring_up_to_date(module.params, module.check_mode)
    except psycopg2.OperationalError as error:
        if module.check_mode:
            module.exit_json(changed=True, statements=[], msg=f"PostgreSQL does not run yet: {error}")
        module.fail_json(msg=f"PostgreSQL does not answer at {module.params['socket_directory']}: {error}")
    except StatementError as error:
        module.fail_json(msg=str(error))
    after = "".join(f"{statement};\n" for statement in statements)
    module.exit_json(changed=bool(statements), statements=statements, diff={"before": "", "after": after})


if __name__ == "__main__":
    main()
