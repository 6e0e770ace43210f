"""What a release registers on ECS is what was reviewed."""

from __future__ import annotations

import pytest

from tests.ecs.golden import ENVIRONMENTS, GOLDEN, text


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_task_definitions_and_schedules_are_the_reviewed_ones(name: str) -> None:
    assert text(name) == (GOLDEN / f"{name}.json").read_text(encoding="utf-8"), "run `make golden` and look at it"
