# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What only production has to keep to. Each public function is a rule of module_utils/policy.py."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.gym.platform.plugins.module_utils.policy_rule import Description, Finding, UnsoundError

MINIMUM_RETENTION_DAYS = 30
MINIMUM_ZONES = 3


def production_survives_a_node(described: Description) -> Iterator[Finding]:
    """The loss of one machine must cost seconds, not a restore from backup."""
    for noun in ("database", "cache"):
        try:
            available = described[noun]["high_availability"]
        except UnsoundError:
            continue
        if not available:
            yield Finding((noun, "high_availability"), "false in production", "true", "write true")


def production_loses_no_write(described: Description) -> Iterator[Finding]:
    """A check-in that was answered must be on two machines before it is answered."""
    database = described["database"]
    if database["high_availability"] and not database["synchronous"]:
        yield Finding(("database", "synchronous"), "false in production", "true", "write true")


def production_survives_a_zone(described: Description) -> Iterator[Finding]:
    """Zones fail as a whole: what is in one zone only fails with it."""
    zones = described["platform"]["zones"]
    if len(zones) < MINIMUM_ZONES:
        yield Finding(
            ("platform", "zones"),
            f"{len(zones)} zones only ({', '.join(zones)}): what is left of two carries twice the load",
            f"at least {MINIMUM_ZONES}, in one region",
            "add a zone (Multi-AZ)",
        )


def production_has_a_way_out_in_each_zone(described: Description) -> Iterator[Finding]:
    """A way out that all zones share is lost with the zone that it stands in."""
    if described["network"]["egress"] != "per_zone":
        yield Finding(("network", "egress"), f"{described['network']['egress']} in production", "per_zone")


def production_has_a_dr_region(described: Description) -> Iterator[Finding]:
    """Without another region there is no place to rebuild in when the region is lost."""
    if not described["platform"].get("dr_region"):
        yield Finding(("platform", "dr_region"), "is missing", "a region other than region", "add `dr_region: ...`")


def production_keeps_backups(described: Description) -> Iterator[Finding]:
    """Damage is often found weeks later, at the end of a billing month: a backup from before it must still exist."""
    days = described["backup"]["retention_days"]
    if days < MINIMUM_RETENTION_DAYS:
        yield Finding(
            ("backup", "retention_days"),
            f"{days} in production",
            f"at least {MINIMUM_RETENTION_DAYS}",
            f"write {MINIMUM_RETENTION_DAYS} or more",
        )


def production_restores_any_second(described: Description) -> Iterator[Finding]:
    """A bad release at noon must not cost the check-ins of the morning."""
    if not described["backup"]["point_in_time"]:
        yield Finding(("backup", "point_in_time"), "false in production", "true", "write true")


def production_copies_backups(described: Description) -> Iterator[Finding]:
    """A backup in the region that is lost is lost with it."""
    if not described["backup"]["dr_copy"]:
        yield Finding(("backup", "dr_copy"), "false in production", "true", "write true")


def production_keeps_replaced_objects(described: Description) -> Iterator[Finding]:
    """Versions are the only backup that a bucket has."""
    for index, bucket in described.records("buckets"):
        if not bucket["versioned"]:
            yield Finding(("buckets", index, "versioned"), "false in production", "true", "write true")


def production_runs_two_of_each(described: Description) -> Iterator[Finding]:
    """One container is an outage whenever its machine restarts."""
    for index, service in described.records("services"):
        if service["kind"] != "job" and service.get("replicas", 1) < 2:
            yield Finding(("services", index, "replicas"), f"{service.get('replicas', 1)} in production", "at least 2")


def production_wakes_somebody(described: Description) -> Iterator[Finding]:
    """An alert that is only written to a log is read the next morning."""
    for index, receiver in enumerate(described["monitoring"]["receivers"]):
        if receiver["kind"] == "log":
            yield Finding(("monitoring", "receivers", index, "kind"), "log in production", "email, webhook")


def production_has_a_budget(described: Description) -> Iterator[Finding]:
    """A mistake in a cloud is noticed by its bill: by an alert on a budget, or a month later."""
    if described["cost"]["monthly_budget_usd"] <= 0:
        yield Finding(("cost", "monthly_budget_usd"), "0 in production", "more than 0", "write what a month may cost")


def production_lets_nothing_in_undecided(described: Description) -> Iterator[Finding]:
    """A version of which nobody knows whether it is good reaches every gym when it is promoted anyway."""
    if described["release"]["judge"]["inconclusive"] == "promote":
        yield Finding(("release", "judge", "inconclusive"), "promote in production", "hold, roll_back")
