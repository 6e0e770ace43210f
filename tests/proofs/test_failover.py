"""The leader of the database is lost, or hands over, twenty times under load, and no client loses what it was told.

Each failover is a drill as a person runs it (`playbooks/dr_drill.yml`), with markers of its own; members check in at
the same time, through the front door. Each ends with a platform that is healthy.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.drill_journal import attempts
from ansible_collections.gym.platform.plugins.module_utils.drill_measure import longest_gap, outages

from tests.end_to_end.client import Load
from tests.end_to_end.platform_access import ROOT, Gym, open_gym, wait_for
from tests.proofs.conftest import Say
from tests.proofs.playbook_runs import playbook, run

REPORTS = ROOT / "reports" / "development"
TIMES = 20
PER_SECOND = 4.0
# A drill takes about a minute, and as long again where others work on these two cores.
AT_MOST_SECONDS = TIMES * 180.0
DELIVERED_SECONDS = 60.0
FAILOVER_SECONDS, SWITCHOVER_SECONDS = 35.0, 5.0


@pytest.fixture
def checking_in() -> Iterator[None]:
    """Check members in meanwhile; afterwards account for each check-in that was begun."""
    gym: Gym = open_gym()
    load = Load(gym.client, gym.kiosk, gym.members, PER_SECOND)
    with load.running(AT_MOST_SECONDS):
        yield
    gym.check(load.journal)
    assert len(load.acknowledged) == len(load.journal) > TIMES
    delivered = lambda: gym.delivered(load.journal) == len(load.acknowledged)  # noqa: E731 - a condition
    wait_for(delivered, DELIVERED_SECONDS, "every notification is delivered")


def newest(folder: str, kind: str) -> Path:
    """Return the newest file of a kind of report."""
    return max((REPORTS / folder).glob(f"*Z.{kind}"))


def failover(kill: str) -> dict[str, Any]:
    """Practise the loss of the leader, and return the report of a drill that has passed."""
    outcome = run(playbook("dr_drill", "-e", "drill_scenario=failover", "-e", f"drill_kill={kill}"))
    assert outcome.code == 0, outcome.failures
    report: dict[str, Any] = json.loads(newest("dr_drill", "json").read_text(encoding="utf-8"))
    return report


def told(seconds: list[float]) -> str:
    """Return what twenty times were, in one line."""
    middle, late = statistics.median(seconds), statistics.quantiles(seconds, n=20, method="inclusive")[-1]
    return f"{min(seconds):.1f} to {max(seconds):.1f} s, median {middle:.1f}, 95 % within {late:.1f}"


@pytest.mark.usefixtures("checking_in")
def test_twenty_failovers_lose_nothing_and_end_in_time(say: Say) -> None:
    # A host without power takes longer: when it led etcd, too, etcd comes first.
    reports = [failover(kill) for kill in ("processes", "host") * (TIMES // 2)]
    seconds = [report["rto_seconds"] for report in reports]
    back = [sum(step["seconds"] for step in report["steps"] if "follows" in step["name"]) for report in reports]
    markers = sum(report["rows_expected"] for report in reports)
    say(f"failovers: {told(seconds)}; {markers} markers acknowledged")
    say(f"the old leader follows, once it is started, after {told(back)}")
    assert [report["lost_count"] for report in reports] == [0] * TIMES
    assert [report["rpo_seconds"] for report in reports] == [0.0] * TIMES
    assert markers == sum(report["rows_found"] for report in reports) > 0
    assert statistics.quantiles(seconds, n=20, method="inclusive")[-1] <= FAILOVER_SECONDS
    for report in reports:
        (rewound,) = (step for step in report["steps"] if "rewound" in step["name"])
        assert not rewound["failure"], rewound


@pytest.mark.usefixtures("checking_in")
def test_twenty_switchovers_are_hardly_noticed(say: Say) -> None:
    gaps = []
    for _ in range(TIMES):
        outcome = run(playbook("switchover"))
        assert outcome.code == 0, outcome.failures
        journal = attempts(newest("switchover", "journal.jsonl"))
        assert all(outage.ended for outage in outages(journal))
        gaps.append(longest_gap(journal))
    say(f"switchovers: {told(gaps)}")
    assert max(gaps) <= SWITCHOVER_SECONDS


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [("db-9", "'db-9' is no member of the cluster"), ("edge-1", "Possible: ")],
)
def test_a_switchover_to_nobody_is_refused_with_what_is_possible(wanted: str, reason: str) -> None:
    outcome = run(playbook("switchover", "-e", f"switchover_to={wanted}"))
    assert outcome.code != 0
    assert reason in outcome.text
