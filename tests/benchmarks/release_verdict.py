"""How often the judgement takes a healthy release back, and how soon a bad one.

`python tests/benchmarks/release_verdict.py [releases]` simulates 10,000 healthy releases and some thousand bad ones,
prints what became of them, and ends with 1 when a claim of docs/verdict.md does not hold. Seeds are fixed.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
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
RATES = (5, 20, 200)
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
    """Return the seed's release: every rate and every share in turn, every other one with a burst."""
    random = Random(f"healthy {seed}")  # noqa: S311  a simulation
    rate, shares = RATES[seed % 3], SHARES[seed // 3 % 4]
    # Within the time in which something is being decided.
    start = random.uniform(0, max(10, min(200, 150 / (rate * shares[0]))))
    failing = random.uniform(0.2, 1)
    bursts = (
        (),
        (),
        (Burst(start, random.uniform(1, 20), failing, "on"),),
        (Burst(start, random.uniform(0.2, 1), failing, random.choice("on")),),
    )
    return Release(rate, shares, bursts=bursts[seed // 12 % len(bursts)])


# How bad releases are judged: at low traffic the claims are about requests, however long these take.
PATIENT = Policy(deadline_seconds=3600)


@dataclass(frozen=True)
class Claim:
    """A bad release is taken back within so many requests of the new colour, or, at high traffic, so many readings.

    What is decided within a reading is known at its end.
    """

    errors: float
    requests: int
    readings: int


CLAIMS = (Claim(0.05, 210, 12), Claim(0.2, 45, 6))
# The first share of a release, and the second, at rates of both colours together; and alone, where patience is wanted.
WATCHED = ((0.1, 5), (0.1, 20), (0.1, 50), (0.1, 100), (0.1, 200), (0.5, 5), (0.5, 20), (0.5, 100), (0.5, 200))
ALONE = ((1.0, 20), (1.0, 200))
MISJUDGED = 0.001


def naive(rate: float, burst: Burst | None, minutes: int = 2000) -> float:
    """Return the share of healthy minutes of one colour in which more than 1 % of its requests fail."""
    tripped = 0
    for seed in range(minutes):
        colour = Colour(Random(f"naive {seed}"), HEALTHY, FAST)  # noqa: S311  a simulation
        for second in range(60):
            colour.serve(rate, burst.failing * burst.weight(second + 1, "n") if burst else 0)
        tripped += colour.errors > 0.01 * colour.requests
    return tripped / minutes


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value under which a share of them lies."""
    return sorted(values)[min(len(values) - 1, math.ceil(len(values) * share) - 1)]


def judge_healthy(count: int) -> tuple[int, Counter[tuple[str, str]]]:
    """Return how many healthy releases were taken back, and all outcomes by what befell them."""
    kinds = ("calm", "calm", "burst of both colours", "burst of one colour")
    outcomes: Counter[tuple[str, str]] = Counter()
    for seed in range(count):
        verdict = simulate(healthy(seed), seed)
        outcomes[kinds[seed // 12 % len(kinds)], verdict.outcome] += 1
    return sum(n for (_, outcome), n in outcomes.items() if outcome == "roll_back"), outcomes


def judge_bad(claim: Claim, share: float, rate: float, count: int) -> tuple[float, float, int]:
    """Return how many requests of the new colour it took (median, 95th percentile), and how often all was in vain."""
    release = Release(rate, (share,), new_errors=claim.errors)
    verdicts = [simulate(release, seed, PATIENT) for seed in range(count)]
    needed = [v.new.requests if v.outcome == "roll_back" else math.inf for v in verdicts]
    return percentile(needed, 0.5), percentile(needed, 0.95), sum(math.isinf(n) for n in needed)


def main() -> int:
    """Simulate, print, and return whether a claim failed."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    begun, failed = time.process_time(), False
    misjudged, outcomes = judge_healthy(count)
    print(f"{count} healthy releases at {HEALTHY:.1%} errors; {', '.join(map(str, RATES))} requests/s; shares {SHARES}")
    print(f"{'':24}{'promoted':>10}{'held':>10}{'rolled back':>13}")
    for kind in dict.fromkeys(kind for kind, _ in outcomes):
        row = [outcomes[kind, word] for word in ("promote", "hold", "roll_back")]
        print(f"{kind:24}{row[0]:>10}{row[1]:>10}{row[2]:>13}")
    most = max(1, int(count * MISJUDGED))
    failed |= misjudged > most
    print(f"rolled back: {misjudged}, at most {most}: {'FAILED' if misjudged > most else 'ok'}\n")
    print('healthy minutes that break "more than 1 % of errors in a minute"')
    for rate in (1, 5, 20):
        second = Burst(20, 1, 0.8, "n")
        print(
            f"{rate:>4} requests/s: {naive(rate, None):6.1%}, with a second of 80 % errors: {naive(rate, second):6.1%}"
        )
    print(f"\n{'errors':>7}{'share':>7}{'rate':>7}{'median':>9}{'95 %':>7}{'at most':>9}{'missed':>8}")
    for claim in CLAIMS:
        for share, rate in (*WATCHED, *ALONE):
            middle, slow, missed = judge_bad(claim, share, rate, max(20, count // 25))
            reading = rate * share * READING
            within = max(claim.requests + reading, claim.readings * reading)
            if (share, rate) in ALONE:
                within = (POLICY.burst_seconds + 2 * claim.readings) * rate * share
            failed |= slow > within
            print(
                f"{claim.errors:>7.0%}{share:>7.0%}{rate:>7}{middle:>9}{slow:>7}{within:>9.0f}{missed:>8}"
                f"  {'FAILED' if slow > within else 'ok'}"
            )
    print(f"\n{time.process_time() - begun:.0f} s of CPU")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
