"""The clients of a drill: a process that writes markers at a steady rate, and a journal of what it was told.

It runs on the controller, outside of what is hurt, for as long as the run of ansible-playbook that started it lives,
and never longer than it was told. What it has to know comes as JSON on its standard input, passwords too, because
arguments and environments can be read by others.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.drill_clients import (
    CacheClient,
    Client,
    Database,
    DatabaseClient,
    NotAcknowledgedError,
)
from ansible_collections.gym.platform.plugins.module_utils.drill_journal import Attempt, Journal, Marker
from ansible_collections.gym.platform.plugins.module_utils.processes import is_running

# So often is it looked whether the run still lives, in seconds.
LOOK_SECONDS = 0.5
# What is under way when the process is told to end has this long to be answered, in seconds.
LAST_SECONDS = 10.0
# Never two attempts of one client closer than this, in seconds: what refuses at once is not to be hammered at.
PAUSE_SECONDS = 0.1

Clock = Callable[[], float]


class Schedule:
    """Who writes which marker when: one every interval, whoever is free, and none made up for that were missed."""

    def __init__(self, tenants: Sequence[str], interval: float, clock: Clock) -> None:
        """Begin now; `interval` is in seconds."""
        self._tenants, self._interval, self._clock = tenants, interval, clock
        self._number, self._due = 0, clock()
        self._lock = threading.Lock()

    def take(self) -> tuple[Marker, float]:
        """Return the next marker, and the time at which it is due."""
        with self._lock:
            self._number += 1
            self._due = max(self._due + self._interval, self._clock())
            tenant = self._tenants[self._number % len(self._tenants)]
            return Marker(self._number, tenant, secrets.token_hex(16)), self._due


class Writers:
    """Several clients, each in a thread, because one that waits for an answer must not keep the others waiting."""

    def __init__(self, clients: Sequence[Client], schedule: Schedule, record: Callable[[Attempt], None], clock: Clock):
        """Prepare the threads. `record` is called for each attempt, by any of them."""
        self._schedule, self._record, self._clock = schedule, record, clock
        self._stop = threading.Event()
        self._under_way: dict[int, tuple[Marker, float]] = {}
        self._threads = [threading.Thread(target=self._write, args=(client,), daemon=True) for client in clients]

    def start(self) -> None:
        """Let all begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, patience: float) -> None:
        """Let all end; what is not answered within the patience, in seconds, is recorded as that."""
        self._stop.set()
        end = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        for marker, begun in list(self._under_way.values()):
            self._record(Attempt(**vars(marker), begun=begun, ended=self._clock(), error="no answer until the end"))

    def _write(self, client: Client) -> None:
        while True:
            marker, due = self._schedule.take()
            if self._stop.wait(max(0.0, due - self._clock())):
                break
            begun, error = self._clock(), ""
            self._under_way[threading.get_ident()] = marker, begun
            try:
                client.write(marker)
            except NotAcknowledgedError as reason:
                error = str(reason)
            ended = self._clock()
            del self._under_way[threading.get_ident()]
            self._record(Attempt(**vars(marker), begun=begun, ended=ended, error=error))
            if error and self._stop.wait(PAUSE_SECONDS):
                break
        client.close()


def steady_clock() -> Clock:
    """Return a clock in seconds since 1970 that nobody sets back while it runs."""
    offset = time.time() - time.monotonic()
    return lambda: time.monotonic() + offset


def clients(options: Mapping[str, Any]) -> list[Client]:
    """Return as many clients as are asked for, of the database or of the cache."""
    numbers = range(options["clients"])
    if cache := options.get("cache"):
        return [CacheClient(cache) for _ in numbers]
    database = options["database"]
    place = Database(**database["place"])
    statement = DatabaseClient.ROW if options["rows"] else DatabaseClient.MESSAGE
    # By turns, so that every address has clients.
    return [
        DatabaseClient(place, database["user"], database["password"], statement=statement, first=number)
        for number in numbers
    ]


def main() -> None:
    """Write until the signal to end, the end of the run, or the end of the time."""
    options = json.load(sys.stdin)
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    clock = steady_clock()
    journal = Journal(Path(options["journal"]))
    schedule = Schedule(options["tenants"], options["interval_seconds"], clock)
    writers = Writers(clients(options), schedule, journal.write, clock)
    writers.start()
    end = time.monotonic() + options["at_most_seconds"]
    while not told.wait(LOOK_SECONDS) and time.monotonic() < end:
        if not is_running(options["run"]["process"], options["run"]["started_at"]):
            break
    writers.stop(LAST_SECONDS)
    # Not by the way out of Python, which would wait for threads that nobody answers.
    os._exit(0)


if __name__ == "__main__":
    main()
