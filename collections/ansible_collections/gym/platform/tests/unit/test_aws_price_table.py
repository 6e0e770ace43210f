"""The table of prices: its form, its look-ups, and that writing it again changes nothing."""

from __future__ import annotations

import dataclasses
import datetime
import re

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import (
    NoFigureError,
    Price,
    TableError,
    parse,
    render,
    size_factor,
    with_prices,
)
from ansible_collections.gym.platform.tests.unit.aws_pricing import FRANKFURT, IRELAND, TABLE, TEXT


def test_the_table_is_written_as_a_refresh_writes_it() -> None:
    assert render(TABLE) == TEXT
    assert render(parse(render(TABLE))) == TEXT


def test_every_figure_says_where_it_is_from() -> None:
    for figure in TABLE.figures:
        assert re.match(r"https://aws\.amazon\.com/\S+pricing\S*|https://aws\.amazon\.com/ec2/spot", figure.source)
        assert figure.formula
        assert figure.unit


def test_a_figure_that_was_worked_out_is_an_estimate() -> None:
    for figure in TABLE.figures:
        if figure.name.startswith(("redis", "valkey")) and figure.name.endswith("_reserved_1y"):
            assert figure.confidence == "estimate"


def test_the_table_says_what_it_was_read_from() -> None:
    figure = TABLE.figure("nat_gateway_hour")
    read = [dataclasses.replace(price, sku="ABC") for price in figure.prices]
    table = dataclasses.replace(TABLE, figures=(dataclasses.replace(figure, prices=tuple(read)), *TABLE.figures[1:3]))
    assert table.certainty() == "2 of 6 prices read from the Price List API; 4 recalled and 0 estimates"


def test_both_regions_have_every_figure() -> None:
    for figure in TABLE.figures:
        regions = {price.region for price in figure.prices}
        assert regions == {"global"} or {IRELAND, FRANKFURT} <= regions, figure.title


def test_reserving_and_spot_are_cheaper_everywhere() -> None:
    compared = 0
    for figure in TABLE.figures:
        demand = figure.name.replace("_reserved_1y", "").replace("_spot", "")
        if demand == figure.name or demand == "ec2":
            continue
        for price in figure.prices:
            assert price.usd < TABLE.find(demand, price.region, figure.variant).usd
            compared += 1
    assert compared > 20


def test_a_class_is_priced_by_its_family() -> None:
    large = TABLE.instance("rds_instance_hour", IRELAND, "db.r6g.large")
    assert TABLE.instance("rds_instance_hour", IRELAND, "db.r6g.4xlarge") == pytest.approx(8 * large)
    micro = TABLE.instance("rds_instance_hour", IRELAND, "db.t4g.micro")
    assert micro == pytest.approx(TABLE.instance("rds_instance_hour", IRELAND, "db.t4g.large") / 8)


@pytest.mark.parametrize(("size", "factor"), [("micro", 0.125), ("large", 1), ("xlarge", 2), ("2xlarge", 4)])
def test_sizes_double(size: str, factor: float) -> None:
    assert size_factor(size) == factor


@pytest.mark.parametrize(
    ("name", "region", "kind"),
    [
        ("rds_instance_hour", IRELAND, "db.x2g.large"),
        ("rds_instance_hour", "ap-south-1", "db.r6g.large"),
        ("rds_instance_hour", IRELAND, "db.r6g.metal"),
        ("no_such_figure", IRELAND, "db.r6g.large"),
    ],
)
def test_what_is_not_there_is_named(name: str, region: str, kind: str) -> None:
    with pytest.raises(NoFigureError, match=r"db\.x2g|ap-south-1|metal|no_such_figure"):
        TABLE.instance(name, region, kind)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("unit: hour", "unti: hour", "unti"),
        (r"usd: [\d.]+", "usd: -1", "at least 0"),
        (r"date: [\d-]+", "date: soon", "has a date"),
        ("name: nat_gateway_gb", "name: nat_gateway_hour", "nat_gateway_hour twice"),
        ("confidence: recalled", "confidence: sure", "the confidence 'sure'; legal: recalled, estimate"),
        ("confidence: recalled\n    query", "confidence: estimate\n    query", "an estimate needs a note"),
        ("figures:", "figurse:", "cannot be read"),
    ],
)
def test_a_broken_table_is_refused(before: str, after: str, complaint: str) -> None:
    text = re.sub(before, after, TEXT, count=1)
    assert text != TEXT
    with pytest.raises(TableError, match=complaint):
        parse(text)


def test_a_new_price_replaces_that_of_its_region_only() -> None:
    figure = TABLE.figure("nat_gateway_hour")
    new = Price(IRELAND, 0.05, datetime.date(2030, 1, 1), "ABC")
    changed = with_prices(figure, [new, Price("mars-north-1", 1.0, new.date)])
    assert changed.prices == (new, figure.prices[1])
