"""The price of an environment in words, as a page, and as a part of a plan. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_price import CENT, Change, Quote, changes, quote, refusal
from ansible_collections.gym.platform.plugins.module_utils.aws_price_resources import PRICERS
from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import Table
from ansible_collections.gym.platform.plugins.module_utils.aws_price_template import Template
from ansible_collections.gym.platform.plugins.module_utils.aws_price_usage import Usage

SAVINGS = {
    "spot": "saved by Spot",
    "off_peak": "saved off peak",
    "reservable": "would be saved, reserved for a year with nothing paid up front",
}
# How many of a plan's resources are shown; the report has all.
SHOWN_CHANGES = 12


@dataclasses.dataclass(frozen=True)
class Pricing:
    """What prices the templates of one environment. `zones` is how many it spans; `budget` is US dollars a month."""

    table: Table
    usage: Usage
    region: str
    zones: int
    budget: float

    def quote(self, templates: Iterable[Template]) -> Quote:
        """Price templates."""
        return quote(list(templates), self.table, self.usage, PRICERS, self.zones)

    def of_stacks(self, stacks: Mapping[str, tuple[Mapping[str, Any], Mapping[str, str]]]) -> Quote:
        """Price stacks by name, each a parsed template and the values of its parameters."""
        return self.quote(Template.of(name, document, given, self.region) for name, (document, given) in stacks.items())


@dataclasses.dataclass(frozen=True)
class PlanPrice:
    """What a plan does to the price: as data, as text, and why it is refused, if it is."""

    record: dict[str, Any]
    text: str
    refusal: str | None


def plan_price(pricing: Pricing, before: Quote | None, after: Quote, confirmed: bool) -> PlanPrice:
    """Compare the stacks as they are with what is planned. `before` is None where there is none yet."""
    earlier = before or dataclasses.replace(after, resources=())
    found = changes(earlier, after)
    reason = refusal(None if before is None else before.monthly, after.monthly, pricing.budget, confirmed)
    record = {
        "currency": "USD",
        "before": round(earlier.monthly, 2),
        "after": round(after.monthly, 2),
        "difference": round(after.monthly - earlier.monthly, 2),
        "budget": pricing.budget,
        "capabilities": {
            name: {"before": round(was, 2), "after": round(will_be, 2)}
            for name, (was, will_be) in _by_capability(earlier, after).items()
        },
        "changes": [{**dataclasses.asdict(change), "difference": round(change.difference, 2)} for change in found],
        "unpriced": after.unpriced(),
    }
    lines = [_changed(change) for change in found[:SHOWN_CHANGES]]
    if rest := found[SHOWN_CHANGES:]:
        lines.append(f"  … and {len(rest)} more: {_signed(sum(change.difference for change in rest))}")
    lines += [
        f"{name:12}  {will_be:>12,.2f}{f'  {_signed(will_be - was)}' if abs(will_be - was) >= CENT else ''}"
        for name, (was, will_be) in _by_capability(earlier, after).items()
        if was or will_be
    ]
    lines.append(
        f"monthly price: {earlier.monthly:,.2f} -> {after.monthly:,.2f} USD"
        f" ({_signed(after.monthly - earlier.monthly)}), budget {pricing.budget:,.2f}"
    )
    if after.unpriced():
        lines.append(f"without a price, and not in it: {len(after.unpriced())}, which playbooks/cost.yml names")
    return PlanPrice(record, "\n".join(lines), reason)


def _by_capability(before: Quote, after: Quote) -> dict[str, tuple[float, float]]:
    """Return what each capability costs before and after."""
    sides = before.by_capability(), after.by_capability()
    return {name: (sides[0].get(name, 0.0), sides[1].get(name, 0.0)) for name in dict.fromkeys([*sides[0], *sides[1]])}


def _changed(change: Change) -> str:
    sign = "+" if change.before is None else "-" if change.after is None else "~"
    return f"  {sign} {_signed(change.difference):>12}  {change.stack}.{change.name} ({change.type})"


def _signed(usd: float) -> str:
    return f"{usd:+,.2f}"


def text(found: Quote, budget: float) -> str:
    """Return the price by capability as a table, with savings, budget, and what has no price."""
    rows = [(name, f"{monthly:,.2f}") for name, monthly in found.by_capability().items()]
    rows.append(("all", f"{found.monthly:,.2f}"))
    rows.append(("monthly budget", f"{budget:,.2f}{_share(found.monthly, budget)}"))
    rows += [(title, f"{found.savings()[kind]:,.2f}") for kind, title in SAVINGS.items()]
    width = max(len(name) for name, _ in rows)
    digits = max(len(amount.partition(" ")[0]) for _, amount in rows)
    lines = [f"{'':{width}}  {'USD':>{digits}} a month"]
    for name, amount in rows:
        number, space, rest = amount.partition(" ")
        lines.append(f"{name:{width}}  {number:>{digits}}{space}{rest}")
    lines += [f"no price: {_named(item)}" for item in found.unpriced()]
    lines.append(f"List prices without tax, the oldest of {found.oldest}: {found.certainty}.")
    lines.append("playbooks/refresh_prices.yml reads them anew.")
    return "\n".join(lines)


def _share(monthly: float, budget: float) -> str:
    return f" ({monthly / budget:.0%} of it used)" if budget else ""


def _named(item: Mapping[str, str]) -> str:
    return f"{item['stack']}.{item['resource']} ({item['type']}): {item['reason']}"


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #1d2530 }
table { border-collapse: collapse; width: 100%; margin: 0 0 2rem } caption { text-align: left; font-weight: 600 }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #dde3ea; vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } .over { color: #b00020 }
"""


def page(found: Quote, budget: float, environment: str, time: str) -> str:
    """Return a self-contained HTML page: capabilities, savings, every line with its figure, and what has no price."""
    title = f"What {environment} costs"
    over = ' class="over"' if found.monthly > budget else ""
    lines = [
        (resource.stack, resource.name, line.what, f"{line.quantity:,.2f} {line.unit}", f"{line.usd:.6g}", line.monthly)
        for resource in found.resources
        for line in resource.lines
    ]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p{over}>{found.monthly:,.2f} USD a month, budget {budget:,.2f}{_share(found.monthly, budget)}.</p>",
        f"<p>{escape(time)}. List prices without tax, the oldest of {found.oldest}: {escape(found.certainty)}.</p>",
        _html("By capability", ("capability", "USD a month"), list(found.by_capability().items())),
        _html("Savings", ("", "USD a month"), [(SAVINGS[kind], usd) for kind, usd in found.savings().items()]),
        _html(
            "No price",
            ("stack", "resource", "type", "why"),
            [tuple(item.values()) for item in found.unpriced()],
        ),
        _html("Every line", ("stack", "resource", "what", "quantity", "USD each", "USD a month"), lines),
        _html(
            "Free of charge",
            ("type", "count", "why"),
            [(item["type"], str(item["count"]), item["reason"]) for item in found.free()],
        ),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _html(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def cell(value: Any) -> str:
        number = isinstance(value, float)
        return f"<td{' class=n' if number else ''}>{f'{value:,.2f}' if number else escape(str(value))}</td>"

    top = "".join(f"<th{' class=n' if 'USD' in head else ''}>{escape(head)}</th>" for head in heads)
    body = "\n".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><tr>{top}</tr>\n{body}</table>"
