"""Asking AWS's Price List API for the figures of the table. It needs credentials with `pricing:GetProducts`."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import (
    GLOBAL,
    Figure,
    Price,
    Table,
    with_prices,
)

# Keys of a query that are ours; the others are attributes of the product.
OURS = frozenset({"service", "scale", "term"})
RESERVED = {"1yr No Upfront": {"LeaseContractLength": "1yr", "PurchaseOption": "No Upfront"}}


class NoPriceError(LookupError):
    """The API has no price for a figure, or more than one; the message says which."""


@dataclasses.dataclass(frozen=True)
class Refreshed:
    """The new table, what changed in words, and what was kept because the API did not tell."""

    table: Table
    changes: tuple[str, ...]
    kept: tuple[str, ...]


def refresh(table: Table, client: Any, today: datetime.date) -> Refreshed:
    """Ask for every figure that has a query, in every region that it has. Raises what botocore raises."""
    figures, changes, kept = [], [], []
    for figure in table.figures:
        new = []
        for old in figure.prices if figure.query else ():
            where = f"{figure.title} in {old.region}"
            try:
                price = ask(table, figure, old.region, client, today)
            except NoPriceError as error:
                kept.append(f"{where}: {error}")
                continue
            new.append(price)
            if price.usd != old.usd:
                changes.append(f"{where}: {old.usd:.10g} -> {price.usd:.10g}")
        figures.append(with_prices(figure, new))
    return Refreshed(dataclasses.replace(table, figures=tuple(figures)), tuple(changes), tuple(kept))


def ask(table: Table, figure: Figure, region: str, client: Any, today: datetime.date) -> Price:
    """Ask for one price. Raises NoPriceError."""
    query = dict(figure.query or {})
    filters = {key: value for key, value in query.items() if key not in OURS}
    filters["usagetype"] = usage_type(table, str(query["usagetype"]), region)
    if region != GLOBAL:
        filters["regionCode"] = region
    request = [{"Type": "TERM_MATCH", "Field": key, "Value": value} for key, value in sorted(filters.items())]
    pages = client.get_paginator("get_products").paginate(ServiceCode=query["service"], Filters=request)
    products = [json.loads(text) for page in pages for text in page["PriceList"]]
    found = {price: product for product in products for price in _prices(product, query.get("term"))}
    if len(found) != 1:
        many = f"{len(found)} prices ({', '.join(f'{usd:.10g}' for usd in sorted(found))})" if found else "no price"
        raise NoPriceError(f"the Price List has {many} for {query['service']} {filters['usagetype']}")
    ((usd, product),) = found.items()
    return Price(region, round(usd * float(query.get("scale", 1)), 10), today, product["product"]["sku"])


def usage_type(table: Table, pattern: str, region: str) -> str:
    """Fill in what the usage types of a region begin with, or both regions for what is sent between them."""
    prefix = table.regions.get(region, "")
    others = [name for name in table.regions if name != region and table.regions[name]]
    peer = f"{prefix}{table.regions[others[0]]}" if others else prefix
    return pattern.format(prefix=prefix, peer=peer)


def _prices(product: Mapping[str, Any], term: str | None) -> Iterator[float]:
    """Go through the prices of a product on demand, of the first tier that costs something, or those reserved."""
    terms = product["terms"].get("Reserved" if term else "OnDemand", {})
    for offer in terms.values():
        attributes = offer.get("termAttributes", {})
        if term and any(attributes.get(key) != value for key, value in RESERVED[term].items()):
            continue
        yield from _first_tier([d for d in offer["priceDimensions"].values() if d["unit"] != "Quantity"])


def _first_tier(dimensions: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    tiers = sorted((float(d.get("beginRange") or 0), float(d["pricePerUnit"].get("USD", 0))) for d in dimensions)
    yield from [usd for _, usd in tiers if usd > 0][:1]
