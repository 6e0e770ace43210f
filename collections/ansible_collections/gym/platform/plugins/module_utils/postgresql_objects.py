"""Work out the statements that make users, databases and privileges of PostgreSQL what they shall be.

Pure: what there is comes in, statements come out. Reading and running them is the module's part.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SCRAM_ITERATIONS = 4096
SALT_BYTES = 16
# What an unprivileged user has and what a user may be given, by the names of the module's options.
FLAGS = {"superuser": "SUPERUSER", "replication": "REPLICATION"}
NEVER = ("CREATEDB", "CREATEROLE", "BYPASSRLS")

READ = {"tables": ("SELECT",), "sequences": ("SELECT",)}
WRITE = {"tables": ("DELETE", "INSERT", "SELECT", "UPDATE"), "sequences": ("SELECT", "USAGE")}

FINDER_SCHEMA = "pgbouncer"
FINDER_BODY = """
    SELECT rolname::text, rolpassword::text
      FROM pg_catalog.pg_authid
     WHERE rolname = name AND rolcanlogin AND NOT rolsuper AND NOT rolreplication AND NOT rolbypassrls
       AND (rolvaliduntil IS NULL OR rolvaliduntil > pg_catalog.now())
"""


@dataclass(frozen=True)
class Statement:
    """One statement, and how it may be shown."""

    sql: str
    shown: str = ""

    def __str__(self) -> str:
        """Return the text that may be shown to people."""
        return self.shown or self.sql


@dataclass
class User:
    """A user as the catalogue has it; flags by their words in CREATE ROLE."""

    login: bool = False
    flags: frozenset[str] = frozenset()
    verifier: str | None = None
    member_of: frozenset[str] = frozenset()
    settings: dict[str, str] = field(default_factory=dict)


@dataclass
class Server:
    """What the whole server has."""

    users: dict[str, User] = field(default_factory=dict)
    databases: dict[str, str] = field(default_factory=dict)


@dataclass
class Database:
    """What one database has. Grants are (kind, object, grantee, privilege); the grantee of PUBLIC is empty."""

    grants: set[tuple[str, str, str, str]] = field(default_factory=set)
    defaults: set[tuple[str, str, str]] = field(default_factory=set)
    tables: frozenset[str] = frozenset()
    sequences: frozenset[str] = frozenset()
    extensions: frozenset[str] = frozenset()
    finder: str | None = None


def identifier(name: str) -> str:
    """Quote a name."""
    if "\0" in name or not name:
        raise ValueError(f"{name!r} cannot be a name in PostgreSQL")
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Quote a text, for a server with standard_conforming_strings."""
    return "'" + value.replace("'", "''") + "'"


def _keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")


def make_verifier(password: str, salt: bytes | None = None) -> str:
    """Return what PostgreSQL keeps of a password (RFC 5802), so that the password itself never reaches the server."""
    salt = salt or secrets.token_bytes(SALT_BYTES)
    stored, server = (base64.b64encode(key).decode() for key in _keys(password, salt, SCRAM_ITERATIONS))
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{base64.b64encode(salt).decode()}${stored}:{server}"


def verifies(verifier: str | None, password: str) -> bool:
    """Tell whether a password is the one that a verifier was made of."""
    try:
        method, parameters, keys = (verifier or "").split("$")
        iterations, salt = parameters.split(":")
        stored, _ = keys.split(":")
        found, _ = _keys(password, base64.b64decode(salt, validate=True), int(iterations))
        return method == "SCRAM-SHA-256" and hmac.compare_digest(found, base64.b64decode(stored, validate=True))
    except (ValueError, binascii.Error):
        return False


