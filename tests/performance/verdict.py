"""Whether an environment was fast and right enough under load. Pure: Locust's figures in, one sentence out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

# Fewer say nothing about a 95th percentile: the slowest 5 % of them are 10 requests.
LEAST_REQUESTS = 200


@dataclass(frozen=True)
class Limits:
    """What is still good: the 95th percentile in milliseconds, and the per cent of requests that fail."""

    p95_ms: float
    error_percent: float


@dataclass(frozen=True)
class Measured:
    """What Locust has seen, of all requests or of those to one route."""

    name: str
    requests: int
    failed: int
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def error_percent(self) -> float:
        """The share of requests that failed."""
        return 100 * self.failed / self.requests if self.requests else 0.0


def percentile(times: Mapping[float, int], share: float) -> float:
    """Return the response time that the share of the requests did not exceed; nothing measured is 0."""
    wanted, counted = share * sum(times.values()), 0
    for time in sorted(times):
        counted += times[time]
        if counted >= wanted:
            return time
    return 0.0


def measured(entries: Sequence[Mapping[str, Any]]) -> tuple[Measured, list[Measured]]:
    """Return what all of Locust's entries say together, and each of them. Response times are in milliseconds."""

    def figures(name: str, of: Sequence[Mapping[str, Any]]) -> Measured:
        times: Counter[float] = Counter()
        for entry in of:
            times.update({float(time): count for time, count in entry["response_times"].items()})
        requests, failed = (sum(int(entry[key]) for entry in of) for key in ("num_requests", "num_failures"))
        return Measured(name, requests, failed, *(percentile(times, share) for share in (0.5, 0.95, 0.99)))

    routes = [figures(f"{entry['method']} {entry['name']}", [entry]) for entry in entries]
    return figures("all", entries), sorted(routes, key=lambda route: route.name)


def failures(all_: Measured, limits: Limits) -> list[str]:
    """Return what was not good enough, each as a part of a sentence."""
    found = []
    if all_.requests < LEAST_REQUESTS:
        found.append(f"only {all_.requests} requests were made, and fewer than {LEAST_REQUESTS} say nothing")
    if all_.p95_ms > limits.p95_ms:
        found.append(f"the 95th percentile is {all_.p95_ms:g} ms and may be {limits.p95_ms:g} ms")
    if all_.error_percent > limits.error_percent:
        found.append(f"{all_.error_percent:.2f} % of the requests failed and {limits.error_percent:g} % may")
    return found


def sentence(environment: str, all_: Measured, limits: Limits) -> str:
    """Return the outcome in one sentence."""
    if found := failures(all_, limits):
        return f"Performance of {environment} is not good enough: {'; '.join(found)}."
    return (
        f"Performance of {environment} is good: {all_.requests} requests, {all_.failed} failed, 95th percentile "
        f"{all_.p95_ms:g} ms of at most {limits.p95_ms:g} ms."
    )


def report(
    environment: str, time: str, users: int, seconds: int, limits: Limits, entries: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what is written down."""
    all_, routes = measured(entries)
    return {
        "environment": environment,
        "time": time,
        "users": users,
        "seconds": seconds,
        "limits": asdict(limits),
        "passed": not failures(all_, limits),
        "sentence": sentence(environment, all_, limits),
        "all": asdict(all_) | {"error_percent": round(all_.error_percent, 3)},
        "routes": [asdict(route) | {"error_percent": round(route.error_percent, 3)} for route in routes],
    }
