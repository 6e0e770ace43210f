"""One property of one record of production at a time: what the plan says is what the apply then does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_cloudformation import Stacks
from ansible_collections.gym.platform.plugins.module_utils.embedded_cloud import ask
from ansible_collections.gym.platform.plugins.module_utils.stack_plan import Change

from tests.rehearsal.conftest import Account
from tests.stacks.changes import Change as Edit
from tests.stacks.changes import changes, nouns_with
from tests.stacks.golden import render

# What is there of each resource: its id, and a digest of its properties.
Inventory = dict[str, tuple[str, str]]


def inventory(endpoint: str) -> Inventory:
    return {item["name"]: (item["physical_id"], item["properties"]) for item in ask(endpoint, "resources")}


def difference(before: Inventory, after: Inventory) -> set[tuple[str, str]]:
    """Say what happened to each resource, from what is there and not from what anybody reports."""
    found = {(name, "add") for name in after.keys() - before.keys()}
    found |= {(name, "delete") for name in before.keys() - after.keys()}
    for name in before.keys() & after.keys():
        if before[name][0] != after[name][0]:
            found.add((name, "replace"))
        elif before[name] != after[name]:
            found.add((name, "modify"))
    return found


def told(planned: tuple[Change, ...]) -> set[tuple[str, str]]:
    return {(change.name, "add" if change.action == "adopt" else change.action) for change in planned}


def carried_out(stacks: Stacks, endpoint: str) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Plan and apply; return what was planned and what has changed."""
    before, plan = inventory(endpoint), stacks.plan()
    outcome = stacks.apply(plan)
    assert not outcome.failed, outcome.failed
    return told(plan.changes), difference(before, inventory(endpoint))


@pytest.fixture(scope="module")
def production(endpoint: str) -> Iterator[tuple[Account, dict[str, str]]]:
    account, bodies = Account(endpoint), render("production")
    stacks = account.stacks(bodies)
    assert not stacks.apply(stacks.plan()).failed
    yield account, bodies


def test_there_are_thirty() -> None:
    assert len(changes()) >= 30


@pytest.mark.parametrize("edit", changes(), ids=str)
def test_the_plan_says_exactly_what_the_apply_does(
    production: tuple[Account, dict[str, str]], edit: Edit, endpoint: str
) -> None:
    account, bodies = production
    everything = ["gym-production"]
    planned, done = carried_out(account.stacks(render("production", nouns_with(edit)), everything), endpoint)
    assert planned
    assert planned == done
    planned_back, undone = carried_out(account.stacks(bodies, everything), endpoint)
    assert planned_back == undone
    assert account.stacks(bodies).plan().empty


def test_what_is_asserted_can_differ() -> None:
    before: Inventory = {"a": ("1", "x"), "b": ("1", "x"), "c": ("1", "x"), "d": ("1", "x")}
    after: Inventory = {"a": ("1", "y"), "b": ("2", "x"), "c": ("1", "x"), "e": ("1", "x")}
    expected: set[Any] = {("a", "modify"), ("b", "replace"), ("d", "delete"), ("e", "add")}
    assert difference(before, after) == expected
