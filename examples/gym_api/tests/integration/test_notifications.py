"""From the outbox to exactly one delivery, whatever happens on the way."""

import asyncio
import signal
import uuid
from collections.abc import Callable
from typing import Any

import boto3
import httpx
import psycopg
import pytest

from gym_api import check_ins
from gym_api.cache import Cache
from gym_api.database import Connection, Database
from gym_api.notifications import Courier, Notification, Pointer, Relay
from gym_api.queue import Queue
from gym_api.settings import Settings

from ..conftest import Process, wait_until
from .conftest import Gym

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def empty_outbox(admin: psycopg.Connection[Any]) -> None:
    """Leave no other test's notifications to these relays."""
    admin.execute("delete from gym.outbox")


async def record(database: Database, gym: Gym) -> uuid.UUID:
    check_in, _ = await check_ins.record(database, gym.id, gym.kiosk, gym.member, uuid.uuid4())
    return check_in.id


def deliveries(admin: psycopg.Connection[Any], gym: Gym) -> list[tuple[uuid.UUID, int]]:
    query = "select check_in_id, attempt from gym.notification_deliveries where tenant_id = %s"
    return admin.execute(query, [gym.id]).fetchall()


def outbox(admin: psycopg.Connection[Any], gym: Gym) -> list[tuple[int, bool]]:
    query = "select sends, dead_at is not null from gym.outbox where tenant_id = %s"
    return admin.execute(query, [gym.id]).fetchall()


async def deliver_all(courier: Courier) -> None:
    while await courier.step(wait_seconds=1):
        pass


async def test_a_check_in_is_announced_once(
    database: Database, queue: Queue, cache: Cache, gym: Gym, admin: psycopg.Connection[Any]
) -> None:
    wanted = {await record(database, gym) for _ in range(25)}
    relay, courier = Relay(database, queue), Courier(database, queue, cache.delivered)
    sent = await asyncio.gather(*(relay.step() for _ in range(4)))
    assert sum(sent) == 25, "relays beside each other share the work"
    assert await relay.step() == 0
    await asyncio.gather(deliver_all(courier), deliver_all(courier))
    assert {check_in for check_in, _ in deliveries(admin, gym)} == wanted
    assert len(deliveries(admin, gym)) == 25
    assert outbox(admin, gym) == []
    assert await queue.depths() == {queue.name: 0, f"{queue.name}-dead": 0}


async def test_a_message_that_comes_twice_is_delivered_once(
    database: Database, queue: Queue, cache: Cache, gym: Gym, admin: psycopg.Connection[Any]
) -> None:
    await record(database, gym)
    ((notification,),) = admin.execute("select id from gym.outbox where tenant_id = %s", [gym.id]).fetchall()
    await queue.send([Pointer(gym.id, notification).dump()] * 6)

    class Forgetful(type(cache.delivered)):  # type: ignore[misc]
        async def has(self, notification: uuid.UUID) -> bool:
            return False

    courier = Courier(database, queue, Forgetful(cache.clients[next(iter(cache.clients))]))
    await asyncio.gather(deliver_all(courier), deliver_all(courier), deliver_all(courier))
    assert len(deliveries(admin, gym)) == 1
    await queue.send([Pointer(gym.id, notification).dump()])
    await deliver_all(Courier(database, queue, cache.delivered))
    assert len(deliveries(admin, gym)) == 1


async def test_a_message_that_the_queue_lost_is_sent_again(
    database: Database, queue: Queue, cache: Cache, gym: Gym, admin: psycopg.Connection[Any]
) -> None:
    await record(database, gym)
    relay, courier = Relay(database, queue), Courier(database, queue, cache.delivered)
    assert await relay.step() == 1
    for message in await queue.receive(1):  # the queue's host dies with what it held
        await queue.delete(message)
    assert await relay.step() == 0, "not before the message had its time"
    while not await relay.step():
        await asyncio.sleep(0.1)
    assert outbox(admin, gym) == [(2, False)]
    await deliver_all(courier)
    assert len(deliveries(admin, gym)) == 1


async def test_when_the_queue_is_down_nothing_counts_as_sent(
    database: Database, queue: Queue, gym: Gym, admin: psycopg.Connection[Any]
) -> None:
    class Down(Queue):
        def __init__(self) -> None:
            super().__init__(queue.settings)

        async def send(self, bodies: object) -> None:
            raise ConnectionError

    await record(database, gym)
    with pytest.raises(ConnectionError):
        await Relay(database, Down()).step()
    assert outbox(admin, gym) == [(0, False)]
    assert await Relay(database, queue).step() == 1


