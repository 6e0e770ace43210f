"""Seeds, reports and the API as a process."""

import asyncio
import signal
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from gym_api.__main__ import main
from gym_api.database import Database
from gym_api.report import report
from gym_api.security import password_matches, token_digest
from gym_api.seed import DemoSettings, seed
from gym_api.settings import Reader, SettingsError
from gym_api.synthetic import Plan

from ..conftest import Process, wait_until
from .conftest import Gym

PLAN = Plan(seed=3, gyms=4, members=5, months=2, visits=3, until=date(2026, 1, 1))
DEMO = DemoSettings(("demo-north", "demo-south"), "kiosk.demo", "demo password")


def test_a_seed_is_loaded_once(migration_url: str, admin: psycopg.Connection[Any]) -> None:
    first, second = seed(migration_url, PLAN, DEMO), seed(migration_url, PLAN, DEMO)
    assert first["changed"]
    assert first["loaded"]["rows"] == {"tenants": 4, "members": 20, "kiosks": 8, "check_ins": 120}
    assert not second["changed"]
    assert admin.execute("select count(*) from gym.tenants where slug like 'gym-3-%'").fetchone() == (4,)
    unforced = admin.execute(
        "select relname from pg_class"
        " where relnamespace = 'gym'::regnamespace and relrowsecurity and not relforcerowsecurity"
    )
    assert unforced.fetchall() == []
    keys = admin.execute(
        "select count(*) from pg_constraint"
        " where conrelid = 'gym.check_ins'::regclass and contype = 'f' and convalidated"
    )
    assert keys.fetchone() == (2,)
    stored = admin.execute("select checksum from gym.seeds where fingerprint = %s", [PLAN.fingerprint]).fetchone()
    assert stored == (first["loaded"]["checksum"],)


def test_demo_gyms_follow_their_credentials(migration_url: str, admin: psycopg.Connection[Any]) -> None:
    nothing = Plan(seed=3, gyms=0, members=0, months=0, visits=0, until=date(2026, 1, 1))
    shown = seed(migration_url, nothing, DEMO)["demo"]
    again = seed(migration_url, nothing, DemoSettings(DEMO.tenants, "kiosk.other", "other password"))
    assert again["changed"]
    assert again["demo"] == shown, "ids follow from the name alone"
    for gym in shown:
        row = admin.execute(
            "select k.token_digest, s.password_hash from gym.kiosks k join gym.staff s on s.tenant_id = k.tenant_id"
            " where k.id = %s",
            [gym["kiosk_id"]],
        ).fetchone()
        assert row is not None
        assert row[0] == token_digest(f"kiosk.other-{gym['tenant']}")
        assert password_matches("other password", row[1])


@pytest.mark.parametrize("environment", ["staging", "production", ""])
def test_only_development_is_seeded(environment: str) -> None:
    with pytest.raises(SettingsError, match="PLATFORM_ENVIRONMENT"):
        DemoSettings.parse(Reader({"PLATFORM_ENVIRONMENT": environment, "DEMO_TENANTS": ""}))


def test_a_wrong_environment_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gym_api.logs.configure", lambda: None)  # the logs of this process are pytest's
    for name in ("MIGRATION_DATABASE_URL", "DATABASE_WRITER_HOST"):
        monkeypatch.delenv(name, raising=False)
    assert main(["migrate"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "gym_api migrate: MIGRATION_DATABASE_URL and DATABASE_WRITER_HOST are not set; set one of them.\n"
    )


@pytest.mark.anyio
async def test_reports_are_written_once_however_often(
    database: Database, gym: Gym, other_gym: Gym, admin: psycopg.Connection[Any]
) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    moments = [f"{yesterday} 00:00:00+00", f"{yesterday} 23:59:59.9+00", f"{datetime.now(UTC).date()} 00:00:00+00"]
    for moment in moments:
        admin.execute(
            "insert into gym.check_ins (tenant_id, id, member_id, kiosk_id, idempotency_key, checked_in_at, day)"
            " values (%s, gen_random_uuid(), %s, %s, gen_random_uuid(), %s, %s::date)",
            [gym.id, gym.member, gym.kiosk, moment, moment[:10]],
        )
    results = await asyncio.gather(report(database), report(database), report(database))
    assert sum(result["written"] for result in results) == results[0]["tenants"]
    assert (await report(database))["changed"] is False
    query = "select day, check_ins, members from gym.daily_reports where tenant_id = %s"
    assert admin.execute(query, [gym.id]).fetchall() == [(yesterday, 2, 1)]
    assert admin.execute(query, [other_gym.id]).fetchall() == [(yesterday, 0, 0)]


def test_the_api_finishes_requests_in_flight(
    gym: Gym, start: Callable[..., Process], admin: psycopg.Connection[Any]
) -> None:
    api = start("api")
    ready = {"status": "ready", "down": []}
    wait_until("readiness", lambda: httpx.get(f"{api.address}/readyz", timeout=10).json() == ready)

    def check_in() -> httpx.Response:
        return httpx.post(
            f"{api.address}/v1/check-ins",
            headers={"Authorization": f"Bearer {gym.token}", "Idempotency-Key": str(uuid.uuid4())},
            json={"member_id": str(gym.member)},
            timeout=20,
        )

    def held() -> int:
        # Inside a transaction, the first look at it would be the last.
        admin.execute("select pg_stat_clear_snapshot()")
        query = "select count(*) from pg_stat_activity where usename = 'gym_app' and wait_event_type = 'Lock'"
        return int((admin.execute(query).fetchone() or [0])[0])

    def refuses() -> bool:
        try:
            httpx.get(f"{api.address}/healthz", timeout=1)
        except httpx.ConnectError:
            return True
        return False

    with ThreadPoolExecutor(8) as pool:
        with admin.transaction():
            admin.execute("lock gym.check_ins in exclusive mode")
            answers = [pool.submit(check_in) for _ in range(8)]
            wait_until("eight requests in flight", lambda: held() == 8)
            api.process.send_signal(signal.SIGTERM)
            wait_until("the end of new connections", refuses)
            assert api.process.poll() is None
        assert [answer.result().status_code for answer in answers] == [201] * 8
    assert api.process.wait(30) == 0
    assert admin.execute("select count(*) from gym.check_ins where tenant_id = %s", [gym.id]).fetchone() == (8,)
