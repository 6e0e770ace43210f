"""The monthly price of an environment on AWS, from its rendered templates: by capability, by resource, line by line.

Pure: no account is asked. What has no price in the table is named, with the reason, and never counted as nothing.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_price_schedule import ScheduleError
from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import NoFigureError, Table
from ansible_collections.gym.platform.plugins.module_utils.aws_price_template import Resource, Template, Unknown
from ansible_collections.gym.platform.plugins.module_utils.aws_price_usage import HOURS_PER_MONTH, Usage

# Differences below a cent are rounding.
CENT = 0.01


@dataclasses.dataclass(frozen=True)
class Line:
    """One thing that AWS charges for. Amounts are US dollars a month, `usd` is the price of one `unit`.

    `spot` and `off_peak` are what it would cost more on demand and at full size all the time; `reservable` is what it
    would cost less, reserved for a year.
    """

    what: str
    quantity: float
    unit: str
    usd: float
    figure: str
    spot: float = 0.0
    off_peak: float = 0.0
    reservable: float = 0.0

    @property
    def monthly(self) -> float:
        """What it costs."""
        return self.quantity * self.usd


@dataclasses.dataclass(frozen=True)
class Unpriced:
    """Something of a resource that has no price here, and why."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Free:
    """A resource that AWS does not charge for, or charges elsewhere, and why."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Priced:
    """What one resource costs."""

    stack: str
    name: str
    type: str
    found: tuple[Line | Unpriced | Free, ...]

    @property
    def capability(self) -> str:
        """The capability that its stack belongs to: that of `storage_dr` is `storage`."""
        return self.stack.partition("_")[0]

    @property
    def lines(self) -> list[Line]:
        """Its lines."""
        return [item for item in self.found if isinstance(item, Line)]

    @property
    def monthly(self) -> float:
        """What it costs, in US dollars a month."""
        return sum(line.monthly for line in self.lines)


def is_true(value: Any) -> bool:
    """Say whether a value of a template is true."""
    return str(value).lower() == "true"


@dataclasses.dataclass(frozen=True)
class At:
    """A resource, where it stands, and the figures and assumptions that price it."""

    resource: Resource
    template: Template
    templates: Sequence[Template]
    table: Table
    usage: Usage
    zones: int

    def get(self, name: str, default: Any = None) -> Any:
        """Return a property, worked out. Raises Unknown when only the stack itself will know it."""
        return self.value(self.resource, name, default)

    def value(self, resource: Resource, name: str, default: Any = None) -> Any:
        """Return a property of another resource of the same template, worked out. Raises Unknown."""
        found = resource.properties.get(name)
        worked_out = None if found is None else self.template.value(found)
        return default if worked_out is None else worked_out

    def says(self, name: str) -> bool:
        """Say whether a property is true, which templates also write as a text. Raises Unknown."""
        return is_true(self.get(name))

    def length(self, name: str) -> int:
        """Return how many entries a list has; where another stack knows them, one for each zone."""
        found = self.resource.properties.get(name)
        if isinstance(found, list):
            return len(found)
        try:
            return len(self.get(name, []))
        except Unknown:
            return self.zones

    def line(self, what: str, quantity: float, figure: str, variant: str | None = None, region: str = "") -> Line:
        """Price a quantity. Raises NoFigureError."""
        record = self.table.figure(figure, variant)
        price = self.table.find(figure, region or self.template.region, variant)
        return Line(what, quantity, record.unit, price.usd, figure)

    def hours(self, what: str, count: float, figure: str, variant: str | None = None) -> Line:
        """Price something that runs all month."""
        return self.line(what, count * HOURS_PER_MONTH, figure, variant)


Found = Iterator[Line | Unpriced | Free]
Pricer = Callable[[At], Found]


@dataclasses.dataclass(frozen=True)
class Quote:
    """The price of a set of templates."""

    resources: tuple[Priced, ...]
    oldest: datetime.date
    certainty: str

    @property
    def monthly(self) -> float:
        """The whole, in US dollars a month."""
        return sum(resource.monthly for resource in self.resources)

    def by_capability(self) -> dict[str, float]:
        """The price of each capability, in US dollars a month."""
        return {
            name: sum(resource.monthly for resource in self.resources if resource.capability == name)
            for name in dict.fromkeys(resource.capability for resource in self.resources)
        }

    def savings(self) -> dict[str, float]:
        """What Spot and off-peak schedules save already, and what reserving for a year would save more."""
        lines = [line for resource in self.resources for line in resource.lines]
        return {kind: sum(getattr(line, kind) for line in lines) for kind in ("spot", "off_peak", "reservable")}

    def unpriced(self) -> list[dict[str, str]]:
        """What has no price, and why."""
        return [
            {"stack": resource.stack, "resource": resource.name, "type": resource.type, "reason": item.reason}
            for resource in self.resources
            for item in resource.found
            if isinstance(item, Unpriced)
        ]

    def free(self) -> list[dict[str, Any]]:
        """The types that are free of charge, how many resources have them, and why."""
        found = Counter(
            (resource.type, item.reason)
            for resource in self.resources
            for item in resource.found
            if isinstance(item, Free)
        )
        return [{"type": kind, "count": count, "reason": reason} for (kind, reason), count in sorted(found.items())]

    def record(self) -> dict[str, Any]:
        """The quote as plain data, for a report."""
        return {
            "currency": "USD",
            "monthly": round(self.monthly, 2),
            "capabilities": {name: round(monthly, 2) for name, monthly in self.by_capability().items()},
            "savings": {kind: round(monthly, 2) for kind, monthly in self.savings().items()},
            "resources": [
                {
                    "capability": resource.capability,
                    "stack": resource.stack,
                    "name": resource.name,
                    "type": resource.type,
                    "monthly": round(resource.monthly, 2),
                    "lines": [
                        {**dataclasses.asdict(line), "monthly": round(line.monthly, 4)} for line in resource.lines
                    ],
                }
                for resource in self.resources
                if resource.lines
            ],
            "unpriced": self.unpriced(),
            "free": self.free(),
            "oldest_price": self.oldest.isoformat(),
            "certainty": self.certainty,
        }


def quote(
    templates: Sequence[Template], table: Table, usage: Usage, pricers: Mapping[str, Pricer], zones: int
) -> Quote:
    """Price all resources of some templates. A list of subnets that is not known yet has one for each of `zones`."""
    return Quote(
        tuple(
            _priced(At(resource, template, templates, table, usage, zones), pricers)
            for template in templates
            for resource in template.resources.values()
        ),
        table.oldest(),
        table.certainty(),
    )


def _priced(at: At, pricers: Mapping[str, Pricer]) -> Priced:
    return Priced(at.template.stack, at.resource.name, at.resource.type, tuple(_found(at, pricers)))


def _found(at: At, pricers: Mapping[str, Pricer]) -> Found:
    """Price a resource; what was priced before something turned out to be unknown stays priced."""
    if at.resource.type not in pricers:
        yield Unpriced(f"no formula for {at.resource.type}")
        return
    try:
        yield from pricers[at.resource.type](at)
    except Unknown as error:
        yield Unpriced(f"{error} is not known before the stack exists")
    except (NoFigureError, ScheduleError) as error:
        yield Unpriced(str(error))


@dataclasses.dataclass(frozen=True)
class Change:
    """A resource whose price differs, in US dollars a month; None where there is no such resource."""

    stack: str
    name: str
    type: str
    before: float | None
    after: float | None

    @property
    def difference(self) -> float:
        """What it costs more, or less."""
        return (self.after or 0.0) - (self.before or 0.0)


def changes(before: Quote, after: Quote) -> list[Change]:
    """Compare two quotes, the dearest difference first. What costs the same, to the cent, is left out."""
    sides = [{(r.stack, r.name, r.type): r.monthly for r in side.resources} for side in (before, after)]
    found = [Change(*key, sides[0].get(key), sides[1].get(key)) for key in dict.fromkeys([*sides[0], *sides[1]])]
    return sorted((c for c in found if abs(c.difference) >= CENT), key=lambda c: -abs(c.difference))


def refusal(before: float | None, after: float, budget: float, confirmed: bool) -> str | None:
    """Say in one sentence why a plan may not be applied: it passes the budget and nobody confirmed it. Else None.

    All in US dollars a month. `before` is None where nothing is there yet. A plan that makes an environment cheaper is
    never refused, even if it is still above its budget.
    """
    dearer = before is None or after - before >= CENT
    if confirmed or not dearer or after - budget < CENT:
        return None
    return (
        f"The plan brings the environment to {after:,.2f} USD a month, {after - budget:,.2f} above its budget"
        f" cost.monthly_budget_usd of {budget:,.2f}: raise the budget, make the plan cheaper,"
        " or say confirm_over_budget: true."
    )
