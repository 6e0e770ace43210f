"""The real stacks of both environments are priced whole, on every kind of compute, and are within their budgets."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pytest
from ansible.template import trust_as_template
from ansible_collections.gym.platform.plugins.module_utils.aws_price import Quote
from ansible_collections.gym.platform.plugins.module_utils.aws_price_report import Pricing
from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import parse
from ansible_collections.gym.platform.plugins.module_utils.aws_price_usage import usage
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import parse as parse_template

from tests.project import ROOT, environment, roles
from tests.stacks.golden import ENVIRONMENTS, render

COMPUTE = ("ecs", "docker_hosts", "eks")
TABLE = parse((ROOT / "collections/ansible_collections/gym/platform/prices/aws.yml").read_text(encoding="utf-8"))
# Costs that no template tells, in the words of the report.
UNKNOWABLE = ("recovery points of buckets", "what is restored is billed", "container insights are billed")


@functools.cache
def noun(name: str, of: str) -> Any:
    """Return a noun of an environment."""
    templar = environment(name).templar(roles()[0], "localhost")
    return templar.template(trust_as_template(f"{{{{ {of} }}}}"))


@functools.cache
def quoted(name: str, compute: str) -> Quote:
    """Price an environment on one kind of compute."""
    platform, cost = noun(name, "platform"), noun(name, "cost")
    zones = len(platform["zones"])
    pricing = Pricing(TABLE, usage(cost.get("usage")), platform["region"], zones, cost["monthly_budget_usd"])
    stacks: Mapping[str, str] = render(name, {"platform": {**platform, "compute": compute}})
    return pricing.of_stacks({stack: (parse_template(text), {}) for stack, text in stacks.items()})


@pytest.mark.parametrize("compute", COMPUTE)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_nothing_is_without_a_price_but_what_nobody_can_know(name: str, compute: str) -> None:
    found = quoted(name, compute)
    assert len(found.resources) > 100
    assert [item for item in found.unpriced() if not item["reason"].startswith(UNKNOWABLE)] == []
    unpaid = {capability for capability, monthly in found.by_capability().items() if monthly == 0}
    assert unpaid <= {"budget"}


@pytest.mark.parametrize("compute", COMPUTE)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_is_within_its_budget(name: str, compute: str) -> None:
    assert 0 < quoted(name, compute).monthly <= noun(name, "cost")["monthly_budget_usd"]


@pytest.mark.parametrize("compute", COMPUTE)
def test_staging_costs_a_fraction_of_production(compute: str) -> None:
    assert quoted("staging", compute).monthly < quoted("production", compute).monthly / 2


@pytest.mark.parametrize("compute", COMPUTE)
def test_spot_and_the_hours_off_peak_save_something_in_production(compute: str) -> None:
    savings = quoted("production", compute).savings()
    assert savings["spot"] > 0
    assert savings["reservable"] > 0
    if compute == "ecs":
        assert savings["off_peak"] > 0
