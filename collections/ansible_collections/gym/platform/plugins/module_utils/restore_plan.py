"""Which backup a restore begins with, how far it goes, and whether it may be: from pgBackRest's own words. Pure.

Whoever restores a database has a bad day. So what cannot be done is refused before anything is touched, in one
sentence: what was asked, what is possible, and how to ask for it.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.gym.platform.plugins.module_utils import moments
from ansible_collections.gym.platform.plugins.module_utils.pgbackrest_info import (
    Backup,
    Fork,
    Repository,
    timeline_of,
)

LATEST = "latest"
BESIDE, IN_PLACE = "beside", "in_place"
PLACES = (BESIDE, IN_PLACE)

GIB = 1 << 30
# What recovery needs beside the files of the backup: WAL that is fetched ahead and not yet recycled, and the growth of
# the tables between the backup and the moment.
MARGIN_SHARE, MARGIN_BYTES = 0.1, GIB

_LABEL = re.compile(r"\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?")
_A_TIME_BEGINS_SO = re.compile(r"\d{4}-")
_NO_WAY = (
    "No backup leads to timeline {timeline}: give another restore_timeline, or the label of a backup in restore_to."
)
# How many backups a refusal lists; the newest are the likely ones.
LISTED = 5


class RefusedError(Exception):
    """What was asked cannot be done; the message says what can."""


@dataclass(frozen=True)
class Request:
    """What a person asks for."""

    to: str = LATEST
    place: str = BESIDE
    environment: str = ""
    confirm: str = ""
    repository: int = 0
    """0 takes the first one that can do it."""
    timeline: int = 0
    """0 takes the newest one: what was given up by an earlier restore is on an older one."""
    part: str = ""
    """The tenant or the table that alone is wanted of it."""


@dataclass(frozen=True)
class Disk:
    """The file system that the database is restored to, in bytes."""

    free: int
    old: int = 0
    """What the database that is there occupies."""
    keep_old: bool = True
    """Whether that stays until the restored one serves."""


@dataclass(frozen=True)
class Plan:
    """What is restored, and how far it is recovered."""

    repository: int
    backup: Backup
    target: datetime.datetime | None
    """The moment just before which recovery stops; None for the end of the archive or of the backup."""
    to_the_end: bool
    """Whether everything is wanted that the archive has."""
    newest_segment: str
    """The last WAL segment that the archive has of the newest timeline; to the end, recovery has to get behind it."""
    timeline: int
    """The timeline that recovery follows."""
    needed: int
    """Bytes that have to be free."""

    @property
    def restored_to(self) -> str:
        """Say in a few words what the database will be."""
        if self.target:
            return f"just before {moments.show(self.target)}"
        if self.to_the_end:
            return "the newest moment in the archive"
        return f"the backup {self.backup.label}, made at {moments.show(self.backup.stopped)}"

    def recovery_options(self) -> dict[str, str]:
        """Return PostgreSQL's settings that make recovery stop where it shall."""
        # By its number PostgreSQL wants the history of a timeline, which an archive that began later does not have.
        stays = self.backup.timeline == self.timeline
        options = {"recovery_target_timeline": "current" if stays else str(self.timeline)}
        if self.target:
            options["recovery_target_time"] = self.target.isoformat(sep=" ")
            # The moment itself is the first that is left out: give the time of the bad statement.
            options["recovery_target_inclusive"] = "off"
        elif not self.to_the_end:
            options["recovery_target"] = "immediate"
        return options


def check_request(request: Request) -> None:
    """Refuse what contradicts itself or was not confirmed. Raises RefusedError."""
    if request.place not in PLACES:
        raise RefusedError(f"restore_place is '{request.place}'; give one of {', '.join(PLACES)}.")
    if request.place == BESIDE:
        return
    if request.part:
        raise RefusedError(
            f"'{request.part}' alone cannot be restored with restore_place={IN_PLACE}, which replaces everything:"
            " leave restore_place out, and it is copied out of a restored instance into the live database."
        )
    if request.confirm != request.environment:
        given = f"is '{request.confirm}'" if request.confirm else "is missing"
        raise RefusedError(
            f"restore_place={IN_PLACE} replaces the database of '{request.environment}', and restore_confirm {given}:"
            f" add -e restore_confirm={request.environment} if that is meant, or leave restore_place out to look at the"
            f" restored data beside the live one first."
        )


