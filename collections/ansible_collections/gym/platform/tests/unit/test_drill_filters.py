"""Drills that begin by themselves: their timers, what is told of them, and when somebody is warned."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.filter.drills import (
    TIMES,
    drill_job_files,
    drill_job_units,
    drill_jobs,
    drill_metrics,
    drill_rules,
)
from ansible_collections.gym.platform.plugins.module_utils.drill_scenarios import unattended

DRILLS = [{"scenario": "restore", "every": "daily"}, {"scenario": "failover", "every": "weekly"}]
REPORT = {
    "environment": "staging",
    "scenario": "restore",
    "passed": True,
    "rto_seconds": 12.5,
    "steps": [{"ended": 1000.0}, {"ended": 1012.5}],
}


def jobs(*drills: dict[str, str]) -> dict[str, dict[str, str]]:
    return {job["scenario"]: job for job in drill_jobs(drills or DRILLS, "development")}


def test_every_scenario_is_a_job_and_those_that_are_wanted_have_a_time() -> None:
    found = jobs()
    assert set(found) == {"failover", "cache", "restore", "corruption", "object_store"}
    assert {name: job["time"] for name, job in found.items() if job["time"]} == {
        "restore": "*-*-* 05:00:00",
        "failover": "Tue *-*-* 10:00:00",
    }
    assert found["object_store"]["name"] == "dr-drill-development-object_store"


@pytest.mark.parametrize("scenario", ["region", "flood"])
def test_what_cannot_begin_by_itself_is_refused(scenario: str) -> None:
    with pytest.raises(AnsibleFilterError, match=rf"'{scenario}' cannot begin by itself. Legal: failover, cache"):
        jobs({"scenario": scenario, "every": "daily"})


def test_all_times_are_an_hour_apart_at_least() -> None:
    hours = sorted(int(time.split(":")[0]) for time in TIMES.values())
    assert len(set(hours)) == len(TIMES) == len(unattended("docker"))


def test_a_job_is_a_service_and_a_timer_and_one_that_is_not_wanted_is_neither() -> None:
    found = {file["path"].rpartition("/")[2]: file for file in drill_job_files(list(jobs().values()))}
    assert len(found) == 10
    assert found["dr-drill-development-restore.service"]["template"] == "drill.service.j2"
    assert found["dr-drill-development-restore.service"]["units"] == []
    assert found["dr-drill-development-restore.timer"]["units"] == ["dr-drill-development-restore.timer"]
    assert found["dr-drill-development-restore.timer"]["variables"]["job"]["time"] == "*-*-* 05:00:00"
    for kind in ("service", "timer"):
        gone = found[f"dr-drill-development-cache.{kind}"]
        assert (gone["state"], gone["units"], "template" in gone) == ("absent", [], False)


def test_timers_run_and_those_that_are_not_wanted_are_stopped() -> None:
    found = {unit["name"]: unit for unit in drill_job_units(list(jobs().values()))}
    assert found["dr-drill-development-restore.timer"] == {"name": "dr-drill-development-restore.timer"}
    gone = found["dr-drill-development-cache.timer"]
    assert (gone["enabled"], gone["state"]) == (False, "stopped")


def metrics(**changes: Any) -> dict[str, float]:
    lines = drill_metrics({**REPORT, **changes}).splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


LABELS = '{environment="staging",scenario="restore"}'


def test_a_drill_tells_when_it_was_whether_it_has_passed_and_what_it_cost() -> None:
    assert metrics() == {
        f"dr_drill_last_run_timestamp_seconds{LABELS}": 1012.5,
        f"dr_drill_passed{LABELS}": 1,
        f"dr_drill_rto_seconds{LABELS}": 12.5,
    }


def test_what_was_not_measured_is_not_told() -> None:
    assert metrics(passed=False, rto_seconds=None, steps=[]) == {f"dr_drill_passed{LABELS}": 0}


def test_an_alert_waits_for_twice_the_period() -> None:
    rules = {(rule["labels"]["scenario"], rule["alert"]): rule for rule in drill_rules(DRILLS)}
    assert len(rules) == 4
    last = 'dr_drill_last_run_timestamp_seconds{scenario="restore"}'
    assert rules["restore", "DrillTooOld"]["expr"] == f"time() - {last} > 172800"
    assert (rules["restore", "DrillNeverRun"]["expr"], rules["restore", "DrillNeverRun"]["for"]) == (
        f"absent({last})",
        "172800s",
    )
    assert rules["failover", "DrillTooOld"]["expr"].endswith(f"> {2 * 7 * 86400}")
