"""Expand and contract on a real database: the old code serves on the expanded schema, and no lock outlives a moment."""

import os
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from gym_api import migrate as migrations
from gym_api.migrate import MigrationError, migrate, scripts
from gym_api.migrations import steps

from ..conftest import Process, Stores, as_user, wait_until
from .conftest import Gym, make_gym

SERVICE = Path(__file__).parents[2]
EXPANSIONS = sorted(script.revision for script in scripts().walk_revisions() if script.revision.endswith("_expand"))
CONTRACTIONS = sorted(filter(migrations.is_contract, (script.revision for script in scripts().walk_revisions())))


@pytest.fixture
def empty(stores: Stores, migration_url: str) -> Iterator[str]:
    """Have a database without a schema, beside the one that the other tests share."""
    name = f"gym_migrate_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(stores.database, autocommit=True) as connection:
        connection.execute(f"create database {name} owner gym_owner".encode())
        yield name
        connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def url(stores: Stores, empty: str) -> str:
    return as_user(stores, empty, "gym_migration")


@pytest.fixture
def superuser(stores: Stores, empty: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(make_conninfo(stores.database, dbname=empty), autocommit=True) as connection:
        yield connection


@contextmanager
def only_the_first(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be the release that knew no more than the first revision."""
    with monkeypatch.context() as patch:
        patch.setitem(migrations._TARGET, "all", "0001")
        yield


def fill(admin: psycopg.Connection[Any], gym: Gym, rows: int) -> None:
    """Have check-ins as the first release wrote them."""
    admin.execute(
        "insert into gym.check_ins (tenant_id, id, member_id, kiosk_id, idempotency_key, checked_in_at)"
        " select %s, gen_random_uuid(), %s, %s, gen_random_uuid(),"
        " timestamptz '2026-01-31 23:59:59+00' + n * interval '1 s'"
        " from generate_series(1, %s) n",
        [gym.id, gym.member, gym.kiosk, rows],
    )


def without_day(admin: psycopg.Connection[Any]) -> int:
    return int((admin.execute("select count(*) from gym.check_ins where day is null").fetchone() or [0])[0])


def test_the_phases_from_nothing(url: str) -> None:
    assert migrate(url, "expand") == {
        "changed": True,
        "applied": ["0001", *EXPANSIONS],
        "contract_pending": CONTRACTIONS,
    }
    assert migrate(url, "expand") == {"changed": False, "applied": [], "contract_pending": CONTRACTIONS}
    assert migrate(url, "contract") == {"changed": True, "applied": CONTRACTIONS, "contract_pending": []}
    for phase in ("expand", "contract", "all"):
        assert migrate(url, phase) == {"changed": False, "applied": [], "contract_pending": []}


def test_a_database_of_the_first_release(
    url: str, superuser: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes through, keeps every row, and leaves nothing behind that was only for the way."""
    with only_the_first(monkeypatch):
        assert migrate(url)["applied"] == ["0001"]
    gym = make_gym(superuser)
    fill(superuser, gym, 12)
    monkeypatch.setattr(steps, "BATCH_ROWS", 5)
    assert migrate(url, "expand")["applied"] == EXPANSIONS
    assert without_day(superuser) == 12
    assert migrate(url, "contract")["applied"] == CONTRACTIONS
    days = superuser.execute("select day::text, count(*) from gym.check_ins group by 1 order by 1").fetchall()
    assert days == [("2026-02-01", 12)]
    with pytest.raises(psycopg.errors.NotNullViolation):
        fill(superuser, gym, 1)
    left = superuser.execute("select polname from pg_policy where polname like 'backfill%'").fetchall()
    assert (
        left == superuser.execute("select conname from pg_constraint where conname like '%day_known'").fetchall() == []
    )


def test_migrating_twice_and_at_once_is_migrating_once(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: migrate(url), range(4)))
    assert sorted(result["changed"] for result in results) == [False, False, False, True]


def test_a_migration_waits_for_a_table_in_use_and_holds_up_nobody(url: str, superuser: psycopg.Connection[Any]) -> None:
    """It steps back after three seconds, lets the others go first, and tries again."""
    migrate(url, "expand")
    slowest = 0.0
    with psycopg.connect(superuser.info.dsn) as busy:
        busy.execute("select count(*) from gym.check_ins")  # holds ACCESS SHARE until its end
        with ThreadPoolExecutor(1) as pool:
            migrating = pool.submit(migrate, url, "contract")
            end = time.monotonic() + 5
            while time.monotonic() < end:
                began = time.monotonic()
                superuser.execute("select count(*) from gym.check_ins")
                slowest = max(slowest, time.monotonic() - began)
            assert not migrating.done(), "the table was in use all the time"
            busy.rollback()
            assert migrating.result()["applied"] == CONTRACTIONS
    assert 1 < slowest < 4, "others wait behind it, and for no longer than the lock_timeout"


def test_a_backfill_holds_no_lock_and_goes_on_where_it_was(
    url: str, superuser: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(url, "expand")
    gym = make_gym(superuser)
    fill(superuser, gym, 40)
    monkeypatch.setattr(steps, "BATCH_ROWS", 10)
    batches = 0
    real = steps.commit

    class KilledError(Exception):
        pass

    def count_then_die() -> None:
        nonlocal batches
        real()
        if without_day(superuser) < 40:
            batches += 1
            # Both would wait if the backfill held what it did before.
            superuser.execute("set lock_timeout = '100ms'")
            superuser.execute("update gym.check_ins set checked_in_at = checked_in_at")
            fill(superuser, gym, 1)
            if batches == 2:
                raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(steps, "commit", count_then_die)
        with pytest.raises(KilledError):
            migrate(url, "contract")
    assert without_day(superuser) == 40 - 20 + 2
    assert migrate(url, "contract")["applied"] == CONTRACTIONS
    assert superuser.execute("select count(*) from gym.check_ins where day is not null").fetchone() == (42,)


def test_an_index_is_built_beside_the_traffic(
    url: str, superuser: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In no transaction and as the owner; what follows is in a transaction again."""
    statement = "create index concurrently if not exists check_ins_by_day on gym.check_ins (tenant_id, day)"
    real = steps.commit

    def index_and_commit() -> None:
        steps.concurrently(statement)
        real()

    monkeypatch.setattr("gym_api.migrations.steps.commit", index_and_commit)
    assert migrate(url)["contract_pending"] == []
    query = "select indisvalid, pg_get_userbyid(relowner) from pg_index join pg_class on pg_class.oid = indexrelid"
    assert superuser.execute(f"{query} where relname = 'check_ins_by_day'".encode()).fetchone() == (True, "gym_owner")


@pytest.fixture(scope="session")
def previous_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Have the code that serves while this release expands: what TEST_PREVIOUS_RELEASE names, such as src/ of the image
    that is live, or else the commit before the newest expansion."""
    if given := os.environ.get("TEST_PREVIOUS_RELEASE"):
        return Path(given)
    newest = scripts().get_revision(EXPANSIONS[-1]).path

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(SERVICE), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        added = git("log", "--diff-filter=A", "--format=%H", "--", newest)
        place = tmp_path_factory.mktemp("previous")
        archive = place / "src.tar"
        git("archive", "--output", str(archive), f"{added}~1" if added else "HEAD", "src")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no previous release: set TEST_PREVIOUS_RELEASE to its src/, or have the repository's history")
    with tarfile.open(archive) as tar:
        tar.extractall(place, filter="data")
    return place / "src"


def test_the_old_code_serves_on_the_expanded_schema(
    previous_release: Path,
    stores: Stores,
    empty: str,
    url: str,
    superuser: psycopg.Connection[Any],
    start: Callable[..., Process],
) -> None:
    """Everything that it can do, beside the new code; and nothing is lost when the contract follows."""
    assert migrate(url, "expand")["contract_pending"] == CONTRACTIONS
    app = as_user(stores, empty, "gym_app")
    addresses = {"DATABASE_WRITER_URL": app, "DATABASE_READER_URL": app}
    old = start("api", **addresses, PYTHONPATH=str(previous_release), RELEASE_VERSION="old")
    new = start("api", **addresses, RELEASE_VERSION="new")
    start("worker", **addresses, PYTHONPATH=str(previous_release))
    gym = make_gym(superuser)
    seen = {}
    for name, address in (("old", old.address), ("new", new.address)):
        with httpx.Client(base_url=address, timeout=20) as http:
            wait_until("readiness", lambda: httpx.get(f"{address}/readyz", timeout=10).status_code == 200)  # noqa: B023
            assert http.get("/version").json()["version"] == name
            seen[name] = use_everything(http, gym)
    assert seen["new"] == seen["old"] + 1
    assert superuser.execute("select count(day), count(*) from gym.check_ins").fetchone() == (1, 2)
    query = "select count(*) from gym.notification_deliveries"
    wait_until("delivery by the old worker", lambda: superuser.execute(query).fetchone() == (2,))
    report = [sys.executable, "-m", "gym_api", "report"]
    environment = {**os.environ, **addresses, "PYTHONPATH": str(previous_release)}
    subprocess.run(report, env=environment, check=True, capture_output=True)

    old.process.terminate()
    assert old.process.wait(30) == 0
    assert migrate(url, "contract")["applied"] == CONTRACTIONS
    with httpx.Client(base_url=new.address, timeout=20) as http:
        assert use_everything(http, gym) == 3
    assert superuser.execute("select count(day), count(*) from gym.check_ins").fetchone() == (3, 3)


def use_everything(http: httpx.Client, gym: Gym) -> int:
    """Make every kind of request; return how many check-ins the gym has today."""

    def ask(status: int, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        answer = http.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    log_in = {"tenant": gym.slug, "user_name": "demo", "password": gym.password}
    staff = f"Bearer {ask(201, 'POST', '/v1/sessions', log_in).json()['token']}"
    member = ask(201, "POST", "/v1/members", {"name": "Grace"}, Authorization=staff).json()["id"]
    token = ask(201, "POST", "/v1/kiosks", {"name": "Back door"}, Authorization=staff).json()["token"]
    kiosk = f"Bearer {token}"
    ask(204, "POST", "/v1/kiosks/heartbeat", Authorization=kiosk)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    made = ask(201, "POST", "/v1/check-ins", {"member_id": member}, Authorization=kiosk, **key).json()
    repeat = ask(201, "POST", "/v1/check-ins", {"member_id": member}, Authorization=kiosk, **key)
    assert (repeat.json(), repeat.headers["idempotent-replay"]) == (made, "true")
    assert ask(200, "GET", f"/v1/check-ins/{made['id']}?fresh=true", Authorization=kiosk).json() == made
    assert ask(200, "GET", "/v1/members", Authorization=staff).json()["members"]
    assert ask(200, "GET", "/v1/kiosks", Authorization=staff).json()["kiosks"]
    attendance = ask(200, "GET", "/v1/attendance", Authorization=staff).json()
    ask(204, "DELETE", "/v1/sessions/current", Authorization=staff)
    return int(attendance["check_ins"])


def test_a_schema_of_a_later_release(url: str, superuser: psycopg.Connection[Any]) -> None:
    """Expanded is what this release lives with; contracted is what it cannot live with."""
    migrate(url)
    superuser.execute("update gym.alembic_version set version_num = '9999_expand' where version_num = '0002_contract'")
    for phase in ("expand", "contract"):
        assert migrate(url, phase) == {"changed": False, "applied": [], "contract_pending": []}
    superuser.execute("insert into gym.alembic_version values ('9999_contract')")
    with pytest.raises(MigrationError, match=r"^The schema has 9999_contract of a later release"):
        migrate(url, "expand")
