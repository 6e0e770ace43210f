"""Schedules: when they are due, and what a number that they set comes to over a week."""

from __future__ import annotations

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_price_schedule import (
    MINUTES_PER_DAY,
    ScheduleError,
    average,
    times,
)

DAY = MINUTES_PER_DAY


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # Sunday is 1 to AWS and 0 to an Auto Scaling group.
        ("cron(0 6 ? * 2 *)", [DAY + 360]),
        ("0 6 * * 1", [DAY + 360]),
        ("cron(30 22 ? * SAT-MON *)", [1350, DAY + 1350, 6 * DAY + 1350]),
        ("cron(0 6 ? * MON-FRI *)", [day * DAY + 360 for day in range(1, 6)]),
        ("rate(12 hours)", [half * 720 for half in range(14)]),
    ],
)
def test_when_it_is_due(expression: str, expected: list[int]) -> None:
    assert times(expression) == expected


def test_every_quarter_of_an_hour() -> None:
    assert len(times("cron(0/15 * * * ? *)")) == 7 * 24 * 4


def test_nights_and_week_ends_off() -> None:
    # 6 to 22 on five days: 80 of 168 hours at 4, and the rest at 1.
    found = average({"cron(0 6 ? * MON-FRI *)": 4, "cron(0 22 ? * MON-FRI *)": 1}, otherwise=9)
    assert found == pytest.approx((80 * 4 + 88 * 1) / 168)


def test_without_schedules_it_is_as_it_is() -> None:
    assert average({}, otherwise=3) == 3


@pytest.mark.parametrize("expression", ["cron(0 6 1 * ? *)", "at(2030-01-01T00:00:00)", "cron(x 6 * * ? *)"])
def test_what_no_week_tells_is_refused(expression: str) -> None:
    with pytest.raises(ScheduleError, match="'"):
        times(expression)
