"""How far the recovery of a restored database is, and whether it got where it was to get: from its server's log. Pure.

The server recovers as a standby. So it never promotes itself, neither at a hole in the archive nor at its end: whoever
reads this decides.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.gym.platform.plugins.module_utils import moments
from ansible_collections.gym.platform.plugins.module_utils.pgbackrest_info import (
    WAL_SEGMENT_BYTES,
    byte_of,
    segment_at,
    segment_number,
)
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import Plan

# What a standby must have as its primary had it: in the words of pg_controldata and of PostgreSQL.
LIKE_THE_PRIMARY = {
    "wal_level setting": "wal_level",
    "wal_log_hints setting": "wal_log_hints",
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
    "track_commit_timestamp setting": "track_commit_timestamp",
}

# With these settings a server's log is what `read_log` reads.
LOG_SETTINGS = {"log_line_prefix": "%m [%b] ", "log_timezone": "UTC", "lc_messages": "C", "logging_collector": "off"}

_WAITS = re.compile(r"waiting for WAL to become available at ([0-9A-F]+/[0-9A-F]+)")
_STOPS = re.compile(r"recovery stopping before \w+ of transaction (\d+), time (\S+ \S+)")
# A client that is refused is no fault of the recovery.
_FAULT = re.compile(r"\[(?:startup|postmaster)\] (?:FATAL|PANIC):\s+(.*)")
_COMPLAINT = re.compile(r"ERROR: \[\d+\]: (.*)")


class RecoveryError(Exception):
    """The database cannot become what was asked for; the message says how far it comes."""


@dataclass(frozen=True)
class Progress:
    """What a server's log tells about its recovery."""

    consistent: bool = False
    """It answers queries, and does not write."""
    reached: bool = False
    """It stopped where it was told to, and waits."""
    left_out: datetime.datetime | None = None
    """When the first transaction was committed that is not in the database any more."""
    waits_at: int | None = None
    """The byte of the WAL that the archive does not have; None while recovery goes on."""
    limited: bool = False
    """It stopped because the primary was given higher limits after the backup."""
    fault: str = ""
    """Why the server ended."""
    reason: str = ""
    """What pgBackRest complained about last."""


def read_log(text: str) -> Progress:
    """Read the log of a server since its start."""
    found: dict[str, object] = {}
    # What pgBackRest has more to say is indented below.
    for line in re.sub(r"\n\s+", " ", text).splitlines():
        if "consistent recovery state reached" in line:
            found["consistent"] = True
        elif "pausing at the end of recovery" in line:
            found["reached"] = True
        elif stops := _STOPS.search(line):
            found["left_out"] = moments.read(stops[2])
        elif waits := _WAITS.search(line):
            found["waits_at"] = byte_of(waits[1])
        elif "restored log file" in line:
            found["waits_at"] = None
        elif "insufficient parameter settings" in line:
            found["limited"] = True
        elif fault := _FAULT.search(line):
            found["fault"] = fault[1]
        elif complaint := _COMPLAINT.search(line):
            found["reason"] = complaint[1]
    return Progress(**found)  # type: ignore[arg-type]


def like_the_primary(control: str) -> dict[str, str]:
    """Read from pg_controldata the settings that a standby must have as its primary had them."""
    values = dict(line.split(":", 1) for line in control.splitlines() if ":" in line)
    return {name: values[word].strip() for word, name in LIKE_THE_PRIMARY.items() if word in values}


def render(settings: Mapping[str, object]) -> str:
    """Write a server's configuration file."""
    lines = [f"{name} = '{str(value).replace(chr(39), chr(39) * 2)}'" for name, value in sorted(settings.items())]
    return "\n".join(["# Written by the module postgresql_restore.", *lines, ""])


def is_complete(progress: Progress, plan: Plan) -> bool:
    """Tell whether the database is what the plan says; False while there is still hope. Raises RecoveryError."""
    if progress.fault:
        raise RecoveryError(f"The restored server ended: {progress.fault}.{_because(progress)}")
    if plan.to_the_end and progress.waits_at is not None:
        return _is_behind_the_end(progress.waits_at, plan)
    return progress.reached


def _is_behind_the_end(byte: int, plan: Plan) -> bool:
    return byte // WAL_SEGMENT_BYTES > segment_number(plan.newest_segment)


def give_up(progress: Progress, plan: Plan, last_transaction: datetime.datetime | None, waited: float) -> RecoveryError:
    """Say why recovery does not come further than it is, and what can be had instead."""
    if progress.waits_at is None:
        problem = f"Recovery had not ended after {waited:.0f} s: run it again with a longer restore_timeout."
    elif not progress.consistent:
        problem = (
            f"Backup {plan.backup.label} cannot be made consistent: {_missing(progress.waits_at, plan)}. Take another"
            " backup, or the other repository (-e restore_repository)."
        )
    elif plan.target and _is_behind_the_end(progress.waits_at, plan):
        problem = (
            f"The archive of repository {plan.repository} ends {_last(last_transaction)}, and nothing in it shows that"
            f" the moment {moments.show(plan.target)} was reached: -e restore_to=latest takes all that there is."
        )
    else:
        offer = moments.show(last_transaction) if last_transaction else plan.backup.label
        problem = (
            f"The archive is broken: {_missing(progress.waits_at, plan)}, and there is WAL up to {plan.newest_segment}."
            f" What was written before the last good transaction, {_last(last_transaction)}, can be had with"
            f" -e restore_to={offer}, and perhaps more from the other repository (-e restore_repository)."
        )
    return RecoveryError(problem + _because(progress))


def _missing(byte: int, plan: Plan) -> str:
    return f"WAL segment {segment_at(plan.timeline, byte)} is missing or damaged in repository {plan.repository}"


def _last(transaction: datetime.datetime | None) -> str:
    return f"at {moments.show(transaction)}" if transaction else "before any transaction"


def _because(progress: Progress) -> str:
    return f" pgBackRest says: {progress.reason}." if progress.reason else ""
