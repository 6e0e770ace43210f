"""Check-ins, sessions, limits and caches, against real stores."""

import asyncio
import dataclasses
import uuid
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY
from psycopg import sql
from redis import Redis

from gym_api import check_ins
from gym_api.cache import Cache
from gym_api.database import Connection, Database, DatabaseUnavailableError
from gym_api.settings import DatabaseSettings, Settings, Use

from .conftest import Client, Gym, client_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def redis(settings: Settings) -> Any:
    """Return Redis as its administrator sees it."""
    sentinel = Redis(*settings.redis.sentinels[0], decode_responses=True)
    host, port = sentinel.execute_command("SENTINEL", "get-master-addr-by-name", "gym-cache")  # type: ignore[no-untyped-call]
    with Redis(host, int(port), decode_responses=True) as client:
        yield client
    sentinel.close()


def count(admin: psycopg.Connection[Any], table: str, gym: Gym) -> int:
    query = sql.SQL("select count(*) from {} where tenant_id = %s").format(sql.Identifier("gym", table))
    found = admin.execute(query, [gym.id]).fetchone()
    assert found is not None
    return int(found[0])


async def test_a_repeated_check_in_is_one_check_in(client: Client, gym: Gym, admin: psycopg.Connection[Any]) -> None:
    key = uuid.uuid4()
    answers = await asyncio.gather(*(client.check_in(gym, key) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replay" not in answer.headers for answer in answers) == 1
    assert (count(admin, "check_ins", gym), count(admin, "outbox", gym)) == (1, 1)


async def test_a_repeat_is_a_write(
    client: Client, gym: Gym, admin: psycopg.Connection[Any], database: Database
) -> None:
    """So that its commit waits for the synchronous standby as well."""
    key = uuid.uuid4()
    await client.check_in(gym, key)
    before = admin.execute("select xmin from gym.check_ins where tenant_id = %s", [gym.id]).fetchone()
    await client.check_in(gym, key)
    assert admin.execute("select xmin from gym.check_ins where tenant_id = %s", [gym.id]).fetchone() != before


async def test_a_key_belongs_to_one_member(client: Client, gym: Gym) -> None:
    staff = await client.log_in(gym)
    other = (await client.http.post("/v1/members", headers=staff, json={"name": "Grace"})).json()["id"]
    key = uuid.uuid4()
    assert (await client.check_in(gym, key)).status_code == 201
    assert (await client.check_in(gym, key, uuid.UUID(other))).status_code == 409
    assert (await client.check_in(gym, member=uuid.uuid4())).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/check-ins", b"{}", 400),
        ("POST", "/v1/check-ins", b"[", 400),
        ("POST", "/v1/check-ins", b"[]", 400),
        ("POST", "/v1/check-ins", b'{"member_id": 7}', 400),
        ("POST", "/v1/check-ins", b'"' + b"x" * 70_000 + b'"', 413),
        ("GET", "/v1/check-ins/7", b"", 400),
        ("GET", "/v1/check-ins/00000000-0000-0000-0000-000000000000", b"", 404),
        ("GET", "/v1/attendance", b"", 403),
        ("DELETE", "/v1/check-ins", b"", 405),
        ("GET", "/v1/nothing", b"", 404),
    ],
)
async def test_what_is_wrong_is_refused(
    client: Client, gym: Gym, method: str, path: str, body: bytes, status: int
) -> None:
    headers = {"Authorization": f"Bearer {gym.token}", "Idempotency-Key": str(uuid.uuid4())}
    answer = await client.http.request(method, path, headers=headers, content=body)
    assert answer.status_code == status, answer.text


async def test_no_token_no_answer(client: Client, gym: Gym) -> None:
    for value in ("", "Bearer ", "Bearer nobody", f"Basic {gym.token}", "Bearer session.made-up.abc"):
        answer = await client.http.post("/v1/kiosks/heartbeat", headers={"Authorization": value})
        assert answer.status_code == 401, value


async def test_connections_cut_while_checking_in_lose_and_double_nothing(
    client: Client, gym: Gym, admin: psycopg.Connection[Any]
) -> None:
    """What a failover does to connections, twenty times in a few seconds."""
    keys = [uuid.uuid4() for _ in range(100)]
    acknowledged: dict[uuid.UUID, str] = {}

    async def kiosk(mine: list[uuid.UUID]) -> None:
        for key in mine:
            answer = await client.check_in(gym, key)
            assert answer.status_code == 201, answer.text
            acknowledged[key] = answer.json()["id"]

    async def cut() -> None:
        for _ in range(20):
            admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'gym_app'")
            await asyncio.sleep(0.1)

    before = REGISTRY.get_sample_value("gym_database_retries_total") or 0
    await asyncio.gather(cut(), *(kiosk(keys[start::4]) for start in range(4)))
    stored = dict(admin.execute("select idempotency_key, id::text from gym.check_ins where tenant_id = %s", [gym.id]))
    assert stored == acknowledged
    assert count(admin, "outbox", gym) == len(keys)
    assert (REGISTRY.get_sample_value("gym_database_retries_total") or 0) > before, "no connection was ever cut"


