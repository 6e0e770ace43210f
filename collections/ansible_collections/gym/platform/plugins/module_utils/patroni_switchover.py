"""Choose who leads after a switchover, and say why others cannot. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.patroni import LEADER_ROLES, PatroniError

# Patroni's own, for clusters whose settings do not say it (its documentation, "Dynamic configuration"): bytes.
MAXIMUM_LAG = 1048576
# What Patroni calls a replica that is fed: `streaming` since 3.1, `running` before.
FED = ("running", "streaming")

Member = Mapping[str, Any]


def hindrance(member: Member, timeline: object, settings: Mapping[str, Any]) -> str:
    """Return why a member that does not lead could not take over now; empty when it could."""
    if member.get("state") not in FED:
        return f"is {member.get('state', 'away')}"
    if (member.get("tags") or {}).get("nofailover"):
        return "is not to lead, by its tag nofailover"
    if settings.get("synchronous_mode") and member.get("role") != "sync_standby":
        return "is no synchronous standby"
    if member.get("timeline") != timeline:
        return f"is on timeline {member.get('timeline')}, and the leader on {timeline}"
    lag, most = member.get("lag"), int(settings.get("maximum_lag_on_failover", MAXIMUM_LAG))
    if not isinstance(lag, int) or lag > most:
        return f"lags by {lag} bytes, and at most {most} are allowed"
    return ""


def leader_of(members: Iterable[Member]) -> Member:
    """Return the member that leads. Raises PatroniError while there is none."""
    members = list(members)
    for member in members:
        if member.get("role") in LEADER_ROLES:
            return member
    listed = ", ".join(f"{member['name']} ({member.get('state', 'away')})" for member in members) or "no members"
    raise PatroniError(f"Nobody leads, so nobody can hand over; there are {listed}. `journalctl -u patroni` says why.")


def successor(members: Iterable[Member], settings: Mapping[str, Any], wanted: str = "") -> str:
    """Return the name of the member that takes over: the wanted one, or else the one that lags least.

    The leader itself is returned when it is the wanted one. Raises PatroniError, which says who could take over, for a
    name that is no member's and for a cluster in which the wanted one, or nobody, can.
    """
    members = list(members)
    leader = leader_of(members)
    if wanted == leader["name"]:
        return wanted
    others = {str(member["name"]): member for member in members if member is not leader}
    reasons = {name: hindrance(member, leader.get("timeline"), settings) for name, member in others.items()}
    fit = sorted((name for name, reason in reasons.items() if not reason), key=lambda name: (others[name]["lag"], name))
    why = "; ".join(f"{name} {reason}" for name, reason in sorted(reasons.items())) or "there is no other member"
    possible = f"Possible: {', '.join(fit)}." if fit else f"Nobody can take over now: {why}."
    if wanted and wanted not in others:
        raise PatroniError(f"'{wanted}' is no member of the cluster, which {leader['name']} leads. {possible}")
    if wanted and reasons[wanted]:
        raise PatroniError(f"{wanted} cannot take over from {leader['name']}: it {reasons[wanted]}. {possible}")
    if not fit:
        raise PatroniError(f"{leader['name']} cannot hand over. {possible}")
    return wanted or fit[0]
