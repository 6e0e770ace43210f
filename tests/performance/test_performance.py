"""The judgement of a load, and that nobody is loaded by accident."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.performance import target as targets
from tests.performance.run import number
from tests.performance.target import TargetError, target
from tests.performance.verdict import Limits, measured, percentile, report

LIMITS = Limits(p95_ms=500, error_percent=1)
NAMED = {
    "TARGET_URL": "https://api.example.com",
    "TARGET_TENANT": "load-gym",
    "TARGET_PASSWORD": "placeholder",
    "TARGET_KIOSK_TOKEN": "placeholder",
}


def entry(name: str, times: dict[str, int], failed: int = 0) -> dict[str, Any]:
    requests = sum(times.values())
    return {"method": "GET", "name": name, "num_requests": requests, "num_failures": failed, "response_times": times}


def judged(*entries: dict[str, Any]) -> dict[str, Any]:
    return report("development", "2026-01-31 10:00:00 UTC", 20, 30, LIMITS, entries)


def test_a_percentile_is_a_time_that_was_measured() -> None:
    times = {10.0: 94, 20.0: 1, 900.0: 5}
    assert [percentile(times, share) for share in (0.5, 0.94, 0.95, 0.951, 1)] == [10, 10, 20, 900, 900]
    assert percentile({}, 0.95) == 0


def test_routes_are_counted_together_and_alone() -> None:
    all_, routes = measured([entry("/b", {"10": 100}, failed=3), entry("/a", {"10": 50, "400": 50})])
    assert (all_.requests, all_.failed, all_.p95_ms) == (200, 3, 400)
    assert [(route.name, route.p50_ms, route.error_percent) for route in routes] == [
        ("GET /a", 10, 0),
        ("GET /b", 10, 3),
    ]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (
            [entry("/a", {"500": 1000}, failed=10)],
            "good: 1000 requests, 10 failed, 95th percentile 500 ms of at most 500",
        ),
        ([entry("/a", {"10": 949, "510": 51})], "not good enough: the 95th percentile is 510 ms and may be 500 ms."),
        ([entry("/a", {"10": 1000}, failed=11)], "not good enough: 1.10 % of the requests failed and 1 % may."),
        ([entry("/a", {"10": 199})], "not good enough: only 199 requests were made"),
        ([], "not good enough: only 0 requests were made"),
    ],
)
def test_the_outcome_is_one_sentence(entries: list[dict[str, Any]], said: str) -> None:
    found = judged(*entries)
    assert said in found["sentence"]
    assert found["passed"] == ("is good:" in found["sentence"])


def test_an_environment_elsewhere_has_to_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match="TARGET_URL, TARGET_TENANT, TARGET_PASSWORD, TARGET_KIOSK_TOKEN not set"):
        target("staging", {})
    with pytest.raises(TargetError, match=r"TARGET_URL is 'http://api\.example\.com'"):
        target("staging", NAMED | {"TARGET_URL": "http://api.example.com"})
    found = target("staging", NAMED)
    assert (found.door.address, found.door.port, found.door.name) == ("api.example.com", 443, "api.example.com")
    # What is named for another environment never sends development's load there.
    monkeypatch.setattr(targets, "STATE", tmp_path)
    for environment in targets.DOORS:
        with pytest.raises(TargetError, match=f"{environment} does not run here"):
            target(environment, NAMED)


@pytest.mark.parametrize("value", ["many", "0", "201", "nan"])
def test_a_load_is_bounded(value: str) -> None:
    assert number({}, "PERFORMANCE_USERS", 20, 1, 200) == 20
    with pytest.raises(TargetError, match=rf"PERFORMANCE_USERS is '{value}'; it is a number from 1 to 200"):
        number({"PERFORMANCE_USERS": value}, "PERFORMANCE_USERS", 20, 1, 200)
