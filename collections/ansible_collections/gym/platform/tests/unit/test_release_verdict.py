"""When a release is promoted or taken back, and what must not be taken for an error."""

from __future__ import annotations

import dataclasses
import json
import math
from random import Random

import pytest
from ansible_collections.gym.platform.plugins.module_utils.release_verdict import (
    Counters,
    Policy,
    PolicyError,
    Trial,
    Verdict,
    policy_of,
)

from tests.benchmarks import release_verdict as simulator

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, math.inf)


def counters(requests: int, errors: int, *counts: int) -> Counters:
    """Return counters, with this many requests in each bucket of latency."""
    return Counters(requests, errors, tuple((b, sum(counts[: i + 1])) for i, b in enumerate(BOUNDS) if counts))


class Run:
    """A trial that is fed what each reading adds: requests and errors of the old colour, and of the new one."""

    def __init__(self, policy: Policy = Policy(), usual: tuple[int, int] = (10_000, 20)) -> None:  # noqa: B008  frozen
        self.trial, self.at = Trial(policy), 0.0
        self.old, self.new = (0, 0), (0, 0)
        self.read()
        self.add(*usual, 0, 0)
        self.trial.begin(self.at)

    def read(self) -> None:
        self.trial.add(Counters(*self.old), Counters(*self.new), self.at)

    def add(self, old: int, old_errors: int, new: int, new_errors: int, times: int = 1) -> Verdict:
        for _ in range(times):
            self.at += 1
            self.old = (self.old[0] + old, self.old[1] + old_errors)
            self.new = (self.new[0] + new, self.new[1] + new_errors)
            self.read()
        return self.verdict()

    def verdict(self) -> Verdict:
        return self.trial.verdict(self.at)


def test_a_release_that_fails_no_more_than_the_old_one_is_promoted() -> None:
    verdict = Run().add(90, 0, 10, 0, times=20)
    assert (verdict.outcome, verdict.decided_by, verdict.rules.outcome) == ("promote", "errors", "promote")
    assert verdict.reason == (
        "The new colour is as good as the old one: 0 of 200 requests failed, and 0 of 1800 requests failed on the old"
        " one; latency was not compared."
    )
    assert (verdict.path[-1].statistic, verdict.path[-1].requests) == (verdict.lower, 200)


def test_a_release_that_fails_is_taken_back_whatever_the_rules_say() -> None:
    verdict = Run().add(90, 0, 10, 2, times=4)
    assert (verdict.outcome, verdict.decided_by, verdict.rules.outcome) == ("roll_back", "errors", "undecided")
    assert verdict.reason.startswith("The new colour fails more than the old one: 8 of 40 requests failed")
    assert verdict.path[-1].statistic == verdict.upper


def test_a_release_that_does_not_answer_at_all_is_taken_back() -> None:
    assert Run().add(90, 0, 10, 10, times=3).outcome == "roll_back"


def test_what_was_decided_stays_decided_until_the_next_share() -> None:
    run = Run()
    run.add(90, 0, 10, 3, times=4)
    assert run.add(90, 0, 10, 0, times=5).outcome == "roll_back"
    run.trial.begin(run.at)
    assert run.verdict().outcome == "undecided"
    assert run.verdict().new.requests == 0


@pytest.mark.parametrize("errors", [1, 5, 10])
def test_two_readings_never_decide(errors: int) -> None:
    run = Run()
    assert run.add(90, 0, 10, errors, times=2).outcome == "undecided"
    assert run.add(90, 0, 10, 0, times=20).outcome != "roll_back"


def test_a_burst_of_both_colours_takes_nothing_back() -> None:
    run = Run()
    run.add(90, 0, 10, 0, times=3)
    assert run.add(90, 45, 10, 5, times=20).outcome == "undecided"
    assert run.add(90, 0, 10, 0, times=60).outcome == "promote"


def test_the_new_colour_may_see_a_burst_first() -> None:
    run = Run()
    run.add(90, 0, 10, 5, times=2)
    assert run.add(90, 45, 10, 5, times=20).outcome == "undecided"


def test_after_a_long_burst_of_the_old_colour_a_long_one_of_the_new_colour_decides_nothing() -> None:
    run = Run()
    run.add(90, 45, 10, 5, times=6)
    run.add(90, 0, 10, 0, times=20)
    run.trial.begin(run.at)
    assert run.add(90, 0, 10, 5, times=6).outcome == "undecided"
    assert run.add(90, 0, 10, 5, times=6).outcome == "roll_back"


def test_alone_a_burst_is_sat_out_and_a_bad_release_is_not() -> None:
    burst, bad = Run(), Run()
    burst.add(0, 0, 100, 50, times=25)
    assert burst.add(0, 0, 100, 0, times=10).outcome != "roll_back"
    assert bad.add(0, 0, 100, 50, times=25).outcome == "undecided"
    assert bad.add(0, 0, 100, 50, times=15).outcome == "roll_back"


