"""The inventories are what was last reviewed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inventories.golden import ENVIRONMENTS, GOLDEN, ROOT, export, normalise


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_inventory_is_the_reviewed_one(environment: str) -> None:
    reviewed = (GOLDEN / f"{environment}.json").read_text(encoding="utf-8")
    assert export(environment) == reviewed, "run `make golden` and look at what changed"


def test_nothing_of_this_machine_is_in_it() -> None:
    for environment in ENVIRONMENTS:
        reviewed = (GOLDEN / f"{environment}.json").read_text(encoding="utf-8")
        assert str(ROOT) not in reviewed
        assert str(Path.home()) not in reviewed.replace(str(ROOT), "")


def test_order_is_no_change() -> None:
    assert normalise({"b": 1, "a": [2, 1]}) == normalise({"a": [2, 1], "b": 1}) != normalise({"a": [1, 2], "b": 1})
