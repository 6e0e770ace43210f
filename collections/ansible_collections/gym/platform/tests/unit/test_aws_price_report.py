"""The price in words, as a page and as a part of a plan; and the module that prices an environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_price_report import Pricing, page, plan_price, text
from ansible_collections.gym.platform.plugins.module_utils.aws_price_usage import usage
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import parse
from ansible_collections.gym.platform.plugins.modules import aws_cost
from ansible_collections.gym.platform.tests.unit.aws_pricing import IRELAND, PLATFORM, TABLE, priced, template, usd
from ansible_collections.gym.platform.tests.unit.module_runs import answer

GATEWAY = "Resources: {Nat: {Type: AWS::EC2::NatGateway}}"
NOTHING = "Resources: {Nat: {Type: AWS::Neptune::DBCluster, Properties: {a: <b>}}}"
PRICING = Pricing(TABLE, usage({"nat_gb": 0}), IRELAND, 3, 50)
MONTHLY = round(730 * usd("nat_gateway_hour"), 2)


def stacks(**found: str) -> dict[str, Any]:
    return {name: (parse(body), {}) for name, body in found.items()}


def test_the_table_has_capabilities_savings_budget_and_what_has_no_price() -> None:
    shown = text(PRICING.of_stacks(stacks(network=GATEWAY, network_dr=GATEWAY, other=NOTHING)), 100)
    lines = shown.splitlines()
    assert lines[1].split() == ["network", f"{2 * MONTHLY:.2f}"]
    assert [line.split("  ")[0] for line in lines[3:5]] == ["all", "monthly budget"]
    assert (lines[3].split()[1], lines[4].split()[2]) == (f"{2 * MONTHLY:.2f}", "100.00")
    assert f"({2 * MONTHLY / 100:.0%} of it used)" in lines[4]
    assert "no price: other.Nat (AWS::Neptune::DBCluster): no formula for AWS::Neptune::DBCluster" in lines
    assert lines[-2] == f"List prices without tax, the oldest of {TABLE.oldest()}: {TABLE.certainty()}."


def test_the_page_is_self_contained_and_says_when_the_budget_is_passed() -> None:
    found = priced(template("A<b>: {Type: AWS::EC2::NatGateway}"))
    shown = page(found, 1, "production", "2030-01-01 00:00 UTC")
    assert 'class="over"' in shown
    assert "A&lt;b&gt;" in shown
    assert "A<b>" not in shown
    assert "src=" not in shown
    assert "href=" not in shown
    assert 'class="over"' not in page(found, 1000, "production", "")


def test_a_plan_shows_what_it_adds_and_is_refused_above_the_budget() -> None:
    after = PRICING.of_stacks(stacks(network=GATEWAY, egress=GATEWAY))
    found = plan_price(PRICING, PRICING.of_stacks(stacks(network=GATEWAY)), after, confirmed=False)
    assert found.record["difference"] == MONTHLY
    assert [(change["stack"], change["before"]) for change in found.record["changes"]] == [("egress", None)]
    assert f"+{MONTHLY:.2f}  egress.Nat (AWS::EC2::NatGateway)" in found.text
    assert [line.split() for line in found.text.splitlines()[1:3]] == [
        ["network", f"{MONTHLY:.2f}"],
        ["egress", f"{MONTHLY:.2f}", f"+{MONTHLY:.2f}"],
    ]
    assert found.record["capabilities"]["egress"] == {"before": 0, "after": MONTHLY}
    assert f"monthly price: {MONTHLY:.2f} -> {2 * MONTHLY:.2f} USD (+{MONTHLY:.2f}), budget 50.00" in found.text
    assert found.refusal is not None
    assert "confirm_over_budget" in found.refusal
    assert plan_price(PRICING, None, after, confirmed=True).refusal is None
    json.dumps(found.record)


def test_a_plan_that_makes_everything_is_all_new() -> None:
    found = plan_price(PRICING, None, PRICING.of_stacks(stacks(network=GATEWAY)), confirmed=False)
    assert found.record["before"] == 0
    assert found.refusal is None


def test_a_long_plan_shows_the_dearest_and_sums_the_rest() -> None:
    many = PRICING.of_stacks(stacks(**{f"n{number}": GATEWAY for number in range(15)}))
    lines = plan_price(PRICING, None, many, confirmed=True).text.splitlines()
    assert len(lines) == 12 + 1 + 15 + 1
    assert lines[12] == f"  … and 3 more: +{3 * MONTHLY:.2f}"


# --- the module


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "aws").mkdir()
    (tmp_path / "aws/network.yml").write_text(GATEWAY)
    return {
        "templates": str(tmp_path / "aws"),
        "prices": str(PLATFORM / "prices/aws.yml"),
        "environment": "production",
        "region": IRELAND,
        "zones": 3,
        "budget_usd": 50,
        "usage": {"nat_gb": 0},
        "reports": str(tmp_path / "reports/cost"),
    }


def test_the_module_writes_a_report_that_says_the_same(options: dict[str, Any]) -> None:
    found = answer(aws_cost.main, **options)
    assert found["changed"] is False
    assert found["monthly"] == found["capabilities"]["network"] == MONTHLY
    record, shown = (Path(file).read_text(encoding="utf-8") for file in found["files"])
    assert json.loads(record)["monthly"] == MONTHLY
    assert f"{MONTHLY:.2f} USD a month" in shown


@pytest.mark.parametrize(
    ("live", "before", "refused"),
    [
        # An environment that is not there yet, that is as described, and that gets cheaper.
        ([], 0, True),
        (["network"], MONTHLY, False),
        (["network", "egress"], 2 * MONTHLY, False),
    ],
)
def test_with_live_templates_the_module_tells_the_difference(
    options: dict[str, Any], tmp_path: Path, live: list[str], before: float, refused: bool
) -> None:
    (tmp_path / "live.json").write_text(json.dumps(dict.fromkeys(live, parse(GATEWAY))))
    found = answer(aws_cost.main, **{**options, "before": str(tmp_path / "live.json"), "budget_usd": 1})
    expected = {"before": before, "after": MONTHLY, "difference": MONTHLY - before}
    assert {key: found["plan"][key] for key in expected} == pytest.approx(expected)
    assert f"monthly price: {before:.2f} -> {MONTHLY:.2f} USD ({MONTHLY - before:+.2f})" in found["text"]
    assert bool(found["refusal"]) is refused


@pytest.mark.parametrize("content", ["no json", "[]", '{"network": {}}', '{"network": []}'])
def test_what_is_no_file_of_live_templates_is_one_sentence(
    options: dict[str, Any], tmp_path: Path, content: str
) -> None:
    (tmp_path / "live.json").write_text(content)
    found = answer(aws_cost.main, **{**options, "before": str(tmp_path / "live.json")})
    assert found["failed"]
    assert "live.json', which aws_stacks has not written: it has no templates." in found["msg"]


def test_without_them_there_is_no_plan(options: dict[str, Any]) -> None:
    assert not {"plan", "refusal"} & set(answer(aws_cost.main, **options))


def test_check_mode_writes_no_report(options: dict[str, Any]) -> None:
    found = answer(aws_cost.main, check=True, **options)
    assert found["monthly"] == MONTHLY
    assert found["files"] == []
    assert not Path(options["reports"]).exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"usage": {"nat": 1}}, "cost.usage has 'nat'"),
        ({"templates": "/nowhere"}, "has no templates"),
        ({"prices": "/nowhere/aws.yml"}, "/nowhere/aws.yml"),
    ],
)
def test_what_cannot_be_priced_is_one_sentence(options: dict[str, Any], change: dict[str, Any], complaint: str) -> None:
    found = answer(aws_cost.main, **{**options, **change})
    assert found["failed"]
    assert complaint in found["msg"]
