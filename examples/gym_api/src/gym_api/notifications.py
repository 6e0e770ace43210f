"""Notifications on their way out: relay from the outbox to the queue, and couriers from the queue to delivery.

The outbox is the truth and the queue is transport. A message only says which notification is due; what is delivered is
read from the outbox, whose row goes in the same transaction that records the delivery. So a message may come twice,
late, or never (then the relay sends it again), and each notification is still delivered exactly once.
"""

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Self
from uuid import UUID

from gym_api.cache import DeliveredMarks
from gym_api.database import Connection, Database, DatabaseUnavailableError, row, rows
from gym_api.metrics import NOTIFICATIONS
from gym_api.queue import BATCH, Message, Queue
from gym_api.settings import FaultSettings

log = logging.getLogger(__name__)

# A delivery must be over before its message becomes visible to somebody else.
_DEADLINE_SECONDS = 15


@dataclass(frozen=True)
class Pointer:
    """What a message says."""

    tenant: UUID
    notification: UUID

    @classmethod
    def parse(cls, body: str) -> Self:
        """Read a message, or raise ValueError."""
        try:
            fields = json.loads(body)
            return cls(UUID(fields["tenant_id"]), UUID(fields["notification_id"]))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a notification: {body[:200]!r}") from error

    def dump(self) -> str:
        """Write the message."""
        return json.dumps({"tenant_id": str(self.tenant), "notification_id": str(self.notification)})


@dataclass(frozen=True)
class Notification:
    """What there is to deliver."""

    tenant: UUID
    id: UUID
    check_in: UUID
    kind: str
    attempt: int


Deliver = Callable[[Connection, Notification], Awaitable[None]]


async def record_delivery(connection: Connection, notification: Notification) -> None:
    """Deliver by writing it down: the reference service has no push service or mail server to talk to.

    Runs inside the transaction that takes the notification from the outbox. A delivery over the network would hand on
    the notification's id as its idempotency key.
    """
    await connection.execute(
        "insert into gym.notification_deliveries (tenant_id, notification_id, check_in_id, kind, attempt)"
        " values (%s, %s, %s, %s, %s)",
        [notification.tenant, notification.id, notification.check_in, notification.kind, notification.attempt],
    )


class InjectedFaultError(Exception):
    """A delivery that a drill wanted to fail."""


def with_faults(deliver: Deliver, faults: FaultSettings) -> Deliver:
    """Delay and fail deliveries as the settings say."""

    async def faulty(connection: Connection, notification: Notification) -> None:
        await asyncio.sleep(faults.latency_seconds)
        if random.random() < faults.error_rate:  # noqa: S311 - a fault, not a secret
            raise InjectedFaultError("fault injected by FAULT_ERROR_RATE")
        await deliver(connection, notification)

    return faulty


class Relay:
    """Puts what is due from the outbox on the queue, and again what was not delivered long after."""

    def __init__(self, database: Database, queue: Queue) -> None:
        """Relay from this database to this queue."""
        self._database = database
        self._queue = queue

    async def step(self) -> int:
        """Send at most one batch; return how many.

        The claim is committed after the queue has taken the messages. If anything fails in between they are sent
        again, at worst twice, which deliveries do not mind.
        """
        resend_after = timedelta(seconds=2 * (await self._queue.attributes()).visibility_seconds)

        async def work(connection: Connection) -> int:
            due = await rows(connection, "select * from gym.claim_outbox(%s, %s)", BATCH, resend_after)
            if due:
                await self._queue.send([Pointer(found["tenant_id"], found["id"]).dump() for found in due])
            return len(due)

        return await self._database.run("relay", work, deadline_seconds=_DEADLINE_SECONDS)


class Outcome(Enum):
    """What became of a message."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    FAILED = "failed"
    DEAD = "dead"


class Courier:
    """Takes messages from the queue and delivers them."""

    def __init__(
        self, database: Database, queue: Queue, marks: DeliveredMarks, deliver: Deliver = record_delivery
    ) -> None:
        """Deliver what this queue says is due."""
        self._database = database
        self._queue = queue
        self._marks = marks
        self._deliver = deliver

    async def step(self, wait_seconds: int = 5) -> int:
        """Receive messages, see each of them through, and return how many."""
        messages = await self._queue.receive(wait_seconds)
        await asyncio.gather(*(self._handle(message) for message in messages))
        return len(messages)

    async def _handle(self, message: Message) -> None:
        outcome = await self._outcome(message)
        NOTIFICATIONS.labels(outcome.value).inc()
        log.info("notification", extra={"outcome": outcome.value, "attempt": message.receives, "body": message.body})

    async def _outcome(self, message: Message) -> Outcome:
        try:
            pointer = Pointer.parse(message.body)
            if await self._marks.has(pointer.notification):
                outcome = Outcome.DUPLICATE
            else:
                outcome = await self._attempt(pointer, message.receives)
        except Exception as error:  # whatever a delivery raises: the message comes back, or dies
            log.warning("delivery failed", extra={"attempt": message.receives, "error": repr(error)})
            return await self._fail(message, error)
        if outcome is Outcome.DELIVERED:
            await self._marks.add(pointer.notification)
        # Last of all. A worker that dies before leaves the message, which comes back as a duplicate.
        await self._queue.delete(message)
        return outcome

    async def _attempt(self, pointer: Pointer, attempt: int) -> Outcome:
        async def work(connection: Connection) -> Outcome:
            # Who deletes the row delivers: a second courier waits here and then finds nothing.
            taken = await row(
                connection, "delete from gym.outbox where id = %s returning check_in_id, kind", pointer.notification
            )
            if taken is None:
                return Outcome.DUPLICATE
            notification = Notification(
                pointer.tenant, pointer.notification, taken["check_in_id"], taken["kind"], attempt
            )
            await self._deliver(connection, notification)
            return Outcome.DELIVERED

        return await self._database.run("deliver", work, tenant=pointer.tenant, deadline_seconds=_DEADLINE_SECONDS)

    async def _fail(self, message: Message, error: Exception) -> Outcome:
        limit = (await self._queue.attributes()).max_receives
        dies = limit is not None and message.receives >= limit
        # An outage of the database is no fault of the message: the relay may go on sending it.
        if dies and not isinstance(error, DatabaseUnavailableError | ValueError):
            await self._give_up(Pointer.parse(message.body))
        await self._queue.postpone(message)
        return Outcome.DEAD if dies else Outcome.FAILED

    async def _give_up(self, pointer: Pointer) -> None:
        """Stop the relay from sending it again; whoever moves the dead letter back gets it delivered all the same."""

        async def work(connection: Connection) -> None:
            await connection.execute("update gym.outbox set dead_at = now() where id = %s", [pointer.notification])

        await self._database.run("give_up", work, tenant=pointer.tenant, deadline_seconds=_DEADLINE_SECONDS)
