"""The Price List: what is asked, what is taken from its answers, and what is kept when it does not tell."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_price_refresh import (
    NoPriceError,
    ask,
    refresh,
    usage_type,
)
from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import Price, Table, parse, with_prices
from ansible_collections.gym.platform.plugins.modules import aws_prices
from ansible_collections.gym.platform.tests.unit.aws_pricing import FRANKFURT, IRELAND, TABLE, TEXT
from ansible_collections.gym.platform.tests.unit.module_runs import answer
from botocore.stub import Stubber

TODAY = datetime.date(2030, 1, 2)


@pytest.fixture
def stub() -> Iterator[Stubber]:
    client = boto3.client("pricing", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as found:
        yield found
        found.assert_no_pending_responses()


def product(*dimensions: dict[str, str], sku: str = "SKU1", reserved: dict[str, Any] | None = None) -> str:
    """Return one product as the API writes it: a JSON text with attributes and terms."""
    demand = {f"{sku}.JRTCKXETXF": {"priceDimensions": {str(n): d for n, d in enumerate(dimensions)}}}
    terms: dict[str, Any] = {"OnDemand": demand, **({"Reserved": reserved} if reserved else {})}
    return json.dumps({"product": {"sku": sku, "attributes": {}}, "serviceCode": "X", "terms": terms})


def dimension(usd: str, begin: str = "0", unit: str = "Hrs") -> dict[str, Any]:
    return {"unit": unit, "beginRange": begin, "endRange": "Inf", "pricePerUnit": {"USD": usd}, "rateCode": "x"}


def expect(stub: Stubber, service: str, filters: dict[str, str], *products: str) -> None:
    request = [{"Type": "TERM_MATCH", "Field": key, "Value": value} for key, value in sorted(filters.items())]
    stub.add_response(
        "get_products",
        {"FormatVersion": "aws_v1", "PriceList": list(products)},
        {"ServiceCode": service, "Filters": request},
    )


def only(*names: str) -> Table:
    return dataclasses.replace(TABLE, figures=tuple(figure for figure in TABLE.figures if figure.name in names))


GATEWAY = {"operation": "NatGateway"}


def test_a_price_is_asked_for_by_usage_type_and_region(stub: Stubber) -> None:
    for region, prefix, usd in ((IRELAND, "EU", "0.0490000000"), (FRANKFURT, "EUC1", "0.0520000000")):
        filters = {**GATEWAY, "usagetype": f"{prefix}-NatGateway-Hours", "regionCode": region}
        expect(stub, "AmazonEC2", filters, product(dimension(usd), sku=f"OF{prefix}"))
    old = [Price(IRELAND, 0.048, TODAY), Price(FRANKFURT, 0.052, TODAY)]
    table = dataclasses.replace(TABLE, figures=(with_prices(TABLE.figure("nat_gateway_hour"), old),))
    found = refresh(table, stub.client, TODAY)
    assert found.table.figures[0].prices == (
        Price(IRELAND, 0.049, TODAY, "OFEU"),
        Price(FRANKFURT, 0.052, TODAY, "OFEUC1"),
    )
    assert found.changes == ("nat_gateway_hour in eu-west-1: 0.048 -> 0.049",)
    assert found.kept == ()


def test_a_price_per_request_is_scaled_and_the_free_tier_is_left_out(stub: Stubber) -> None:
    filters = {"usagetype": "EU-Requests-Tier1", "regionCode": IRELAND}
    tiers = [dimension("0.0000003", "100000000000"), dimension("0.0000004", "1000000"), dimension("0", "0")]
    expect(stub, "AWSQueueService", filters, product(*tiers))
    assert ask(TABLE, TABLE.figure("sqs_million"), IRELAND, stub.client, TODAY).usd == pytest.approx(0.4)


def test_a_reserved_price_is_that_of_a_year_with_nothing_up_front(stub: Stubber) -> None:
    def offer(length: str, option: str, usd: str) -> dict[str, Any]:
        attributes = {"LeaseContractLength": length, "PurchaseOption": option}
        quantity = dimension("999", unit="Quantity")
        return {"termAttributes": attributes, "priceDimensions": {"a": dimension(usd), "b": quantity}}

    figure = TABLE.figure("rds_instance_hour_reserved_1y", "db.r6g")
    reserved = {
        "1": offer("1yr", "No Upfront", "0.17"),
        "2": offer("3yr", "No Upfront", "0.12"),
        "3": offer("1yr", "All Upfront", "0.01"),
    }
    filters = {
        "databaseEngine": "PostgreSQL",
        "deploymentOption": "Single-AZ",
        "licenseModel": "No license required",
        "usagetype": "EU-InstanceUsage:db.r6g.large",
        "regionCode": IRELAND,
    }
    expect(stub, "AmazonRDS", filters, product(dimension("0.25"), reserved=reserved))
    assert ask(TABLE, figure, IRELAND, stub.client, TODAY).usd == 0.17


@pytest.mark.parametrize(
    ("products", "complaint"),
    [((), "no price"), ((product(dimension("1")), product(dimension("2"), sku="SKU2")), r"2 prices \(1, 2\)")],
)
def test_no_price_or_several_are_no_answer(stub: Stubber, products: tuple[str, ...], complaint: str) -> None:
    filters = {**GATEWAY, "usagetype": "EU-NatGateway-Hours", "regionCode": IRELAND}
    expect(stub, "AmazonEC2", filters, *products)
    with pytest.raises(NoPriceError, match=complaint):
        ask(TABLE, TABLE.figure("nat_gateway_hour"), IRELAND, stub.client, TODAY)


def test_what_is_not_told_is_kept_and_named(stub: Stubber) -> None:
    for prefix, region in (("EU", IRELAND), ("EUC1", FRANKFURT)):
        filters = {**GATEWAY, "usagetype": f"{prefix}-NatGateway-Hours", "regionCode": region}
        expect(stub, "AmazonEC2", filters)
    table = only("nat_gateway_hour", "savings_plan_1y")
    found = refresh(table, stub.client, TODAY)
    assert found.table == table
    assert [text.partition(":")[0] for text in found.kept] == [
        "nat_gateway_hour in eu-west-1",
        "nat_gateway_hour in eu-central-1",
    ]


def test_pages_are_followed(stub: Stubber) -> None:
    filters = {**GATEWAY, "usagetype": "EU-NatGateway-Hours", "regionCode": IRELAND}
    request = [{"Type": "TERM_MATCH", "Field": key, "Value": value} for key, value in sorted(filters.items())]
    asked = {"ServiceCode": "AmazonEC2", "Filters": request}
    stub.add_response("get_products", {"PriceList": [], "NextToken": "more"}, asked)
    stub.add_response("get_products", {"PriceList": [product(dimension("3"))]}, {**asked, "NextToken": "more"})
    assert ask(TABLE, TABLE.figure("nat_gateway_hour"), IRELAND, stub.client, TODAY).usd == 3


@pytest.mark.parametrize(
    ("pattern", "region", "expected"),
    [
        ("{prefix}X", FRANKFURT, "EUC1-X"),
        ("{prefix}X", "us-east-1", "X"),
        ("{peer}AWS-Out-Bytes", IRELAND, "EU-EUC1-AWS-Out-Bytes"),
        ("{peer}AWS-Out-Bytes", FRANKFURT, "EUC1-EU-AWS-Out-Bytes"),
    ],
)
def test_usage_types_begin_with_the_region(pattern: str, region: str, expected: str) -> None:
    assert usage_type(TABLE, pattern, region) == expected


# --- the module


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "aws.yml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_the_module_writes_what_it_was_told(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pages:
        """The API, with one price for everything."""

        def get_paginator(self, operation: str) -> Pages:
            assert operation == "get_products"
            return self

        def paginate(self, **request: Any) -> list[dict[str, Any]]:
            # A reserved price is not among the answers.
            return [{"PriceList": [product(dimension("0.5"))]}]

    monkeypatch.setattr("boto3.session.Session.client", lambda *_, **__: Pages())
    checked = answer(aws_prices.main, check=True, path=str(table))
    assert checked["changed"]
    assert table.read_text(encoding="utf-8") == TEXT
    found = answer(aws_prices.main, path=str(table))
    assert found["changes"] == checked["changes"]
    assert parse(table.read_text(encoding="utf-8")).find("nat_gateway_hour", IRELAND).usd == 0.5
    assert any(text.startswith("rds_instance_hour_reserved_1y of db.r6g in eu-west-1") for text in found["kept"])
    assert not answer(aws_prices.main, path=str(table))["changed"]


def test_without_credentials_it_is_one_sentence(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    found = answer(aws_prices.main, path=str(table))
    assert found["failed"]
    assert "There are no AWS credentials" in found["msg"]
    assert found["msg"].count("\n") == 0
