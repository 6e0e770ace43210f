"""What a drill has shown: judged against the policy, as data, and as a page with a timeline. Pure."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.drill_book import Step
from ansible_collections.gym.platform.plugins.module_utils.drill_journal import Attempt
from ansible_collections.gym.platform.plugins.module_utils.drill_measure import Measurement
from ansible_collections.gym.platform.plugins.module_utils.report_page import document, table

# So many numbers of markers are told one by one; the journal beside the report has all.
MOST_NUMBERS = 100
# So many drills before this one are told.
MOST_PAST = 20
# The drawing's own units.
WIDTH, LABELS, ROW, CHART = 960, 300, 18, 70
GREEN, RED, GREY = "#0a7d32", "#b00020", "#8a8a8a"

Record = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Policy:
    """What a disaster may cost at most, and whether it may cost any acknowledged write at all."""

    rto_seconds: float
    rpo_seconds: float
    lossless: bool


def _whole(measured: Measurement, policy: Policy) -> list[str]:
    """Return what is wrong with the markers that were found."""
    found = []
    if not measured.rows_expected:
        found.append("No marker was acknowledged, so nothing was measured.")
    if measured.rpo_seconds > policy.rpo_seconds:
        lost = f"Acknowledged writes of the last {measured.rpo_seconds:.1f} s are lost"
        found.append(f"{lost}, and at most {policy.rpo_seconds:.0f} s are allowed.")
    if measured.lost and policy.lossless:
        found.append(f"{len(measured.lost)} acknowledged markers are lost, and none may be: {_some(measured.lost)}.")
    if measured.surplus:
        found.append(f"{len(measured.surplus)} markers are there that should not be: {_some(measured.surplus)}.")
    return found


def reasons(measured: Measurement, policy: Policy, failure: str = "", *, killed: bool = False) -> list[str]:
    """Return why a drill has failed; none when it has passed. Of one that was killed, no recovery time is asked for."""
    found = [failure] if failure else []
    if measured.rto_seconds is None and not killed:
        found.append("Clients could not write again.")
    elif measured.rto_seconds is not None and measured.rto_seconds > policy.rto_seconds:
        found.append(f"It took {measured.rto_seconds:.1f} s, and at most {policy.rto_seconds:.0f} s are allowed.")
    return found + _whole(measured, policy)


def _some(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")


def record(
    about: Record,
    measured: Measurement,
    policy: Policy,
    steps: Sequence[Step],
    past: Iterable[Record],
    failure: str = "",
    restored: Sequence[Measurement] = (),
    *,
    outage: bool = True,
    killed: bool = False,
) -> dict[str, Any]:
    """Return the report.

    `about` has environment and scenario, `past` the reports of earlier drills, and `restored` what was found in
    databases that were restored besides. Without an `outage`, the recovery time is that of data that were away. One
    that was `killed` has a failure that says so.
    """
    if killed:
        # Nobody watched when clients could write again.
        measured = dataclasses.replace(measured, rto_seconds=None)
    why = reasons(measured, policy, failure, killed=killed)
    for one in restored:
        why += [f"In the restored database: {reason}" for reason in _whole(one, policy)]
    rto = measured.rto_seconds
    return {
        **about,
        "passed": not why,
        "killed": killed,
        "sentence": " ".join([f"{'Failed' if why else 'Passed'}.", _sentence(about, measured, outage, killed), *why]),
        "reasons": why,
        "time": _moment(steps[0].begun) if steps else "",
        "seconds": round(steps[-1].ended - steps[0].begun, 1) if steps else 0.0,
        "rto_seconds": None if rto is None else round(rto, 3),
        **_counts(measured),
        "longest_gap_seconds": round(measured.longest_gap_seconds, 3),
        "outages": [{**dataclasses.asdict(outage), "seconds": outage.seconds} for outage in measured.outages],
        "restored": [_counts(one) for one in restored],
        "policy": dataclasses.asdict(policy),
        "steps": [{**dataclasses.asdict(step), "seconds": round(step.ended - step.begun, 2)} for step in steps],
        "trend": trend(past, str(about["scenario"])),
    }


def _sentence(about: Record, measured: Measurement, outage: bool, killed: bool) -> str:
    who, what = ("Clients", "could not write for") if outage else ("The markers", "were away for")
    rto = measured.rto_seconds
    took = f"{what} {rto:.1f} s" if rto is not None else "did not come back"
    there = f"{measured.rows_found} of {measured.rows_expected} acknowledged markers are there"
    drill = f"drill {about['scenario']} of {about['environment']}"
    cost = f"What the {drill} cost clients is not known" if killed else f"{who} {took} in the {drill}"
    return f"{cost}, and {there} (RPO {measured.rpo_seconds:.1f} s)."


def _counts(measured: Measurement) -> dict[str, Any]:
    """Return what was found of the markers."""
    return {
        "rpo_seconds": round(measured.rpo_seconds, 3),
        "rows_expected": measured.rows_expected,
        "rows_found": measured.rows_found,
        "lost": measured.lost[:MOST_NUMBERS],
        "lost_count": len(measured.lost),
        "surplus": measured.surplus[:MOST_NUMBERS],
        "surplus_count": len(measured.surplus),
        "unacknowledged": measured.unacknowledged,
        "tenants": {name: {**dataclasses.asdict(one), "whole": one.whole} for name, one in measured.tenants.items()},
    }


TREND = ("time", "passed", "killed", "rto_seconds", "rpo_seconds", "rows_expected", "rows_found")


def trend(past: Iterable[Record], scenario: str) -> list[dict[str, Any]]:
    """Return what the last drills of a scenario have shown, the oldest first."""
    same = [report for report in past if report.get("scenario") == scenario]
    told = [{key: report.get(key) for key in TREND} for report in same]
    return sorted(told, key=lambda one: str(one["time"]))[-MOST_PAST:]


def page(report: Record, attempts: Sequence[Attempt]) -> str:
    """Return the report as HTML that needs nothing else."""
    outcome = "passed" if report["passed"] else "failed"
    title = f"Drill {report['scenario']} of {report['environment']}"
    policy = report["policy"]
    facts = [
        ("time", report["time"]),
        ("recovery time", f"{_recovery(report)}, at most {policy['rto_seconds']:.0f} s"),
        ("recovery point", f"{report['rpo_seconds']:.1f} s, at most {policy['rpo_seconds']:.0f} s"),
        ("acknowledged markers", f"{report['rows_found']} of {report['rows_expected']} found"),
        ("there without an acknowledgement", str(report["unacknowledged"])),
        ("longest time without an acknowledgement", f"{report['longest_gap_seconds']:.1f} s"),
    ]
    steps = [
        (_clock(step["begun"]), step["name"], step["host"], step["command"] or "-", float(step["seconds"]),
         step["failure"] or "done")
        for step in report["steps"]
    ]  # fmt: skip
    restored = [
        (one["rows_expected"], one["rows_found"], one["lost_count"], one["surplus_count"]) for one in report["restored"]
    ]
    tenants = [
        (name, one["expected"], one["found"], one["checksum_expected"][:16], one["checksum_found"][:16])
        for name, one in report["tenants"].items()
    ]
    past = [
        (one["time"], "passed" if one["passed"] else "failed", _recovery(one),
         _seconds(one["rpo_seconds"]), f"{one['rows_found']} of {one['rows_expected']}")
        for one in report["trend"]
    ]  # fmt: skip
    return document(
        title,
        [
            f"<h1>{escape(title)}: <span class={outcome}>{outcome}</span></h1>",
            f"<p>{escape(report['sentence'])}</p>",
            table("", ("", ""), facts),
            timeline(report["steps"], attempts),
            table("Steps", ("time", "step", "where", "command", "seconds", ""), steps),
            table("Tenants", ("tenant", "expected", "found", "checksum expected", "checksum found"), tenants),
            table("In the restored database", ("expected", "found", "lost", "too many"), restored),
            table("Drills before", ("time", "result", "recovery time", "recovery point", "markers"), past),
        ],
    )


def timeline(steps: Sequence[Record], attempts: Sequence[Attempt]) -> str:
    """Draw the steps above what clients were told in each second, as SVG; nothing without attempts."""
    if not attempts:
        return ""
    begin = min(attempt.begun for attempt in attempts)
    end = max([*(attempt.ended for attempt in attempts), *(step["ended"] for step in steps)])
    scale: float = (WIDTH - LABELS - 10) / max(end - begin, 1.0)
    height = ROW * (len(steps) + 1) + CHART + ROW

    def place(at: float) -> float:
        return LABELS + (max(at, begin) - begin) * scale

    drawn = []
    for row, step in enumerate(steps):
        colour = RED if step["failure"] or step["disaster"] else GREY
        across, wide = place(step["begun"]), max(place(step["ended"]) - place(step["begun"]), 2.0)
        drawn.append(
            f"<text x=0 y={row * ROW + 12} font-size=11>{escape(step['name'][:52])}</text>"
            f"<rect x={across:.1f} y={row * ROW + 3} width={wide:.1f} height=11 fill={colour} />"
        )
    foot = ROW * len(steps) + CHART
    counts = Counter((int(attempt.ended - begin), attempt.acknowledged) for attempt in attempts)
    seconds = sorted({second for second, _ in counts})
    unit = CHART * 0.9 / max(counts[second, True] + counts[second, False] for second in seconds)
    for second in seconds:
        top = float(foot)
        # What failed stands on what was acknowledged.
        for acknowledged, colour in ((True, GREEN), (False, RED)):
            if tall := counts[second, acknowledged] * unit:
                top -= tall
                drawn.append(
                    f"<rect x={place(begin + second):.1f} y={top:.1f} width={max(scale * 0.9, 0.5):.2f}"
                    f" height={tall:.1f} fill={colour} />"
                )
    labels = f"acknowledged (green) and failed writes a second, {end - begin:.0f} s"
    return (
        f"<svg viewBox='0 0 {WIDTH} {height}' role=img aria-label='Timeline of the drill'>{''.join(drawn)}"
        f"<text x={LABELS} y={foot + 14} font-size=11>{labels}</text></svg>"
    )


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-5]


def _recovery(report: Record) -> str:
    """Return the recovery time of a report, or of what a trend has of one, in words."""
    return "not known" if report.get("killed") else _seconds(report["rto_seconds"])


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"
