# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups, and the drills that prove them. Each public function is a rule of module_utils/policy.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.drill_scenarios import CONFIRMED, unattended
from ansible_collections.gym.platform.plugins.module_utils.environment import Path_
from ansible_collections.gym.platform.plugins.module_utils.policy_rule import Description, Finding, repeated

FREQUENCIES = ("hourly", "daily", "weekly")


def differential_is_between_fulls(described: Description) -> Iterator[Finding]:
    """A differential backup that is no more frequent than the full one saves nothing."""
    full, differential = described["backup"]["full"], described["backup"]["differential"]
    if FREQUENCIES.index(differential) >= FREQUENCIES.index(full):
        yield Finding(
            ("backup", "differential"),
            f"{differential} is not more often than the full backup ({full})",
            ", ".join(FREQUENCIES[: FREQUENCIES.index(full)]),
        )


def drill_begins_by_itself(described: Description) -> Iterator[Finding]:
    """A drill that cannot begin without a person, or not on this provider, would fail whenever its time has come."""
    provider = described["platform"]["provider"]
    legal = unattended(provider)
    for index, drill in enumerate(described["backup"]["drills"]):
        scenario = drill["scenario"]
        if scenario in legal:
            continue
        why = "needs a confirmation by a person" if scenario in CONFIRMED else f"cannot be practised on {provider}"
        yield Finding(
            ("backup", "drills", index, "scenario"),
            f"{scenario} {why}",
            ", ".join(legal) or "none",
            "remove it" + (", and run playbooks/dr_drill.yml by hand" if scenario in CONFIRMED else ""),
        )


def drill_has_one_period(described: Description) -> Iterator[Finding]:
    """A scenario is one timer: of two periods, one is forgotten."""
    drills = enumerate(described["backup"]["drills"])
    places: list[tuple[Path_, Any]] = [(("backup", "drills", index), drill["scenario"]) for index, drill in drills]
    for place, scenario, first in repeated(places):
        message = f"{scenario} is practised by record {int(first[-1]) + 1} of backup.drills"
        yield Finding((*place, "scenario"), message, "each scenario once", "keep one of them")
