"""Whether a region has all that its primary's copies have to have there before something can take over. Pure.

All of it is looked for before anything is begun: what is missing would otherwise be found out after an hour.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ansible_collections.gym.platform.plugins.module_utils import moments

SHOWN_TAGS = 5


@dataclass(frozen=True)
class Wanted:
    """What a stand-in begins with. The version is empty where nothing is going to be released."""

    secrets: Collection[str]
    buckets: Collection[str]
    repository: str
    version: str
    age_seconds: float
    """How far the backups of the database may be behind."""
    to: datetime.datetime | None = None
    """The moment that somebody has chosen, however long ago; None for the latest that there is."""


@dataclass(frozen=True)
class Found:
    """What there is: `tags` of images are None where there is no repository, the newest first."""

    secrets: Collection[str]
    buckets: Collection[str]
    tags: Sequence[str] | None
    earliest: datetime.datetime | None
    """From when on the database can be restored; None where that is not known."""
    latest: datetime.datetime | None
    """Until when; None without backups of all its instances."""


def missing(wanted: Wanted, found: Found, region: str, now: datetime.datetime) -> list[str]:
    """Return what is missing, a sentence for each kind; nothing when the region is fit."""
    said = [_database(wanted, found, region, now), _images(wanted, found, region)]
    for kind, names, there, how in (
        ("secrets", wanted.secrets, found.secrets, "ReplicaRegions of the stack secrets"),
        ("buckets", wanted.buckets, found.buckets, "the stack storage_dr"),
    ):
        if lacking := sorted(set(names) - set(there)):
            said.append(f"{region} has no copy of the {kind} {', '.join(lacking)}: {how} makes them.")
    return [sentence for sentence in said if sentence]


def _database(wanted: Wanted, found: Found, region: str, now: datetime.datetime) -> str:
    if found.latest is None:
        return f"{region} has no replicated backups of the database: AutomaticBackupReplicationRegion makes them."
    if wanted.to is None:
        return _too_old(wanted, found.latest, now)
    if wanted.to <= found.latest and (found.earliest is None or wanted.to >= found.earliest):
        return ""
    begin = moments.show(found.earliest) if found.earliest else "the oldest of them"
    return (
        f"evacuate_to is {moments.show(wanted.to)}, and {region} has replicated backups of the database from {begin} to"
        f" {moments.show(found.latest)}: choose a moment of these."
    )


def _too_old(wanted: Wanted, latest: datetime.datetime, now: datetime.datetime) -> str:
    age = (now - latest).total_seconds()
    if age <= wanted.age_seconds:
        return ""
    return (
        f"The replicated backups of the database end at {moments.show(latest)}, {age:.0f} s ago, and at most"
        f" {wanted.age_seconds:.0f} s are allowed (backup.rpo_minutes); an evacuation takes over with what there is by"
        f" -e evacuate_to={moments.show(latest)}."
    )


def _images(wanted: Wanted, found: Found, region: str) -> str:
    if not wanted.version:
        return ""
    if found.tags is None:
        return (
            f"{region} has no copy of the images {wanted.repository}: the replication of the stack registry makes it."
        )
    if wanted.version in found.tags:
        return ""
    newest = ", ".join(found.tags[:SHOWN_TAGS]) or "none"
    return f"{region} has no image {wanted.version} in {wanted.repository}; the newest there are {newest}."


def window(
    backups: Collection[tuple[datetime.datetime | None, datetime.datetime | None] | None],
) -> tuple[datetime.datetime | None, datetime.datetime | None]:
    """Return from when and until when all instances can be restored; None and None when one of them cannot be."""
    found = [one for one in backups if one is not None]
    lasts = [last for _, last in found if last is not None]
    if not lasts or len(lasts) < len(backups):
        return None, None
    return max((first for first, _ in found if first is not None), default=None), min(lasts)
