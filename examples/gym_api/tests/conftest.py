"""Services for the tests: given by the environment, started from binaries here, or from an image that has them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from gym_api.migrate import migrate

SERVICES = Path(__file__).parent / "services.sh"
REGION = "eu-west-2"
NEEDED = ("/usr/lib/postgresql/15/bin/postgres", "redis-server", "redis-sentinel", "setpriv")


def wait_until(what: str, condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait for something that will happen, and return it."""
    end = time.monotonic() + seconds
    last: Exception | None = None
    while time.monotonic() < end:
        try:
            found = condition()
        except Exception as error:
            last, found = error, None
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} s; last error: {last!r}")


def listens(host: str, port: int) -> bool:
    """Tell that somebody takes connections, or raise."""
    with socket.create_connection((host, port), 1):
        return True


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@dataclass(frozen=True)
class Stores:
    """Where PostgreSQL (as a superuser) and Sentinel answer."""

    database: str
    sentinel: str


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    """Have PostgreSQL, Redis and Sentinel."""
    if "TEST_DATABASE_URL" in os.environ and "TEST_REDIS_SENTINELS" in os.environ:
        yield Stores(os.environ["TEST_DATABASE_URL"], os.environ["TEST_REDIS_SENTINELS"])
    elif all(shutil.which(name) for name in NEEDED):
        postgresql, redis, sentinel = free_ports(3)
        command = ["sh", str(SERVICES), "127.0.0.1", str(postgresql), str(redis), str(sentinel)]
        with subprocess.Popen(command) as process:
            try:
                yield ready("127.0.0.1", postgresql, sentinel)
            finally:
                process.terminate()
    elif "TEST_SERVICES_IMAGE" in os.environ:
        run = ["docker", "run", "--detach", "--rm", "--entrypoint", "sh", "-v", f"{SERVICES}:/services.sh:ro"]
        script = "exec sh /services.sh $(hostname -i) 5432 6379 26379"
        container = output([*run, os.environ["TEST_SERVICES_IMAGE"], "-c", script])
        try:
            address = output(
                ["docker", "inspect", "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container]
            )
            yield ready(address, 5432, 26379)
        finally:
            output(["docker", "rm", "--force", "--volumes", container])
    else:
        pytest.skip(
            "no PostgreSQL 15 and Redis 7: set TEST_DATABASE_URL and TEST_REDIS_SENTINELS, install their binaries, "
            "or set TEST_SERVICES_IMAGE to an image that has them (the baked image of the local hosts does)"
        )


def output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def ready(address: str, postgresql: int, sentinel: int) -> Stores:
    """Wait until both answer."""
    database = f"postgresql://postgres@{address}:{postgresql}/postgres"

    def connects() -> bool:
        with psycopg.connect(database, connect_timeout=2):
            return True

    wait_until("PostgreSQL", connects)
    wait_until("Sentinel", lambda: listens(address, sentinel))
    return Stores(database, f"{address}:{sentinel}")


ROLES = """
do $$ begin
    if not exists (select from pg_roles where rolname = 'gym_owner') then
        create role gym_owner nologin;
        create role gym_migration login noinherit password 'test' in role gym_owner;
        create role gym_app login nobypassrls password 'test';
    end if;
end $$
"""


@pytest.fixture(scope="session")
def database_name(stores: Stores) -> Iterator[str]:
    """Have a database of our own with the roles that the platform makes."""
    name = f"gym_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(stores.database, autocommit=True) as connection:
        connection.execute(ROLES)
        connection.execute(f"create database {name} owner gym_owner".encode())
        yield name
        connection.execute(f"drop database {name} with (force)".encode())


def as_user(stores: Stores, database: str, user: str) -> str:
    return make_conninfo(stores.database, dbname=database, user=user, password="test")


@pytest.fixture(scope="session")
def migration_url(stores: Stores, database_name: str) -> str:
    """Have the schema; return how migrations log in."""
    url = as_user(stores, database_name, "gym_migration")
    assert migrate(url)["changed"]
    return url


@pytest.fixture(scope="session")
def app_url(stores: Stores, database_name: str, migration_url: str) -> str:
    """Return how the service logs in."""
    return as_user(stores, database_name, "gym_app")


@pytest.fixture(scope="session")
def admin(stores: Stores, database_name: str, migration_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Return a connection that sees everything."""
    with psycopg.connect(make_conninfo(stores.database, dbname=database_name), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def queue_endpoint() -> Iterator[str]:
    """Have an SQS."""
    if "TEST_QUEUE_ENDPOINT_URL" in os.environ:
        yield os.environ["TEST_QUEUE_ENDPOINT_URL"]
        return
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until("moto", lambda: listens("127.0.0.1", port), 60)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def queue_name(queue_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have a queue and its dead-letter queue, with a short visibility timeout and three receives."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = boto3.client("sqs", endpoint_url=queue_endpoint, region_name=REGION)
    name = f"notifications-{uuid.uuid4().hex[:8]}"
    dead = client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "2", "RedrivePolicy": redrive})
    return name


@pytest.fixture
def environment(stores: Stores, app_url: str, queue_endpoint: str, queue_name: str) -> dict[str, str]:
    """Return the environment of a service."""
    environment = {
        "DATABASE_WRITER_URL": app_url,
        "DATABASE_READER_URL": app_url,
        "REDIS_SENTINELS": stores.sentinel,
        "REDIS_PRIMARY_NAME": "gym-cache",
        "REDIS_TLS": "false",
        "QUEUE_ENDPOINT_URL": queue_endpoint,
        "QUEUE_NOTIFICATIONS": queue_name,
        "QUEUE_BACKOFF_MAXIMUM_SECONDS": "1",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SESSION_SIGNING_KEY": "k" * 40,
        "RELEASE_VERSION": "test",
        "RELEASE_COLOUR": "green",
    }
    for use in ("SESSIONS", "RATE_LIMIT", "NOTIFICATIONS", "ATTENDANCE"):
        environment[f"REDIS_{use}_USERNAME"] = use.lower()
        environment[f"REDIS_{use}_PASSWORD"] = f"test-{use.lower()}"
    return environment


@dataclass(frozen=True)
class Process:
    """A running `python -m gym_api`."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., Process]]:
    """Return a function that starts a command of the service as a process."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(command: str, **variables: str) -> Process:
        (port,) = free_ports(1)
        source = str(Path(__file__).parents[1] / "src")
        everything = {**os.environ, **environment, "PORT": str(port), "PYTHONPATH": source, **variables}
        process = subprocess.Popen([sys.executable, "-m", "gym_api", command], env=everything)
        started.append(process)

        def answers() -> bool:
            assert process.poll() is None, f"{command} ended with {process.returncode}"
            return listens("127.0.0.1", port)

        wait_until(command, answers, 60)
        return Process(process, port)

    yield begin
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait()
