"""Whether a release is promoted or taken back: two colours' counters in, a verdict out. Pure: no clock, no network.

    trial = Trial(Policy())
    trial.add(old, new, at)       # every second or so, from before the new colour gets traffic
    trial.begin(at)               # with each new share of traffic
    trial.verdict(at).outcome     # 'promote', 'roll_back', 'hold' or 'undecided'

The tests are in release_statistics. What is judged and why is in docs/verdict.md.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from ansible_collections.gym.platform.plugins.module_utils.release_statistics import (
    Block,
    ErrorTest,
    LatencyTest,
    buckets,
    quantile,
)

Outcome = Literal["promote", "roll_back", "hold", "undecided"]
Decider = Literal["errors", "latency", "both", "deadline", ""]
INCONCLUSIVE = ("promote", "hold", "roll_back")
# Latency is compared at its middle and at its end.
QUANTILES = (0.5, 0.95)


class PolicyError(ValueError):
    """A policy by which nothing can be judged; the message is for the person who wrote it."""


@dataclass(frozen=True)
class Policy:
    """How sure a verdict has to be, and what happens without one. Rates are shares from 0 to 1, times are seconds.

    alpha, beta: the risks of taking a good release back and of promoting one that has `excess_error_rate` more errors.
    minimum_requests: of the new colour, before it is promoted and before the spec's rules speak.
    rule_error_rate, rule_p95_seconds: the spec's rules.
    slower_seconds, slower_share: a smaller rise of latency takes no release back; both have to be exceeded.
    burst_seconds: when no old colour serves beside the new one, errors have to be there again after so long.
    deadline_seconds, inconclusive: when `begin` is this long ago without a verdict, this is the outcome.
    """

    alpha: float = 0.001
    beta: float = 0.01
    excess_error_rate: float = 0.03
    minimum_requests: int = 100
    rule_error_rate: float = 0.01
    rule_p95_seconds: float = 0.5
    slower_seconds: float = 0.05
    slower_share: float = 0.25
    burst_seconds: float = 30.0
    deadline_seconds: float = 300.0
    inconclusive: Literal["promote", "hold", "roll_back"] = "hold"

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name in ("alpha", "beta", "excess_error_rate", "rule_error_rate"):
            if not 0 < getattr(self, name) < 0.5:
                raise PolicyError(
                    f"{name} is {getattr(self, name)}: it is a share above 0 and below 0.5, such as 0.01."
                )
        for name in ("minimum_requests", "rule_p95_seconds", "slower_seconds", "slower_share", "deadline_seconds"):
            if not getattr(self, name) > 0:
                raise PolicyError(f"{name} is {getattr(self, name)}: it is a number above 0.")
        if not self.burst_seconds >= 0:
            raise PolicyError(f"burst_seconds is {self.burst_seconds}: it is 0 or more.")
        if self.inconclusive not in INCONCLUSIVE:
            raise PolicyError(f"inconclusive is '{self.inconclusive}'. Legal: {', '.join(INCONCLUSIVE)}.")


def policy_of(record: Mapping[str, Any]) -> Policy:
    """Return the policy of a record, with the defaults where it has none. Raises PolicyError for a key that is none."""
    legal = [each.name for each in fields(Policy)]
    for key in record:
        if key not in legal:
            nearest = difflib.get_close_matches(key, legal, n=1)
            hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
            raise PolicyError(f"'{key}' is not a key of the policy.{hint} Legal: {', '.join(legal)}.")
        if key != "inconclusive" and (isinstance(record[key], bool) or not isinstance(record[key], (int, float))):
            raise PolicyError(f"{key} is '{record[key]}': it is a number.")
    return Policy(**record)


@dataclass(frozen=True)
class Counters:
    """What one colour has answered since it counts: requests, those that failed, and how many took how long.

    `latency` has pairs of an upper bound in seconds and the requests up to it, as a Prometheus histogram; it may be
    empty, and may count other requests than `requests` does.
    """

    requests: int = 0
    errors: int = 0
    latency: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True)
class Point:
    """Where the sequential test stood after a reading: against the release upwards, for it downwards."""

    at: float
    statistic: float
    requests: int
    errors: int


@dataclass(frozen=True)
class Tally:
    """What one colour has answered since `begin`."""

    requests: int
    errors: int
    p50_seconds: float | None
    p95_seconds: float | None

    @property
    def error_rate(self) -> float:
        """Return the share of errors; 0 without a request."""
        return self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class Rules:
    """What the spec's thresholds say by themselves, of the new colour; undecided without the minimum sample."""

    outcome: Literal["promote", "roll_back", "undecided"]
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What is to be done with a release, and everything it rests on.

    decided_by: errors, latency, both (for a promotion), deadline, or nothing yet. The rules decide nothing, but a
    breach that the old colour does not share keeps a release from being promoted.
    path: the sequential test, which rolls back at `upper` and has no more doubts at `lower`.
    rank, rank_needed: the latency test's statistic in standard deviations, and what it had to reach at its last look.
    """

    outcome: Outcome
    reason: str
    decided_by: Decider
    rules: Rules
    old: Tally
    new: Tally
    baseline_error_rate: float
    path: tuple[Point, ...]
    upper: float
    lower: float
    rank: float
    rank_needed: float

    def record(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return asdict(self)


@dataclass
class _Colour:
    """The last reading of a colour, and what it added up to since `begin`."""

    last: Counters | None = None
    buckets: dict[float, int] = field(default_factory=dict)
    requests: int = 0
    errors: int = 0
    latency: dict[float, int] = field(default_factory=dict)

    def take(self, now: Counters) -> tuple[int, int, dict[float, int]]:
        """Return what a reading adds. A counter that fell began anew: what it counted meanwhile is left out."""
        before, self.last = self.last, now
        earlier, self.buckets = self.buckets, buckets(now.latency)
        if before is None:
            return 0, 0, {}
        requests, errors = now.requests - before.requests, now.errors - before.errors
        if requests < 0 or not 0 <= errors <= requests:
            requests = errors = 0
        # A histogram that appears, or has other buckets than before, has no earlier reading to be compared with.
        comparable = self.buckets.keys() == earlier.keys()
        latency = {bound: count - earlier[bound] for bound, count in self.buckets.items()} if comparable else {}
        if any(count < 0 for count in latency.values()):
            latency = {}
        self.requests += requests
        self.errors += errors
        for bound, count in latency.items():
            self.latency[bound] = self.latency.get(bound, 0) + count
        return requests, errors, latency

    def begin(self) -> None:
        self.requests = self.errors = 0
        self.latency = {}

    def tally(self) -> Tally:
        return Tally(self.requests, self.errors, *(quantile(self.latency, share) for share in QUANTILES))


class Trial:
    """The judgement of one release, share by share."""

    def __init__(self, policy: Policy) -> None:
        """Know nothing yet."""
        self.policy = policy
        self._old, self._new = _Colour(), _Colour()
        self._errors = ErrorTest(
            policy.excess_error_rate,
            upper=math.log((1 - policy.beta) / policy.alpha),
            lower=math.log(policy.beta / (1 - policy.alpha)),
            alone_seconds=policy.burst_seconds,
        )
        self._latency = LatencyTest(policy.alpha, policy.minimum_requests)
        self._path: list[Point] = []
        self._at: float | None = None
        self._begun: float | None = None

    def begin(self, at: float) -> None:
        """Judge anew, because the share of traffic changed.

        What is known of the old colour's errors is kept. Latency is compared on: within readings, whatever the share.
        """
        self._begun = at
        self._errors.begin()
        self._old.begin()
        self._new.begin()
        self._path = []

    def add(self, old: Counters, new: Counters, at: float) -> None:
        """Take one reading of both colours; `at` is in seconds and grows. The first one only tells where they start."""
        since, self._at = self._at, at
        if self._begun is None or since is None:
            self._begun = since = at
        old_requests, old_errors, old_latency = self._old.take(old)
        new_requests, new_errors, new_latency = self._new.take(new)
        self._latency.add(old_latency, new_latency)
        if old_requests or new_requests:
            self._errors.add(Block(since, at, old_requests, old_errors, new_requests, new_errors))
            self._path.append(Point(at, self._errors.statistic, self._new.requests, self._new.errors))

    def verdict(self, at: float) -> Verdict:
        """Return what the readings so far amount to at this time."""
        old, new = self._old.tally(), self._new.tally()
        rules = self._rules(new)
        outcome, decided_by, reason = self._decide(at, old, new, rules)
        return Verdict(
            outcome,
            reason,
            decided_by,
            rules,
            old,
            new,
            self._errors.rate,
            tuple(self._path),
            self._errors.upper,
            self._errors.lower,
            self._latency.statistic,
            self._latency.critical,
        )

    def _decide(self, at: float, old: Tally, new: Tally, rules: Rules) -> tuple[Outcome, Decider, str]:
        policy = self.policy
        if self._errors.guilty:
            return "roll_back", "errors", f"The new colour fails more than the old one: {_compared(old, new)}."
        if rise := self._rise():
            return "roll_back", "latency", f"The new colour is slower than the old one: {rise}."
        breached = rules.outcome == "roll_back"
        shared = self._breach(old) != ""
        if self._errors.statistic <= self._errors.lower and new.requests >= policy.minimum_requests:
            compared = self._latency.looks > 0
            # Without requests of both colours at once, there will be nothing to compare.
            if (compared or not self._latency.new) and not (breached and not shared):
                praise = "no worse than" if breached else "as good as"
                rest = f", though {rules.reason}" if breached else "" if compared else "; latency was not compared"
                reason = f"The new colour is {praise} the old one: {_compared(old, new)}{rest}."
                return "promote", "both" if compared else "errors", reason
        open_question = f"It is not decided: {rules.reason if breached else _compared(old, new)}"
        if self._begun is None or at - self._begun < policy.deadline_seconds:
            return "undecided", "", f"{open_question}."
        waited = f"{open_question}, and the deadline of {policy.deadline_seconds:g} s is over"
        return policy.inconclusive, "deadline", f"{waited}: {policy.inconclusive.replace('_', ' ')}, as declared."

    def _rise(self) -> str:
        """Return by how much latency rose, where it rose for certain and by enough to matter."""
        if not self._latency.slower:
            return ""
        for share in QUANTILES:
            before, after = quantile(self._latency.old, share), quantile(self._latency.new, share)
            if before is None or after is None:
                continue
            if after - before >= max(self.policy.slower_seconds, before * self.policy.slower_share):
                return f"{share:.0%} of its requests take up to {after * 1000:.0f} ms instead of {before * 1000:.0f} ms"
        return ""

    def _breach(self, tally: Tally) -> str:
        if tally.requests and tally.error_rate > self.policy.rule_error_rate:
            return f"{tally.error_rate:.2%} of the requests failed, more than {self.policy.rule_error_rate:.2%}"
        if tally.p95_seconds is not None and tally.p95_seconds > self.policy.rule_p95_seconds:
            limit = self.policy.rule_p95_seconds * 1000
            return f"the 95th percentile of latency is {tally.p95_seconds * 1000:.0f} ms, more than {limit:.0f} ms"
        return ""

    def _rules(self, new: Tally) -> Rules:
        least = self.policy.minimum_requests
        if new.requests < least:
            return Rules("undecided", f"the new colour had {new.requests} requests of the {least} that are needed")
        breach = self._breach(new)
        return Rules("roll_back" if breach else "promote", breach or "errors and latency are within the spec's rules")


def _compared(old: Tally, new: Tally) -> str:
    ours, theirs = (f"{tally.errors} of {tally.requests} requests failed" for tally in (new, old))
    return f"{ours}, and {theirs} on the old one"
