"""A drill that is declared is one that there is, with its own times, on the provider of its environment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.filter.drills import DAYS, HELP, PERIODS, TIMES
from ansible_collections.gym.platform.plugins.module_utils.drill_scenarios import SCENARIOS, unattended
from ansible_collections.gym.platform.plugins.module_utils.schema import schemas

from tests.project import ROOT, Role, load

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


def steps_of(tasks: list[dict[str, Any]], directory: Path) -> Iterator[dict[str, Any]]:
    """Go through the steps of a scenario as it is meant to go, without what is done when one has failed."""
    for task in tasks:
        for section in ("block", "always"):
            yield from steps_of(task.get(section, []), directory)
        if file := task.get("ansible.builtin.import_tasks"):
            yield from steps_of(load(directory / file), directory)
        if step := task.get("gym.platform.drill_step"):
            yield step


@pytest.mark.parametrize(
    "path",
    [
        *(ROLE.path / f"tasks/{scenario}.yml" for scenario in SCENARIOS["docker"]),
        # A stand-in on AWS stays: people may have been led to it before anybody comes to take it back.
        ROOT / "playbooks/tasks/dr_drill_aws/restore.yml",
    ],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_what_a_drill_does_is_noted_before_and_taken_back_in_the_end(path: Path) -> None:
    steps = list(steps_of(load(path), path.parent))
    noted = [number for number, step in enumerate(steps) if step.get("undo")]
    taken_back = [number for number, step in enumerate(steps) if step.get("undoes")]
    hurts = [number for number, step in enumerate(steps) if step.get("disaster")]
    assert len(noted) == len(taken_back) == len(hurts) == 1, "one command takes all of it back"
    assert hurts <= noted < taken_back


def test_the_object_store_is_lost_with_all_its_servers() -> None:
    servers = [*Role("object_store").read("vars/main.yml")["__object_store_servers"], "object-store-endpoint.service"]
    killed = ROLE.read("vars/main.yml")["__dr_drill_store_units"].split()
    assert sorted(f"{name}.service" for name in killed) == sorted(servers)


def test_alerts_ask_for_metrics_that_are_told() -> None:
    rules = (ROOT / "roles/prometheus/files/backups.yml").read_text(encoding="utf-8")
    asked = set(re.findall(r"dr_drill_\w+", rules))
    assert asked
    assert asked <= set(HELP)