def plan_users(current: Server, desired: Sequence[Mapping[str, Any]]) -> list[Statement]:
    """Return what makes the users what they shall be. A user that is not described is left alone."""
    statements: list[Statement] = []
    for user in desired:
        statements += _plan_user(str(user["name"]), current.users.get(user["name"]), user)
    for user in desired:
        had = current.users.get(user["name"], User()).member_of
        wanted = frozenset(user.get("member_of") or ())
        name = identifier(user["name"])
        statements += [Statement(f"GRANT {identifier(group)} TO {name}") for group in sorted(wanted - had)]
        statements += [Statement(f"REVOKE {identifier(group)} FROM {name}") for group in sorted(had - wanted)]
    # After the memberships: `role` may only be set to a group that the user is in.
    for user in desired:
        statements += _plan_settings(user["name"], current.users.get(user["name"], User()).settings, user)
    return statements


def _plan_user(name: str, current: User | None, user: Mapping[str, Any]) -> list[Statement]:
    quoted = identifier(name)
    password = user.get("password")
    login = password is not None
    flags = frozenset(word for option, word in FLAGS.items() if user.get(option))
    if flags == {"SUPERUSER"}:
        # The bootstrap superuser has every flag, and PostgreSQL keeps them.
        flags = current.flags if current else flags
    statements = []
    if current is None or current.login != login or current.flags != flags:
        words = [word if word in flags else f"NO{word}" for word in (*FLAGS.values(), *NEVER)]
        verb = "CREATE" if current is None else "ALTER"
        if "SUPERUSER" in flags:
            words = ["SUPERUSER"]
        statements.append(Statement(f"{verb} ROLE {quoted} {'LOGIN' if login else 'NOLOGIN'} {' '.join(words)}"))
    verifier = current.verifier if current else None
    if password is not None and not verifies(verifier, password):
        command = f"ALTER ROLE {quoted} PASSWORD "
        statements.append(Statement(command + literal(make_verifier(password)), command + "'********'"))
    if password is None and verifier is not None:
        statements.append(Statement(f"ALTER ROLE {quoted} PASSWORD NULL"))
    return statements


def _plan_settings(name: str, current: Mapping[str, str], user: Mapping[str, Any]) -> list[Statement]:
    wanted = {str(key): str(value) for key, value in (user.get("settings") or {}).items()}
    quoted = identifier(name)
    changed = [
        Statement(f"ALTER ROLE {quoted} SET {identifier(key)} TO {literal(value)}")
        for key, value in sorted(wanted.items())
        if current.get(key) != value
    ]
    return changed + [
        Statement(f"ALTER ROLE {quoted} RESET {identifier(key)}") for key in sorted(set(current) - set(wanted))
    ]


def plan_databases(current: Server, desired: Sequence[Mapping[str, Any]]) -> list[Statement]:
    """Return what makes the databases exist with the right owners. None is ever dropped."""
    statements = []
    for database in desired:
        name, owner = identifier(database["name"]), identifier(database["owner"])
        found = current.databases.get(database["name"])
        if found is None:
            statements.append(Statement(f"CREATE DATABASE {name} OWNER {owner}"))
        elif found != database["owner"]:
            statements.append(Statement(f"ALTER DATABASE {name} OWNER TO {owner}"))
    return statements


def plan_database(current: Database, desired: Mapping[str, Any], pooler: str | None) -> list[Statement]:
    """Return what makes extensions, privileges and the pooler's function what they shall be inside one database."""
    statements = [
        Statement(f"CREATE EXTENSION IF NOT EXISTS {identifier(extension)} SCHEMA public")
        for extension in sorted(set(desired.get("extensions") or ()) - current.extensions)
    ]
    existing = set(current.grants)
    if pooler:
        made = _plan_finder(current, pooler)
        statements += made
        if made:
            # A new function may be run by everybody, and by nobody in particular.
            existing = {grant for grant in existing if grant[0] != "FUNCTION"}
            existing.add(("FUNCTION", f"{FINDER_SCHEMA}.find_user(text)", "", "EXECUTE"))
    wanted = _wanted_grants(current, desired, pooler)
    managed = {(kind, name) for kind, name, _, _ in wanted} | {("DATABASE", desired["name"]), ("SCHEMA", "public")}
    existing = {grant for grant in existing if grant[:2] in managed and grant[2] != desired["owner"]}
    # The group that stands for the owner owns the schema `public`; its privileges are its ownership.
    existing = {grant for grant in existing if grant[2] not in ("pg_database_owner", "postgres")}
    statements += _render("REVOKE", "FROM", existing - wanted)
    statements += _render("GRANT", "TO", wanted - existing)
    return statements + _plan_defaults(current, desired)


