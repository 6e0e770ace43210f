"""Gyms to test with, and the service inside this process."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from gym_api.api import create_app
from gym_api.cache import Cache
from gym_api.database import Database
from gym_api.health import Health
from gym_api.queue import Queue
from gym_api.security import hash_password, token_digest
from gym_api.settings import Settings


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class Gym:
    """A gym with a kiosk, a user and a member."""

    slug: str
    id: uuid.UUID
    kiosk: uuid.UUID
    member: uuid.UUID
    token: str
    password: str = "correct horse"


def make_gym(admin: psycopg.Connection[Any]) -> Gym:
    """Make a gym that no other test has."""
    unique = uuid.uuid4()
    gym = Gym(f"gym-{unique.hex[:8]}", unique, uuid.uuid4(), uuid.uuid4(), f"kiosk.{unique.hex}")
    with admin.transaction():
        admin.execute("insert into gym.tenants (id, slug, name) values (%s, %s, %s)", [gym.id, gym.slug, gym.slug])
        admin.execute("insert into gym.members (tenant_id, id, name) values (%s, %s, 'Ada')", [gym.id, gym.member])
        admin.execute(
            "insert into gym.kiosks (tenant_id, id, name, token_digest) values (%s, %s, 'Door', %s)",
            [gym.id, gym.kiosk, token_digest(gym.token)],
        )
        admin.execute(
            "insert into gym.staff (tenant_id, id, user_name, password_hash) values (%s, %s, 'demo', %s)",
            [gym.id, uuid.uuid4(), hash_password(gym.password)],
        )
    return gym


@pytest.fixture
def gym(admin: psycopg.Connection[Any]) -> Gym:
    return make_gym(admin)


@pytest.fixture
def other_gym(admin: psycopg.Connection[Any]) -> Gym:
    return make_gym(admin)


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return Settings.parse(environment)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with Database(settings.database) as opened:
        yield opened


@pytest.fixture
async def cache(settings: Settings) -> AsyncIterator[Cache]:
    async with Cache(settings.redis) as opened:
        yield opened


@pytest.fixture
def queue(settings: Settings) -> Queue:
    return Queue(settings.queue)


class Client:
    """The API as a kiosk and as staff see it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def check_in(self, gym: Gym, key: uuid.UUID | None = None, member: uuid.UUID | None = None) -> httpx.Response:
        return await self.http.post(
            "/v1/check-ins",
            headers={"Authorization": f"Bearer {gym.token}", "Idempotency-Key": str(key or uuid.uuid4())},
            json={"member_id": str(member or gym.member)},
        )

    async def log_in(self, gym: Gym) -> dict[str, str]:
        answer = await self.http.post(
            "/v1/sessions", json={"tenant": gym.slug, "user_name": "demo", "password": gym.password}
        )
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}


def client_of(settings: Settings, database: Database, cache: Cache) -> Client:
    app = create_app(settings, database, cache, Health({}))
    return Client(httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test"))


@pytest.fixture
async def client(settings: Settings, database: Database, cache: Cache) -> AsyncIterator[Client]:
    client = client_of(settings, database, cache)
    async with client.http:
        yield client
