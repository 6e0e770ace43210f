"""The two tests by which a release is judged: errors one reading at a time, latency by ranks. Pure.

Both compare the new colour with the old one within the same reading, so that what befalls both at once, such as a
failover of the database, is evidence against neither.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

# What an error rate may be before anything was measured: anything, and most likely low; as weak as 50 requests.
PRIOR = (0.5, 50.0)
# How likely a reading lies in a burst that hits both colours, and what a request then fails with: anything.
BURST_PROBABILITY = 0.01
BURST = (1.0, 3.0)
# A burst is seen by the old colour in the same seconds, if not in the same reading: at low traffic one has no request.
BURST_MEMORY_SECONDS = 10.0
# One bad release in a hundred does not fail sometimes, but fails.
OUTRIGHT = 0.01
# What an error rate of a bad colour may be before it showed any: as weak as eleven requests.
SHOWN = (1.0, 10.0)
# A burst of one colour may lie in two readings, so it takes three to decide; more where the old colour's were longer.
READINGS_LEAST, READINGS_MOST = 3, 20
# What one burst may amount to of what decides: so much that three readings still do, and a stray error rarely the rest.
READINGS_SHARE = 0.75
# With fewer readings, how much they scatter is not known.
LATENCY_READINGS = 5


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _unknown(errors: float, requests: float, a: float, b: float) -> float:
    """Return how likely a sequence with these errors is when its rate is only known as Beta(a, b); a logarithm."""
    return _log_beta(a + errors, b + requests - errors) - _log_beta(a, b)


def _known(errors: float, requests: float, rate: float) -> float:
    """Return how likely a sequence with these errors is at a rate; a logarithm."""
    return errors * math.log(rate) + (requests - errors) * math.log1p(-rate)


def _mix(share: float, one: float, rest: float) -> float:
    """Return the logarithm of a mixture of two likelihoods that are given as logarithms."""
    if not 0 < share < 1:
        return one if share else rest
    one, rest = one + math.log(share), rest + math.log1p(-share)
    return max(one, rest) + math.log1p(math.exp(-abs(one - rest)))


def _sum(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return one[0] + other[0], one[1] + other[1]


def _answers(requests: int, errors: int, share: float) -> tuple[float, float]:
    return share * errors, share * (requests - errors)


@dataclass(frozen=True)
class Block:
    """What one reading adds: requests and errors of both colours, between two times in seconds."""

    since: float
    at: float
    old_requests: int
    old_errors: int
    new_requests: int
    new_errors: int


@dataclass
class ErrorTest:
    """A sequential probability ratio test of "as the old colour" against "`excess` more errors than the old colour".

    The old colour's rate is not assumed and not taken for certain: it has a Beta distribution that every reading
    narrows. One reading counts for less than half of what decides, so that no burst within two readings decides. With
    no old colour to compare with, what has been decided has to be decided again `alone_seconds` later.
    """

    excess: float
    upper: float
    lower: float
    alone_seconds: float
    statistic: float = 0.0
    # The same test against the rate that the new colour shows: far more errors than `excess` are like neither otherwise.
    outright: float = 0.0
    guilty: bool = False
    # What is known of the rate: errors and correct answers of the old colour; and of the new one, were it no worse.
    _old: tuple[float, float] = PRIOR
    _new: tuple[float, float] = (0.0, 0.0)
    # The readings of the last seconds, each with the statistic before it.
    _recent: list[tuple[Block, float]] = field(default_factory=list)
    _again: float | None = None
    _run: int = 0
    _longest: int = READINGS_LEAST - 1

    @property
    def rate(self) -> float:
        """Return the error rate of the old colour, as far as it is known."""
        return self._old[0] / sum(self._old)

    def begin(self) -> None:
        """Forget what is known about the new colour's guilt, and keep what is known about the old one's rate."""
        self.statistic, self.outright, self.guilty, self._recent, self._again = 0.0, 0.0, False, [], None

    def add(self, block: Block) -> None:
        """Weigh one reading."""
        if self._again is not None and block.at < self._again:
            return
        remembered = block.at - BURST_MEMORY_SECONDS
        self._recent = [(b, before) for b, before in self._recent if b.since >= remembered] + [(block, self.statistic)]
        requests = sum(b.old_requests for b, _ in self._recent)
        errors = sum(b.old_errors for b, _ in self._recent)
        bursting = self._bursting(requests, errors)
        self._count_burst(bursting > 0.5 and block.old_errors > 0)
        if block.new_requests:
            self._weigh(block, bursting, requests, errors)
        if bursting > 0.5:
            # The burst may have been seen by the new colour first.
            self.statistic = min(self.statistic, *(before for _, before in self._recent))
            self.outright = min(self.outright, self.statistic)
        usually = 1 - bursting
        self._old = _sum(self._old, _answers(block.old_requests, block.old_errors, usually))
        self._new = _sum(self._new, _answers(block.new_requests, block.new_errors, usually))
        self._conclude(block.at, alone=not requests)

    def _bursting(self, requests: int, errors: int) -> float:
        """Return how likely the old colour fails more than it usually does.

        Without an old request nobody knows; what is decided then is decided again later.
        """
        if errors <= self.rate * requests:
            return 0.0
        usual, burst = _unknown(errors, requests, *self._old), _unknown(errors, requests, *BURST)
        return min(1.0, math.exp(math.log(BURST_PROBABILITY) + burst - _mix(BURST_PROBABILITY, burst, usual)))

    def _weigh(self, block: Block, bursting: float, requests: int, errors: int) -> None:
        seen, failed = block.new_requests, block.new_errors
        pool, here = _sum(self._old, self._new), _answers(block.old_requests, block.old_errors, 1.0)
        # Were both the same, the old colour's answers would have to agree with the new one's as well.
        apart = _unknown(block.old_errors, block.old_requests, *self._old)
        together = _unknown(block.old_errors, block.old_requests, *pool)
        as_old = _mix(
            bursting,
            _unknown(failed, seen, BURST[0] + errors, BURST[1] + requests - errors),
            _unknown(failed, seen, *_sum(pool, here)),
        )
        worse = _mix(OUTRIGHT, _unknown(failed, seen, *BURST), _known(failed, seen, min(self.rate + self.excess, 0.99)))
        shown = _unknown(failed, seen, *_sum(SHOWN, self._new))
        most = READINGS_SHARE * self.upper / self._longest

        def after(before: float, like: float) -> float:
            evidence = (1 - bursting) * max(-most, min(most, like + apart - as_old - together))
            return max(self.lower, min(self.upper, before + evidence))

        self.statistic, self.outright = after(self.statistic, worse), after(self.outright, shown)
        if self.outright >= self.upper and self._fails_more():
            self.statistic = self.upper

    def _fails_more(self) -> bool:
        """Tell whether the new colour shows a rate that is more than half of `excess` above the old one's."""
        return self._new[0] > (self.rate + self.excess / 2) * sum(self._new)

    def _conclude(self, at: float, alone: bool) -> None:
        if self.statistic < self.upper:
            return
        if alone and self._again is None:
            self._again, self.statistic, self.outright, self._recent = at + self.alone_seconds, 0.0, 0.0, []
        else:
            self.guilty = True

    def _count_burst(self, bursting: bool) -> None:
        self._run = self._run + 1 if bursting else 0
        self._longest = max(self._longest, min(self._run, READINGS_MOST - 1))