def test_a_few_requests_of_the_old_colour_are_no_evidence() -> None:
    # Both fail 1 in 20; by chance the old colour's ten requests went well.
    random = Random(1)  # noqa: S311  a simulation
    run = Run(usual=(10, 0))
    for _ in range(60):
        run.add(2, int(random.random() < 0.1), 2, int(random.random() < 0.1))
        assert run.verdict().outcome != "roll_back"


def test_an_old_colour_that_always_fails_a_little_is_the_measure() -> None:
    assert Run(usual=(10_000, 300)).add(97, 3, 97, 3, times=60).outcome == "promote"
    assert Run().add(97, 0, 97, 3, times=60).outcome == "roll_back"


def test_without_traffic_nothing_is_decided_before_the_deadline() -> None:
    run = Run(usual=(0, 0))
    assert run.verdict().outcome == "undecided"
    assert run.add(0, 0, 0, 0, times=10).new.error_rate == 0.0
    assert run.trial.verdict(run.at + 300).outcome == "hold"


@pytest.mark.parametrize("declared", ["promote", "hold", "roll_back"])
def test_after_the_deadline_the_policy_decides(declared: str) -> None:
    run = Run(policy_of({"inconclusive": declared, "deadline_seconds": 20}))
    assert run.add(9, 0, 1, 0, times=19).outcome == "undecided"
    verdict = run.add(9, 0, 1, 0)
    assert (verdict.outcome, verdict.decided_by) == (declared, "deadline")
    assert verdict.reason.endswith(f"the deadline of 20 s is over: {declared.replace('_', ' ')}, as declared.")


def test_a_breach_of_the_rules_is_no_promotion_unless_the_old_colour_shares_it() -> None:
    slow, fast = (0, 0, 0, 80, 20, 0), (80, 20, 0, 0, 0, 0)

    def run(old: tuple[int, ...], new: tuple[int, ...]) -> Verdict:
        trial = Trial(Policy())
        for at in range(20):
            trial.add(
                counters(100 * at, 0, *(n * at for n in old)), counters(100 * at, 0, *(n * at for n in new)), float(at)
            )
        return trial.verdict(20.0)

    shared, own = run(slow, slow), run(fast, slow)
    assert (shared.outcome, shared.rules.outcome) == ("promote", "roll_back")
    assert "though the 95th percentile of latency is 875 ms" in shared.reason
    assert (own.outcome, own.decided_by) == ("roll_back", "latency")
    unmeasured = Run(Policy(rule_error_rate=0.0001)).add(90, 0, 10, 0, times=30)
    assert unmeasured.outcome == "promote"
    breached = Run(Policy(rule_error_rate=0.001)).add(90, 0, 30, 0, times=8)
    assert breached.outcome == "promote"
    run_with_one = Run(Policy(rule_error_rate=0.001))
    run_with_one.add(90, 0, 30, 1)
    held = run_with_one.add(90, 0, 30, 0, times=10)
    assert (held.outcome, held.rules.outcome) == ("undecided", "roll_back")


# --- latency ---------------------------------------------------------------------------------------------------------


def latencies(old: tuple[int, ...], new: tuple[int, ...], spread: int = 5, readings: int = 60) -> Verdict:
    """Return the verdict on two colours whose readings have about this many requests in each bucket."""
    random, totals = Random(7), ([0] * len(BOUNDS), [0] * len(BOUNDS))  # noqa: S311  a simulation
    trial = Trial(Policy())
    trial.add(counters(0, 0, *totals[0]), counters(0, 0, *totals[1]), 0.0)
    verdict = trial.verdict(0.0)
    for at in range(1, readings):
        for total, usual in zip(totals, (old, new), strict=True):
            for index, count in enumerate(usual):
                total[index] += max(0, count + random.randint(-spread, spread)) if count else 0
        trial.add(counters(sum(totals[0]), 0, *totals[0]), counters(sum(totals[1]), 0, *totals[1]), float(at))
        verdict = trial.verdict(float(at))
        if verdict.outcome != "undecided":
            break
    return verdict


USUAL = (40, 40, 20, 10, 0, 0)


def test_a_release_as_fast_is_promoted_by_both_tests() -> None:
    verdict = latencies(USUAL, USUAL)
    assert (verdict.outcome, verdict.decided_by) == ("promote", "both")
    assert verdict.rank < verdict.rank_needed


