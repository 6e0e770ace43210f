"""Watch two colours for a release: readings of their metrics, one a second, into the test that decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.release_driver import other
from ansible_collections.gym.platform.plugins.module_utils.release_metrics import (
    PrometheusSource,
    Source,
    SourceError,
)
from ansible_collections.gym.platform.plugins.module_utils.release_run import Judge, Judgement
from ansible_collections.gym.platform.plugins.module_utils.release_verdict import Policy, PolicyError, Trial, Verdict

SOURCES: Mapping[str, Callable[..., Source]] = {"prometheus": PrometheusSource}
# For so long before the release the old colour tells what is usual.
HISTORY_SECONDS = 600.0
# A block of requests for the test, and what a person calls at once.
READING_SECONDS = 1.0


class JudgeError(Exception):
    """The options of the judgement are wrong; the message is for the person who releases."""


class Nobody:
    """Judges nothing: for targets without metrics."""

    def watch(self, colour: str, least_seconds: float, most_seconds: float, tick: Callable[[], None]) -> Judgement:
        """Say that nothing is known."""
        return Judgement("undecided", "nothing measures the colours here")


class TrialJudge:
    """Reads the colours' metrics and lets the trial decide; one trial for all shares of a release."""

    def __init__(
        self,
        source: Source,
        policy: Policy,
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Read nothing yet."""
        self._source, self._trial, self._now, self._pause = source, Trial(policy), now, pause

    def watch(self, colour: str, least_seconds: float, most_seconds: float, tick: Callable[[], None]) -> Judgement:
        """Read until the trial decides. Metrics that cannot be read leave it undecided, and are told."""
        begun = self._now()
        self._trial.begin(begun)
        silent = ""
        while True:
            at = self._now()
            try:
                counters = self._source.read()
                self._trial.add(counters[other(colour)], counters[colour], at)
                silent = ""
            except SourceError as error:
                silent = str(error)
            verdict = self._trial.verdict(at)
            if verdict.outcome == "roll_back" or (verdict.outcome == "promote" and at - begun >= least_seconds):
                return told(verdict, verdict.outcome, verdict.reason)
            if at - begun >= most_seconds:
                return told(verdict, "undecided", silent or verdict.reason)
            tick()
            self._pause(max(0.0, READING_SECONDS - (self._now() - at)))


def told(verdict: Verdict, outcome: str, reason: str) -> Judgement:
    """Return what the release needs to know, and what its dossier shows."""
    return Judgement(outcome, reason, {**verdict.record(), "outcome": outcome, "reason": reason})


def judge(options: Mapping[str, Any]) -> Judge:
    """Return the judge that the options describe: `source` with its kind and what it needs, and what a Policy has.

    Raises JudgeError.
    """
    if not options:
        return Nobody()
    known = {field.name for field in fields(Policy)}
    wanted = {name: value for name, value in options.items() if name != "source"}
    if unknown := sorted(wanted.keys() - known):
        raise JudgeError(f"judge has {', '.join(unknown)}, which it does not know. Legal: {', '.join(sorted(known))}")
    needs = dict(options.get("source", {}))
    kind = needs.pop("kind", "")
    if kind not in SOURCES:
        raise JudgeError(f"judge.source.kind is '{kind}'. Legal: {', '.join(SOURCES)}")
    try:
        # How long it may take is the procedure's: it knows of shares and of baking.
        return TrialJudge(SOURCES[kind](**needs), Policy(**wanted, deadline_seconds=float("inf")))
    except (PolicyError, SourceError, TypeError) as error:
        raise JudgeError(f"nothing can be judged by these options: {error}") from error