# --- latency ---------------------------------------------------------------------------------------------------------

Histogram = Mapping[float, int]


def quantile(histogram: Histogram, share: float) -> float | None:
    """Return the seconds under which a share of the requests lies, within a bucket by proportion.

    What lies beyond the last finite bound is taken to be that bound. None without a request.
    """
    wanted, below, lower = share * sum(histogram.values()), 0, 0.0
    if not wanted:
        return None
    for bound, count in sorted(histogram.items()):
        if count and below + count >= wanted:
            return lower if math.isinf(bound) else lower + (bound - lower) * (wanted - below) / count
        below, lower = below + count, lower if math.isinf(bound) else bound
    return lower


def merged(one: Histogram, other: Histogram) -> dict[float, int]:
    """Return both histograms in one; they have the same buckets, or one of them none."""
    return {bound: one.get(bound, 0) + other.get(bound, 0) for bound in {**one, **other}}


def rank_difference(old: Histogram, new: Histogram) -> tuple[float, float]:
    """Return by how much the chance that a new request is slower than an old one exceeds a half, and its variance.

    This is Mann and Whitney's statistic: requests in one bucket are tied and count half; the variance knows of ties.
    """
    olds, news = sum(old.values()), sum(new.values())
    everything = olds + news
    wins, below, ties = 0.0, 0, 0
    for bound in sorted({**old, **new}):
        here, there = old.get(bound, 0), new.get(bound, 0)
        wins += there * (below + here / 2)
        below += here
        tied = here + there
        ties += tied**3 - tied
    untied = 1 - ties / (everything**3 - everything)
    return wins / (olds * news) - 0.5, (everything + 1) / (12 * olds * news) * untied