async def test_a_failing_delivery_is_tried_again_then_dies_and_can_be_revived(
    database: Database, queue: Queue, cache: Cache, gym: Gym, admin: psycopg.Connection[Any], queue_endpoint: str
) -> None:
    attempts: list[int] = []

    async def refuse(_: Connection, notification: Notification) -> None:
        attempts.append(notification.attempt)
        raise RuntimeError("the push service is down")

    await record(database, gym)
    assert await Relay(database, queue).step() == 1
    courier = Courier(database, queue, cache.delivered, refuse)
    dead = f"{queue.name}-dead"
    async with asyncio.timeout(30):
        while (await queue.depths())[dead] == 0:
            await courier.step(wait_seconds=1)
    assert attempts == [1, 2, 3]
    assert outbox(admin, gym) == [(1, True)], "the relay leaves it alone from now on"
    assert deliveries(admin, gym) == []
    # Somebody repairs the cause and moves the dead letter back.
    client = boto3.client("sqs", endpoint_url=queue_endpoint, region_name="eu-west-2")
    url = client.get_queue_url(QueueName=dead)["QueueUrl"]
    for message in client.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"]:
        await queue.send([message["Body"]])
    await deliver_all(Courier(database, queue, cache.delivered))
    assert len(deliveries(admin, gym)) == 1
    assert outbox(admin, gym) == []


async def test_a_poisonous_message_ends_in_the_dead_letter_queue(
    database: Database, queue: Queue, cache: Cache
) -> None:
    await queue.send(["not json"])
    courier = Courier(database, queue, cache.delivered)
    async with asyncio.timeout(30):
        while (await queue.depths())[f"{queue.name}-dead"] == 0:
            await courier.step(wait_seconds=1)
    assert (await queue.depths())[queue.name] == 0


def in_delivery(admin: psycopg.Connection[Any]) -> bool:
    """Tell whether some courier holds a notification inside its transaction."""
    query = (
        "select 1 from pg_stat_activity"
        " where usename = 'gym_app' and state = 'idle in transaction' and query like 'delete from gym.outbox%'"
    )
    return admin.execute(query).fetchone() is not None


async def test_a_worker_killed_in_the_middle_of_a_message(
    database: Database, gym: Gym, admin: psycopg.Connection[Any], start: Callable[..., Process]
) -> None:
    check_in = await record(database, gym)
    slow = start("worker", FAULT_LATENCY_MS="60000")
    await asyncio.to_thread(wait_until, "the delivery to begin", lambda: in_delivery(admin))
    slow.process.kill()
    slow.process.wait()
    assert deliveries(admin, gym) == []
    start("worker")
    await asyncio.to_thread(wait_until, "the delivery by another worker", lambda: deliveries(admin, gym))
    ((delivered, attempt),) = deliveries(admin, gym)
    assert (delivered, attempt > 1) == (check_in, True)


async def test_a_worker_told_to_stop_finishes_what_it_holds(
    database: Database, gym: Gym, admin: psycopg.Connection[Any], start: Callable[..., Process]
) -> None:
    await record(database, gym)
    worker = start("worker", FAULT_LATENCY_MS="1500")
    await asyncio.to_thread(wait_until, "the delivery to begin", lambda: in_delivery(admin))
    worker.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(worker.process.wait, 30) == 0
    assert [attempt for _, attempt in deliveries(admin, gym)] == [1]


async def test_the_worker_tells_depth_and_heartbeats(
    database: Database, gym: Gym, admin: psycopg.Connection[Any], start: Callable[..., Process], settings: Settings
) -> None:
    admin.execute(
        "insert into gym.kiosk_heartbeats values (%s, %s, now() - interval '10 minutes')", [gym.id, gym.kiosk]
    )
    worker = start("worker")

    def metrics() -> str:
        return httpx.get(f"{worker.address}/metrics").text

    label = f'gym_kiosks_silent{{tenant="{gym.slug}"}} 1.0'
    text = await asyncio.to_thread(wait_until, "the gauges", lambda: label in metrics() and metrics())
    name = settings.queue.notifications
    assert f'gym_queue_messages{{queue="{name}"}} 0.0' in text
    assert f'gym_queue_messages{{queue="{name}-dead"}} 0.0' in text
    assert f'gym_kiosk_heartbeat_timestamp_seconds{{tenant="{gym.slug}"}}' in text
    assert httpx.get(f"{worker.address}/version").json() == {"version": "test", "colour": "green"}
    ready = {"status": "ready", "down": []}
    await asyncio.to_thread(wait_until, "readiness", lambda: httpx.get(f"{worker.address}/readyz").json() == ready)
