"""Users, databases and privileges: only what differs becomes a statement, and no password is ever shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.postgresql_objects import (
    FINDER_BODY,
    Database,
    Server,
    User,
    identifier,
    literal,
    make_verifier,
    plan_database,
    plan_databases,
    plan_users,
    verifies,
)

GYM = {"name": "gym", "owner": "gym_owner", "writers": ["gym_app"], "connect": ["gym_monitoring"]}
FINDER = "pgbouncer.find_user(text)"


def shown(statements: list[Any]) -> list[str]:
    return [str(statement) for statement in statements]


def test_a_verifier_is_the_one_of_rfc_7677() -> None:
    # The RFC's example: user "user", password "pencil".
    salt = b"\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81"
    verifier = make_verifier("pencil", salt)
    assert verifier == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


@pytest.mark.parametrize("stored", [None, "", "md5abc", "SCRAM-SHA-256$x", "SCRAM-SHA-256$4096:!$!:!"])
def test_what_is_no_verifier_verifies_nothing(stored: str | None) -> None:
    assert not verifies(stored, "pencil")


def test_a_verifier_verifies_its_password_only() -> None:
    verifier = make_verifier("pencil")
    assert verifies(verifier, "pencil")
    assert not verifies(verifier, "Pencil")
    assert make_verifier("pencil") != verifier


def test_names_and_texts_are_quoted() -> None:
    assert identifier('a"; DROP') == '"a""; DROP"'
    assert literal("it's") == "'it''s'"
    with pytest.raises(ValueError, match="cannot be a name"):
        identifier("")


def test_a_new_user_has_no_privilege_and_the_password_is_neither_sent_nor_shown() -> None:
    statements = plan_users(Server(), [{"name": "gym_app", "password": "planted", "settings": {"lock_timeout": "5s"}}])
    assert shown(statements) == [
        'CREATE ROLE "gym_app" LOGIN NOSUPERUSER NOREPLICATION NOCREATEDB NOCREATEROLE NOBYPASSRLS',
        "ALTER ROLE \"gym_app\" PASSWORD '********'",
        'ALTER ROLE "gym_app" SET "lock_timeout" TO \'5s\'',
    ]
    assert all("planted" not in statement.sql for statement in statements)


APP = User(login=True, verifier=make_verifier("secret"), member_of=frozenset({"readers"}), settings={"work_mem": "4MB"})
APP_WANTED = {"name": "gym_app", "password": "secret", "member_of": ["readers"], "settings": {"work_mem": "4MB"}}


def test_a_user_as_described_needs_nothing() -> None:
    assert plan_users(Server(users={"gym_app": APP, "stranger": APP}), [APP_WANTED]) == []


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (replace(APP, flags=frozenset({"BYPASSRLS"})), "NOBYPASSRLS"),
        (replace(APP, flags=frozenset({"SUPERUSER"})), "NOSUPERUSER"),
        (replace(APP, login=False), "LOGIN"),
        (replace(APP, verifier=make_verifier("old")), "PASSWORD '********'"),
        (replace(APP, member_of=frozenset()), 'GRANT "readers" TO "gym_app"'),
        (replace(APP, member_of=frozenset({"readers", "admins"})), 'REVOKE "admins" FROM "gym_app"'),
        (replace(APP, settings={"work_mem": "8MB"}), "SET \"work_mem\" TO '4MB'"),
        (replace(APP, settings={**APP.settings, "role": "x"}), 'RESET "role"'),
    ],
)
def test_what_was_changed_by_hand_is_put_back_with_one_statement(found: User, expected: str) -> None:
    statements = shown(plan_users(Server(users={"gym_app": found}), [APP_WANTED]))
    assert len(statements) == 1
    assert expected in statements[0]


def test_a_user_without_password_cannot_log_in_and_loses_the_one_it_had() -> None:
    owner = User(login=True, verifier=make_verifier("old"))
    statements = shown(plan_users(Server(users={"gym_owner": owner}), [{"name": "gym_owner"}]))
    assert " NOLOGIN " in statements[0]
    assert statements[1] == 'ALTER ROLE "gym_owner" PASSWORD NULL'


def test_the_superuser_keeps_the_flags_of_its_birth() -> None:
    flags = frozenset({"SUPERUSER", "REPLICATION", "CREATEDB", "CREATEROLE", "BYPASSRLS"})
    found = User(login=True, flags=flags, verifier=make_verifier("x"))
    assert (
        plan_users(Server(users={"postgres": found}), [{"name": "postgres", "password": "x", "superuser": True}]) == []
    )


def test_databases_are_made_and_handed_over_and_never_dropped() -> None:
    server = Server(databases={"gym": "postgres", "stranger": "x"})
    other = {"name": "other", "owner": "gym_owner"}
    assert shown(plan_databases(server, [GYM, other])) == [
        'ALTER DATABASE "gym" OWNER TO "gym_owner"',
        'CREATE DATABASE "other" OWNER "gym_owner"',
    ]


def as_described() -> Database:
    tables = {("TABLE", "member", "gym_app", p) for p in ("SELECT", "INSERT", "UPDATE", "DELETE")}
    return Database(
        grants={
            ("DATABASE", "gym", "gym_owner", "CONNECT"),
            ("DATABASE", "gym", "gym_app", "CONNECT"),
            ("DATABASE", "gym", "gym_monitoring", "CONNECT"),
            ("DATABASE", "gym", "pgbouncer", "CONNECT"),
            ("SCHEMA", "public", "pg_database_owner", "CREATE"),
            ("SCHEMA", "public", "gym_app", "USAGE"),
            ("SCHEMA", "public", "gym_monitoring", "USAGE"),
            ("SCHEMA", "pgbouncer", "pgbouncer", "USAGE"),
            ("FUNCTION", FINDER, "pgbouncer", "EXECUTE"),
            *tables,
        },
        defaults={
            *(("tables", "gym_app", p) for p in ("SELECT", "INSERT", "UPDATE", "DELETE")),
            *(("sequences", "gym_app", p) for p in ("SELECT", "USAGE")),
        },
        tables=frozenset({"member"}),
        finder=FINDER_BODY,
    )


def test_a_database_as_described_needs_nothing() -> None:
    assert plan_database(as_described(), GYM, "pgbouncer") == []


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        (("DATABASE", "gym", "", "CONNECT"), 'REVOKE CONNECT ON DATABASE "gym" FROM PUBLIC'),
        (("SCHEMA", "public", "", "USAGE"), 'REVOKE USAGE ON SCHEMA "public" FROM PUBLIC'),
        (("SCHEMA", "public", "gym_app", "CREATE"), 'REVOKE CREATE ON SCHEMA "public" FROM "gym_app"'),
        (("TABLE", "member", "gym_app", "TRUNCATE"), 'REVOKE TRUNCATE ON TABLE "public"."member" FROM "gym_app"'),
        (
            ("FUNCTION", FINDER, "gym_app", "EXECUTE"),
            'REVOKE EXECUTE ON FUNCTION "pgbouncer".find_user(text) FROM "gym_app"',
        ),
    ],
)
def test_a_privilege_too_many_is_taken_away(grant: tuple[str, str, str, str], expected: str) -> None:
    found = as_described()
    found.grants.add(grant)
    assert shown(plan_database(found, GYM, "pgbouncer")) == [expected]


def test_a_new_reader_reads_the_tables_that_are_there_and_those_to_come() -> None:
    statements = shown(plan_database(as_described(), {**GYM, "readers": ["report"]}, "pgbouncer"))
    assert 'GRANT SELECT ON TABLE "public"."member" TO "report"' in statements
    assert any("DEFAULT PRIVILEGES" in one and 'SELECT ON TABLES TO "report"' in one for one in statements)
    assert not any("INSERT" in one for one in statements)


def test_a_function_made_anew_is_closed_to_everybody_and_opened_to_the_pooler() -> None:
    found = replace(as_described(), finder="SELECT 1")
    statements = shown(plan_database(found, GYM, "pgbouncer"))
    assert 'REVOKE EXECUTE ON FUNCTION "pgbouncer".find_user(text) FROM PUBLIC' in statements
    assert statements[-1] == 'GRANT EXECUTE ON FUNCTION "pgbouncer".find_user(text) TO "pgbouncer"'