def test_a_slower_release_is_taken_back() -> None:
    verdict = latencies(USUAL, (10, 20, 40, 40, 10, 0))
    assert (verdict.outcome, verdict.decided_by) == ("roll_back", "latency")
    assert verdict.rank >= verdict.rank_needed > 3
    assert "instead of" in verdict.reason


def test_a_difference_that_nobody_feels_is_none() -> None:
    # All within the first two buckets: certain, and some milliseconds.
    verdict = latencies((90, 10, 0, 0, 0, 0), (50, 50, 0, 0, 0, 0))
    assert verdict.rank > verdict.rank_needed
    assert verdict.outcome == "promote"


def test_one_slow_moment_is_one_reading_and_not_many_requests() -> None:
    trial, old, new = Trial(Policy()), [0] * 6, [0] * 6
    for at in range(30):
        slow = at == 3
        old = [total + count for total, count in zip(old, USUAL, strict=True)]
        new = [total + count for total, count in zip(new, (0, 0, 0, 0, 0, 900) if slow else USUAL, strict=True)]
        trial.add(counters(110 * at, 0, *old), counters(110 * at, 0, *new), float(at))
        assert trial.verdict(float(at)).decided_by != "latency"


# --- counters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [(0, 0), (3, 2), (40, 90)])
def test_a_counter_that_begins_anew_is_no_error(after: tuple[int, int]) -> None:
    run = Run()
    run.add(90, 0, 10, 1, times=3)
    before = run.verdict().new
    run.new = after
    run.read()
    assert run.verdict().new == before
    run.add(90, 0, 10, 0)
    assert (run.verdict().new.requests, run.verdict().new.errors) == (40, 3)


def test_a_histogram_that_appears_or_changes_its_buckets_is_not_compared() -> None:
    trial = Trial(Policy())
    trial.add(Counters(0, 0), Counters(0, 0), 0)
    trial.add(Counters(9, 0), counters(9, 0, 9, 0, 0, 0, 0, 0), 1)
    trial.add(Counters(9, 0), Counters(18, 0, ((1.0, 18), (math.inf, 18))), 2)
    assert trial.verdict(2).new.p95_seconds is None
    trial.add(Counters(9, 0), Counters(28, 0, ((1.0, 28), (math.inf, 28))), 3)
    assert trial.verdict(3).new.p95_seconds == pytest.approx(0.95)


def test_whatever_the_counters_are_there_is_a_verdict() -> None:
    random = Random(3)  # noqa: S311  a simulation
    for _ in range(300):
        trial = Trial(Policy())
        for at in range(12):
            old, new = (
                counters(
                    random.choice((0, 1, 7, 10**6)), random.choice((0, 1, 10**6)), *random.choices((0, 1, 99), k=6)
                )
                for _ in "on"
            )
            trial.add(old, new, float(at))
            verdict = trial.verdict(float(at))
            assert verdict.lower <= verdict.path[-1].statistic <= verdict.upper if verdict.path else True
            assert 0 <= verdict.new.errors <= verdict.new.requests
            json.dumps(verdict.record(), allow_nan=False)


# --- policy ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"alpha": 0}, "alpha is 0: it is a share above 0 and below 0.5, such as 0.01."),
        ({"minimum_requests": 0}, "minimum_requests is 0: it is a number above 0."),
        ({"burst_seconds": -1}, "burst_seconds is -1: it is 0 or more."),
        ({"inconclusive": "wait"}, "inconclusive is 'wait'. Legal: promote, hold, roll_back."),
        ({"beta": "0.1"}, "beta is '0.1': it is a number."),
        ({"alhpa": 0.1}, "'alhpa' is not a key of the policy. Did you mean 'alpha'? Legal: alpha, beta,"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(record: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy_of(record)
    assert str(caught.value).startswith(message)


# --- the simulator, on a small scale ---------------------------------------------------------------------------------


def test_healthy_releases_are_not_taken_back() -> None:
    taken_back, outcomes = simulator.judge_healthy(144)
    assert taken_back == 0
    assert outcomes["calm", "promote"] > 30


@pytest.mark.parametrize("claim", simulator.CLAIMS, ids=str)
def test_bad_releases_are_taken_back_in_time(claim: simulator.Claim) -> None:
    _, slow, missed = simulator.judge_bad(claim, share=0.1, rate=50, count=60)
    assert slow <= claim.requests
    assert missed <= 1


def test_without_its_care_for_bursts_the_judgement_would_fail() -> None:
    release = dataclasses.replace(
        simulator.healthy(0), rate=20, shares=(0.5,), bursts=(simulator.Burst(3, 15, 0.6, "n"),)
    )
    assert simulator.simulate(release, 1).outcome == "roll_back"
    both = dataclasses.replace(release, bursts=(simulator.Burst(3, 15, 0.6, "on"),))
    assert simulator.simulate(both, 1).outcome == "promote"
