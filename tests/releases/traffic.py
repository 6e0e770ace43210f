"""Traffic for releases, from a process of its own: kiosks that check in and look, over connections that stay open.

`python -m tests.releases.traffic --rate 200 --report FILE` goes on until SIGTERM or its bound, sees every open request
through, and writes what was answered: how many, by which version, and everything that was not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from tests.end_to_end.client import Client
from tests.end_to_end.platform_access import ROOT, Gym, open_gym, wait_for

# No traffic lasts longer, whatever happens to the process that began it.
AT_MOST_SECONDS = 1800.0
# The service takes 36,000 requests an hour from one kiosk.
KIOSKS = 16
SLOW_SECONDS = 10
# A slow request, a switch in its middle, and the drain after it.
PATIENCE_SECONDS = 45.0
SHOWN_FAILURES = 20


@dataclass
class Report:
    """What was answered so far. Requests are of the kinds `get`, `post`, and `slow` ones of both."""

    requests: int = 0
    failed: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    by_version: Counter[str] = field(default_factory=Counter)
    failed_by_version: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    # How late requests were begun at most: a generator that cannot keep up measures itself.
    late_seconds: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, version: str, seconds: float, late: float, failure: str) -> None:
        """Count one answer, or what came instead of one."""
        with self.lock:
            self.requests += 1
            self.by_kind[kind] += 1
            self.by_version[version] += 1
            self.late_seconds = max(self.late_seconds, late)
            if not kind.startswith("slow"):
                self.seconds.append(seconds)
            if failure:
                self.failed += 1
                self.failed_by_version[version] += 1
                self.failures.append(failure)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, with the 95th percentile of the requests that are not slow on purpose."""
        with self.lock:
            ordered = sorted(self.seconds)
            return {
                "requests": self.requests,
                "failed": self.failed,
                "by_kind": dict(self.by_kind),
                "by_version": dict(self.by_version),
                "failed_by_version": dict(self.failed_by_version),
                "failures": self.failures[:SHOWN_FAILURES],
                "p95_seconds": round(ordered[int(len(ordered) * 0.95)], 3) if ordered else None,
                "late_seconds": round(self.late_seconds, 2),
            }


@dataclass(frozen=True)
class Mix:
    """Of what the traffic is made, in parts of 1: check-ins, requests that last long, pages among the other GETs.

    A page asks no database. Two cores have to serve it all, so at a high rate most of it has to be light.
    """

    posts: float = 0.2
    slow: float = 0.0
    pages: float = 0.0


# What releases have to be fast under: requests a second, and of what kinds.
HEAVY_RATE, HEAVY = 200.0, Mix(posts=0.1, slow=0.05, pages=0.8)


