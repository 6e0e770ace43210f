"""Loads synthetic gyms by COPY, and demo gyms that a person can log in to. For development only."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString, Self
from uuid import NAMESPACE_DNS, UUID, uuid5

import psycopg
from psycopg import sql

from gym_api.migrate import own_the_transaction, take_turns
from gym_api.security import hash_password, password_matches, token_digest
from gym_api.settings import Reader, SettingsError
from gym_api.synthetic import Checksum, Plan, Synthetic

log = logging.getLogger(__name__)

Connection = psycopg.Connection[tuple[Any, ...]]

_DEMO = uuid5(NAMESPACE_DNS, "demo.gym.internal")
_DEMO_MEMBERS = 20
DEMO_USER = "demo"


@dataclass(frozen=True)
class DemoSettings:
    """The gyms with known credentials."""

    tenants: tuple[str, ...]
    kiosk_token: str = field(repr=False)
    password: str = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read DEMO_*; known credentials, and made-up data, have no place outside development."""
        environment = reader.text("PLATFORM_ENVIRONMENT")
        if environment != "development":
            raise SettingsError(f"PLATFORM_ENVIRONMENT is {environment!r}; only development is ever seeded.")
        tenants = tuple(name.strip() for name in reader.text("DEMO_TENANTS", "").split(",") if name.strip())
        if not tenants:
            return cls((), "", "")
        kiosk_token, password = reader.text("DEMO_KIOSK_TOKEN"), reader.text("DEMO_PASSWORD")
        return cls(tenants, kiosk_token, password)


@dataclass(frozen=True)
class DemoGym:
    """A gym whose ids follow from its slug and whose credentials come from the environment."""

    slug: str

    @property
    def id(self) -> UUID:
        """The gym's id."""
        return self._id("gym")

    @property
    def kiosk_id(self) -> UUID:
        """The id of its kiosk."""
        return self._id("kiosk")

    @property
    def staff_id(self) -> UUID:
        """The id of its user."""
        return self._id("staff")

    def member_id(self, number: int) -> UUID:
        """Return the id of a member, counted from 1."""
        return self._id(f"member/{number}")

    def kiosk_token(self, base: str) -> str:
        """Return its kiosk's token: a token names one gym, so each gym has its own."""
        return f"{base}-{self.slug}"

    def _id(self, what: str) -> UUID:
        return uuid5(_DEMO, f"{self.slug}/{what}")


def seed(url: str, plan: Plan, demo: DemoSettings) -> dict[str, Any]:
    """Load what is not there yet, all or nothing, and say what changed."""
    started = time.monotonic()
    with psycopg.connect(url, prepare_threshold=None, connect_timeout=10, application_name="gym-seed") as connection:
        take_turns(connection)
        own_the_transaction(connection)
        connection.execute("set local lock_timeout = '60s'")
        names = Synthetic(plan)
        demo_changed = [gym.slug for gym in map(DemoGym, demo.tenants) if _ensure_demo(connection, gym, demo, names)]
        loaded = _load(connection, names) if plan.gyms and not _is_loaded(connection, plan) else None
    seconds = round(time.monotonic() - started, 1)
    log.info("seeded", extra={"demo": demo_changed, "loaded": loaded, "seconds": seconds})
    return {
        "changed": bool(demo_changed or loaded),
        "plan": plan.fingerprint,
        "loaded": loaded or {},
        "seconds": seconds,
        "demo": [
            {
                "tenant": gym.slug,
                "tenant_id": str(gym.id),
                "user_name": DEMO_USER,
                "kiosk_id": str(gym.kiosk_id),
                "member_id": str(gym.member_id(1)),
            }
            for gym in map(DemoGym, demo.tenants)
        ],
    }


def _is_loaded(connection: Connection, plan: Plan) -> bool:
    found = connection.execute("select 1 from gym.seeds where fingerprint = %s", [plan.fingerprint])
    return found.fetchone() is not None


