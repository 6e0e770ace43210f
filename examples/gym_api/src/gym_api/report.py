"""The daily report: yesterday's check-ins of each gym."""

import logging
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from gym_api.check_ins import count_day
from gym_api.database import Connection, Database, row, rows

log = logging.getLogger(__name__)


async def report(database: Database, day: date | None = None) -> dict[str, Any]:
    """Write the reports that are missing; running it twice, or on two hosts at once, is harmless.

    One transaction a gym: the job, too, never sees two gyms at once, and an interrupted run goes on where it was.
    """
    day = day or datetime.now(UTC).date() - timedelta(days=1)

    async def tenants(connection: Connection) -> list[UUID]:
        return [found["tenant_id"] for found in await rows(connection, "select tenant_id from gym.all_tenants()")]

    async def write(connection: Connection, tenant: UUID) -> bool:
        counted = await count_day(connection, day)
        inserted = await row(
            connection,
            "insert into gym.daily_reports (tenant_id, day, check_ins, members) values (%s, %s, %s, %s)"
            " on conflict do nothing returning day",
            tenant,
            day,
            counted["check_ins"],
            counted["members"],
        )
        return inserted is not None

    found = await database.run("list_tenants", tenants)
    written = 0
    for tenant in found:

        async def work(connection: Connection, tenant: UUID = tenant) -> bool:
            return await write(connection, tenant)

        written += await database.run("daily_report", work, tenant=tenant)
    log.info("daily reports", extra={"day": day.isoformat(), "tenants": len(found), "written": written})
    return {"changed": written > 0, "day": day.isoformat(), "tenants": len(found), "written": written}
