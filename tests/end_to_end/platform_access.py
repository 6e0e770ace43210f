"""The running development platform, from outside: its front door, its hosts, and what its database really holds."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import urllib3
from ansible_collections.gym.platform.plugins.module_utils.secret_store import SecretStore

from tests.end_to_end.client import CheckIn, Client, FrontDoor

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".state" / "development"
TENANT = "north-gym"
PREFIX = "gym-"
DATABASES = ("db-1", "db-2", "db-3")
Found = TypeVar("Found")


def wait_for(condition: Callable[[], Found], seconds: float, what: str, *, every: float = 0.25) -> Found:
    """Return the first true answer of the condition, asked every so many seconds. Fails when it has none in time."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(every)


def on_host(host: str, *command: str, check: bool = True) -> str:
    """Run a command as root on a local host; return its standard output."""
    done = subprocess.run(
        ["docker", "exec", f"{PREFIX}{host}", *command], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0 or not check, (host, command, done.stderr)
    return done.stdout.strip()


def sql(host: str, query: str, *, check: bool = True) -> str:
    """Run a query as the superuser of a database host; rows as lines."""
    psql = ("psql", "--no-psqlrc", "--tuples-only", "--no-align", "--dbname=gym", f"--command={query}")
    return on_host(host, "runuser", "-u", "postgres", "--", *psql, check=check)


def leader() -> str:
    """Return the database host that accepts writes, or nothing while there is none."""
    for host in DATABASES:
        if sql(host, "select not pg_is_in_recovery()", check=False) == "t":
            return host
    return ""


@dataclass(frozen=True)
class Gym:
    """The demo gym that the tests use, and how its kiosk and its staff are known."""

    client: Client
    kiosk: str
    staff: str
    members: list[str]

    def counted(self, keys: Iterable[str]) -> dict[str, int]:
        """Return how often each idempotency key is in the database of the leader."""
        host = wait_for(leader, 60, "one database host accepts writes")
        listed = ",".join(f"'{key}'" for key in keys)
        query = f"select idempotency_key, count(*) from gym.check_ins where idempotency_key in ({listed}) group by 1"  # noqa: S608
        rows = sql(host, query)
        return {key: int(count) for key, count in (row.split("|") for row in rows.splitlines())}

    def check(self, journal: list[CheckIn]) -> None:
        """Assert that every acknowledged check-in is there, and none twice."""
        acknowledged = [entry.key for entry in journal if entry.identity]
        counted = self.counted(entry.key for entry in journal)
        lost = [key for key in acknowledged if key not in counted]
        doubled = [key for key, count in counted.items() if count > 1]
        assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged check-ins are lost: {lost[:3]}"
        assert not doubled, f"{len(doubled)} check-ins are there twice: {doubled[:3]}"

    def delivered(self, journal: list[CheckIn]) -> int:
        """Return how many check-ins of the journal have had their notification; fail when one had it twice."""
        host = wait_for(leader, 60, "one database host accepts writes")
        listed = ",".join(f"'{entry.identity}'" for entry in journal if entry.identity)
        counts = "select count(distinct check_in_id), count(*) from gym.notification_deliveries"
        check_ins, deliveries = map(int, sql(host, f"{counts} where check_in_id in ({listed})").split("|"))
        assert check_ins == deliveries, f"{deliveries} notifications were delivered for {check_ins} check-ins"
        return check_ins


def open_gym() -> Gym:
    """Log in to the demo gym of a platform that runs."""
    secrets = SecretStore(STATE)
    door = FrontDoor("127.0.0.1", 8443, "api.gym.localhost", STATE / "ca.pem")
    client = Client(door)
    body = {"tenant": TENANT, "user_name": "demo", "password": secrets.get("service/demo_password")}
    session = client.request("POST", "/v1/sessions", body=body)
    assert session.status == 201, session.data
    staff = session.json()["token"]
    members = [member["id"] for member in client.get("/v1/members", staff)["members"]]
    return Gym(client, f"{secrets.get('service/demo_kiosk_token')}-{TENANT}", staff, members)


def prometheus(query: str) -> list[dict[str, Any]]:
    """Return the series that a query selects at this moment."""
    pool = urllib3.PoolManager()
    answer = pool.request("GET", "http://127.0.0.1:9090/api/v1/query", fields={"query": query})
    assert answer.status == 200, answer.data
    return list(answer.json()["data"]["result"])
