"""What pgBackRest says that it holds: repositories, backups, WAL, and how timelines came about. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils import moments

# Under this key a backup is annotated with the name that a person gave it.
NAME = "name"
WAL_SEGMENT_BYTES = 16 << 20
# What a repository that knows no such stanza says.
NOTHING_KNOWN: Mapping[str, Any] = {"code": 1, "message": "nothing is known about this database"}
MESSAGE_LETTERS = 300

_FORK = re.compile(r"\s*\d+\t[0-9A-F]+/[0-9A-F]+\t")
# The reason in a history when recovery stopped at a time; a failover gives another one.
_LEFT_OUT = re.compile(r"before (\d{4}-\S+ \S+)")


@dataclass(frozen=True)
class Backup:
    """One backup in a repository."""

    label: str
    kind: str
    """full, diff or incr"""
    started: datetime.datetime
    stopped: datetime.datetime
    """From here on a database can be recovered with it."""
    size: int
    """Bytes of the database when it is restored."""
    stored: int
    """Bytes of it in the repository, those of the backups that it builds on included."""
    name: str
    """What a person called it; empty without a name."""
    damaged: bool
    """Pages of the database were broken when it was made."""
    last_segment: str
    """The WAL segment without which it is not consistent."""
    position: int
    """The byte of the WAL at which it is consistent."""

    @property
    def timeline(self) -> int:
        """The timeline that it was made on."""
        return timeline_of(self.last_segment)


@dataclass(frozen=True)
class Fork:
    """Where a timeline left the one before."""

    timeline: int
    """The one that it left."""
    position: int
    """The byte of the WAL from which on that one went its own way."""
    given_up_from: datetime.datetime | None
    """The first transaction that a restore left out; None for a failover, which leaves out nothing."""
    given_up_until: datetime.datetime | None = None
    """When the next timeline was in the archive, and so when that restore was made; None where that is not known."""


@dataclass(frozen=True)
class Repository:
    """One of pgBackRest's repositories, with what it holds of the database."""

    number: int
    fault: str
    """Why it cannot be used, in pgBackRest's words; empty when it can."""
    backups: tuple[Backup, ...] = ()
    """Oldest first."""
    newest_segment: str = ""
    """The last WAL segment of the newest timeline."""
    archive: str = ""
    """The directory of the WAL in the repository."""
    forks: tuple[Fork, ...] = ()
    """How the timeline that is restored on came about, oldest first."""


def read_repository(information: Sequence[Mapping[str, Any]], stanza: str, number: int) -> Repository:
    """Read what `pgbackrest info --output=json --repo=<number>` says about a stanza."""
    found: Mapping[str, Any] = next((entry for entry in information if entry.get("name") == stanza), {})
    status = next((entry["status"] for entry in found.get("repo", []) if entry["key"] == number), NOTHING_KNOWN)
    archives = [entry for entry in found.get("archive", []) if entry["database"]["repo-key"] == number]
    # The last one is of the database as it is now; those before are of earlier major versions.
    archive = archives[-1] if archives else None
    rows = [row for row in found.get("backup", []) if row["database"]["repo-key"] == number]
    return Repository(
        number=number,
        fault="" if status["code"] == 0 else _one_line(status["message"]),
        backups=tuple(sorted(map(_backup, rows), key=lambda backup: backup.stopped)),
        newest_segment=(archive or {}).get("max") or "",
        archive=f"archive/{stanza}/{archive['id']}" if archive else "",
    )


def _one_line(message: str) -> str:
    """Return what a person can read of a message: one that is about a file can hold some of it."""
    words = "".join(letter if letter.isprintable() and letter != "\ufffd" else " " for letter in message).split()
    return " ".join(words)[:MESSAGE_LETTERS]


def history_file(timeline: int) -> str:
    """Return the name of the history of a timeline."""
    return f"{timeline:08X}.history"


def read_history(text: str, timeline: int, listing: Mapping[str, Mapping[str, Any]]) -> tuple[Fork, ...]:
    """Read PostgreSQL's history of a timeline: whom it left, where, and why.

    The listing is what `pgbackrest repo-ls --output=json` says about the directory of the archive.
    """
    lines = [line.split("\t") for line in text.splitlines() if _FORK.match(line)]
    followers = [*(int(parent) for parent, *_ in lines[1:]), timeline]
    forks = []
    for (parent, position, reason), follower in zip(lines, followers, strict=True):
        left_out = _LEFT_OUT.match(reason)
        archived = listing.get(history_file(follower), {}).get("time")
        forks.append(
            Fork(
                timeline=int(parent),
                position=byte_of(position),
                given_up_from=moments.read(left_out[1]) if left_out else None,
                given_up_until=datetime.datetime.fromtimestamp(archived, datetime.UTC) if archived else None,
            )
        )
    return tuple(forks)


def _backup(row: Mapping[str, Any]) -> Backup:
    times = {key: datetime.datetime.fromtimestamp(value, datetime.UTC) for key, value in row["timestamp"].items()}
    return Backup(
        label=row["label"],
        kind=row["type"],
        started=times["start"],
        stopped=times["stop"],
        size=row["info"]["size"],
        stored=row["info"]["repository"]["size"],
        name=(row.get("annotation") or {}).get(NAME, ""),
        damaged=bool(row.get("error")),
        last_segment=row["archive"]["stop"] or "",
        position=byte_of(row["lsn"]["stop"]),
    )


def timeline_of(segment: str) -> int:
    """Return the timeline of a WAL segment; 0 without a segment."""
    return int(segment[:8], 16) if segment else 0


def segment_number(segment: str) -> int:
    """Return the place of a WAL segment among all, whatever its timeline."""
    return (int(segment[8:16], 16) << 32) // WAL_SEGMENT_BYTES + int(segment[16:24], 16)


def segment_at(timeline: int, byte: int) -> str:
    """Return the name of the WAL segment that a byte is in."""
    number = byte // WAL_SEGMENT_BYTES
    per_high = (1 << 32) // WAL_SEGMENT_BYTES
    return f"{timeline:08X}{number // per_high:08X}{number % per_high:08X}"


def byte_of(position: str) -> int:
    """Return the byte of the WAL that a position such as 0/7000018 stands for."""
    high, low = position.split("/")
    return int(high, 16) << 32 | int(low, 16)
