"""The stacks of all environments are priced whole, on every kind of compute, and are within their budgets."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_price import Quote
from ansible_collections.gym.platform.plugins.module_utils.aws_price_report import Pricing
from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import parse
from ansible_collections.gym.platform.plugins.module_utils.aws_price_usage import Usage, usage
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import parse as parse_template

from tests.project import ROOT, described, load
from tests.stacks.golden import ENVIRONMENTS, GOLDEN, STAND_IN, VARIANTS

TABLE = parse((ROOT / "collections/ansible_collections/gym/platform/prices/aws.yml").read_text(encoding="utf-8"))
# What no template tells, in the words of the report.
UNKNOWABLE = ("recovery points of buckets", "what is restored is billed", "container insights are billed")


def noun(name: str, of: str) -> Any:
    """Return a noun of an environment; a variant is production on another kind of compute."""
    return described(name if name in ENVIRONMENTS else "production", of)


@functools.cache
def quoted(name: str) -> Quote:
    """Price an environment or a variant."""
    platform, cost = noun(name, "platform"), noun(name, "cost")
    pricing = Pricing(TABLE, usage(cost["usage"]), platform["region"], len(platform["zones"]), 0)
    directories = [GOLDEN / name] if name in ENVIRONMENTS else [GOLDEN / "production", GOLDEN / name]
    files = {path.stem: path for directory in directories for path in directory.glob("*.yml")}
    return pricing.of_stacks({s: (parse_template(p.read_text(encoding="utf-8")), {}) for s, p in sorted(files.items())})


@pytest.mark.parametrize("name", [*ENVIRONMENTS, *VARIANTS])
def test_nothing_is_without_a_price_but_what_nobody_can_know(name: str) -> None:
    found = quoted(name)
    assert len(found.resources) > 100
    assert [item for item in found.unpriced() if not item["reason"].startswith(UNKNOWABLE)] == []
    free = {capability for capability, monthly in found.by_capability().items() if monthly == 0}
    assert free == ({"budget"} if (name != STAND_IN) else set())


@pytest.mark.parametrize("name", [*ENVIRONMENTS, *VARIANTS])
def test_nothing_is_charged_as_zero_without_a_reason(name: str) -> None:
    lines = [line for resource in quoted(name).resources for line in resource.lines]
    assert [line.what for line in lines if line.monthly <= 0 and "that are free" not in line.what] == []
    assert [resource.name for resource in quoted(name).resources if not resource.found] == []


def test_every_assumption_is_one_that_an_environment_may_make() -> None:
    schema = load(ROOT / "collections/ansible_collections/gym/platform/schemas/cost.yml")
    assert list(schema["properties"]["cost"]["properties"]["usage"]["properties"]) == [
        field.name for field in dataclasses.fields(Usage)
    ]


@pytest.mark.parametrize("name", [*ENVIRONMENTS, *VARIANTS])
def test_an_environment_is_within_its_budget(name: str) -> None:
    assert 0 < quoted(name).monthly <= noun(name, "cost")["monthly_budget_usd"]


def test_every_capability_is_at_least_as_dear_in_production() -> None:
    staging, production = (quoted(name).by_capability() for name in ("staging", "production"))
    assert {name for name in staging if staging[name] > production[name]} == set()
    assert sum(staging.values()) < sum(production.values())


@pytest.mark.parametrize("name", ["production", *VARIANTS])
def test_spot_saves_something_in_production_and_off_peak_where_services_are_scheduled(name: str) -> None:
    savings = quoted(name).savings()
    assert savings["spot"] > 0
    assert savings["reservable"] > 0
    if name == "production":
        assert savings["off_peak"] > 0
