"""The metrics of the platform in CloudWatch's language."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.filter.cloudwatch import cloudwatch_alarm, cloudwatch_dashboard
from ansible_collections.gym.platform.plugins.module_utils.cloudwatch import Sources, alarm_queries, reference
from ansible_collections.gym.platform.plugins.module_utils.metrics import CATALOGUE

SOURCES = {
    "balancer": "${ComputeBalancerName}",
    "databases": ["${DatabaseShard1Id}", "${DatabaseShard2Id}"],
    "caches": ["gym-001", "gym-002"],
    "queues": ["${QueueReportsName}"],
    "namespace": "gym/production",
}
ALERT = {
    "name": "ApiErrorRate",
    "summary": "Too many errors",
    "metric": "http_error_ratio",
    "above": 0.01,
    "for_minutes": 5,
}


@pytest.mark.parametrize("metric", CATALOGUE)
def test_every_metric_is_one_number_of_series_that_are_asked_for(metric: str) -> None:
    *series, value = alarm_queries(metric, Sources(**SOURCES))  # type: ignore[arg-type]
    assert [query["ReturnData"] for query in (*series, value)] == [*[False] * len(series), True]
    assert set(re.findall(r"\bm\d+\b", value["Expression"])) == {query["Id"] for query in series}


def test_an_alarm_is_what_its_record_says() -> None:
    found = cloudwatch_alarm(ALERT, SOURCES)
    assert (found["ComparisonOperator"], found["Threshold"]) == ("GreaterThanThreshold", 0.01)
    assert (found["EvaluationPeriods"], found["TreatMissingData"]) == (5, "notBreaching")
    assert found["Metrics"][0]["MetricStat"]["Metric"]["Dimensions"] == [
        {"Name": "LoadBalancer", "Value": {"Ref": "ComputeBalancerName"}}
    ]


@pytest.mark.parametrize(
    ("change", "key", "expected"),
    [
        ({"above": None, "below": 1}, "ComparisonOperator", "LessThanThreshold"),
        ({"for_minutes": 0}, "EvaluationPeriods", 1),
        ({"metric": "kiosk_heartbeat_age_seconds"}, "TreatMissingData", "breaching"),
    ],
)
def test_what_a_record_says_otherwise(change: dict[str, Any], key: str, expected: Any) -> None:
    record = {name: value for name, value in {**ALERT, **change}.items() if value is not None}
    assert cloudwatch_alarm(record, SOURCES)[key] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [({"metric": "http_eror_ratio"}, "Did you mean 'http_error_ratio'"), ({"below": 1}, "exactly one")],
)
def test_a_record_that_cannot_be_meant_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        cloudwatch_alarm({**ALERT, **change}, SOURCES)


def test_a_dashboard_has_a_graph_for_each_panel() -> None:
    panels = [{"title": name, "metric": name, "unit": "seconds"} for name in CATALOGUE]
    body = cloudwatch_dashboard({"title": "All", "panels": panels}, SOURCES, "eu-west-1")
    heading, *graphs = json.loads(body)["widgets"]
    assert heading["properties"]["markdown"] == "# All"
    assert [graph["properties"]["title"] for graph in graphs] == list(CATALOGUE)
    places = [(graph["x"], graph["y"]) for graph in graphs]
    assert places[:3] == [(0, 1), (12, 1), (0, 7)] and len(set(places)) == len(places)
    assert "${DatabaseShard1Id}" in body


def test_a_dashboard_of_an_unknown_metric_is_refused() -> None:
    record = {"title": "x", "panels": [{"title": "x", "metric": "x", "unit": "count"}]}
    with pytest.raises(AnsibleFilterError, match="dashboards: 'x' is not a metric"):
        cloudwatch_dashboard(record, SOURCES, "eu-west-1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("${A}", {"Ref": "A"}), ("a-${A}", {"Fn::Sub": "a-${A}"}), ("gym-001", "gym-001")],
)
def test_names_of_other_stacks_are_references(text: str, expected: Any) -> None:
    assert reference(text) == expected
