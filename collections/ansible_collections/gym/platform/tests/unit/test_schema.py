"""The schemas themselves: strict, described, and helpful."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from ansible_collections.gym.platform.plugins.module_utils import schema
from ansible_collections.gym.platform.plugins.module_utils.environment import parse


def parts(found: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(found, dict):
        yield path, found
        for key, child in found.items():
            yield from parts(child, f"{path}/{key}")


@pytest.mark.parametrize("noun", schema.schemas())
def test_schema_is_a_schema(noun: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema.schemas()[noun])


@pytest.mark.parametrize("noun", schema.nouns())
def test_schema_is_strict_and_described(noun: str) -> None:
    found = schema.schemas()[noun]
    assert found["required"] == [noun]
    assert found["description"]
    for path, part in parts(found):
        if part.get("type") == "object":
            assert "additionalProperties" in part, f"{noun}{path} allows unknown keys"
            assert part["additionalProperties"] is not True
            for key, child in part.get("properties", {}).items():
                assert key == noun or {"description", "$ref", "items", "properties"} & set(child), f"{path}/{key}"


def test_the_nearest_word_is_offered_only_when_it_is_near() -> None:
    assert schema.nearest("provder", ["provider", "region"]) == "provider"
    assert schema.nearest("zebra", ["provider", "region"]) == ""


@pytest.mark.parametrize(("value", "expected"), [("{{ x }}", True), ("x", False), (1, False), (None, False)])
def test_templates_are_told_from_text(value: Any, expected: bool) -> None:
    assert schema.is_template(value) is expected


COST = """  alert_at_percent: [80]
  off_peak: {begins: "23:00", ends: "05:00", timezone: UTC, percent: 50}
  usage: {}
"""


def test_a_misspelt_key_is_one_problem_and_the_rest_is_still_usable() -> None:
    result = schema.check("cost", parse("cost.yml", f"cost:\n  monthly_budget: 5\n{COST}"))
    (problem,) = result.problems
    assert (problem.key, problem.line) == ("cost.monthly_budget", 2)
    assert result.usable
    assert ("cost", "monthly_budget_usd") in result.misspelt


def test_a_wrong_type_makes_a_noun_unusable() -> None:
    result = schema.check("cost", parse("cost.yml", f"cost:\n  monthly_budget_usd: much\n{COST}"))
    assert not result.usable
    assert "'much'" in str(result.problems[0]) or "much is a text" in str(result.problems[0])
