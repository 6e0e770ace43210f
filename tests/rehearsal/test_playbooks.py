"""Staging's own playbooks against an embedded cloud: exit codes, what they say, and that they keep secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ansible_collections.gym.platform.plugins.module_utils.embedded_cloud import ask
from ansible_collections.gym.platform.plugins.module_utils.secret_store import SecretStore
from ansible_collections.gym.platform.tests.unit.aws_pricing import usd

from tests.project import ROOT
from tests.rehearsal.runs import PLANTED, Runs


def reports(kind: str = "*") -> set[Path]:
    """List staging's reports, those of earlier runs as well: a playbook writes them beside the others."""
    return {path for path in (ROOT / "reports/staging").glob(f"{kind}/**/*") if path.is_file()}


@pytest.fixture(scope="module")
def runs(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(endpoint, tmp_path_factory.mktemp("runs"))


def test_check_mode_plans_and_changes_nothing(runs: Runs) -> None:
    run = runs("provision", "--check", "--diff")
    assert run.returncode == 0, run.stdout
    assert "+ Vpc  AWS::EC2::VPC" in run.stdout
    assert "monthly price: 0.00 -> " in run.stdout
    assert not ask(runs.endpoint, "resources")


def test_what_passes_the_budget_is_refused(runs: Runs) -> None:
    cost = yaml.safe_load((ROOT / "inventories/staging/group_vars/all/cost.yml").read_text())["cost"]
    little = runs.directory / "little.yml"
    little.write_text(yaml.safe_dump({"cost": {**cost, "monthly_budget_usd": 5}}))
    run = runs("provision", "--extra-vars", f"@{little}")
    assert run.returncode == 2
    assert "cost.monthly_budget_usd of 5.00: raise the budget" in " ".join((run.stdout + run.stderr).split())
    assert not ask(runs.endpoint, "resources")


def test_provision_applies_with_all_that_is_logged(runs: Runs) -> None:
    run = runs("provision", "-vvv")
    assert run.returncode == 0, run.stdout[-3000:]
    assert len(ask(runs.endpoint, "resources")) > 50


def test_a_second_run_changes_nothing(runs: Runs) -> None:
    run = runs("provision")
    assert run.returncode == 0
    assert "Nothing to change: everything is as described." in run.stdout
    assert "changed=0" in run.stdout
    assert "USD (+0.00), budget" in run.stdout


def test_the_plan_of_one_record_shows_what_it_does_to_the_price(runs: Runs) -> None:
    database = yaml.safe_load((ROOT / "inventories/staging/group_vars/all/database.yml").read_text())["database"]
    assert database["memory_mb"] == 4096
    smaller = runs.directory / "smaller.yml"
    smaller.write_text(yaml.safe_dump({"database": {**database, "memory_mb": 2048}}))
    run = runs("plan", "--extra-vars", f"@{smaller}")
    assert run.returncode == 0, run.stdout[-3000:]
    # A medium instance is half of a large one, and a small one a quarter; the primary has a standby.
    saved = 730 * usd("rds_instance_hour", "db.t4g") / 4
    assert f"{-2 * saved:,.2f}  database.Shard1Primary (AWS::RDS::DBInstance)" in run.stdout
    assert f"{-saved:,.2f}  database.Shard1Replica1 (AWS::RDS::DBInstance)" in run.stdout
    assert f"USD ({-3 * saved:,.2f}), budget" in run.stdout


def test_drift_ends_with_two_and_names_it(runs: Runs) -> None:
    assert runs("drift").returncode == 0
    queue = next(item for item in ask(runs.endpoint, "resources") if item["type"] == "AWS::SQS::Queue")
    change = ask(runs.endpoint, "tamper", {"stack": queue["stack"], "logical_id": queue["logical_id"]})
    run = runs("drift", "-vvv")
    assert run.returncode == 2
    assert queue["name"] in run.stdout
    assert str(change["after"]) in run.stdout
    ask(runs.endpoint, "restore")
    assert runs("drift").returncode == 0


def test_a_region_that_does_not_exist_is_told_before_any_call(runs: Runs) -> None:
    nouns = yaml.safe_load((ROOT / "inventories/staging/group_vars/all/platform.yml").read_text())
    wrong = runs.directory / "wrong.yml"
    wrong.write_text(yaml.safe_dump({"platform": {**nouns["platform"], "region": "eu-west-9"}}))
    run = runs("drift", "--extra-vars", f"@{wrong}")
    assert run.returncode == 2
    assert "There is no AWS region 'eu-west-9'; did you mean eu-west-" in run.stdout + run.stderr


def test_teardown_needs_a_confirmation(runs: Runs) -> None:
    run = runs("teardown")
    assert run.returncode == 2
    assert "confirm_destroy" in run.stdout + run.stderr
    assert len(ask(runs.endpoint, "resources")) > 50
    run = runs("teardown", "--extra-vars", '{"confirm_destroy": ["gym-staging"]}')
    assert run.returncode == 0, run.stdout[-3000:]
    assert not ask(runs.endpoint, "resources")


def test_the_cost_is_reported(runs: Runs) -> None:
    before = reports("cost")
    assert runs("cost").returncode == 0
    assert {path.suffix for path in reports("cost") - before} == {".html", ".json"}


def test_a_rehearsal_passes_with_all_that_is_logged(runs: Runs) -> None:
    """It is whole, restoration included, and its report and its log are searched with the others."""
    before = reports("rehearsal")
    run = runs("rehearse", "-vvv")
    assert run.returncode == 0, run.stdout[-3000:]
    report, page = sorted(reports("rehearsal") - before, key=lambda path: path.suffix == ".html")
    found = json.loads(report.read_text())
    assert found["passed"]
    assert {"to a point in time", "in the other region"} == set(found["restorations"])
    for restoration in found["restorations"].values():
        assert restoration["seconds"] >= restoration["seconds_until_available"] > 0
        assert restoration["put_back"]
    assert "Restored, with what of its source" in page.read_text()


def test_no_secret_is_in_a_log_or_in_a_file(runs: Runs) -> None:
    # All that is said at -vvv is among them.
    assert "task path: " in runs.logs
    assert PLANTED not in runs.logs
    built = list((runs.directory / "build").glob("*.yml"))
    assert len(built) > 8
    live = runs.directory / "live.json"
    reported = reports()
    assert {path.parent.name for path in reported} >= {"cost", "rehearsal"}
    assert not [path for path in (*built, live, *reported) if PLANTED in path.read_text()]


def test_a_secret_that_is_planted_would_be_found(runs: Runs) -> None:
    """The search above can fail: the store gives out what was planted."""
    assert SecretStore(runs.directory / "state").get("database/application") == PLANTED
