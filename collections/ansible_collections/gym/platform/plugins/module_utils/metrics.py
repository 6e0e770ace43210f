"""The metrics that alerts and dashboards speak of, in the words of no provider.

One catalogue: a name, what is measured, and how single measurements become one number. Each provider's renderer turns
an entry into its own language; the one for Prometheus is here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

# The span over which rates are taken: four scrapes at least, so that a lost one leaves a number.
WINDOW = "5m"


class MetricError(ValueError):
    """A metric that is not in the catalogue; the message is for the person who named it."""


@dataclass(frozen=True)
class Quantile:
    """The value under which a share of the measurements of a histogram lies."""

    histogram: str
    quantile: float


@dataclass(frozen=True)
class Ratio:
    """The part of a counter's events that have certain labels."""

    counter: str
    part: Mapping[str, str]


@dataclass(frozen=True)
class Gauge:
    """The largest of the values that several sources report of one thing; a series for each value of `by`."""

    gauge: str
    by: str


@dataclass(frozen=True)
class Age:
    """The time since the moment that a gauge tells; the freshest report counts; a series for each value of `by`."""

    timestamp: str
    by: str


@dataclass(frozen=True)
class Metric:
    """One entry of the catalogue."""

    title: str
    unit: str
    measure: Quantile | Ratio | Gauge | Age


CATALOGUE: Mapping[str, Metric] = {
    "http_latency_p95_seconds": Metric(
        "Latency (95th percentile)", "seconds", Quantile("gym_http_request_duration_seconds", 0.95)
    ),
    "http_error_ratio": Metric(
        "Answers that are server errors", "ratio", Ratio("gym_http_responses_total", {"code_class": "5xx"})
    ),
    "http_refusal_ratio": Metric(
        "Answers that refuse the request", "ratio", Ratio("gym_http_responses_total", {"code_class": "4xx"})
    ),
    "database_latency_p95_seconds": Metric(
        "Database latency (95th percentile)", "seconds", Quantile("gym_database_query_duration_seconds", 0.95)
    ),
    "cache_hit_ratio": Metric(
        "Look-ups answered by the cache", "ratio", Ratio("gym_cache_requests_total", {"result": "hit"})
    ),
    "queue_depth": Metric("Messages in the queue", "count", Gauge("gym_queue_messages", "queue")),
    "kiosk_heartbeat_age_seconds": Metric(
        "Oldest kiosk heartbeat", "seconds", Age("gym_kiosk_heartbeat_timestamp_seconds", "tenant")
    ),
}


def find_metric(name: str) -> Metric:
    """Return an entry of the catalogue."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    nearest = difflib.get_close_matches(name, CATALOGUE, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    raise MetricError(f"'{name}' is not a metric of the platform.{hint} Legal: {', '.join(sorted(CATALOGUE))}.")


def prometheus_expression(name: str, window: str = WINDOW) -> str:
    """Return a metric in Prometheus's language."""
    measure = find_metric(name).measure
    if isinstance(measure, Quantile):
        return f"histogram_quantile({measure.quantile}, sum by (le) (rate({measure.histogram}_bucket[{window}])))"
    if isinstance(measure, Ratio):
        labels = ", ".join(f'{label}="{value}"' for label, value in measure.part.items())
        return f"sum(rate({measure.counter}{{{labels}}}[{window}])) / sum(rate({measure.counter}[{window}]))"
    if isinstance(measure, Gauge):
        return f"max by ({measure.by}) ({measure.gauge})"
    return f"time() - max by ({measure.by}) ({measure.timestamp})"
