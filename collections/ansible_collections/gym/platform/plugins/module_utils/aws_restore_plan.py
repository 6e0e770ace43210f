"""What RDS can be restored to, which moment or snapshot is taken, and whether it may be. Pure.

All shards of a database are restored to the same moment: tenants that were moved from one to another would be lost, or
there twice, otherwise.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.gym.platform.plugins.module_utils import moments
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import (
    IN_PLACE,
    LATEST,
    LISTED,
    RefusedError,
    Request,
    check_request,
)

# The tags of what was restored: of which instance, and to which moment or snapshot.
SOURCE_TAG, TIME_TAG = "restored-from", "restored-to"
# The tag under which a snapshot has the name that a person gave it.
LABEL_TAG = "backup-name"
# What is restored beside an instance is called after it.
BESIDE_SUFFIX = "-restored"

_A_TIME_BEGINS_SO = re.compile(r"\d{4}-")
Tags = Mapping[str, str]


@dataclass(frozen=True)
class Snapshot:
    """A finished snapshot: its own name, the one that a person gave it or nothing, and when it was made."""

    name: str
    label: str
    made: datetime.datetime


@dataclass(frozen=True)
class Possible:
    """What an instance can be restored to: any moment from one to another, and snapshots, the newest last."""

    earliest: datetime.datetime | None
    latest: datetime.datetime | None
    snapshots: Sequence[Snapshot] = ()


@dataclass(frozen=True)
class Shard:
    """An instance, and what was restored beside it: their tags, or None where there is no instance of that name."""

    name: str
    possible: Possible
    tags: Tags | None
    beside: Tags | None = None
    of: str = ""
    """The instance whose backups are restored, where that is another one: in another region."""

    @property
    def source(self) -> str:
        """The instance whose backups are restored."""
        return self.of or self.name


@dataclass(frozen=True)
class Restoration:
    """What one shard is restored to. Without a snapshot it is a moment."""

    name: str
    source: str
    target: str
    restored_to: str
    """The moment or the snapshot."""
    snapshot: str = ""
    to_restore: bool = True
    """Whether the target has to be made, or given what its source has."""
    to_take_over: bool = False
    """Whether the target still has to get the name of its source."""


def plan(
    request: Request, shards: Sequence[Shard], now: datetime.datetime, not_before: datetime.datetime | None = None
) -> list[Restoration]:
    """Return what has to be done for each shard. Raises RefusedError with what is possible.

    With `not_before`, since when nothing was written, every moment after it is as good as the latest.
    """
    check_request(request)
    in_place = request.place == IN_PLACE
    begun = [shard for shard in shards if shard.tags is None and shard.beside is not None]
    if in_place and begun:
        return [_resumed(shard, begun[0]) for shard in shards]
    if missing := [shard.name for shard in shards if shard.tags is None]:
        raise RefusedError(f"There is no database instance '{missing[0]}': provision the environment first.")
    if request.to == LATEST or _A_TIME_BEGINS_SO.match(request.to):
        # What an earlier run has finished has only its own, younger backups.
        reached = {shard.name: _reached(shard, request.to, in_place, not_before) for shard in shards}
        left = [shard for shard in shards if not reached[shard.name]]
        text = moments.show(moment(request.to, left, now, not_before)) if left else ""
        chosen = {shard.name: (reached[shard.name] or text, "") for shard in shards}
    else:
        snapshots = {shard.name: named(request.to, shard) for shard in shards}
        chosen = {name: (snapshot, snapshot) for name, snapshot in snapshots.items()}
    return [_restoration(shard, *chosen[shard.name], in_place) for shard in shards]


def _reached(shard: Shard, to: str, in_place: bool, not_before: datetime.datetime | None) -> str:
    """Return what an earlier run has restored a shard to, or its successor that waits; nothing if that is no use."""
    if not in_place:
        return ""
    there = [tags for tags in (shard.tags, shard.beside) if tags and tags.get(SOURCE_TAG) == shard.source]
    try:
        if not_before:
            return next((tags[TIME_TAG] for tags in there if moments.read(tags[TIME_TAG]) >= not_before), "")
        wanted = moments.show(moments.read(to))
    except ValueError:
        # The latest moment, or a snapshot.
        return ""
    return wanted if is_restored(shard.tags, shard.source, wanted) else ""


def _restoration(shard: Shard, restored_to: str, snapshot: str, in_place: bool) -> Restoration:
    target = shard.name + BESIDE_SUFFIX
    if in_place and is_restored(shard.tags, shard.source, restored_to):
        return Restoration(shard.name, shard.source, shard.name, restored_to, snapshot, to_restore=False)
    if shard.beside is not None and not is_restored(shard.beside, shard.source, restored_to):
        was = shard.beside.get(TIME_TAG)
        if was is None or shard.beside.get(SOURCE_TAG) != shard.source:
            raise RefusedError(f"'{target}' is there and was not restored from '{shard.source}': rename or remove it.")
        raise RefusedError(
            f"'{target}' is there, restored to {was}, and not to {restored_to}: carry on with it by"
            f" -e restore_to='{was}', or remove it first by -e restore_state=absent."
        )
    # What was restored to be looked at lacks what has to serve.
    return Restoration(
        shard.name, shard.source, target, restored_to, snapshot, shard.beside is None or in_place, in_place
    )


def _resumed(shard: Shard, begun: Shard) -> Restoration:
    """Return what is left of a restoration in place that was interrupted while names changed."""
    restored_to = (begun.beside or {}).get(TIME_TAG, "")
    if shard.tags is not None and is_restored(shard.tags, shard.source, restored_to):
        return Restoration(shard.name, shard.source, shard.name, restored_to, to_restore=False)
    if shard.beside is None:
        raise RefusedError(
            f"'{begun.name}' is half replaced by what was restored to {restored_to}, and nothing was restored from"
            f" '{shard.name}': rename '{begun.name}{BESIDE_SUFFIX}' to '{begun.name}' by hand, or what it replaced."
        )
    target = shard.name + BESIDE_SUFFIX
    return Restoration(
        shard.name, shard.source, target, restored_to, to_restore=shard.tags is not None, to_take_over=True
    )


def is_restored(tags: Tags | None, source: str, restored_to: str) -> bool:
    """Tell whether these are the tags of an instance that was restored from a source to this."""
    return tags is not None and tags.get(SOURCE_TAG) == source and tags.get(TIME_TAG) == restored_to


def window(shards: Sequence[Shard]) -> tuple[datetime.datetime | None, datetime.datetime]:
    """Return from when to when all shards can be restored. Raises RefusedError for one without a backup."""
    for shard in shards:
        if shard.possible.latest is None:
            raise RefusedError(
                f"'{shard.name}' has no backup to restore from: its backup retention is 0, or the first one runs."
            )
    firsts = [shard.possible.earliest for shard in shards if shard.possible.earliest]
    lasts = [shard.possible.latest for shard in shards if shard.possible.latest]
    return max(firsts, default=None), min(lasts)


def moment(
    text: str, shards: Sequence[Shard], now: datetime.datetime, not_before: datetime.datetime | None = None
) -> datetime.datetime:
    """Return a moment to which all shards can be restored. Raises RefusedError with what is possible."""
    first, last = window(shards)
    if text == LATEST:
        if not_before and last < not_before:
            raise RefusedError(
                f"Writes ended at {moments.show(not_before)}, and backups end at {moments.show(last)}: what was written"
                " between would be lost. They catch up within minutes: repeat the run."
            )
        return last
    try:
        wanted = moments.read(text)
    except ValueError as error:
        raise RefusedError(f"restore_to: {error}") from error
    begin = moments.show(first) if first else "its oldest backup"
    choose = f"choose a time from {begin} to {moments.show(last)}, or '{LATEST}'."
    if wanted > now:
        future = f"which is in the future (it is {moments.show(now)})"
        raise RefusedError(f"restore_to is {moments.show(wanted)}, {future}: {choose}")
    if first and wanted < first:
        raise RefusedError(f"restore_to is {moments.show(wanted)}, which is before the oldest backup: {choose}")
    if wanted > last:
        raise RefusedError(f"restore_to is {moments.show(wanted)}, and backups do not reach that far yet: {choose}")
    return wanted


def named(to: str, shard: Shard) -> str:
    """Return the snapshot with this name, or the newest with this label. Raises RefusedError."""
    found = [snapshot for snapshot in shard.possible.snapshots if to in (snapshot.name, snapshot.label)]
    if found:
        return found[-1].name
    known = [word for one in shard.possible.snapshots for word in (one.label, one.name) if word]
    near = difflib.get_close_matches(to, known, 1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    shown = [
        f"{one.label or one.name} of {moments.show(one.made)}" for one in reversed(shard.possible.snapshots[-LISTED:])
    ]
    listed = f"choose {', '.join(shown)}, a time" if shown else "choose a time"
    raise RefusedError(
        f"restore_to is '{to}', and '{shard.name}' has no snapshot of that name{hint}: {listed}, or '{LATEST}'."
    )
