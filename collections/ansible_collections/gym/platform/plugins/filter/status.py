"""Turn what the machines said about themselves into one table, and into what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = ("host", "service", "version", "colour", "traffic", "healthy", "state", "detail")
TITLES = {"colour": "COLOUR", "traffic": "TRAFFIC", "healthy": "OK"}
LONGEST_CELL = 60


def _row(host: str, item: Mapping[str, Any]) -> dict[str, str]:
    traffic = item.get("traffic")
    return {
        "host": host,
        "service": str(item["service"]),
        "version": str(item.get("version") or ""),
        "colour": str(item.get("colour") or ""),
        "traffic": "" if traffic is None else f"{traffic} %",
        "healthy": "yes" if item["healthy"] else "NO",
        "state": str(item["state"]),
        "detail": str(item.get("detail") or ""),
    }


def _silent(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a machine that told nothing."""
    if answer.get("unreachable"):
        return {"service": "machine", "healthy": False, "state": "unreachable", "detail": _first_line(answer)}
    return {"service": "machine", "healthy": False, "state": "gave no answer", "detail": _first_line(answer)}


def _first_line(answer: Mapping[str, Any]) -> str:
    lines = str(answer.get("msg") or answer.get("module_stderr") or "").strip().splitlines()
    return lines[0] if lines else ""


def _mark_live(rows: Sequence[dict[str, Any]]) -> None:
    """Put the front door's per cents on the containers that get them."""
    shares = {(row["service"], row["colour"]): row["traffic"] for row in rows if row.get("traffic") is not None}
    for row in rows:
        if row.get("kind") == "web":
            row["traffic"] = shares.get((row["of"], row["colour"]), 0)


def platform_status(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return `table` (text), `problems` (sentences) and `rows`, from each machine's answer to host_status."""
    found: list[dict[str, Any]] = []
    for host, answer in answers.items():
        observations = answer.get("observations")
        found += [{"host": host, **item} for item in (observations if observations is not None else [_silent(answer)])]
    _mark_live(found)
    rows = [_row(item["host"], item) for item in found]
    problems = [
        f"{row['host']} {row['service']} {row['colour']}".rstrip()
        + f": {row['state']}"
        + (f" ({row['detail']})" if row["detail"] else "")
        for row in rows
        if row["healthy"] == "NO"
    ]
    return {"table": _table(rows), "problems": problems, "rows": rows}


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    """Align the columns; the host is written once for all its rows, and columns that nobody fills are left out."""
    columns = [name for name in COLUMNS if any(row[name] for row in rows)]
    lines = [[TITLES.get(name, name.upper()) for name in columns]]
    before = ""
    for row in rows:
        cells = [
            row[name] if len(row[name]) <= LONGEST_CELL else row[name][: LONGEST_CELL - 1] + "…" for name in columns
        ]
        if row["host"] == before and cells:
            cells[0] = ""
        before = row["host"]
        lines.append(cells)
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name them for Ansible."""
        return {"platform_status": platform_status}
