"""Schedules that change how many tasks or instances run: what they come to, on average over a week. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

MINUTES_PER_DAY = 24 * 60
MINUTES_PER_WEEK = 7 * MINUTES_PER_DAY
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
RATE_UNITS = {"minute": 1, "hour": 60, "day": MINUTES_PER_DAY}


class ScheduleError(ValueError):
    """An expression whose times in a week cannot be worked out; the message shows it."""


def times(expression: str) -> list[int]:
    """Return when an expression is due, in minutes since Sunday 0:00. Raises ScheduleError.

    Understands `cron(...)` of AWS, which has six fields and counts Sunday as 1, the five fields of an Auto Scaling
    group, where Sunday is 0, and `rate(...)`.
    """
    if rate := re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression):
        return list(range(0, MINUTES_PER_WEEK, int(rate[1]) * RATE_UNITS[rate[2]] or MINUTES_PER_WEEK))
    fields = expression.removeprefix("cron(").removesuffix(")").split()
    named = expression.startswith("cron(")
    if len(fields) != (6 if named else 5) or any(field not in "*?" for field in (*fields[2:4], *fields[5:])):
        raise ScheduleError(f"'{expression}' is not due at the same times of every week")

    def day(text: str) -> int:
        return DAYS.index(text) if text in DAYS else (int(text) - named) % len(DAYS)

    days = _numbers(fields[4], range(len(DAYS)), day, expression)
    hours = _numbers(fields[1], range(24), int, expression)
    minutes = _numbers(fields[0], range(60), int, expression)
    return sorted(
        number * MINUTES_PER_DAY + hour * 60 + minute for number in days for hour in hours for minute in minutes
    )


def _numbers(field: str, every: range, number: Callable[[str], int], expression: str) -> set[int]:
    """Return the numbers that one field of an expression stands for."""
    found: set[int] = set()
    try:
        for part in field.upper().split(","):
            span, _, step = part.partition("/")
            if span in ("*", "?"):
                low, high = every[0], every[-1]
            else:
                first, _, last = span.partition("-")
                low = number(first)
                high = number(last) if last else (every[-1] if step else low)
            wrapped = range(low, (high if high >= low else high + len(every)) + 1, int(step or 1))
            found |= {value % len(every) for value in wrapped}
    except ValueError as error:
        raise ScheduleError(f"'{expression}' is no schedule that this can read") from error
    return found


def average(schedules: Mapping[str, float] | Iterable[tuple[str, float]], otherwise: float) -> float:
    """Return the average of a number over a week: each schedule sets it, and it stays until the next one.

    `otherwise` is the number where there is no schedule. Raises ScheduleError.
    """
    pairs = schedules.items() if isinstance(schedules, Mapping) else schedules
    changes = sorted((time, value) for expression, value in pairs for time in times(expression))
    if not changes:
        return otherwise
    ends = [*(time for time, _ in changes[1:]), changes[0][0] + MINUTES_PER_WEEK]
    return sum(value * (end - time) for (time, value), end in zip(changes, ends, strict=True)) / MINUTES_PER_WEEK