@dataclass
class LatencyTest:
    """A one-sided rank test within readings, summed over them, with a bound on what repeated looks may misjudge.

    It is looked at when the new colour's requests have doubled since the last look, and the n-th look may err with
    alpha / (n (n + 1)): all looks together with at most alpha. The sum is measured twice, against what ranks scatter by
    and against what the readings really scatter by, so that a burst of slow requests counts as one, and not as many.
    """

    alpha: float
    first_look: int
    statistic: float = 0.0
    critical: float = 0.0
    looks: int = 0
    slower: bool = False
    old: dict[float, int] = field(default_factory=dict)
    new: dict[float, int] = field(default_factory=dict)
    _waiting: tuple[Histogram, Histogram] = field(default_factory=lambda: ({}, {}))
    _readings: int = 0
    _sum: float = 0.0
    _squares: float = 0.0
    _variance: float = 0.0

    def add(self, old: Histogram, new: Histogram) -> None:
        """Take what one reading adds. New requests wait until there are old ones to be compared with."""
        old, new = merged(self._waiting[0], old), merged(self._waiting[1], new)
        olds, news = sum(old.values()), sum(new.values())
        if not (olds and news):
            # Old requests alone are of another time than the new ones that will come.
            self._waiting = ({}, new)
            return
        self._waiting = ({}, {})
        self.old, self.new = merged(self.old, old), merged(self.new, new)
        difference, variance = rank_difference(old, new)
        weight = olds * news / (olds + news)
        self._readings += 1
        self._sum += weight * difference
        self._squares += (weight * difference) ** 2
        self._variance += weight**2 * variance
        self.statistic = self._standardised()
        self._look(sum(self.new.values()))

    def _standardised(self) -> float:
        """Return the lesser of both measures, in standard deviations; Student's t by Wallace's approximation."""
        freedom = self._readings - 1
        if self._readings < LATENCY_READINGS or not self._variance or self._sum <= 0:
            return 0.0
        by_rank = self._sum / math.sqrt(self._variance)
        mean = self._sum / self._readings
        scatter = (self._squares / self._readings - mean**2) / freedom
        if scatter <= mean**2 * 1e-12:
            return by_rank
        factor = (8 * freedom + 1) / (8 * freedom + 3)
        return min(by_rank, factor * math.sqrt(freedom * math.log1p(mean**2 / scatter / freedom)))

    def _look(self, seen: int) -> None:
        if seen < self.first_look * 2**self.looks or self._readings < LATENCY_READINGS:
            return
        while seen >= self.first_look * 2**self.looks:
            self.looks += 1
        self.critical = NormalDist().inv_cdf(1 - self.alpha / (self.looks * (self.looks + 1)))
        self.slower = self.statistic >= self.critical


def buckets(cumulative: Sequence[tuple[float, int]]) -> dict[float, int]:
    """Return the requests within each bucket from those up to each bound."""
    found, below = {}, 0
    for bound, count in sorted(cumulative):
        found[bound], below = count - below, count
    return found
