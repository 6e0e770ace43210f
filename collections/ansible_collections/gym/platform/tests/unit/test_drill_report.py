"""A drill passes only when everything that the policy asks for was measured."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.action.drill_report import past
from ansible_collections.gym.platform.plugins.module_utils.drill_book import Step
from ansible_collections.gym.platform.plugins.module_utils.drill_journal import Attempt
from ansible_collections.gym.platform.plugins.module_utils.drill_measure import Measurement, Outage, Tenant
from ansible_collections.gym.platform.plugins.module_utils.drill_report import (
    Policy,
    page,
    reasons,
    record,
    timeline,
    trend,
)

POLICY = Policy(rto_seconds=60, rpo_seconds=30, lossless=True)
TOLERANT = dataclasses.replace(POLICY, lossless=False)
GOOD = Measurement(
    rto_seconds=20.5,
    rpo_seconds=0.0,
    rows_expected=200,
    rows_found=200,
    lost=[],
    surplus=[],
    unacknowledged=1,
    longest_gap_seconds=20.6,
    outages=[Outage(100.0, 120.5, 180)],
    tenants={"north-gym": Tenant(200, 200, "a" * 64, "a" * 64)},
)
STEPS = [
    Step("Kill the leader's <processes>", "db-1", "systemctl kill --signal=KILL patroni", 100.0, 100.3, disaster=True),
    Step("Wait until clients write again", "controller", "", 100.3, 126.0),
]
ATTEMPTS = [Attempt(number, "north-gym", "p", 95.0 + number / 10, 95.05 + number / 10) for number in range(50)]
ABOUT = {"environment": "development", "scenario": "failover"}


def but(**changes: Any) -> Measurement:
    return dataclasses.replace(GOOD, **changes)


def test_what_the_policy_asks_for_passes() -> None:
    assert reasons(GOOD, POLICY) == []
    assert reasons(but(lost=[7], rpo_seconds=12.0), TOLERANT) == []


@pytest.mark.parametrize(
    ("measured", "policy", "reason"),
    [
        (but(rto_seconds=60.1), POLICY, "It took 60.1 s, and at most 60 s are allowed."),
        (but(rto_seconds=None), POLICY, "Clients could not write again."),
        (
            but(rpo_seconds=31.0, lost=[1]),
            TOLERANT,
            "writes of the last 31.0 s are lost, and at most 30 s",
        ),
        (but(lost=[3, 4, 5, 6, 7, 8]), POLICY, "6 acknowledged markers are lost, and none may be: 3, 4, 5, 6, 7, ..."),
        (but(surplus=[9]), TOLERANT, "1 markers are there that should not be: 9."),
        (but(rows_expected=0), POLICY, "No marker was acknowledged, so nothing was measured."),
    ],
)
def test_everything_else_fails_with_a_reason(measured: Measurement, policy: Policy, reason: str) -> None:
    (found,) = reasons(measured, policy)
    assert reason in found


def test_a_step_that_failed_fails_a_drill_that_lost_nothing() -> None:
    report = record(ABOUT, GOOD, POLICY, STEPS, [], "db-1 did not come back.")
    assert (report["passed"], report["reasons"]) == (False, ["db-1 did not come back."])
    assert report["sentence"].endswith("db-1 did not come back.")


def test_of_a_drill_that_was_killed_it_is_told_what_is_known_and_nothing_else() -> None:
    why = "The drill failover of 20260101T000000Z was killed in the step 'Kill the leader'."
    # What clients were told until then looks as if all was well, or as if nothing would ever be again.
    for measured in (GOOD, but(rto_seconds=None)):
        report = record(ABOUT, measured, POLICY, STEPS, [], why, killed=True)
        assert (report["passed"], report["killed"], report["rto_seconds"]) == (False, True, None)
        assert report["reasons"] == [why]
        assert (report["rows_found"], report["rows_expected"]) == (200, 200)
        assert report["sentence"] == (
            "Failed. What the drill failover of development cost clients is not known, and 200 of 200 acknowledged"
            f" markers are there (RPO 0.0 s). {why}"
        )
        assert "not known, at most 60 s" in page(report, ATTEMPTS)
    after = record(ABOUT, GOOD, POLICY, STEPS, [report])
    assert "<code>not known</code>" in page(after, ATTEMPTS)
    lost = record(ABOUT, but(lost=[7]), POLICY, STEPS, [], why, killed=True)
    assert lost["reasons"] == [why, "1 acknowledged markers are lost, and none may be: 7."]


def test_what_was_restored_is_judged_like_what_is_live() -> None:
    report = record(ABOUT, GOOD, TOLERANT, STEPS, [], restored=[but(rows_found=199, surplus=[7])])
    assert report["reasons"] == ["In the restored database: 1 markers are there that should not be: 7."]
    assert [one["rows_found"] for one in report["restored"]] == [199]
    assert "In the restored database" in page(report, ATTEMPTS)


def test_the_report_has_the_keys_that_others_read() -> None:
    report = record(ABOUT, GOOD, POLICY, STEPS, [])
    assert report["passed"] is True
    assert (report["rto_seconds"], report["rpo_seconds"]) == (20.5, 0.0)
    assert (report["rows_expected"], report["rows_found"]) == (200, 200)
    assert report["tenants"]["north-gym"]["whole"] is True
    assert [step["seconds"] for step in report["steps"]] == [0.3, 25.7]
    assert report["time"] == "1970-01-01 00:01:40 UTC"
    json.dumps(report)


def test_the_trend_is_of_the_same_scenario_and_in_order() -> None:
    reports: list[dict[str, Any]] = [
        {"scenario": "failover", "time": "2026-02", "passed": True, "rto_seconds": 2.0},
        {"scenario": "region", "time": "2026-01", "passed": True},
        {"scenario": "failover", "time": "2026-01", "passed": False, "rto_seconds": None},
    ]
    assert [(one["time"], one["rto_seconds"]) for one in trend(reports, "failover")] == [
        ("2026-01", None),
        ("2026-02", 2.0),
    ]
    assert trend([{**reports[0], "time": f"{year}"} for year in range(1000, 1030)], "failover")[0]["time"] == "1010"


def test_past_reports_are_read_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "20260101T000000Z.json").write_text('{"scenario": "failover"}')
    (tmp_path / "20260102T000000Z.json").write_text('{"scenario": "fai')
    (tmp_path / "20260103T000000Z.writer.json").write_text('{"pid": 1}')
    (tmp_path / "20260104T000000Z.open.json").write_text('{"scenario": "failover"}')
    assert past(tmp_path) == [{"scenario": "failover"}]


def test_the_page_needs_nothing_else_and_says_everything() -> None:
    report = record(ABOUT, but(rto_seconds=None), POLICY, STEPS, [{**ABOUT, "time": "2026-01", "rto_seconds": 9.0,
                    "passed": True, "rpo_seconds": 0.0, "rows_found": 5, "rows_expected": 5}])  # fmt: skip
    html = page(report, ATTEMPTS)
    assert not re.search(r"src=|href=|<script|https?://", html)
    assert "<processes>" not in html
    for text in (
        "failed",
        "never",
        "Kill the leader&#x27;s &lt;processes&gt;",
        "9.0 s",
        "200 of 200",
        "<svg",
        "a" * 16,
    ):
        assert text in html, text


def test_the_timeline_has_a_row_for_each_step_and_a_bar_for_each_second() -> None:
    drawn = timeline(record(ABOUT, GOOD, POLICY, STEPS, [])["steps"], [*ATTEMPTS,
                     Attempt(99, "north-gym", "p", 100.5, 101.0, "gone")])  # fmt: skip
    assert drawn.count("<rect") == len(STEPS) + 6
    assert drawn.count("fill=#b00020") == 2
    assert timeline([], []) == ""