def choose_repository(request: Request, numbers: Sequence[int], ask: Callable[[int], Repository]) -> Repository:
    """Return the repository that was asked for, or the first that can be restored from. Raises RefusedError.

    No other one is asked: one that is lost keeps whoever asks it waiting.
    """
    if not numbers:
        raise RefusedError(
            "pgBackRest has no repository here: configure the backups (playbooks/configure.yml), and make one"
            " (playbooks/backup.yml)."
        )
    if request.repository and request.repository not in numbers:
        raise RefusedError(f"restore_repository is {request.repository}; there is {' or '.join(map(str, numbers))}.")
    reasons = []
    for number in [request.repository] if request.repository else numbers:
        repository = ask(number)
        if not repository.fault and any(not backup.damaged for backup in repository.backups):
            return repository
        reasons.append(f"repository {number}: {_unusable(repository)}")
    others = [number for number in numbers if request.repository not in (0, number)]
    way_out = (
        f"try -e restore_repository={others[0]}."
        if others
        else "there is nothing to restore from until playbooks/backup.yml has made a backup."
    )
    raise RefusedError(f"No backup can be restored ({'; '.join(reasons)}): {way_out}")


def _unusable(repository: Repository) -> str:
    return repository.fault or ("every backup has damaged pages" if repository.backups else "it holds no backup")


def make_plan(request: Request, repository: Repository, now: datetime.datetime, disk: Disk) -> Plan:
    """Choose the backup, and check time and disk. Raises RefusedError."""
    timeline = timeline_to_follow(request, repository)
    usable = [backup for backup in repository.backups if not backup.damaged]
    on_the_way = [backup for backup in usable if _leads_to(backup, timeline, repository.forks)]
    target = None
    if request.to == LATEST:
        backup = _newest(request, repository, on_the_way)
    elif _LABEL.fullmatch(request.to) or not _A_TIME_BEGINS_SO.match(request.to):
        backup = _named(request.to, repository, usable)
        timeline = backup.timeline
    else:
        backup, target = _before(request, repository, on_the_way, now)
    _check_archive(backup, repository, usable)
    return Plan(
        repository=repository.number,
        backup=backup,
        target=target,
        to_the_end=request.to == LATEST,
        newest_segment=repository.newest_segment,
        timeline=timeline,
        needed=_check_disk(backup, disk),
    )


def timeline_to_follow(request: Request, repository: Repository) -> int:
    """Return the timeline that was asked for, or the newest. Raises RefusedError."""
    newest = timeline_of(repository.newest_segment)
    if request.timeline in (0, newest):
        return newest
    if not 1 <= request.timeline <= newest:
        raise RefusedError(f"restore_timeline is {request.timeline}; the archive has 1 to {newest}.")
    return request.timeline


def _leads_to(backup: Backup, timeline: int, forks: Sequence[Fork]) -> bool:
    """Tell whether recovery comes from a backup to a timeline: the backup ended before its own was left."""
    left = next((fork.position for fork in forks if fork.timeline == backup.timeline), None)
    return backup.timeline == timeline or (left is not None and backup.position <= left)


def _newest(request: Request, repository: Repository, on_the_way: Sequence[Backup]) -> Backup:
    if timeline_to_follow(request, repository) != timeline_of(repository.newest_segment):
        raise RefusedError(
            f"restore_timeline={request.timeline} needs a moment: give a time in restore_to instead of '{LATEST}'."
        )
    if not on_the_way:
        raise RefusedError(_NO_WAY.format(timeline=timeline_of(repository.newest_segment)))
    return on_the_way[-1]


