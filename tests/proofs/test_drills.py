"""Every disaster that is practised on the platform costs what it may, and leaves the platform as it was.

Failovers have a file of their own. Sabotage that a drill has to find is planted here, too, and taken back.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.platform_access import ROOT, leader, on_host, sql, wait_for
from tests.proofs.conftest import Say
from tests.proofs.playbook_runs import Outcome, interrupt, playbook, run

REPORTS = ROOT / "reports" / "development" / "dr_drill"
NOT_FIT, FAILED = 2, 5
RECOVERY_POINT_SECONDS = 60.0


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """A drill leaves neither its schema nor a restored database."""
    yield
    host = wait_for(leader, 60, "a database host accepts writes")
    assert sql(host, "select count(*) from pg_namespace where nspname = 'drill'") == "0"
    assert on_host("backup-1", "systemctl", "is-active", "database-restore@drill", check=False) != "active"


def drill(scenario: str, *options: str) -> tuple[Outcome, dict[str, Any]]:
    """Practise, and return how the run ended and its report; an empty one when none was written."""
    before = set(REPORTS.glob("*Z.json"))
    outcome = run(playbook("dr_drill", "-e", f"drill_scenario={scenario}", *options))
    new = set(REPORTS.glob("*Z.json")) - before
    return outcome, json.loads(new.pop().read_text(encoding="utf-8")) if new else {}


def passed(scenario: str, say: Say, *options: str) -> dict[str, Any]:
    """Practise, and return the report of a drill that has passed."""
    outcome, report = drill(scenario, *options)
    assert outcome.code == 0, outcome.text[-3000:]
    assert report["passed"]
    say(report["sentence"])
    return report


def lossless(scenario: str, say: Say) -> dict[str, Any]:
    """Practise what may cost no acknowledged write, and return the report."""
    report = passed(scenario, say)
    assert report["rows_found"] == report["rows_expected"] > 50
    assert all(tenant["whole"] for tenant in report["tenants"].values())
    return report


def test_a_lost_primary_of_the_cache_costs_nothing_that_a_replica_had(say: Say) -> None:
    assert lossless("cache", say)["rto_seconds"] > 0


def test_a_restoration_to_a_moment_has_all_from_before_and_none_from_after(say: Say) -> None:
    report = lossless("restore", say)
    assert (report["lost_count"], report["surplus_count"], report["rpo_seconds"]) == (0, 0, 0.0)
    assert report["outages"] == [], "the live database notices nothing"


def test_rows_that_were_deleted_are_put_back_while_others_write(say: Say) -> None:
    report = lossless("corruption", say)
    (restored,) = report["restored"]
    assert (restored["lost_count"], restored["surplus_count"]) == (0, 0)
    assert 0 < restored["rows_expected"] < report["rows_expected"]
    assert report["outages"] == []


def test_a_lost_object_store_is_not_noticed_by_clients(say: Say) -> None:
    assert lossless("object_store", say)["outages"] == []


def test_a_lost_region_costs_a_minute_and_can_be_lost_again(say: Say) -> None:
    """The platform is rebuilt in the other region and comes back; what it has there then is whole."""
    report = passed("region", say, "-e", "drill_confirm=development")
    assert report["rpo_seconds"] <= RECOVERY_POINT_SECONDS
    assert report["rto_seconds"] > 0
    # A backup of the life before, and WAL of this one, would not do.
    options = ["-e", "restore_name=proof", "-e", "restore_port=5438", "-e", "restore_repository=2"]
    try:
        outcome = run(playbook("restore", *options))
        assert outcome.code == 0, outcome.text[-3000:]
    finally:
        assert run(playbook("restore", *options, "-e", "restore_state=absent")).code == 0


def test_a_drill_that_is_killed_is_ended_by_the_next_one(say: Say, tmp_path: Path) -> None:
    before, lost = set(REPORTS.glob("*Z.json")), leader()
    command = playbook("dr_drill", "-e", "drill_scenario=failover")
    interrupt(command, tmp_path / "log", lambda said: " s  Kill the leader" in said, signal.SIGKILL)
    outcome = run(playbook("dr_drill", "-e", "drill_scenario=restore"))
    assert outcome.code == 0, outcome.text[-3000:]
    killed, restored = (json.loads(path.read_text()) for path in sorted(set(REPORTS.glob("*Z.json")) - before))
    assert f"`systemctl start patroni` on {lost} has taken back what it had done." in killed["sentence"]
    assert (killed["passed"], killed["killed"], killed["rto_seconds"]) == (False, True, None)
    assert killed["rows_found"] == killed["rows_expected"] > 0
    assert (restored["scenario"], restored["passed"]) == ("restore", True)
    assert not list(REPORTS.glob("*.open.json"))
    say(killed["sentence"])


def test_a_database_without_a_replica_that_could_take_over_is_not_fit() -> None:
    replicas = [host for host in ("db-1", "db-2", "db-3") if host != leader()]
    try:
        for host in replicas:
            on_host(host, "systemctl", "stop", "patroni")
        outcome, report = drill("failover")
    finally:
        for host in replicas:
            on_host(host, "systemctl", "start", "patroni")
    assert (outcome.code, report) == (NOT_FIT, {})
    assert "This environment is not fit for a drill" in outcome.text
    wait_for(
        lambda: on_host(leader(), "patronictl", "-c", "/etc/patroni/config.yml", "list").count("running") == 3,
        120,
        "all members run",
    )


def test_an_environment_whose_backups_are_old_is_not_fit() -> None:
    outcome, report = drill("restore", "-e", '{"dr_drill_backup_age_seconds": 0}')
    assert (outcome.code, report) == (NOT_FIT, {})
    assert "its newest backup is" in outcome.text
