"""Every role keeps the contracts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.gym.platform.plugins.module_utils import schema

from tests.contracts import rules
from tests.project import ROOT, Environment, Role, environment, flat, load, placements, plays, roles

OF_ONE_ROLE: list[Callable[[Role], Iterator[str]]] = [
    rules.files_are_complete,
    rules.options_are_described,
    rules.defaults_are_the_documented_ones,
    rules.readme_is_current,
    rules.variables_have_the_prefix,
    rules.files_are_short,
    rules.commands_are_justified,
    rules.tasks_have_no_jinja_blocks,
    rules.what_may_be_away_is_not_fatal,
]


def named(value: Any) -> str:
    return str(getattr(value, "name", None) or getattr(value, "__name__", value))


@pytest.mark.parametrize("rule", OF_ONE_ROLE, ids=named)
@pytest.mark.parametrize("role", roles(), ids=named)
def test_role_keeps(role: Role, rule: Callable[[Role], Iterator[str]]) -> None:
    broken = list(rule(role))
    assert not broken, rule.__doc__


@pytest.mark.parametrize("role", roles(), ids=named)
def test_role_reads_only_its_own_variables(role: Role) -> None:
    assert not list(rules.roles_read_their_own(role, roles(), schema.nouns()))


ON_MACHINES = [role for role in roles() if "main" in role.entries]
# Entries that work on the controller alone.
ON_THE_CONTROLLER = [(role, entry) for role in roles() for entry in ("declare", "release") if entry in role.entries]


# What works on the controller has nothing to converge: tests/stacks and the scenarios of releases prove it.
@pytest.mark.parametrize("role", ON_MACHINES, ids=named)
def test_role_has_a_scenario(role: Role) -> None:
    assert not list(rules.scenario_is_there(role, ROOT / "molecule"))


@pytest.mark.parametrize("role", roles(), ids=named)
def test_role_is_applied_somewhere(role: Role) -> None:
    for entry in role.entries:
        assert placements(entry).get(role.name), f"no playbook applies {role.name}'s {entry}"


@pytest.mark.parametrize("role", ON_MACHINES, ids=named)
def test_what_wiring_hands_over_is_what_the_role_takes(role: Role) -> None:
    """The role's own argument specification, on the variables that it gets on each host, without the host."""
    for host in environment().hosts(role.name):
        assert not refused(role, "main", environment(), host)


@pytest.mark.parametrize("name", ["staging", "production"])
@pytest.mark.parametrize(("role", "entry"), ON_THE_CONTROLLER, ids=named)
def test_what_wiring_hands_over_is_what_the_controller_takes(role: Role, entry: str, name: str) -> None:
    assert not refused(role, entry, environment(name), "localhost")


def refused(role: Role, entry: str, known: Environment, host: str) -> list[str]:
    """Validate the variables that an entry of a role gets on a host."""
    options = role.entries[entry]
    templar = known.templar(role, host)
    given = {name: templar.template(templar.available_variables[name]) for name in options
             if name in templar.available_variables}  # fmt: skip
    return list(ArgumentSpecValidator(options).validate(given).error_messages)


def all_tasks() -> list[dict[str, Any]]:
    found = [task for role in roles() for _, task in role.tasks()]
    for _, play in plays():
        for section in ("pre_tasks", "tasks", "post_tasks", "handlers"):
            found += flat(play.get(section) or [])
    return found


@pytest.mark.parametrize(("keyword", "most"), [("set_fact", 0.02), ("when", 0.35)])
def test_state_and_branches_are_rare(keyword: str, most: float) -> None:
    assert rules.share(all_tasks(), keyword) <= most


def test_wiring_sets_options_of_roles_only_and_each_once() -> None:
    files = [load(path) for path in sorted((ROOT / "group_vars/all/wiring").iterdir())]
    names = [name for file in files for name in file]
    assert not list(rules.wiring_is_for_roles(names, roles()))
    assert len(names) == len(set(names)), sorted(name for name in set(names) if names.count(name) > 1)