class Traffic:
    """Requests at a steady rate, begun when they are due whether or not earlier ones are answered."""

    def __init__(self, gym: Gym, rate: float, mix: Mix) -> None:
        """Get kiosks of its own, and a first check-in of each to look at."""
        self.rate, self.mix = rate, mix
        self.client = Client(gym.client.door, timeout=PATIENCE_SECONDS, connections=self._workers)
        self.report = Report()
        self.members = gym.members
        made = (
            self.client.request("POST", "/v1/kiosks", token=gym.staff, body={"name": f"load-{number}"}).json()
            for number in range(KIOSKS)
        )
        self.tokens = [kiosk["token"] for kiosk in made]
        self.seen = [self._check_in(token, uuid.uuid4()).json()["id"] for token in self.tokens]
        self._due: queue.SimpleQueue[float | None] = queue.SimpleQueue()

    def run(self, stop: threading.Event, end: float) -> None:
        """Send until told to stop or until the bound, and see open requests through."""
        workers = [threading.Thread(target=self._work, args=(seed,)) for seed in range(self._workers)]
        for worker in workers:
            worker.start()
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())) and time.monotonic() < end:
            self._due.put(due)
            due += 1 / self.rate
        # What is due and not begun is no open request.
        while not self._due.empty():
            self._due.get()
        for _ in workers:
            self._due.put(None)
        for worker in workers:
            worker.join()

    @property
    def _workers(self) -> int:
        """As many requests as may be open at once: the slow ones, and some."""
        return int(self.rate * self.mix.slow * SLOW_SECONDS) + 32

    def _work(self, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - which request comes next is no secret
        while (due := self._due.get()) is not None:
            kind = "post" if chance.random() < self.mix.posts else "get"
            if chance.random() < self.mix.slow:
                kind = f"slow {kind}"
            elif kind == "get" and chance.random() < self.mix.pages:
                kind = "page"
            begun = time.monotonic()
            version, failure = "none", ""
            try:
                answer = self._ask(chance.randrange(KIOSKS), kind)
                version = answer.headers.get("X-Release", "none")
                if answer.status not in (200, 201):
                    failure = f"{answer.status} by {version}: {answer.data[:120].decode(errors='replace')}"
            except urllib3.exceptions.HTTPError as error:
                failure = f"cut: {type(error).__name__}: {error}"
            self.report.add(kind, version, time.monotonic() - begun, begun - due, failure)

    def _ask(self, number: int, kind: str) -> urllib3.BaseHTTPResponse:
        token = self.tokens[number]
        query = f"?delay={SLOW_SECONDS}" if kind.startswith("slow") else ""
        if kind.endswith("post"):
            return self._check_in(token, uuid.uuid4(), query)
        path = f"/v1/check-ins/{self.seen[number]}{query}" if kind.endswith("get") else "/kiosk"
        return self.client.request("GET", path, token=token)

    def _check_in(self, token: str, key: uuid.UUID, query: str = "") -> urllib3.BaseHTTPResponse:
        member = self.members[key.int % len(self.members)]
        headers = {"Idempotency-Key": str(key)}
        return self.client.request(
            "POST", f"/v1/check-ins{query}", token=token, body={"member_id": member}, headers=headers
        )


def write(path: Path, report: Report) -> None:
    """Write the report at once: another process reads it at any time."""
    half = path.with_suffix(".half")
    half.write_text(json.dumps(report.as_dict(), indent=1))
    half.replace(path)


class Running:
    """Traffic in another process, as the one that began it sees it."""

    def __init__(self, path: Path) -> None:
        """Remember where the report is."""
        self.path = path

    def report(self) -> dict[str, Any]:
        """Return what was answered so far."""
        found: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else Report().as_dict()
        return found


@contextmanager
def traffic(path: Path, rate: float, mix: Mix = Mix()) -> Iterator[Running]:
    """Have traffic while the block runs; afterwards every request is answered and the report is complete."""
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.releases.traffic", f"--rate={rate}", f"--report={path}"]
    command += [f"--posts={mix.posts}", f"--slow={mix.slow}", f"--pages={mix.pages}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "collections")])}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    running = Running(path)
    try:
        wait_for(lambda: running.report()["requests"] or process.poll(), 30, "the traffic flows")
        yield running
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS + 15)


def main() -> int:
    """Send until SIGTERM."""
    parser = argparse.ArgumentParser(description="Traffic for releases")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--slow", type=float, default=0.0, help=f"the part that lasts {SLOW_SECONDS} s")
    parser.add_argument("--posts", type=float, default=0.2, help="the part that checks in")
    parser.add_argument("--pages", type=float, default=0.0, help="the part of the other GETs that needs no database")
    parser.add_argument("--report", type=Path, required=True, help="where the report is written, anew every second")
    options = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    flow = Traffic(open_gym(), options.rate, Mix(options.posts, options.slow, options.pages))
    finished = threading.Event()

    def tell() -> None:
        while not finished.wait(1.0):
            write(options.report, flow.report)

    teller = threading.Thread(target=tell)
    teller.start()
    flow.run(stop, time.monotonic() + AT_MOST_SECONDS)
    finished.set()
    teller.join()
    write(options.report, flow.report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