async def test_a_demoted_leader_is_left_for_another(
    settings: Settings, gym: Gym, admin: psycopg.Connection[Any], database_name: str
) -> None:
    """Read-only is what a former leader answers; the connection to it is not used again."""
    async with Database(settings.database) as database:
        await check_ins.record(database, gym.id, gym.kiosk, gym.member, uuid.uuid4())
        admin.execute(f"alter database {database_name} set default_transaction_read_only = on".encode())
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'gym_app'")
        recording = asyncio.create_task(check_ins.record(database, gym.id, gym.kiosk, gym.member, uuid.uuid4()))
        before = REGISTRY.get_sample_value("gym_database_retries_total") or 0
        while (REGISTRY.get_sample_value("gym_database_retries_total") or 0) < before + 2:
            await asyncio.sleep(0.02)
        assert not recording.done()
        admin.execute(f"alter database {database_name} reset default_transaction_read_only".encode())
        _, created = await recording
    assert created
    assert count(admin, "check_ins", gym) == 2


async def test_without_a_database_the_answer_is_503_within_the_deadline(
    settings: Settings, cache: Cache, gym: Gym
) -> None:
    nowhere = "postgresql://gym_app@127.0.0.1:1/gym"
    async with Database(DatabaseSettings(nowhere, nowhere, 2)) as database:

        async def work(_: Connection) -> None:
            raise AssertionError("there is no connection")

        started = asyncio.get_running_loop().time()
        with pytest.raises(DatabaseUnavailableError):
            await database.run("test", work, deadline_seconds=1)
        assert asyncio.get_running_loop().time() - started < 3
        client = client_of(settings, database, cache)
        staff = await client.http.post(
            "/v1/sessions", json={"tenant": gym.slug, "user_name": "demo", "password": gym.password}
        )
    assert staff.status_code == 503
    assert staff.headers["retry-after"] == "1"


# -- sessions


async def test_a_session_lives_thirty_days_and_ends_when_told(client: Client, gym: Gym, redis: Any) -> None:
    known = set(redis.keys("session:*"))
    staff = await client.log_in(gym)
    (key,) = set(redis.keys("session:*")) - known
    assert staff["Authorization"].removeprefix("Bearer ") not in key + redis.get(key)
    assert 30 * 86400 - 60 < redis.ttl(key) <= 30 * 86400
    assert (await client.http.get("/v1/members", headers=staff)).status_code == 200
    assert (await client.http.delete("/v1/sessions/current", headers=staff)).status_code == 204
    assert redis.get(key) is None
    assert (await client.http.get("/v1/members", headers=staff)).status_code == 401


