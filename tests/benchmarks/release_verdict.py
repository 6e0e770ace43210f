"""How often the judgement takes a healthy release back, and how soon a bad one.

`python tests/benchmarks/release_verdict.py [releases]` simulates 10,000 healthy releases and some thousand bad ones,
prints what became of them, and ends with 1 when a claim of docs/verdict.md does not hold. Seeds are fixed.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "collections")]
# Makes the collection importable, before anything of it is.
import_module("conftest")

from ansible_collections.gym.platform.plugins.module_utils.release_verdict import (  # noqa: E402
    Counters,
    Policy,
    Trial,
    Verdict,
)

POLICY = Policy()
HEALTHY = 0.002
# Seconds: what Prometheus remembers of the old colour, and how often it is asked.
HISTORY, READING = 600, 1.0
# Shares of the new colour, in steps.
SHARES: Sequence[tuple[float, ...]] = ((0.1,), (0.5,), (1.0,), (0.1, 0.5, 1.0))
# Requests per second of both colours together.
RATES = (2, 20, 200)
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, math.inf)
FAST = (0.05, 0.2, 0.35, 0.2, 0.1, 0.06, 0.03, 0.01, 0.0)
SLOW = (0.0, 0.05, 0.1, 0.15, 0.2, 0.2, 0.15, 0.1, 0.05)


@dataclass(frozen=True)
class Burst:
    """For a while, a share of the requests of these colours fails, and the others are slow."""

    start: float
    seconds: float
    failing: float
    colours: str

    def weight(self, at: float, colour: str) -> float:
        """Return the part of the reading that ends at `at` which the burst covers."""
        overlap = min(at, self.start + self.seconds) - max(at - READING, self.start)
        return max(0.0, overlap) / READING if colour in self.colours else 0.0


@dataclass(frozen=True)
class Release:
    """One release to be simulated: what its traffic is, how it fails, and what befalls it meanwhile."""

    rate: float
    shares: tuple[float, ...]
    old_errors: float = HEALTHY
    new_errors: float = HEALTHY
    new_latency: tuple[float, ...] = FAST
    bursts: tuple[Burst, ...] = ()


class Colour:
    """The counters of one colour, as they grow."""

    def __init__(self, random: Random, errors: float, latency: tuple[float, ...]) -> None:
        self.random, self.error_rate, self.latency = random, errors, latency
        self.requests = self.errors = 0
        self.buckets = [0] * len(BOUNDS)

    def serve(self, expected: float, failing: float) -> None:
        """Answer some requests, of which a share fails beyond what usually does."""
        served = poisson(self.random, expected)
        self.requests += served
        self.errors += binomial(self.random, served, self.error_rate + (1 - self.error_rate) * failing)
        left, rest = served, 1.0
        for index, usual in enumerate(self.latency):
            part = usual * (1 - failing) + SLOW[index] * failing
            count = binomial(self.random, left, min(1.0, part / rest)) if rest > 1e-9 else left
            self.buckets[index] += count
            left, rest = left - count, rest - part
            if not left:
                break

    def counters(self) -> Counters:
        """Return what a source of metrics would read."""
        below, found = 0, []
        for bound, count in zip(BOUNDS, self.buckets, strict=True):
            below += count
            found.append((bound, below))
        return Counters(self.requests, self.errors, tuple(found))


def poisson(random: Random, mean: float) -> int:
    """Draw a number of arrivals."""
    if mean > 50:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    limit, product, found = math.exp(-mean), random.random(), 0
    while product > limit:
        product *= random.random()
        found += 1
    return found


def binomial(random: Random, count: int, share: float) -> int:
    """Draw how many of `count` there are of a share; in time that grows with the answer."""
    if share > 0.5:
        return count - binomial(random, count, 1 - share)
    if share <= 0 or not count:
        return 0
    if count * share > 50:
        return min(count, max(0, round(random.gauss(count * share, math.sqrt(count * share * (1 - share))))))
    step, place, found = math.log1p(-share), 0.0, -1
    while place <= count:
        found += 1
        place += 1 + math.floor(math.log(1.0 - random.random()) / step)
    return found


def simulate(release: Release, seed: int, policy: Policy = POLICY) -> Verdict:
    """Release once, and return the verdict that ended it."""
    random = Random(seed)  # noqa: S311  a simulation
    old = Colour(random, release.old_errors, FAST)
    new = Colour(random, release.new_errors, release.new_latency)
    trial = Trial(policy)
    trial.add(old.counters(), new.counters(), -HISTORY)
    old.serve(release.rate * HISTORY, 0)
    trial.add(old.counters(), new.counters(), 0)
    at = 0.0
    for share in release.shares:
        trial.begin(at)
        while (verdict := trial.verdict(at)).outcome == "undecided":
            at += READING
            for colour, letter, part in ((old, "o", 1 - share), (new, "n", share)):
                if part:
                    failing = sum(burst.failing * burst.weight(at, letter) for burst in release.bursts)
                    colour.serve(release.rate * READING * part, failing)
            trial.add(old.counters(), new.counters(), at)
        if verdict.outcome != "promote":
            break
    return verdict


def healthy(seed: int) -> Release:
    """Return the seed's release: every rate and every share in turn, two in three with a burst."""
    random = Random(f"healthy {seed}")  # noqa: S311  a simulation
    rate, shares = RATES[seed % 3], SHARES[seed // 3 % 4]
    # Within the time in which something is being decided.
    start = random.uniform(0, max(10, min(200, 150 / (rate * shares[0]))))
    failing = random.uniform(0.2, 1)
    bursts = (
        (),
        (Burst(start, random.uniform(1, 20), failing, "on"),),
        (Burst(start, random.uniform(0.2, 1), failing, random.choice("on")),),
    )
    return Release(rate, shares, bursts=bursts[seed // 12 % 3])


def bad(rate: float, share: float, errors: float, count: int) -> Iterator[Verdict]:
    """Return what becomes of some bad releases."""
    for seed in range(count):
        yield simulate(Release(rate, (share,), new_errors=errors), seed)
