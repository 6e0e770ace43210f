"""Waiting for what becomes true by itself, for tests of hosts."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE_SECONDS = 0.2


def wait(seconds: float, condition: Callable[[], bool]) -> float:
    """Wait for a condition, and return the seconds that it took; more than `seconds` are a failure."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not true within {seconds} s"
        time.sleep(PAUSE_SECONDS)
    return time.monotonic() - started
