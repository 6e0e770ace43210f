"""A drill that is declared is one that there is, with its own times, on the provider of its environment."""

from __future__ import annotations

import re

from ansible_collections.gym.platform.plugins.filter.drills import DAYS, HELP, PERIODS, TIMES
from ansible_collections.gym.platform.plugins.module_utils.drill_scenarios import SCENARIOS, unattended
from ansible_collections.gym.platform.plugins.module_utils.schema import schemas

from tests.project import ROOT, Role

ROLE = Role("dr_drill")
DECLARED = schemas()["backup"]["properties"]["backup"]["properties"]["drills"]["items"]["properties"]
SCHEDULED = Role("drill_schedule").options["drill_schedule_drills"]["options"]


def test_scenarios_are_those_of_the_role_and_of_the_noun() -> None:
    assert set(SCENARIOS["docker"]) == set(ROLE.options["dr_drill_scenario"]["choices"])
    assert set(DECLARED["scenario"]["enum"]) == set(SCENARIOS["docker"])
    assert all((ROLE.path / "tasks" / f"{scenario}.yml").is_file() for scenario in SCENARIOS["docker"])


def test_scenarios_of_aws_are_those_that_it_has() -> None:
    tasks = ROOT / "playbooks/tasks"
    refused = (tasks / "dr_drill_aws.yml").read_text(encoding="utf-8")
    assert f"dr_drill_scenario in {list(SCENARIOS['aws'])}" in refused
    assert all((tasks / "dr_drill_aws" / f"{scenario}.yml").is_file() for scenario in SCENARIOS["aws"])


def test_every_provider_is_known() -> None:
    assert list(SCENARIOS) == schemas()["platform"]["properties"]["platform"]["properties"]["provider"]["enum"]


def test_what_begins_by_itself_has_a_time() -> None:
    assert "region" not in TIMES
    assert set(TIMES) == set(unattended("docker")) == set(SCHEDULED["scenario"]["choices"])
    assert list(DAYS) == list(PERIODS) == DECLARED["every"]["enum"] == SCHEDULED["every"]["choices"]


def test_alerts_ask_for_metrics_that_are_told() -> None:
    rules = (ROOT / "roles/prometheus/files/backups.yml").read_text(encoding="utf-8")
    asked = set(re.findall(r"dr_drill_\w+", rules))
    assert asked
    assert asked <= set(HELP)
