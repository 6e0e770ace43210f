"""Watch two colours for a release: readings of their metrics, one a second, into the test that decides."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.release_driver import other
from ansible_collections.gym.platform.plugins.module_utils.release_metrics import (
    PrometheusSource,
    Source,
    SourceError,
)
from ansible_collections.gym.platform.plugins.module_utils.release_run import Judge, Judgement
from ansible_collections.gym.platform.plugins.module_utils.release_verdict import (
    PolicyError,
    Trial,
    Verdict,
    policy_of,
)


class JudgeError(Exception):
    """The options of the judgement are wrong; the message is for the person who releases."""


@dataclass(frozen=True)
class Rhythm:
    """When is read, in seconds. `history`: for so long before the release the old colour tells what is usual."""

    history: float = 600.0
    interval: float = 1.0
    # For how long readings may fail, as they do while a front door restarts.
    patience: float = 15.0
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


def source_of(options: Mapping[str, Any]) -> Source:
    """Return the source that the options name: `prometheus` and `service`, or `balancer`, `target_groups` and `region`.

    Raises SourceError.
    """
    if options.get("prometheus"):
        return PrometheusSource(options["prometheus"], options["service"], options.get("ca_file") or "")
    # Only here is boto3 needed.
    from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError, connect
    from ansible_collections.gym.platform.plugins.module_utils.release_cloudwatch import CloudWatchSource

    try:
        client = connect(options, "cloudwatch")
    except RequestError as error:
        raise SourceError(str(error)) from error
    return CloudWatchSource(client, options["balancer"], options["target_groups"])


def readings(source: Source, trial: Trial, new: str, rhythm: Rhythm) -> Iterator[tuple[float, Verdict]]:
    """Read again and again: the time since the first reading, and what the trial makes of it.

    Raises SourceError when nothing could be read for as long as the rhythm has patience.
    """
    begun = last = rhythm.clock()
    for ago in (rhythm.history, 0.0) if rhythm.history else (0.0,):
        # What is not there yet may be there in the next reading; if not, patience ends.
        with contextlib.suppress(SourceError):
            found = source.read(ago)
            trial.add(found[other(new)], found[new], begun - ago)
    trial.begin(begun)
    while True:
        rhythm.pause(rhythm.interval)
        now = rhythm.clock()
        try:
            found = source.read()
        except SourceError:
            if now - last >= rhythm.patience:
                raise
        else:
            trial.add(found[other(new)], found[new], now)
            last = now
        yield now - begun, trial.verdict(now)


class TrialJudge:
    """Lets a trial decide about a release, all of its shares in one trial."""

    def __init__(self, source: Source, trial: Trial, rhythm: Rhythm) -> None:
        """Read nothing yet."""
        self._source, self._trial, self._rhythm = source, trial, rhythm

    def watch(self, colour: str, least_seconds: float, most_seconds: float, tick: Callable[[], None]) -> Judgement:
        """Read until the trial decides. Metrics that cannot be read leave it undecided, and are told."""
        # Counters only grow from one reading to the next, so history is read once.
        rhythm, self._rhythm = self._rhythm, replace(self._rhythm, history=0.0)
        try:
            for seconds, verdict in readings(self._source, self._trial, colour, rhythm):
                decided = verdict.outcome == "promote" and seconds >= least_seconds
                if decided or verdict.outcome == "roll_back" or seconds >= most_seconds:
                    return Judgement(verdict.outcome, verdict.reason, verdict.record())
                tick()
        except SourceError as error:
            return Judgement("undecided", str(error))
        raise AssertionError("readings never end by themselves")


class Nobody:
    """Judges nothing: for targets without metrics."""

    def watch(self, colour: str, least_seconds: float, most_seconds: float, tick: Callable[[], None]) -> Judgement:
        """Say that nothing is known."""
        return Judgement("undecided", "nothing measures the colours here")


def judge(options: Mapping[str, Any]) -> Judge:
    """Return the judge that the options describe: `source` as source_of takes it, and `policy`. Raises JudgeError."""
    if not options:
        return Nobody()
    try:
        # How long it may take is the procedure's: it knows of shares and of baking.
        policy = policy_of({**options.get("policy", {}), "deadline_seconds": float("inf")})
        return TrialJudge(source_of(options["source"]), Trial(policy), Rhythm())
    except (PolicyError, SourceError, KeyError) as error:
        raise JudgeError(f"nothing can be judged by these options: {error}") from error
