"""What a release reads of Prometheus and of CloudWatch, and that what cannot be read is never "no errors"."""

from __future__ import annotations

import datetime
import json
import math
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from ansible_collections.gym.platform.plugins.module_utils.release_cloudwatch import CloudWatchSource
from ansible_collections.gym.platform.plugins.module_utils.release_judge import Rhythm
from ansible_collections.gym.platform.plugins.module_utils.release_metrics import Growing, PrometheusSource, SourceError
from ansible_collections.gym.platform.plugins.module_utils.release_verdict import Counters, Policy
from ansible_collections.gym.platform.plugins.modules import release_verdict
from ansible_collections.gym.platform.tests.unit.module_runs import answer
from botocore.stub import Stubber


class Prometheus:
    """A server with Prometheus's instant queries; what it knows are series by metric."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str, str], float] = {}
        self.latency: dict[tuple[str, str, str], float] = {}
        self.asked: list[dict[str, str]] = []
        self.raw: tuple[int, bytes] | None = None
        self.growth: dict[tuple[str, str, str], float] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        prometheus = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urllib.parse.urlsplit(self.path)
                asked = dict(urllib.parse.parse_qsl(address.query))
                prometheus.asked.append({"path": address.path, **asked})
                status, body = prometheus.raw or (200, prometheus.body(asked["query"]))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def body(self, query: str) -> bytes:
        ours = query.startswith("haproxy_backend_http_responses_total")
        names = ("proxy", "code", "instance") if ours else ("colour", "le", "instance")
        series = self.answers if ours else self.latency
        result = [
            {"metric": dict(zip(names, key, strict=True)), "value": [1700000000.5, f"{value:g}"]}
            for key, value in series.items()
        ]
        if ours:
            for key, more in self.growth.items():
                self.answers[key] += more
        return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    server = Prometheus()
    try:
        yield server
    finally:
        server.stop()


def both(**counts: float) -> dict[tuple[str, str, str], float]:
    """Return answers of the backends of both colours, by blue_2xx and the like."""
    return {
        (f"gym-api_{name.split('_')[0]}", name.split("_")[1], "edge-1"): value
        for name, value in {"blue_2xx": 0, "green_2xx": 0, **counts}.items()
    }


def source(prometheus: Prometheus) -> PrometheusSource:
    return PrometheusSource(prometheus.url, "gym-api", clock=lambda: 1_700_000_000.5)


def test_errors_are_what_the_front_door_answered(prometheus: Prometheus) -> None:
    prometheus.answers = both(blue_2xx=90, blue_4xx=5, blue_5xx=5, blue_1xx=7, blue_other=9, green_2xx=10, green_3xx=1)
    prometheus.answers["gym-api_blue", "5xx", "edge-2"] = 2
    found = source(prometheus).read()
    assert found == {"blue": Counters(102, 7), "green": Counters(11, 0)}


def test_latency_is_that_of_all_instances_of_a_colour(prometheus: Prometheus) -> None:
    prometheus.answers = both()
    prometheus.latency = {
        ("blue", "0.1", "app-1"): 4,
        ("blue", "+Inf", "app-1"): 5,
        ("blue", "0.1", "app-2"): 6,
        ("blue", "+Inf", "app-2"): 7,
    }
    found = source(prometheus).read()
    assert (found["blue"].latency, found["green"].latency) == (((0.1, 10), (math.inf, 12)), ())


def test_what_is_asked(prometheus: Prometheus) -> None:
    prometheus.answers = both()
    source(prometheus).read(ago=600)
    answers, latency = prometheus.asked
    assert (answers["path"], answers["time"]) == ("/api/v1/query", "1699999400.500")
    assert answers["query"] == 'haproxy_backend_http_responses_total{proxy=~"gym-api_blue|gym-api_green"}'
    assert latency["query"] == (
        "sum by (colour, le, instance) (gym_http_request_duration_seconds_bucket"
        '{service="gym-api", route!~"/(healthz|readyz|metrics|version)"})'
    )


def test_a_proxy_that_was_restarted_counts_on(prometheus: Prometheus) -> None:
    reader = source(prometheus)
    for blue, expected in ((100, 100), (130, 130), (5, 135), (20, 150)):
        prometheus.answers = both(blue_2xx=blue)
        assert reader.read()["blue"].requests == expected


def test_a_series_that_vanishes_keeps_what_it_had() -> None:
    growing = Growing()
    growing.take({("a",): 5, ("b",): 7})
    assert growing.take({("a",): 6}) == {("a",): 6, ("b",): 7}
    assert growing.take({("a",): 6, ("b",): 2}) == {("a",): 6, ("b",): 9}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            (200, b'{"status": "success", "data": {"resultType": "vector", "result": []}}'),
            "has no answers of gym-api_blue",
        ),
        (
            (200, b'{"status": "error", "errorType": "timeout", "error": "query timed out"}'),
            "answered query timed out.",
        ),
        ((200, b"<html>"), "gave an answer that is not Prometheus's"),
        ((200, b'{"status": "success"}'), "gave an answer that is not Prometheus's"),
        ((503, b"Service Unavailable"), "answered 503: Service Unavailable"),
    ],
)
def test_what_prometheus_does_not_tell_is_an_error(
    prometheus: Prometheus, raw: tuple[int, bytes], message: str
) -> None:
    prometheus.raw = raw
    with pytest.raises(SourceError, match=message):
        source(prometheus).read()


def test_one_colour_without_numbers_is_an_error(prometheus: Prometheus) -> None:
    prometheus.answers = {("gym-api_blue", "2xx", "edge-1"): 5}
    with pytest.raises(SourceError, match="no answers of gym-api_green: is HAProxy read"):
        source(prometheus).read()


def test_a_prometheus_that_is_away_is_an_error(prometheus: Prometheus) -> None:
    reader = source(prometheus)
    prometheus.stop()
    with pytest.raises(SourceError, match=r"does not answer: .*refused"):
        reader.read()
    with pytest.raises(SourceError, match="prometheus is 'monitoring:9090'; it is an address such as"):
        PrometheusSource("monitoring:9090", "gym-api")


# --- CloudWatch ------------------------------------------------------------------------------------------------------

NOW = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
GROUPS = {"blue": "targetgroup/blue/1", "green": "targetgroup/green/2"}


@pytest.fixture
def cloudwatch() -> Iterator[tuple[CloudWatchSource, Stubber]]:
    client = boto3.client("cloudwatch", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        yield CloudWatchSource(client, "app/gym/9", GROUPS, 600, clock=NOW.timestamp), stub
        stub.assert_no_pending_responses()


def minute(number: int) -> datetime.datetime:
    return NOW.replace(minute=number, second=0)


def result(identifier: str, **by_minute: float) -> dict[str, Any]:
    found = {minute(int(name[1:])): value for name, value in by_minute.items()}
    return {"Id": identifier, "Timestamps": list(found), "Values": list(found.values()), "StatusCode": "Complete"}


def test_minutes_add_up_to_counters(cloudwatch: tuple[CloudWatchSource, Stubber]) -> None:
    reader, stub = cloudwatch
    first = [result("blue_requests", m1=100, m2=50), result("blue_errors", m2=3), result("blue_timed", m1=100, m2=50)]
    second = [result("blue_upto0", m1=10, m2=20), result("blue_upto9", m1=100, m2=100), result("green_requests", m2=9)]
    stub.add_response("get_metric_data", {"MetricDataResults": first, "NextToken": "more"})
    stub.add_response("get_metric_data", {"MetricDataResults": second})
    found = reader.read()
    assert (found["blue"].requests, found["blue"].errors) == (150, 3)
    assert found["blue"].latency[0] == (0.01, 20)
    assert found["blue"].latency[-2:] == ((10.0, 150), (math.inf, 150))
    assert (found["green"].requests, found["green"].errors) == (9, 0)


def test_what_cloudwatch_is_asked(cloudwatch: tuple[CloudWatchSource, Stubber]) -> None:
    reader, _ = cloudwatch
    asked: dict[str, Any] = {}

    def remember(params: dict[str, Any], **_: Any) -> None:
        asked.update(params)

    reader._client.meta.events.register("provide-client-params.cloudwatch.GetMetricData", remember)
    stub = cloudwatch[1]
    stub.add_response("get_metric_data", {"MetricDataResults": [result("blue_requests", m1=1)]})
    reader.read(ago=120)
    assert (asked["StartTime"], asked["EndTime"]) == (NOW.replace(hour=2, minute=54, second=0), minute(2))
    statistics = {query["MetricStat"]["Stat"] for query in asked["MetricDataQueries"]}
    assert {"Sum", "SampleCount", "PR(:0.5)", "PR(:10)"} <= statistics
    dimensions = asked["MetricDataQueries"][0]["MetricStat"]["Metric"]["Dimensions"]
    assert {each["Name"]: each["Value"] for each in dimensions} == {
        "LoadBalancer": "app/gym/9",
        "TargetGroup": GROUPS["blue"],
    }


def test_cloudwatch_without_requests_is_an_error(cloudwatch: tuple[CloudWatchSource, Stubber]) -> None:
    reader, stub = cloudwatch
    stub.add_response("get_metric_data", {"MetricDataResults": []})
    with pytest.raises(SourceError, match=r"no requests of targetgroup/blue/1 and .* since 02:54 UTC"):
        reader.read()


def test_cloudwatch_that_refuses_is_an_error(cloudwatch: tuple[CloudWatchSource, Stubber]) -> None:
    reader, stub = cloudwatch
    stub.add_client_error("get_metric_data", "AccessDenied")
    with pytest.raises(SourceError, match="CloudWatch does not answer: These credentials may not do that"):
        reader.read()


def test_the_beginning_of_the_history_is_zero(cloudwatch: tuple[CloudWatchSource, Stubber]) -> None:
    assert cloudwatch[0].read(ago=600)["blue"].requests == 0


def test_target_groups_are_those_of_both_colours() -> None:
    with pytest.raises(SourceError, match="target_groups has blue; it has blue and green"):
        CloudWatchSource(None, "app/gym/9", {"blue": "x"})


# --- the module ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("failing", "outcome"), [(0, "promote"), (4, "roll_back")])
def test_the_module_judges_what_prometheus_counts(prometheus: Prometheus, failing: int, outcome: str) -> None:
    prometheus.answers = both(blue_2xx=5000, green_2xx=4, green_5xx=0)
    prometheus.growth = {
        ("gym-api_blue", "2xx", "edge-1"): 90,
        ("gym-api_green", "2xx", "edge-1"): 20 - failing,
        ("gym-api_green", "5xx", "edge-1"): failing,
    }
    found = answer(
        release_verdict.main,
        check=True,
        new="green",
        service="gym-api",
        prometheus=prometheus.url,
        interval_seconds=0.01,
    )
    assert (found["outcome"], found["changed"]) == (outcome, False)
    assert found["verdict"]["new"]["errors"] == failing * len(found["verdict"]["path"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prometheus": "http://127.0.0.1:1", "service": "gym-api"}, "http://127.0.0.1:1 does not answer"),
        ({"prometheus": "http://127.0.0.1:1", "service": "x", "policy": {"alhpa": 1}}, "Did you mean 'alpha'?"),
        ({"prometheus": "http://127.0.0.1:1"}, "missing parameter"),
        ({}, "one of the following is required: prometheus, balancer"),
    ],
)
def test_the_module_ends_with_one_sentence(options: dict[str, Any], message: str) -> None:
    found = answer(release_verdict.main, new="green", **options)
    assert found["failed"] and message in found["msg"]


class Flaky:
    """A source that cannot be read some times."""

    def __init__(self, away: range) -> None:
        self.readings, self.away = 0, away

    def read(self, ago: float = 0) -> dict[str, Counters]:
        self.readings += 1
        if self.readings in self.away:
            raise SourceError("away")
        return {"blue": Counters(1000 * self.readings, 0), "green": Counters(20 * self.readings, 0)}


def judged(flaky: Flaky) -> str:
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    return release_verdict.judge(flaky, Policy(), "green", Rhythm(clock=lambda: now[0], pause=pause)).outcome


def test_a_reading_that_fails_is_repeated() -> None:
    assert judged(Flaky(range(4, 14))) == "promote"
    with pytest.raises(SourceError):
        judged(Flaky(range(4, 40)))
