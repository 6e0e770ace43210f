"""The picture of an environment, drawn from its inventory and from the noun `firewall`: who may reach whom.

python -m ansible_collections.gym.platform.plugins.module_utils.architecture inventories/development
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import yaml

WIDTH, HEIGHT = 230, 92
GAP_X, GAP_Y = 130, 46
MARGIN = 24
# Where a group stands: column and row. What requests pass first is on the left.
PLACES = {
    "anywhere": (0, 1),
    "edge": (1, 1),
    "app": (2, 1),
    "database": (3, 0),
    "cache": (3, 1),
    "queue": (3, 2),
    "monitoring": (1, 3),
    "registry": (3, 3),
    "object_store": (2, 3),
}
WORDS = {"anywhere": "kiosks, staff, engineers"}
# A host's group is drawn once: these are other hats of the same hosts.
HATS = {"sentinel": "cache"}
STYLE = (
    "text{font:13px sans-serif;fill:#1b1f24}.name{font-weight:bold}.port{font-size:11px;fill:#57606a}"
    ".box{fill:#f6f8fa;stroke:#57606a}.flow{stroke:#0969da;fill:none}"
    ".watch{stroke:#8c959f;stroke-dasharray:4 3;fill:none}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.port{fill:#9198a1}.box{fill:#151b23;stroke:#9198a1}}"
)


@dataclass(frozen=True)
class Arrow:
    """What one group may reach of another."""

    source: str
    target: str
    ports: tuple[str, ...]


def arrows(firewall: Sequence[Mapping[str, Any]]) -> list[Arrow]:
    """Return one arrow for each pair of groups that are drawn, with all ports between them."""
    ports: dict[tuple[str, str], list[str]] = {}
    for opening in firewall:
        target = HATS.get(opening["group"], opening["group"])
        last = f"-{opening['to_port']}" if "to_port" in opening else ""
        for name in opening["from"]:
            source = HATS.get(name, name)
            if source != target and source in PLACES and target in PLACES:
                known = ports.setdefault((source, target), [])
                port = f"{opening['port']}{last}"
                if port not in known:
                    known.append(port)
    return [Arrow(source, target, tuple(found)) for (source, target), found in ports.items()]


def corner(group: str) -> tuple[int, int]:
    """Return the upper left corner of a group's box."""
    column, row = PLACES[group]
    return MARGIN + column * (WIDTH + GAP_X), MARGIN + row * (HEIGHT + GAP_Y)


def ends(source: str, target: str) -> tuple[int, int, int, int]:
    """Return where the arrow leaves one box and meets the other: sideways, or up and down within a column."""
    (x1, y1), (x2, y2) = corner(source), corner(target)
    if x1 == x2:
        return (x1 + WIDTH // 2, y1 + (HEIGHT if y1 < y2 else 0), x2 + WIDTH // 2, y2 + (0 if y1 < y2 else HEIGHT))
    return (x1 + (WIDTH if x1 < x2 else 0), y1 + HEIGHT // 2, x2 + (0 if x1 < x2 else WIDTH), y2 + HEIGHT // 2)


def draw(hosts: Mapping[str, Sequence[str]], firewall: Sequence[Mapping[str, Any]]) -> str:
    """Return the picture as SVG. ``hosts`` gives the hosts of each group."""
    width = 2 * MARGIN + 4 * WIDTH + 3 * GAP_X
    height = 2 * MARGIN + 4 * HEIGHT + 3 * GAP_Y
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>Who may reach whom</title><style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#57606a"/></marker></defs>',
    ]
    for arrow in arrows(firewall):
        x1, y1, x2, y2 = ends(arrow.source, arrow.target)
        kind = "watch" if arrow.source == "monitoring" else "flow"
        parts.append(f'<path class="{kind}" d="M{x1} {y1}L{x2} {y2}" marker-end="url(#tip)"/>')
        if kind == "flow":
            # Not in the middle, where arrows cross.
            third = f'x="{(2 * x1 + x2) // 3}" y="{(2 * y1 + y2) // 3 - 5}"'
            parts.append(f'<text class="port" {third} text-anchor="middle">{escape(", ".join(arrow.ports))}</text>')
    for group in PLACES:
        x, y = corner(group)
        names = WORDS.get(group) or ", ".join(hosts.get(group, ()))
        parts.append(f'<rect class="box" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>')
        parts.append(f'<text class="name" x="{x + 14}" y="{y + 32}">{escape(group)}</text>')
        parts.append(f'<text x="{x + 14}" y="{y + 60}">{escape(names)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def hosts_of(inventory: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the hosts of each group of the inventory's `machines`."""
    return {group: list(record.get("hosts") or {}) for group, record in inventory["machines"]["children"].items()}


def main(environment: str) -> str:
    """Draw an environment's directory."""
    directory = Path(environment)
    inventory = yaml.safe_load((directory / "hosts.yml").read_text())
    shared = yaml.safe_load((directory / "group_vars" / "all" / "00_shared" / "firewall.yml").read_text())
    return draw(hosts_of(inventory), shared["firewall"])


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1]))
