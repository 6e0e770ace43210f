"""The schedule of attempts."""

import pytest

from gym_api.notifications import Pointer
from gym_api.queue import backoff_seconds


def longest(_: float, high: float) -> float:
    return high


def shortest(low: float, _: float) -> float:
    return low


def test_waits_double_up_to_the_maximum() -> None:
    assert [backoff_seconds(attempt, 1, 60, longest) for attempt in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [backoff_seconds(attempt, 5, 300, longest) for attempt in range(1, 5)] == [5, 10, 20, 40]


def test_half_of_a_wait_is_chance() -> None:
    assert [backoff_seconds(attempt, 4, 64, shortest) for attempt in range(1, 7)] == [2, 4, 8, 16, 32, 32]
    seen = {backoff_seconds(6, 1, 60) for _ in range(300)}
    assert min(seen) >= 16
    assert max(seen) <= 32
    assert len(seen) > 5, "messages that failed together must not come back together"


def test_a_wait_is_what_sqs_takes() -> None:
    assert backoff_seconds(10_000, 1, 43_200, longest) == 43_200
    assert backoff_seconds(1, 1, 60, shortest) == 1


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", "null", '{"tenant_id": "x", "notification_id": "y"}', '{"tenant_id": 1}']
)
def test_what_is_no_notification_is_refused(body: str) -> None:
    with pytest.raises(ValueError):
        Pointer.parse(body)
