"""What an environment is assumed to be used for in a month, where a template does not say it. Pure."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

HOURS_PER_MONTH = 730.0
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600
DAYS_PER_MONTH = HOURS_PER_MONTH / 24
WEEKS_PER_MONTH = DAYS_PER_MONTH / 7


class UsageError(ValueError):
    """An assumption that is none; the message names it, the legal ones and the fix."""


@dataclasses.dataclass(frozen=True)
class Usage:
    """The assumptions, each for a month and for the whole environment unless it says otherwise."""

    # Average over the month, at the front door.
    requests_per_second: float = 20
    kilobytes_per_answer: float = 20
    requests_per_connection: float = 10
    # To viewers, besides the answers of the API.
    cdn_gb: float = 500
    cdn_million_requests: float = 20
    nat_gb: float = 100
    endpoint_gb: float = 200
    # In each bucket; the part that is old enough to be archived, where a rule archives it; what is new in a month.
    bucket_gb: float = 100
    bucket_archived_part: float = 0.5
    bucket_new_gb: float = 10
    bucket_thousand_writes: float = 200
    bucket_thousand_reads: float = 2000
    # To each log group.
    log_gb: float = 10
    flow_log_gb: float = 20
    # To each queue: sending, receiving and deleting are three. And to each topic.
    queue_million_requests: float = 5
    topic_million_messages: float = 0.01
    # With each key and each secret.
    key_ten_thousand_requests: float = 100
    secret_ten_thousand_requests: float = 1
    # In each repository.
    image_gb: float = 10
    # The part of a database's storage that changes in a day.
    database_change_per_day: float = 0.01
    # One measurement of a database's machine by Enhanced Monitoring, which is billed as a log.
    database_measurement_kilobytes: float = 20
    cache_snapshot_gb: float = 1
    # One run of a scheduled job.
    job_minutes: float = 10
    # Of each function.
    function_million_runs: float = 0.01
    function_seconds: float = 1


def usage(found: Mapping[str, Any] | None) -> Usage:
    """Return the assumptions, those of the environment (`cost.usage`) before the usual ones. Raises UsageError."""
    legal = [field.name for field in dataclasses.fields(Usage)]
    for name, value in (found or {}).items():
        if name not in legal:
            near = "".join(difflib.get_close_matches(name, legal, n=1))
            raise UsageError(
                f"cost.usage has '{name}'{f': did you mean {near}?' if near else '.'} Legal: {', '.join(legal)}."
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise UsageError(f"cost.usage.{name} is '{value}'; it is a number of at least 0.")
    return Usage(**(found or {}))