def _plan_finder(current: Database, pooler: str) -> list[Statement]:
    if current.finder == FINDER_BODY:
        return []
    function = f"{identifier(FINDER_SCHEMA)}.find_user"
    return [
        Statement(f"CREATE SCHEMA IF NOT EXISTS {identifier(FINDER_SCHEMA)}"),
        Statement(f"DROP FUNCTION IF EXISTS {function}(text)"),
        # It reads the verifiers of users without privileges, for the pooler and for nobody else.
        Statement(
            f"CREATE FUNCTION {function}(name text, OUT user_name text, OUT verifier text)"
            f" RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog"
            f" AS {literal(FINDER_BODY)}"
        ),
    ]


def _wanted_grants(current: Database, desired: Mapping[str, Any], pooler: str | None) -> set[tuple[str, str, str, str]]:
    writers, readers = list(desired.get("writers") or ()), list(desired.get("readers") or ())
    users = {*writers, *readers, *(desired.get("connect") or ())}
    wanted = {("SCHEMA", "public", user, "USAGE") for user in users}
    connect = users | {pooler} if pooler else users
    wanted |= {("DATABASE", str(desired["name"]), user, "CONNECT") for user in connect}
    for grantees, privileges in ((readers, READ), (writers, WRITE)):
        for kind, objects in (("tables", current.tables), ("sequences", current.sequences)):
            wanted |= {
                (kind[:-1].upper(), name, user, privilege)
                for name in objects
                for user in grantees
                for privilege in privileges[kind]
            }
    if pooler:
        wanted.add(("SCHEMA", FINDER_SCHEMA, pooler, "USAGE"))
        wanted.add(("FUNCTION", f"{FINDER_SCHEMA}.find_user(text)", pooler, "EXECUTE"))
    return wanted


def _object(kind: str, name: str) -> str:
    """Quote the name of an object; those of tables and functions come with their schema."""
    if kind == "FUNCTION":
        schema, rest = name.split(".", 1)
        return f"{identifier(schema)}.{rest}"
    if kind in ("TABLE", "SEQUENCE"):
        return f'"public".{identifier(name)}'
    return identifier(name)


def _render(verb: str, word: str, grants: Iterable[tuple[str, str, str, str]]) -> list[Statement]:
    """Write the privileges of one user on one object into one statement."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for kind, name, grantee, privilege in sorted(grants):
        together.setdefault((kind, name, grantee), []).append(privilege)
    return [
        Statement(
            f"{verb} {', '.join(privileges)} ON {kind} {_object(kind, name)}"
            f" {word} {identifier(grantee) if grantee else 'PUBLIC'}"
        )
        for (kind, name, grantee), privileges in together.items()
    ]


def _plan_defaults(current: Database, desired: Mapping[str, Any]) -> list[Statement]:
    """Give what the owner will make to readers and writers, too."""
    wanted = {
        (kind, user, privilege)
        for users, privileges in ((desired.get("readers") or (), READ), (desired.get("writers") or (), WRITE))
        for kind in privileges
        for user in users
        for privilege in privileges[kind]
    }
    owner = identifier(desired["owner"])
    rendered = []
    for verb, word, grants in (
        ("REVOKE", "FROM", current.defaults - wanted),
        ("GRANT", "TO", wanted - current.defaults),
    ):
        rendered += [
            Statement(
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public"
                f" {verb} {privilege} ON {kind.upper()} {word} {identifier(user)}"
            )
            for kind, user, privilege in sorted(grants)
        ]
    return rendered