def _before(
    request: Request, repository: Repository, on_the_way: Sequence[Backup], now: datetime.datetime
) -> tuple[Backup, datetime.datetime]:
    """Return the newest backup from before a moment, and the moment."""
    try:
        target = moments.read(request.to)
    except ValueError as error:
        raise RefusedError(f"restore_to: {error}") from error
    if not on_the_way:
        raise RefusedError(_NO_WAY.format(timeline=timeline_to_follow(request, repository)))
    window = f"choose a time from {moments.show(on_the_way[0].stopped)} to now, or '{LATEST}'"
    if target > now:
        raise RefusedError(
            f"restore_to is {moments.show(target)}, which is in the future (it is {moments.show(now)}): {window}."
        )
    before = [backup for backup in on_the_way if backup.stopped <= target]
    if not before:
        raise RefusedError(
            f"restore_to is {moments.show(target)}, and the oldest backup of repository {repository.number} was"
            f" complete after that: {window}."
        )
    _check_given_up(request, repository, before[-1], target)
    return before[-1], target


def _check_given_up(request: Request, repository: Repository, backup: Backup, target: datetime.datetime) -> None:
    """Refuse a moment that an earlier restore gave up, unless it is said which history is meant."""
    for fork in repository.forks if request.timeline == 0 else ():
        begin, end = fork.given_up_from, fork.given_up_until
        if begin and begin < target and (end is None or target < end) and backup.timeline <= fork.timeline:
            until = f"until it was made at {moments.show(end)}" if end else "until it was made"
            raise RefusedError(
                f"restore_to is {moments.show(target)}, and an earlier restore gave up what was written from"
                f" {moments.show(begin)} on, {until}. Say which history is meant:"
                f" -e restore_timeline={fork.timeline} for what was given up,"
                f" -e restore_timeline={timeline_of(repository.newest_segment)} for what that restore went back to."
            )


def _check_archive(backup: Backup, repository: Repository, usable: Sequence[Backup]) -> None:
    """Refuse a backup whose own WAL is not there."""
    newest = repository.newest_segment
    if timeline_of(newest) == backup.timeline and newest < backup.last_segment:
        raise RefusedError(
            f"Backup {backup.label} needs WAL up to {backup.last_segment}, and repository {repository.number} has it"
            f" up to {newest}: {_others(usable, backup)}"
        )


def _named(to: str, repository: Repository, usable: Sequence[Backup]) -> Backup:
    """Return the backup with this label, or the newest with this name."""
    named = [backup for backup in repository.backups if to in (backup.label, backup.name)]
    if sound := [backup for backup in named if not backup.damaged]:
        return sound[-1]
    if named:
        raise RefusedError(
            f"Backup {named[-1].label} has damaged pages and is not restored: {_others(usable, named[-1])}"
        )
    known = [word for backup in usable for word in (backup.label, backup.name) if word]
    near = difflib.get_close_matches(to, known, 1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    raise RefusedError(
        f"restore_to is '{to}', and repository {repository.number} has no backup of that name{hint}: {_others(usable)}"
    )


def _others(usable: Sequence[Backup], but: Backup | None = None) -> str:
    """Say which backups there are, newest first."""
    rest = [backup for backup in usable if backup != but]
    if not rest:
        return "there is no other one."
    shown = [
        f"{backup.label}{f' ({backup.name})' if backup.name else ''} of {moments.show(backup.stopped)}"
        for backup in reversed(rest[-LISTED:])
    ]
    more = f" and {len(rest) - LISTED} older ones" if len(rest) > LISTED else ""
    return f"choose {', '.join(shown)}{more}, a time, or '{LATEST}'."


def _check_disk(backup: Backup, disk: Disk) -> int:
    """Return the bytes that have to be free. Raises RefusedError."""
    margin = int(backup.size * MARGIN_SHARE) + MARGIN_BYTES
    beside = backup.size + margin
    # Over the old data only what grows is new.
    over = max(backup.size - disk.old, 0) + margin
    needed = beside if disk.keep_old or not disk.old else over
    if disk.free >= needed:
        return needed
    way_out = f"free {gigabytes(needed - disk.free)}"
    if needed == beside and disk.old and disk.free >= over:
        way_out += (
            ", or give up the old data, which is otherwise kept until the restored one serves:"
            f" -e restore_keep_old=false needs {gigabytes(over)}"
        )
    raise RefusedError(
        f"The disk is too small: backup {backup.label} needs {gigabytes(needed)} ({gigabytes(backup.size)} of data and"
        f" room for WAL), and {gigabytes(disk.free)} are free: {way_out}."
    )


def gigabytes(size: int) -> str:
    """Write a number of bytes for people."""
    return f"{size / GIB:.1f} GiB"
