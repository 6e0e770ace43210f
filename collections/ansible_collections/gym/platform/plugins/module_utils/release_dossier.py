"""The dossier of a release or rollback: everything that it can tell, as data and as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.report_page import document, table

# How a result is coloured.
CLASSES = {"live": "passed", "unchanged": "passed", "held": "held"}
# The drawing's own units.
WIDTH, HEIGHT, MARGIN = 960, 220, 40

Record = Mapping[str, Any]


def write(story: Record, directory: Path) -> list[Path]:
    """Write `<UTC time>.json` and `.html` into the directory, and return both. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    name = str(story["begun"]).replace(":", "-")
    data, shown = directory / f"{name}.json", directory / f"{name}.html"
    data.write_text(json.dumps(story, indent=2) + "\n", encoding="utf-8")
    shown.write_text(page(story), encoding="utf-8")
    return [data, shown]


def page(story: Record) -> str:
    """Return the dossier as HTML."""
    release, previous = story["release"], story["previous"]
    title = f"{story['kind'].capitalize()} of version {release['version']}"
    result = story["result"]
    facts = [
        ("who", story["who"]),
        ("began", story["begun"]),
        ("took", f"{story['seconds']:.1f} s"),
        ("target", f"{story.get('target', '')}, {story['colour']}"),
        ("digest", release["digest"]),
        ("settings", release["configuration"]),
        ("before it", f"{previous['version']} {previous['digest']}" if previous else "nothing"),
        ("exit status", str(story["exit_status"])),
    ]
    if story["way_back_seconds"] is not None:
        facts.append(("decision to old colour serving", f"{story['way_back_seconds']:.1f} s"))
    return document(
        title,
        [
            f"<h1>{escape(title)}: <span class={CLASSES.get(result, 'failed')}>{escape(result)}</span></h1>",
            f"<p>{escape(story['sentence'])}</p>",
            table("", ("", ""), facts),
            table("Steps", ("time", "step", "%", "seconds", "outcome", ""), [_step(step) for step in story["steps"]]),
            *(_judgement(judgement) for judgement in story["judgements"]),
        ],
    )


def _step(step: Record) -> tuple[Any, ...]:
    words = f"{step['action']} {step['colour']}"
    return step["time"], words, step["share"] or "", float(step["seconds"]), step["outcome"], step["detail"][-300:]


def _judgement(judgement: Record) -> str:
    head = f"<h2>Judged at {judgement.get('share', 100)} %: {escape(judgement['outcome'])}</h2>"
    head += f"<p>{escape(judgement['reason'])}</p>"
    if "new" not in judgement:
        return head
    rows = [(name, *_tally(judgement[name])) for name in ("old", "new")]
    said = judgement["rules"]
    rules = f"<p>The spec's rules by themselves: {said['outcome']}, {escape(said['reason'])}.</p>"
    figures = table("", ("colour", "requests", "errors", "error rate", "50 % within", "95 % within"), rows)
    return head + figures + rules + drawing(judgement["path"], judgement["upper"], judgement["lower"])


def _tally(tally: Record) -> tuple[Any, ...]:
    rate = f"{tally['errors'] / tally['requests']:.2%}" if tally["requests"] else "none"
    within = (
        f"{tally[key] * 1000:.0f} ms" if tally[key] is not None else "unknown" for key in ("p50_seconds", "p95_seconds")
    )
    return tally["requests"], tally["errors"], rate, *within


def drawing(path: Sequence[Record], upper: float, lower: float) -> str:
    """Draw the path of the sequential test between its two limits, as SVG; nothing without two readings."""
    if len(path) < 2:
        return ""
    times = [float(point["at"]) for point in path]
    values = [float(point["statistic"]) for point in path]
    top, bottom = max(upper, *values), min(lower, *values)

    def place(at: float, value: float) -> str:
        across = MARGIN + (at - times[0]) / max(times[-1] - times[0], 1e-9) * (WIDTH - 2 * MARGIN)
        down = MARGIN / 2 + (top - value) / max(top - bottom, 1e-9) * (HEIGHT - MARGIN)
        return f"{across:.1f},{down:.1f}"

    line = " ".join(place(at, value) for at, value in zip(times, values, strict=True))
    limits = "".join(
        f"<polyline points='{place(times[0], value)} {place(times[-1], value)}' fill=none stroke={colour} "
        f"stroke-dasharray=4 /><text x=2 y={place(times[0], value).partition(',')[2]} font-size=11>{text}</text>"
        for value, colour, text in ((upper, "#b00020", "bad"), (lower, "#0a7d32", "good"))
    )
    last = path[-1]
    label = f"{times[-1] - times[0]:.0f} s, {last['requests']} requests, {last['errors']} errors"
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img aria-label='Path of the sequential test'>{limits}"
        f"<polyline points='{line}' fill=none stroke=#1a1a1a stroke-width=1.5 />"
        f"<text x={WIDTH - MARGIN} y={HEIGHT - 4} font-size=11 text-anchor=end>{label}</text></svg>"
    )
