"""Check-ins, and the notification that is written with each in the same transaction."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID, uuid4

import psycopg

from gym_api.database import Connection, Database, Endpoint, row


class UnknownMemberError(Exception):
    """The gym has no such member."""


class KeyReusedError(Exception):
    """The idempotency key belongs to the check-in of another member."""


@dataclass(frozen=True)
class CheckIn:
    """A member came through the door."""

    id: UUID
    member_id: UUID
    kiosk_id: UUID
    checked_in_at: datetime

    @property
    def day(self) -> date:
        """The day that it counts for."""
        return self.checked_in_at.astimezone(UTC).date()


# A repeat *writes* its key again instead of doing nothing. So its commit, too, waits for the synchronous standby, and
# an answer never rests on a first commit that only the lost leader had. Whether the row is new is told by `xmax`, the
# transaction that replaced it: an id of our own could not tell, because a lost connection runs all of this twice.
_RECORD = """
    with recorded as (
        insert into gym.check_ins as c (tenant_id, id, member_id, kiosk_id, idempotency_key, day)
        values (%s, %s, %s, %s, %s, (now() at time zone 'UTC')::date)
        on conflict (tenant_id, idempotency_key) do update set idempotency_key = excluded.idempotency_key
        returning c.tenant_id, c.id, c.member_id, c.kiosk_id, c.checked_in_at, c.xmax = 0 as created
    ), announced as (
        insert into gym.outbox (tenant_id, id, check_in_id, kind)
        select tenant_id, %s, id, 'check-in' from recorded where created
    )
    select id, member_id, kiosk_id, checked_in_at, created from recorded
"""


async def record(
    database: Database, tenant: UUID, kiosk: UUID, member: UUID, idempotency_key: UUID
) -> tuple[CheckIn, bool]:
    """Record a check-in and its notification; return the check-in and whether it is new."""
    check_in_id, notification_id = uuid4(), uuid4()

    async def work(connection: Connection) -> tuple[CheckIn, bool]:
        found = await row(connection, _RECORD, tenant, check_in_id, member, kiosk, idempotency_key, notification_id)
        if found is None:
            raise AssertionError("an upsert returns its row")
        created = bool(found.pop("created"))
        return CheckIn(**found), created

    try:
        check_in, created = await database.run("check_in", work, tenant=tenant)
    except psycopg.errors.ForeignKeyViolation as error:
        # The kiosk has just been authenticated, so it is the member who is not there.
        raise UnknownMemberError from error
    if check_in.member_id != member:
        raise KeyReusedError
    return check_in, created


async def find(database: Database, tenant: UUID, check_in: UUID, endpoint: Endpoint) -> CheckIn | None:
    """Return a check-in of the tenant."""

    async def work(connection: Connection) -> CheckIn | None:
        found = await row(
            connection, "select id, member_id, kiosk_id, checked_in_at from gym.check_ins where id = %s", check_in
        )
        return CheckIn(**found) if found else None

    return await database.run("find_check_in", work, tenant=tenant, endpoint=endpoint, deadline_seconds=10)


async def attendance(database: Database, tenant: UUID, day: date) -> dict[str, int]:
    """Count the check-ins of a day, and the members who made them.

    Asks the writer: what a reader that lags behind says must not be cached for a day.
    """

    async def work(connection: Connection) -> dict[str, int]:
        return await count_day(connection, day)

    return await database.run("attendance", work, tenant=tenant, deadline_seconds=10)


async def count_day(connection: Connection, day: date) -> dict[str, int]:
    """Count a day of the transaction's tenant."""
    start = datetime.combine(day, time(), UTC)
    found = await row(
        connection,
        "select count(*) as check_ins, count(distinct member_id) as members from gym.check_ins"
        " where checked_in_at >= %s and checked_in_at < %s",
        start,
        start + timedelta(days=1),
    )
    return {name: int(count) for name, count in (found or {}).items()}
