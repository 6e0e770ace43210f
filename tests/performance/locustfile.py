"""What a gym does, as Locust runs it: kiosks that check members in, staff that look at members and attendance.

It runs with Locust's own packages and is told everything by environment variables; tests/performance/run.py sets them.
"""

from __future__ import annotations

import os
import random
import uuid
from typing import Any

from locust import HttpUser, constant_throughput
from requests.adapters import HTTPAdapter

NAME = os.environ["LOAD_NAME"]
AUTHORITY = os.environ["LOAD_AUTHORITY"]
KIOSK = os.environ["LOAD_KIOSK_TOKEN"]
STAFF = os.environ["LOAD_STAFF_TOKEN"]
MEMBERS = os.environ["LOAD_MEMBERS"].split(",")
# So many requests a second are made by each user, however fast the answers come.
EACH_PER_SECOND = 2


class _NamedAdapter(HTTPAdapter):
    """Goes to an address and expects the certificate of a name, as `curl --resolve` does."""

    def init_poolmanager(self, *arguments: Any, **keywords: Any) -> None:
        super().init_poolmanager(*arguments, server_hostname=NAME, assert_hostname=NAME, **keywords)


class _Person(HttpUser):  # type: ignore[misc]
    abstract = True
    wait_time = constant_throughput(EACH_PER_SECOND)
    token = ""

    def on_start(self) -> None:
        """Open a connection of its own."""
        self.client.mount("https://", _NamedAdapter())
        self.client.verify = AUTHORITY
        self.client.headers.update({"Host": NAME, "Authorization": f"Bearer {self.token}"})


class Kiosk(_Person):
    """Lets members in."""

    weight = 3
    token = KIOSK

    def check_in(self) -> None:
        """Check a member in."""
        key = {"Idempotency-Key": str(uuid.uuid4())}
        self.client.post("/v1/check-ins", json={"member_id": random.choice(MEMBERS)}, headers=key)  # noqa: S311

    tasks = (check_in,)


class Staff(_Person):
    """Looks at what goes on."""

    weight = 1
    token = STAFF

    def attendance(self) -> None:
        """Count today's check-ins."""
        self.client.get("/v1/attendance")

    def members(self) -> None:
        """Read a page of the members."""
        self.client.get("/v1/members?limit=50", name="/v1/members")

    tasks = (attendance, members)
