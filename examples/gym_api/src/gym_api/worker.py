"""The worker: relay, courier and gauges as tasks of one process, each of which outlives every outage."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from starlette.applications import Starlette

from gym_api.cache import Cache
from gym_api.database import Connection, Database, DatabaseUnavailableError, row, rows
from gym_api.health import Health, operations
from gym_api.metrics import KIOSK_HEARTBEAT, KIOSKS_SILENT, OUTBOX_PENDING, QUEUE_MESSAGES
from gym_api.notifications import Courier, Relay, record_delivery, with_faults
from gym_api.observe import Observed
from gym_api.queue import DOWN, Queue, SendError
from gym_api.serve import pause
from gym_api.settings import Settings

log = logging.getLogger(__name__)

_RELAY_IDLE_SECONDS = 0.5
_GAUGES_SECONDS = 5.0
_OUTAGE_SECONDS = 1.0
_SILENT_AFTER = timedelta(minutes=5)


class Gauges:
    """What only somebody who sees all gyms can tell: depth of the queues, oldest heartbeats."""

    def __init__(self, database: Database, queue: Queue) -> None:
        """Measure these."""
        self._database = database
        self._queue = queue

    async def step(self) -> int:
        """Measure everything once."""

        async def work(connection: Connection) -> tuple[int, list[tuple[str, datetime, int]]]:
            pending = await row(connection, "select gym.outbox_pending() as pending")
            beats = await rows(connection, "select * from gym.kiosk_heartbeats_by_tenant(%s)", _SILENT_AFTER)
            return (
                int(pending["pending"]) if pending else 0,
                [(beat["slug"], beat["oldest"], int(beat["silent"])) for beat in beats],
            )

        pending, heartbeats = await self._database.run("gauges", work, deadline_seconds=5)
        # Nothing is awaited between clear and set, so no scrape sees a half.
        OUTBOX_PENDING.set(pending)
        KIOSK_HEARTBEAT.clear()
        KIOSKS_SILENT.clear()
        for slug, oldest, silent in heartbeats:
            KIOSK_HEARTBEAT.labels(slug).set(oldest.astimezone(UTC).timestamp())
            KIOSKS_SILENT.labels(slug).set(silent)
        if heartbeats:
            # Where no one scrapes metrics, an alarm reads this line.
            silence = datetime.now(UTC) - min(oldest for _, oldest, _ in heartbeats).astimezone(UTC)
            log.info("kiosk heartbeats", extra={"oldest_age_seconds": round(silence.total_seconds(), 1)})
        for name, depth in (await self._queue.depths()).items():
            QUEUE_MESSAGES.labels(name).set(depth)
        return 0


async def work(settings: Settings, database: Database, cache: Cache, queue: Queue, stop: asyncio.Event) -> None:
    """Relay, deliver and measure until told to stop; then finish what is held, and return."""
    relay = Relay(database, queue)
    courier = Courier(database, queue, cache.delivered, with_faults(record_delivery, settings.faults))
    gauges = Gauges(database, queue)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(repeat("relay", relay.step, _RELAY_IDLE_SECONDS, stop))
        tasks.create_task(repeat("courier", courier.step, 0, stop))
        tasks.create_task(repeat("gauges", gauges.step, _GAUGES_SECONDS, stop))


async def repeat(name: str, step: Callable[[], Awaitable[int]], idle_seconds: float, stop: asyncio.Event) -> None:
    """Take one step after the other, with a pause when there was nothing to do, until told to stop.

    A step is never cancelled: what was received is seen through. An outage is waited out.
    """
    while not stop.is_set():
        try:
            done = await step()
        except (*DOWN, SendError, DatabaseUnavailableError) as error:
            log.warning("waiting for a dependency", extra={"task": name, "error": repr(error)})
            await pause(stop, _OUTAGE_SECONDS)
        else:
            if done == 0:
                await pause(stop, idle_seconds)


def create_app(settings: Settings, health: Health) -> Observed:
    """Build what the worker answers to the platform."""
    return Observed(Starlette(routes=list(operations(settings.release, health))), settings.release)
