"""How two environments differ."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import load
from ansible_collections.gym.platform.plugins.module_utils.environment_diff import (
    main,
    nouns,
    stacks,
    table,
    without_names,
)

COST = "inventories/{}/group_vars/all/cost.yml"


def rendered(root: Path, name: str, **resources: str) -> Path:
    directory = root / name
    directory.mkdir(parents=True)
    body = "".join(f"  {key}: {text}\n" for key, text in resources.items())
    (directory / "storage.yml").write_text(f"Resources:\n{body}")
    return directory


def test_records_that_differ_are_listed_with_both_values() -> None:
    one = {COST.format("staging"): "cost: {budget: 5, same: 1, list: [{name: a, x: 1}]}\n"}
    other = {COST.format("production"): "cost: {budget: 6, same: 1, list: [{name: a, x: 1}, {name: b, x: 2}]}\n"}
    assert nouns(one, other) == [
        ("cost.budget", "5", "6"),
        ("cost.list[b].name", "-", "b"),
        ("cost.list[b].x", "-", "2"),
    ]


def test_stacks_differ_by_resource_and_property(tmp_path: Path) -> None:
    one = rendered(tmp_path, "staging", A="{Type: AWS::S3::Bucket, Properties: {Days: 30, Name: gym-staging-a}}")
    other = rendered(
        tmp_path,
        "production",
        A="{Type: AWS::S3::Bucket, Properties: {Days: 90, Name: gym-production-a}}",
        B="{Type: AWS::SQS::Queue, Properties: {}}",
    )
    found = list(stacks(load(one), load(other), without_names(["staging", "production"])))
    assert found == [("storage", "A.Days", "30", "90"), ("storage", "B", "-", "AWS::SQS::Queue")]


def test_names_of_environments_are_no_difference() -> None:
    same = without_names(["staging", "production"])
    assert same({"a": ["gym-staging", 1]}) == same({"a": ["gym-production", 1]}) != same({"a": ["gym", 1]})


def test_columns_are_aligned() -> None:
    assert table(("A", "B"), [("long", "1"), ("x", "")]) == "A     B\nlong  1\nx"


def test_the_program_shows_records_and_stacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, days in (("staging", 30), ("production", 90)):
        directory = tmp_path / "inventories" / name / "group_vars/all"
        directory.mkdir(parents=True)
        (directory / "cost.yml").write_text(f"cost: {{days: {days}}}\n")
        rendered(tmp_path / "golden", name, A=f"{{Type: AWS::S3::Bucket, Properties: {{Days: {days}}}}}")
    inventories = tmp_path / "inventories"
    assert main(inventories / "staging", inventories / "production", tmp_path / "golden") == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["RECORD", "STAGING", "PRODUCTION"] in shown
    assert ["cost.days", "30", "90"] in shown
    assert ["storage", "1", "1", "1"] in shown
    assert ["storage", "A.Days", "30", "90"] in shown
