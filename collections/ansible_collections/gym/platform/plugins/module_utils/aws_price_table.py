"""The table of AWS's list prices: prices/aws.yml, read, looked up in and written again. Pure."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

# The region of what AWS sells at one price everywhere.
GLOBAL = "global"
# A class such as db.r7g.xlarge costs twice its family's large one, and so on; AWS calls these normalization factors.
SIZES = {"nano": 0.0625, "micro": 0.125, "small": 0.25, "medium": 0.5, "large": 1.0, "xlarge": 2.0}
DISCOUNTED = "_reserved_1y"
# How sure a price is that has no `sku`: known from memory of the page that is its source, or worked out from others.
CONFIDENCE = ("recalled", "estimate")


class TableError(ValueError):
    """A table that cannot be used; the message names the figure and what is wrong with it."""


class NoFigureError(LookupError):
    """There is no figure for something; the message names it."""


@dataclasses.dataclass(frozen=True)
class Price:
    """A figure in one region: US dollars per unit, and the day on which they were the price."""

    region: str
    usd: float
    date: datetime.date
    sku: str | None = None


@dataclasses.dataclass(frozen=True)
class Figure:
    """What AWS charges for one unit of something.

    `variant` tells instance families apart. `query` is how the Price List API is asked for it, without which it is kept
    by hand and `note` says why. `confidence` is that of prices without a `sku`; an estimate has a `note` that says how.
    """

    name: str
    unit: str
    formula: str
    source: str
    confidence: str
    prices: tuple[Price, ...]
    variant: str | None = None
    query: Mapping[str, Any] | None = None
    note: str | None = None

    @property
    def title(self) -> str:
        """The name, with the variant where there are several."""
        return f"{self.name} of {self.variant}" if self.variant else self.name


@dataclasses.dataclass(frozen=True)
class Table:
    """All figures. `regions` says what the usage types of a region begin with."""

    regions: Mapping[str, str]
    figures: tuple[Figure, ...]
    header: str = ""

    @functools.cached_property
    def _by_name(self) -> dict[tuple[str, str | None], Figure]:
        return {(figure.name, figure.variant): figure for figure in self.figures}

    def figure(self, name: str, variant: str | None = None) -> Figure:
        """Return a figure. Raises NoFigureError."""
        if (name, variant) not in self._by_name:
            raise NoFigureError(f"no figure for {name}{f' of {variant}' if variant else ''}")
        return self._by_name[name, variant]

    def find(self, name: str, region: str, variant: str | None = None) -> Price:
        """Return a price in a region, or the one of all regions. Raises NoFigureError."""
        figure = self.figure(name, variant)
        prices = {price.region: price for price in figure.prices}
        if region not in prices and GLOBAL not in prices:
            raise NoFigureError(f"no figure for {figure.title} in {region}")
        return prices.get(region) or prices[GLOBAL]

    def instance(self, name: str, region: str, kind: str) -> float:
        """Return the hourly price in US dollars of an instance class, such as db.r7g.xlarge. Raises NoFigureError."""
        family, _, size = kind.rpartition(".")
        return self.find(name, region, family).usd * size_factor(size)

    def certainty(self) -> str:
        """Say how many of its prices were read from AWS's Price List API, and what the others are."""
        prices = [(figure.confidence, price) for figure in self.figures for price in figure.prices]
        unread = [confidence for confidence, price in prices if not price.sku]
        others = " and ".join(f"{unread.count(kind)} {kind}{'s' * (kind == 'estimate')}" for kind in CONFIDENCE)
        return f"{len(prices) - len(unread)} of {len(prices)} prices read from the Price List API; {others}"

    def oldest(self) -> datetime.date:
        """Return the day of the oldest price."""
        return min(price.date for figure in self.figures for price in figure.prices)


def size_factor(size: str) -> float:
    """Return how many large instances one of this size costs: large is 1, 2xlarge is 4. Raises NoFigureError."""
    if size in SIZES:
        return SIZES[size]
    count = size.removesuffix("xlarge")
    if not size.endswith("xlarge") or not count.isdigit():
        raise NoFigureError(f"no figure for the size '{size}'")
    return 2.0 * int(count)


def parse(text: str) -> Table:
    """Read the table. Raises TableError."""
    try:
        found = yaml.load(text, yaml.CSafeLoader)
        figures = tuple(_figure(record) for record in found["figures"])
        regions = {str(name): str(record["prefix"]) for name, record in found["regions"].items()}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise TableError(f"the price table cannot be read: {error!r}.") from error
    titles = [figure.title for figure in figures]
    if doubled := sorted({title for title in titles if titles.count(title) > 1}):
        raise TableError(f"the price table has {doubled[0]} twice; a figure stands there once.")
    return Table(regions, figures, text.partition("---")[0])


def _figure(record: Mapping[str, Any]) -> Figure:
    known = {field.name for field in dataclasses.fields(Figure)}
    if unknown := sorted(set(record) - known):
        raise TableError(
            f"the price table's {record.get('name')} has '{unknown[0]}'; legal: {', '.join(sorted(known))}."
        )
    prices = tuple(Price(**price) for price in record["prices"])
    for price in prices:
        if price.usd < 0 or not isinstance(price.date, datetime.date):
            raise TableError(f"the price table's {record['name']} has {price}; a price is at least 0 and has a date.")
    if not prices or (not record.get("query") and not record.get("note")):
        raise TableError(f"the price table's {record['name']} needs prices, and a query or a note why there is none.")
    if record.get("confidence") not in CONFIDENCE or (record["confidence"] == "estimate" and not record.get("note")):
        raise TableError(
            f"the price table's {record['name']} has the confidence '{record.get('confidence')}'; legal:"
            f" {', '.join(CONFIDENCE)}, and an estimate needs a note of how it was made."
        )
    return Figure(**{**record, "prices": prices})


def render(table: Table) -> str:
    """Write the table the way it is kept, so that a refresh shows nothing but new prices."""
    lines = [f"{table.header}---", "regions:"]
    lines += [f"  {region}: {{prefix: {json.dumps(prefix)}}}" for region, prefix in table.regions.items()]
    lines.append("figures:")
    for figure in table.figures:
        texts = {
            key: getattr(figure, key) for key in ("name", "variant", "unit", "formula", "source", "confidence", "note")
        }
        written = [f"{key}: {_scalar(value)}" for key, value in texts.items() if value is not None]
        if figure.query:
            written += ["query:", *(f"  {key}: {_scalar(value)}" for key, value in figure.query.items())]
        written += ["prices:", *(f"  - {{{_price(price)}}}" for price in figure.prices)]
        lines += [f"  {'- ' if index == 0 else '  '}{line}" for index, line in enumerate(written)]
    return "\n".join(lines) + "\n"


def _price(price: Price) -> str:
    usd = f"{price.usd:.10f}".rstrip("0").rstrip(".") or "0"
    sku = f", sku: {price.sku}" if price.sku else ""
    return f"region: {price.region}, usd: {usd}, date: {price.date}{sku}"


def _scalar(value: Any) -> str:
    """Write a value on one line, in quotes where YAML would take it for something else."""
    if not isinstance(value, str):
        return str(value)
    plain = yaml.safe_dump(value, width=10_000, allow_unicode=True).splitlines()[0]
    return json.dumps(value, ensure_ascii=False) if plain.startswith(("'", '"')) else plain


def with_prices(figure: Figure, new: Iterable[Price]) -> Figure:
    """Return the figure with new prices in place of those of the same regions."""
    by_region = {price.region: price for price in new}
    return dataclasses.replace(figure, prices=tuple(by_region.get(price.region, price) for price in figure.prices))
