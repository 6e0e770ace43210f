"""A kiosk's side of the platform: requests through the front door, and a bounded load with a journal of its own."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

# A kiosk gives a check-in up after this long; the service promises to be back sooner.
GIVE_UP_SECONDS = 90.0
RETRY_SECONDS = 0.1


@dataclass(frozen=True)
class FrontDoor:
    """Where the platform is entered: an address on this machine, under the name in its certificate."""

    address: str
    port: int
    name: str
    authority: Path


class Client:
    """HTTPS to the front door, verified; one pool of connections for all threads."""

    def __init__(self, door: FrontDoor, *, timeout: float = 10.0, connections: int = 8) -> None:
        """Open nothing yet. ``timeout`` is in seconds and bounds one attempt."""
        self.door = door
        self._pool = urllib3.HTTPSConnectionPool(
            door.address,
            door.port,
            ca_certs=str(door.authority),
            server_hostname=door.name,
            assert_hostname=door.name,
            headers={"Host": door.name},
            timeout=timeout,
            maxsize=connections,
            retries=False,
        )

    def request(
        self, method: str, path: str, *, token: str = "", body: object = None, headers: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Send one request, never retried here; errors of the connection are urllib3's."""
        sent = {"Host": self.door.name} | dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None:
            sent["Content-Type"] = "application/json"
        return self._pool.request(method, path, body=None if body is None else json.dumps(body), headers=sent)

    def get(self, path: str, token: str = "") -> Any:
        """Return the JSON answer of a GET that must succeed."""
        response = self.request("GET", path, token=token)
        assert response.status == 200, (path, response.status, response.data)
        return response.json()


@dataclass
class CheckIn:
    """One check-in as the kiosk remembers it. Times are seconds of the monotonic clock."""

    key: str
    begun: float
    acknowledged: float = 0.0
    identity: str = ""
    failures: list[str] = field(default_factory=list)


@dataclass
class Load:
    """Kiosks that check members in at a steady rate, each repeating a check-in until it is acknowledged."""

    client: Client
    token: str
    members: list[str]
    per_second: float
    kiosks: int = 4
    journal: list[CheckIn] = field(default_factory=list)

    @contextmanager
    def running(self, at_most_seconds: float) -> Iterator[Load]:
        """Run while the block runs and never longer than the bound; every check-in begun is seen through."""
        stop = threading.Event()
        end = time.monotonic() + at_most_seconds
        threads = [threading.Thread(target=self._kiosk, args=(number, stop, end)) for number in range(self.kiosks)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _kiosk(self, number: int, stop: threading.Event, end: float) -> None:
        interval = self.kiosks / self.per_second
        due = time.monotonic() + interval * number / self.kiosks
        count = number
        while not stop.wait(max(0.0, due - time.monotonic())) and time.monotonic() < end:
            entry = CheckIn(key=str(uuid.uuid4()), begun=time.monotonic())
            self.journal.append(entry)
            self._see_through(entry, self.members[count % len(self.members)])
            count += self.kiosks
            due = max(due + interval, time.monotonic())

    def _see_through(self, entry: CheckIn, member: str) -> None:
        while time.monotonic() < entry.begun + GIVE_UP_SECONDS:
            try:
                response = self.client.request(
                    "POST",
                    "/v1/check-ins",
                    token=self.token,
                    body={"member_id": member},
                    headers={"Idempotency-Key": entry.key},
                )
            except urllib3.exceptions.HTTPError as error:
                entry.failures.append(type(error).__name__)
            else:
                if response.status in (200, 201):
                    entry.acknowledged = time.monotonic()
                    entry.identity = response.json()["id"]
                    return
                entry.failures.append(f"{response.status} {response.data[:200].decode(errors='replace')}")
            time.sleep(RETRY_SECONDS)  # the pause between a person's attempts, not a wait for a condition

    @property
    def acknowledged(self) -> list[CheckIn]:
        """The check-ins that the platform said it has."""
        return [entry for entry in self.journal if entry.identity]

    @property
    def failed_attempts(self) -> int:
        """How many attempts were not acknowledged."""
        return sum(len(entry.failures) for entry in self.journal)

    def outage_seconds(self) -> float:
        """The longest time from a check-in's first attempt to its acknowledgement: what a person at a kiosk waited."""
        return max((entry.acknowledged - entry.begun for entry in self.acknowledged), default=float("inf"))