async def test_wrong_logins_are_refused_and_counted(
    client: Client, gym: Gym, other_gym: Gym, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A limit fails open when Redis takes too long, and here it may: the machine is busy with tests.
    monkeypatch.setattr("gym_api.cache._SOFT_SECONDS", 10)

    async def log_in(**body: str) -> int:
        full = {"tenant": gym.slug, "user_name": "demo", "password": gym.password, **body}
        return (await client.http.post("/v1/sessions", json=full)).status_code

    assert await log_in(tenant="no-gym") == 401
    assert await log_in(user_name="nobody") == 401
    assert await log_in(user_name="nul\0") == 400
    assert set(await asyncio.gather(*(log_in(password="wrong") for _ in range(20)))) == {401}
    assert await log_in() == 429, "the right password does not help after twenty wrong ones"
    assert await log_in(tenant=other_gym.slug, password=other_gym.password) == 201


# -- rate limits


async def test_a_rate_limit_is_for_one_kiosk_and_one_hour(
    settings: Settings,
    database: Database,
    cache: Cache,
    gym: Gym,
    other_gym: Gym,
    redis: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gym_api.cache._SOFT_SECONDS", 10)
    client = client_of(dataclasses.replace(settings, requests_per_hour=3), database, cache)
    assert [(await client.check_in(gym)).status_code for _ in range(5)] == [201, 201, 201, 429, 429]
    assert (await client.check_in(other_gym)).status_code == 201
    (key,) = redis.keys(f"rate:kiosk:{gym.kiosk}:*")
    assert redis.get(key) == "5"
    assert 0 < redis.ttl(key) <= 3600


# -- attendance


def hits() -> dict[str, float]:
    return {
        result: REGISTRY.get_sample_value("gym_cache_requests_total", {"result": result}) or 0
        for result in ("hit", "miss", "error")
    }


async def test_attendance_is_cached_for_a_day_and_until_the_next_check_in(
    client: Client, gym: Gym, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gym_api.cache._SOFT_SECONDS", 10)
    staff = await client.log_in(gym)

    async def attendance() -> dict[str, Any]:
        found: dict[str, Any] = (await client.http.get("/v1/attendance", headers=staff)).json()
        return found

    before = hits()
    today = datetime.now(UTC).date().isoformat()
    assert await attendance() == {"day": today, "check_ins": 0, "members": 0}
    await client.check_in(gym)
    assert await attendance() == {"day": today, "check_ins": 1, "members": 1}
    await client.check_in(gym)
    assert await attendance() == {"day": today, "check_ins": 2, "members": 1}
    assert await attendance() == await attendance()
    after = hits()
    assert {result: after[result] - before[result] for result in after} == {"hit": 2, "miss": 3, "error": 0}
    keys = redis.keys(f"attendance:{gym.id}:*")
    assert len(keys) == 4, "three entries and the epoch"
    assert all(0 < redis.ttl(key) <= 86400 for key in keys)


async def test_a_count_that_raced_with_a_check_in_is_never_read(
    cache: Cache, gym: Gym, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gym_api.cache._SOFT_SECONDS", 10)
    day = datetime.now(UTC).date()

    async def slow() -> dict[str, int]:
        await cache.attendance.invalidate(gym.id, day)  # a check-in commits while we count
        return {"check_ins": 0}

    async def fresh() -> dict[str, int]:
        return {"check_ins": 1}

    assert await cache.attendance.get(gym.id, day, slow) == {"check_ins": 0}
    assert await cache.attendance.get(gym.id, day, fresh) == {"check_ins": 1}
    assert await cache.attendance.get(gym.id, day, slow) == {"check_ins": 1}


# -- without Redis


async def test_without_redis_kiosks_work_and_staff_wait(settings: Settings, database: Database, gym: Gym) -> None:
    away = dataclasses.replace(settings.redis, sentinels=(("127.0.0.1", 1),))
    async with Cache(away) as cache:
        client = client_of(settings, database, cache)
        key = uuid.uuid4()
        first, second = await client.check_in(gym, key), await client.check_in(gym, key)
        assert first.status_code == second.status_code == 201
        assert first.json() == second.json()
        staff = await client.http.post(
            "/v1/sessions", json={"tenant": gym.slug, "user_name": "demo", "password": gym.password}
        )
        assert staff.status_code == 503

        async def load() -> dict[str, int]:
            return {"check_ins": 7}

        before = hits()
        assert await cache.attendance.get(gym.id, datetime.now(UTC).date(), load) == {"check_ins": 7}
        assert hits()["error"] == before["error"] + 1
        assert not await cache.delivered.has(uuid.uuid4())


async def test_each_use_is_confined_to_its_prefix(cache: Cache) -> None:
    from redis.exceptions import NoPermissionError

    for use in Use:
        with pytest.raises(NoPermissionError):
            await cache.clients[use].set("other:key", "x", ex=1)


async def test_a_heartbeat_is_noted(client: Client, gym: Gym) -> None:
    kiosk = {"Authorization": f"Bearer {gym.token}"}
    assert (await client.http.post("/v1/kiosks/heartbeat", headers=kiosk)).status_code == 204
    assert (await client.http.post("/v1/kiosks/heartbeat", headers=kiosk)).status_code == 204
    staff = await client.log_in(gym)
    (shown,) = (await client.http.get("/v1/kiosks", headers=staff)).json()["kiosks"]
    assert abs((datetime.fromisoformat(shown["last_heartbeat_at"]) - datetime.now(UTC)).total_seconds()) < 30


async def test_members_come_page_by_page_and_new_kiosks_can_check_in(client: Client, gym: Gym) -> None:
    staff = await client.log_in(gym)
    for number in range(4):
        await client.http.post("/v1/members", headers=staff, json={"name": f"Member {number}"})
    seen: list[str] = []
    after = ""
    while after is not None:
        page = (await client.http.get(f"/v1/members?limit=2&after={after}", headers=staff)).json()
        seen += [member["id"] for member in page["members"]]
        after = page["next"]
    assert len(seen) == len(set(seen)) == 5
    kiosk = (await client.http.post("/v1/kiosks", headers=staff, json={"name": "Back door"})).json()
    assert (await client.check_in(dataclasses.replace(gym, token=kiosk["token"]))).status_code == 201
    for limit in ("0", "501", "x", "٣"):
        assert (await client.http.get(f"/v1/members?limit={limit}", headers=staff)).status_code == 400