def _load(connection: Connection, rows: Synthetic) -> dict[str, Any]:
    checksum = Checksum()
    with _unforced(connection, "tenants", "members", "kiosks", "check_ins"), _unchecked(connection, "check_ins"):
        for table in rows.tables():
            statement = sql.SQL("copy gym.{} ({}) from stdin").format(
                sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, table.columns))
            )
            with connection.cursor().copy(statement) as copy:
                for block in checksum.blocks(table):
                    copy.write(block)
    connection.execute("analyze gym.tenants, gym.members, gym.kiosks, gym.check_ins")
    connection.execute(
        "insert into gym.seeds (fingerprint, checksum) values (%s, %s)", [rows.plan.fingerprint, checksum.hexdigest()]
    )
    return {"rows": checksum.rows, "checksum": checksum.hexdigest()}


def _ensure_demo(connection: Connection, gym: DemoGym, demo: DemoSettings, names: Synthetic) -> bool:
    digest = token_digest(gym.kiosk_token(demo.kiosk_token))
    found = connection.execute(
        "select k.token_digest, s.password_hash from gym.kiosks k join gym.staff s on s.tenant_id = k.tenant_id"
        " where k.id = %s and s.id = %s",
        [gym.kiosk_id, gym.staff_id],
    ).fetchone()
    if found and found[0] == digest and password_matches(demo.password, found[1]):
        return False
    with _unforced(connection, "tenants", "staff", "members", "kiosks"):
        connection.execute(
            "insert into gym.tenants (id, slug, name) values (%s, %s, %s) on conflict (id) do nothing",
            [gym.id, gym.slug, gym.slug.replace("-", " ").title()],
        )
        connection.execute(
            "insert into gym.staff (tenant_id, id, user_name, password_hash) values (%s, %s, %s, %s)"
            " on conflict (tenant_id, id) do update set password_hash = excluded.password_hash",
            [gym.id, gym.staff_id, DEMO_USER, hash_password(demo.password)],
        )
        connection.execute(
            "insert into gym.kiosks (tenant_id, id, name, token_digest) values (%s, %s, 'Front door', %s)"
            " on conflict (tenant_id, id) do update set token_digest = excluded.token_digest",
            [gym.id, gym.kiosk_id, digest],
        )
        for number in range(1, _DEMO_MEMBERS + 1):
            name = f"{names.first_names[number]} {names.last_names[number]}"
            connection.execute(
                "insert into gym.members (tenant_id, id, name) values (%s, %s, %s) on conflict do nothing",
                [gym.id, gym.member_id(number), name],
            )
    return True


@contextmanager
def _unforced(connection: Connection, *tables: LiteralString) -> Iterator[None]:
    """Let the owner write rows of many tenants; COPY does not work with row-level security at all.

    Nobody else ever sees the tables without FORCE: the lock is held until the commit, and a rollback undoes it.
    """
    for table in tables:
        connection.execute(sql.SQL("alter table gym.{} no force row level security").format(sql.Identifier(table)))
    yield
    for table in tables:
        connection.execute(sql.SQL("alter table gym.{} force row level security").format(sql.Identifier(table)))


@contextmanager
def _unchecked(connection: Connection, table: LiteralString) -> Iterator[None]:
    """Check a table's foreign keys all at once after a load: one join instead of a million look-ups."""
    keys = connection.execute(
        "select conname, pg_get_constraintdef(oid) from pg_constraint"
        " where contype = 'f' and conrelid = to_regclass('gym.' || %s) order by conname",
        [table],
    ).fetchall()
    target = sql.Identifier("gym", table)
    for name, _ in keys:
        connection.execute(sql.SQL("alter table {} drop constraint {}").format(target, sql.Identifier(name)))
    yield
    for name, definition in keys:
        # The definition is the catalogue's own words.
        add = sql.SQL("alter table {} add constraint {} ").format(target, sql.Identifier(name))
        connection.execute(add + sql.SQL(definition))
