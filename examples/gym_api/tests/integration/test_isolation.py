"""One gym never sees another: asked of PostgreSQL itself, as the service's own role, and of the API."""

from typing import Any

import psycopg
import pytest
from psycopg import sql

from .conftest import Client, Gym

TENANT_TABLES = (
    "select c.relname from pg_class c where c.relnamespace = 'gym'::regnamespace and c.relkind in ('r', 'p')"
    " and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not attisdropped)"
)


@pytest.fixture
def app(app_url: str, admin: psycopg.Connection[Any]) -> Any:
    with psycopg.connect(app_url, autocommit=True) as connection:
        yield connection


def enter(connection: psycopg.Connection[Any], gym: Gym) -> None:
    connection.execute("select set_config('gym.tenant_id', %s, true)", [str(gym.id)])


def test_every_tenant_table_forces_row_level_security(admin: psycopg.Connection[Any]) -> None:
    tables = {name for (name,) in admin.execute(TENANT_TABLES).fetchall()} | {"tenants"}
    assert {"check_ins", "members", "kiosks", "staff", "outbox", "notification_deliveries"} <= tables
    found = admin.execute(
        "select relname from pg_class"
        " where relnamespace = 'gym'::regnamespace and relrowsecurity and relforcerowsecurity"
    ).fetchall()
    assert {name for (name,) in found} == tables


def test_a_transaction_sees_its_own_gym_alone(app: psycopg.Connection[Any], gym: Gym, other_gym: Gym) -> None:
    with app.transaction():
        enter(app, gym)
        assert app.execute("select id from gym.tenants").fetchall() == [(gym.id,)]
        assert app.execute("select id from gym.members").fetchall() == [(gym.member,)]
        assert app.execute("select id from gym.members where tenant_id = %s", [other_gym.id]).fetchall() == []


def test_without_a_gym_there_is_an_error_and_not_an_empty_answer(app: psycopg.Connection[Any], gym: Gym) -> None:
    for _ in range(2):  # never set, and forgotten at the end of a transaction
        with pytest.raises((psycopg.errors.UndefinedObject, psycopg.errors.InvalidTextRepresentation)):
            app.execute("select * from gym.members")
        with app.transaction():
            enter(app, gym)


def test_rows_cannot_be_written_for_another_gym(app: psycopg.Connection[Any], gym: Gym, other_gym: Gym) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"), app.transaction():
        enter(app, gym)
        app.execute(
            "insert into gym.members (tenant_id, id, name) values (%s, gen_random_uuid(), 'Eve')", [other_gym.id]
        )
    with pytest.raises(psycopg.errors.ForeignKeyViolation), app.transaction():
        enter(app, gym)
        app.execute(
            "insert into gym.check_ins (tenant_id, id, member_id, kiosk_id, idempotency_key, day)"
            " values (%s, gen_random_uuid(), %s, %s, gen_random_uuid(), current_date)",
            [gym.id, other_gym.member, gym.kiosk],
        )


@pytest.mark.parametrize(
    "statement",
    [
        "create table gym.mine (id int)",
        "alter table gym.members disable row level security",
        "drop policy own_tenant on gym.members",
        "truncate gym.check_ins",
        "delete from gym.check_ins",
        "update gym.check_ins set member_id = gen_random_uuid()",
        "select * from gym.staff",
        "select * from gym.seeds",
        "set role gym_owner",
    ],
)
def test_the_service_may_not(app: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(statement.encode())


def test_the_owner_is_bound_too(admin: psycopg.Connection[Any], gym: Gym) -> None:
    """A table without a policy for the owner's functions shows the owner nothing."""
    with admin.transaction(force_rollback=True):
        admin.execute("set local role gym_owner")
        for table in ("members", "check_ins", "notification_deliveries", "daily_reports"):
            found = admin.execute(sql.SQL("select count(*) from gym.{}").format(sql.Identifier(table))).fetchone()
            assert found == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            admin.execute("insert into gym.tenants (id, slug, name) values (gen_random_uuid(), 'x', 'x')")


def test_functions_of_the_owner_are_pinned_and_private(admin: psycopg.Connection[Any]) -> None:
    found = admin.execute(
        "select proname, prosecdef, proconfig, has_function_privilege('public', oid, 'execute')"
        " from pg_proc where pronamespace = 'gym'::regnamespace"
    ).fetchall()
    assert len(found) == 6
    for name, definer, settings, public in found:
        assert definer, name
        assert settings == ["search_path=pg_catalog, pg_temp"], name
        assert not public, name


def test_the_policy_is_read_once_a_query(app: psycopg.Connection[Any], gym: Gym) -> None:
    with app.transaction():
        enter(app, gym)
        plan = "\n".join(line for (line,) in app.execute("explain select * from gym.check_ins").fetchall())
    assert "InitPlan" in plan


@pytest.mark.anyio
async def test_the_api_knows_no_other_gym(client: Client, gym: Gym, other_gym: Gym) -> None:
    mine = (await client.check_in(gym)).json()
    staff, others = await client.log_in(gym), await client.log_in(other_gym)
    path = f"/v1/check-ins/{mine['id']}"
    assert (await client.http.get(path, headers=staff)).json() == mine
    assert (await client.http.get(path, headers=others)).status_code == 404
    kiosk = {"Authorization": f"Bearer {other_gym.token}"}
    assert (await client.http.get(path, headers=kiosk)).status_code == 404
    assert (await client.check_in(other_gym, member=gym.member)).status_code == 404
    members = (await client.http.get("/v1/members", headers=others)).json()["members"]
    assert [member["id"] for member in members] == [str(other_gym.member)]
    kiosks = (await client.http.get("/v1/kiosks", headers=others)).json()["kiosks"]
    assert [kiosk["id"] for kiosk in kiosks] == [str(other_gym.kiosk)]
    assert (await client.http.get("/v1/attendance", headers=others)).json()["check_ins"] == 0
