"""Watch two colours for a release: readings of their metrics, one a second, into the test that decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.release_run import Judge, Judgement


class JudgeError(Exception):
    """The options of the judgement are wrong; the message is for the person who releases."""


class Nobody:
    """Judges nothing: for targets without metrics."""

    def watch(self, colour: str, least_seconds: float, most_seconds: float, tick: Callable[[], None]) -> Judgement:
        """Say that nothing is known."""
        return Judgement("undecided", "nothing measures the colours here")


def judge(options: Mapping[str, Any]) -> Judge:
    """Return the judge that the options describe."""
    return Nobody()
