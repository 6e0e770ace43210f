"""The watching of two colours: when it ends, what it asks for, and what it does when nothing can be read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.gym.platform.plugins.module_utils.release_driver import BLUE, GREEN
from ansible_collections.gym.platform.plugins.module_utils.release_judge import (
    JudgeError,
    Nobody,
    Rhythm,
    TrialJudge,
    judge,
)
from ansible_collections.gym.platform.plugins.module_utils.release_metrics import SourceError
from ansible_collections.gym.platform.plugins.module_utils.release_verdict import Counters, Policy, Trial


class Clock:
    """Time that passes only in pauses."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


class Traffic:
    """Counters of two colours that both have 50 requests a second; green fails with a rate."""

    def __init__(self, clock: Clock, rate: float = 0.0, silent: Callable[[float], bool] = lambda at: False) -> None:
        self.clock, self.rate, self.silent = clock, rate, silent
        self.asked: list[float] = []

    def read(self, ago: float = 0) -> dict[str, Counters]:
        self.asked.append(ago)
        at = self.clock() - ago
        if self.silent(at):
            raise SourceError("Prometheus does not answer.")
        requests = int(at * 50)
        return {BLUE: Counters(requests, 0), GREEN: Counters(requests, int(requests * self.rate))}


def watcher(traffic: Traffic) -> TrialJudge:
    trial = Trial(Policy(deadline_seconds=float("inf")))
    return TrialJudge(traffic, trial, Rhythm(clock=traffic.clock, pause=traffic.clock.pause))


def test_a_good_colour_is_promoted_early_but_not_before_it_has_baked() -> None:
    clock = Clock()
    watching = watcher(Traffic(clock))
    assert watching.watch(GREEN, 0, 300, lambda: None).outcome == "promote"
    assert clock() < 1030
    begun = clock()
    assert watching.watch(GREEN, 60, 300, lambda: None).outcome == "promote"
    assert 60 <= clock() - begun < 62


def test_a_bad_colour_is_taken_back_at_once_even_while_it_bakes() -> None:
    clock = Clock()
    found = watcher(Traffic(clock, rate=0.2)).watch(GREEN, 600, 600, lambda: None)
    assert found.outcome == "roll_back"
    assert clock() < 1010
    assert found.record["new"]["errors"] > 0


def test_history_is_read_once_and_the_lock_is_renewed_with_each_reading() -> None:
    clock = Clock()
    traffic = Traffic(clock)
    watching = watcher(traffic)
    ticks: list[float] = []
    watching.watch(GREEN, 10, 10, lambda: ticks.append(clock()))
    watching.watch(GREEN, 10, 10, lambda: None)
    assert [ago for ago in traffic.asked if ago] == [600.0]
    assert len(ticks) >= 9


def test_metrics_that_are_away_decide_nothing_and_are_told() -> None:
    clock = Clock()
    found = watcher(Traffic(clock, silent=lambda at: True)).watch(GREEN, 0, 300, lambda: None)
    assert (found.outcome, found.reason) == ("undecided", "Prometheus does not answer.")
    assert clock() < 1020, "it does not wait for the end of the step"


def test_metrics_that_are_away_for_a_moment_are_waited_for() -> None:
    clock = Clock()
    silent = Traffic(clock, silent=lambda at: 1002 < at < 1010)
    assert watcher(silent).watch(GREEN, 0, 300, lambda: None).outcome == "promote"


def test_options_that_make_no_judge_are_refused_in_one_sentence() -> None:
    assert isinstance(judge({}), Nobody)
    source = {"prometheus": "http://192.0.2.10:9090", "service": "gym-api"}
    with pytest.raises(JudgeError, match="Did you mean 'alpha'"):
        judge({"source": source, "policy": {"alhpa": 0.1}})
    with pytest.raises(JudgeError, match="192.0.2.10"):
        judge({"source": {**source, "prometheus": "192.0.2.10"}})
