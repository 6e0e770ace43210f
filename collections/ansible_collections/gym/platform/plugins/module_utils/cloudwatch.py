"""The metrics of the platform in CloudWatch's language: for alarms as records, for dashboards as widgets.

Names of resources are references of CloudFormation, `${Parameter}`, because they are known to other stacks only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.metrics import CATALOGUE, MetricError, find_metric

# Seconds that one value stands for; CloudWatch has none shorter for what AWS measures.
PERIOD = 60
REFERENCE = re.compile(r"\$\{([A-Za-z0-9]+)\}")
YAXIS = {"ratio": {"min": 0, "max": 1}, "seconds": {"min": 0}, "count": {"min": 0}, "bytes": {"min": 0}}
WIDGET_WIDTH, WIDGET_HEIGHT, ROW_WIDTH = 12, 6, 24


@dataclass(frozen=True)
class Sources:
    """What is measured, by the names that CloudWatch knows: resources of AWS, and the namespace of our own metrics."""

    balancer: str
    databases: Sequence[str]
    caches: Sequence[str]
    queues: Sequence[str]
    namespace: str


@dataclass(frozen=True)
class Measure:
    """What CloudWatch is asked for one metric: single series, and how they become one number."""

    series: Sequence[tuple[str, str, Mapping[str, str], str]]
    expression: str


def _balancer(metric: str, statistic: str, sources: Sources) -> tuple[str, str, Mapping[str, str], str]:
    return "AWS/ApplicationELB", metric, {"LoadBalancer": sources.balancer}, statistic


def _answers(code_class: str) -> Callable[[Sources], Measure]:
    def measure(sources: Sources) -> Measure:
        found = [
            _balancer(f"HTTPCode_Target_{code_class}_Count", "Sum", sources),
            _balancer("RequestCount", "Sum", sources),
        ]
        # Without a request there is no share; a minute without such an answer has no value at all.
        return Measure(found, "IF(m1 > 0, FILL(m0, 0) / m1, 0)")

    return measure


def _database_latency(sources: Sources) -> Measure:
    names = [(metric, database) for database in sources.databases for metric in ("ReadLatency", "WriteLatency")]
    found = [("AWS/RDS", metric, {"DBInstanceIdentifier": database}, "p95") for metric, database in names]
    return Measure(found, f"MAX([{', '.join(_ids(found))}])")


def _cache_hits(sources: Sources) -> Measure:
    names = [(metric, node) for metric in ("CacheHits", "CacheMisses") for node in sources.caches]
    found = [("AWS/ElastiCache", metric, {"CacheClusterId": node}, "Sum") for metric, node in names]
    hits, misses = _ids(found)[: len(sources.caches)], _ids(found)[len(sources.caches) :]
    return Measure(found, f"SUM([{', '.join(hits)}]) / SUM([{', '.join(hits + misses)}])")


def _queue_depth(sources: Sources) -> Measure:
    metric = "ApproximateNumberOfMessagesVisible"
    found = [("AWS/SQS", metric, {"QueueName": queue}, "Maximum") for queue in sources.queues]
    return Measure(found, f"MAX([{', '.join(_ids(found))}])")


MEASURES: Mapping[str, Callable[[Sources], Measure]] = {
    "http_latency_p95_seconds": lambda sources: Measure([_balancer("TargetResponseTime", "p95", sources)], "m0"),
    "http_error_ratio": _answers("5XX"),
    "http_refusal_ratio": _answers("4XX"),
    "database_latency_p95_seconds": _database_latency,
    "cache_hit_ratio": _cache_hits,
    "queue_depth": _queue_depth,
    "kiosk_heartbeat_age_seconds": lambda sources: Measure(
        [(sources.namespace, "KioskHeartbeatAge", {}, "Maximum")], "m0"
    ),
}
assert MEASURES.keys() == CATALOGUE.keys(), "every metric of the catalogue can be asked of CloudWatch"  # noqa: S101


def _ids(series: Sequence[Any]) -> list[str]:
    return [f"m{index}" for index, _ in enumerate(series)]


def measure_of(name: str, sources: Sources) -> Measure:
    """Return what CloudWatch is asked for a metric. Raises MetricError for one that the platform does not know."""
    find_metric(name)
    return MEASURES[name](sources)


def reference(text: str) -> Any:
    """Return a name as CloudFormation refers to it: `${Name}` alone is a Ref, within other text a Sub."""
    if found := REFERENCE.fullmatch(text):
        return {"Ref": found[1]}
    return {"Fn::Sub": text} if REFERENCE.search(text) else text


def alarm_queries(name: str, sources: Sources) -> list[dict[str, Any]]:
    """Return the `Metrics` of an alarm: the series, and the one number that is compared."""
    measure = measure_of(name, sources)
    queries: list[dict[str, Any]] = [
        {
            "Id": identifier,
            "ReturnData": False,
            "MetricStat": {
                "Metric": {
                    "Namespace": namespace,
                    "MetricName": metric,
                    "Dimensions": [{"Name": key, "Value": reference(value)} for key, value in dimensions.items()],
                },
                "Period": PERIOD,
                "Stat": statistic,
            },
        }
        for identifier, (namespace, metric, dimensions, statistic) in zip(
            _ids(measure.series), measure.series, strict=True
        )
    ]
    return [*queries, {"Id": "value", "Label": name, "Expression": measure.expression, "ReturnData": True}]


def alarm(record: Mapping[str, Any], sources: Sources) -> dict[str, Any]:
    """Return the properties of an alarm that come from a record of the noun `alerts`.

    A heartbeat that is not measured is a silent kiosk; of everything else no value means that nothing happened.
    Raises MetricError for a metric that is not known, or for a bound that is not exactly one.
    """
    bounds = [(word, record[word]) for word in ("above", "below") if word in record]
    if len(bounds) != 1:
        raise MetricError(f"The alert '{record['name']}' needs exactly one of `above` and `below`.")
    word, threshold = bounds[0]
    minutes = max(1, record["for_minutes"])
    return {
        "AlarmDescription": record["summary"],
        "ComparisonOperator": "GreaterThanThreshold" if word == "above" else "LessThanThreshold",
        "Threshold": threshold,
        "EvaluationPeriods": minutes,
        "DatapointsToAlarm": minutes,
        "TreatMissingData": "breaching" if "heartbeat" in record["metric"] else "notBreaching",
        "Metrics": alarm_queries(record["metric"], sources),
    }


def dashboard(record: Mapping[str, Any], sources: Sources, region: str) -> dict[str, Any]:
    """Return the body of a dashboard from a record of the noun `dashboards`: two graphs in a row."""
    widgets = [{"type": "text", "x": 0, "y": 0, "width": ROW_WIDTH, "height": 1,
                "properties": {"markdown": f"# {record['title']}"}}]  # fmt: skip
    for index, panel in enumerate(record["panels"]):
        measure = measure_of(panel["metric"], sources)
        series: list[list[Any]] = [
            [namespace, metric, *[text for pair in dimensions.items() for text in pair],
             {"id": identifier, "stat": statistic, "visible": False}]
            for identifier, (namespace, metric, dimensions, statistic)
            in zip(_ids(measure.series), measure.series, strict=True)
        ]  # fmt: skip
        widgets.append(
            {
                "type": "metric",
                "x": index % 2 * WIDGET_WIDTH,
                "y": 1 + index // 2 * WIDGET_HEIGHT,
                "width": WIDGET_WIDTH,
                "height": WIDGET_HEIGHT,
                "properties": {
                    "title": panel["title"],
                    "region": region,
                    "period": PERIOD,
                    "view": "timeSeries",
                    "yAxis": {"left": {"label": panel["unit"], "showUnits": False, **YAXIS[panel["unit"]]}},
                    "metrics": [
                        [{"id": "value", "label": panel["title"], "expression": measure.expression}],
                        *series,
                    ],
                },
            }
        )
    return {"widgets": widgets}
