"""What a rehearsal has shown, as data and as a page that needs nothing else. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.report_page import document, listed, table

SHOWN_RESOURCE = ("stack", "logical_id", "type", "physical_id", "remembered")
SHOWN_RESTORATION = ("restored_to", "seconds_until_available", "seconds", "put_back")


def record(
    environment: str, time: str, elapsed: float, steps: Sequence[Mapping[str, Any]], found: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the report. `steps` end with the first that failed; `found` is what the steps left to be told."""
    failures = [step for step in steps if not step["passed"]]
    resources = [
        {key: item[key] for key in SHOWN_RESOURCE if key in item}
        for item in sorted(found.get("resources", []), key=lambda item: (item["stack"], item["logical_id"]))
    ]
    return {
        "environment": environment,
        "time": time,
        "elapsed_seconds": round(elapsed, 1),
        **found,
        "passed": bool(steps) and not failures,
        "steps": list(steps),
        "resources": resources,
        "restorations": {
            what: {key: result[key] for key in SHOWN_RESTORATION}
            for what, result in found.get("restorations", {}).items()
            if set(SHOWN_RESTORATION) <= set(result)
        },
        "remembered": sorted({item["type"] for item in resources if item.get("remembered")}),
    }


def page(report: Mapping[str, Any]) -> str:
    """Return the report as HTML without scripts, pictures or links."""
    outcome = "passed" if report["passed"] else "failed"
    title = f"Rehearsal of {report['environment']}"
    stacks = Counter(item["stack"] for item in report["resources"])
    seconds = report.get("stack_seconds", {})
    parts = [
        f"<h1>{escape(title)}: <span class={outcome}>{outcome}</span></h1>",
        f"<p>{escape(report['time'])}, {report['elapsed_seconds']:.1f} s, {len(report['resources'])} resources of "
        f"{len({item['type'] for item in report['resources']})} types in {len(stacks)} stacks, on an embedded cloud. "
        "It proves the order, the templates and the playbooks; values of services are proven by the linters.</p>",
        table("What was done", ("step", "seconds", "outcome"), [_step(step) for step in report["steps"]]),
        table(
            "Stacks",
            ("stack", "resources", "seconds to apply"),
            [(name, count, float(seconds.get(name, 0))) for name, count in sorted(stacks.items())],
        ),
        table(
            "Restored, with what of its source an instance had to be given again",
            ("database", "seconds until available", "seconds until as its source", "given again"),
            [
                (what, float(item["seconds_until_available"]), float(item["seconds"]), ", ".join(item["put_back"]))
                for what, item in report["restorations"].items()
            ],
        ),
        _price(report.get("price") or {}),
        _posture(report.get("posture") or {}),
        listed("Only remembered: validated against AWS's schema, without a service behind them", report["remembered"]),
        listed("Not compared: the embedded cloud keeps nothing that could drift", report.get("unreadable", [])),
        table(
            "Changed behind the stacks' backs, and found",
            ("resource", "type", "field", "before", "after"),
            [
                (item["name"], item["type"], item["path"], str(item["before"]), str(item["after"]))
                for item in report.get("edits", [])
            ],
        ),
        listed("Kept when everything was deleted", _kept(report.get("kept", {}))),
        *(_resources(name, report["resources"]) for name in sorted(stacks)),
    ]
    return document(title, parts)


def _step(step: Mapping[str, Any]) -> tuple[str, float, str]:
    return str(step["name"]), float(step["seconds"]), "passed" if step["passed"] else str(step.get("message", "failed"))


def _price(price: Mapping[str, Any]) -> str:
    if not price:
        return ""
    rows = [(name, float(usd)) for name, usd in price["capabilities"].items()]
    return table("Price of a month, US dollars", ("capability", "USD"), [*rows, ("all", float(price["monthly"]))])


def _posture(posture: Mapping[str, Any]) -> str:
    if not posture:
        return ""
    findings = [
        (item["check"], item["resource"], item["name"], item["reason"] or "none") for item in posture.get("failed", [])
    ]
    head = f"<h2>Posture</h2><p>checkov: {posture.get('passed', 0)} checks passed, {len(findings)} failed.</p>"
    return head + table("", ("check", "resource", "what it wants", "why that is accepted"), findings)


def _kept(kept: Mapping[str, Iterable[str]]) -> list[str]:
    return [f"{stack}.{logical_id}" for stack, names in sorted(kept.items()) for logical_id in names]


def _resources(stack: str, resources: Iterable[Mapping[str, Any]]) -> str:
    rows = [(item["logical_id"], item["type"], item["physical_id"]) for item in resources if item["stack"] == stack]
    return f"<details><summary>{escape(stack)}</summary>{table('', ('logical id', 'type', 'id'), rows)}</details>"
