"""The pages of reports: HTML that needs nothing else, no scripts, pictures or links. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{text-align:left;padding:.2rem .6rem;"
    "border-bottom:1px solid #ddd;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}"
    ".passed{color:#0a7d32}.failed{color:#b00020}.held{color:#9a6700}code{font-size:.9em;overflow-wrap:anywhere}"
    "details{margin:.3rem 0}summary{cursor:pointer}svg{width:100%;height:auto;margin:.5rem 0}"
)


def document(title: str, parts: Iterable[str]) -> str:
    """Return a page out of parts that are HTML; empty ones are left out."""
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{STYLE}</style>"
    return head + "\n".join(part for part in parts if part) + "\n</html>\n"


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table under a heading, or nothing without rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    heading = f"<h2>{escape(title)}</h2>" if title else ""
    return f"{heading}<table><tr>{head}</tr>{body}</table>"


def listed(title: str, items: Sequence[str]) -> str:
    """Return words under a heading, or nothing without any."""
    if not items:
        return ""
    return f"<h2>{escape(title)}</h2><p>{', '.join(f'<code>{escape(item)}</code>' for item in items)}</p>"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"<td class=n>{value:,.2f}</td>"
    return f"<td class=n>{value}</td>" if isinstance(value, int) else f"<td><code>{escape(str(value))}</code></td>"
