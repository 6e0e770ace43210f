"""How far a recovery is, on the words of a real PostgreSQL 15 and a real pgBackRest 2.45."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from ansible_collections.gym.platform.plugins.module_utils.pgbackrest_info import Backup
from ansible_collections.gym.platform.plugins.module_utils.postgresql_recovery import (
    Progress,
    RecoveryError,
    give_up,
    is_complete,
    like_the_primary,
    read_log,
    render,
)
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import Plan

NOON = datetime.datetime(2030, 1, 31, 12, tzinfo=datetime.UTC)
BACKUP = Backup("20300131-020000F", "full", NOON, NOON, 1, 1, "", False, "000000010000000000000003", 0x3000100)
LATEST = Plan(1, BACKUP, None, True, "000000010000000000000006", 1, 0)
MOMENT = replace(LATEST, target=NOON, to_the_end=False)
BY_NAME = replace(LATEST, to_the_end=False)

START = """\
2030-01-31 11:00:02.288 UTC [postmaster] LOG:  starting PostgreSQL 15.18
2030-01-31 11:00:02.325 UTC [startup] LOG:  entering standby mode
2030-01-31 11:00:03.751 UTC [startup] LOG:  restored log file "000000010000000000000005" from archive
2030-01-31 11:00:03.775 UTC [startup] LOG:  redo starts at 0/5000028
"""
CONSISTENT = (
    START
    + """\
2030-01-31 11:00:03.820 UTC [startup] LOG:  consistent recovery state reached at 0/5000100
2030-01-31 11:00:03.820 UTC [postmaster] LOG:  database system is ready to accept read-only connections
"""
)
REACHED = (
    CONSISTENT
    + """\
11:00:15.790 UTC [startup] LOG:  recovery stopping before commit of transaction 733, time 2030-01-31 12:00:01.328281+00
2030-01-31 11:00:15.790 UTC [startup] LOG:  pausing at the end of recovery
2030-01-31 11:00:15.790 UTC [startup] HINT:  Execute pg_wal_replay_resume() to promote.
"""
)
EXHAUSTED = (
    CONSISTENT
    + """\
2030-01-31 11:00:15.700 UTC [startup] LOG:  restored log file "000000010000000000000006" from archive
2030-01-31 11:00:15.890 UTC [startup] LOG:  waiting for WAL to become available at 0/7000018
2030-01-31 11:00:16.390 UTC [startup] LOG:  waiting for WAL to become available at 0/7000018
"""
)
COMPLAINT = """\
ERROR: [042]: raised from local-1 protocol: unable to get 000000010000000000000006:
       repo1: 15-1/0000000100000000/000000010000000000000006-1cfc.lz4 [CryptoError] unable to flush
       [FileReadError] on retry after 0ms
"""
HOLE = (
    CONSISTENT
    + COMPLAINT
    + """\
2030-01-31 11:00:21.670 UTC [startup] LOG:  waiting for WAL to become available at 0/6000018
"""
)
REASON = (
    " pgBackRest says: raised from local-1 protocol: unable to get 000000010000000000000006: repo1:"
    " 15-1/0000000100000000/000000010000000000000006-1cfc.lz4 [CryptoError] unable to flush [FileReadError] on retry"
    " after 0ms."
)


@pytest.mark.parametrize(
    ("log", "progress"),
    [
        ("", Progress()),
        (START, Progress()),
        (CONSISTENT, Progress(consistent=True)),
        (
            REACHED,
            Progress(consistent=True, reached=True, left_out=NOON + datetime.timedelta(seconds=1, microseconds=328281)),
        ),
        (EXHAUSTED, Progress(consistent=True, waits_at=0x7000018)),
        # More has come meanwhile.
        (EXHAUSTED + START.splitlines()[2], Progress(consistent=True)),
        (
            CONSISTENT + "2030-01-31 11:00:24.373 UTC [startup] FATAL:  could not locate a valid checkpoint record\n",
            Progress(consistent=True, fault="could not locate a valid checkpoint record"),
        ),
        # Others who knock are no fault of the recovery.
        (
            START + "2030-01-31 11:00:03.000 UTC [client backend] FATAL:  the database system is starting up\n",
            Progress(),
        ),
        (
            START
            + "2030-01-31 11:00:03.000 UTC [startup] WARNING:  hot standby is not possible because of insufficient"
            " parameter settings\n",
            Progress(limited=True),
        ),
    ],
)
def test_a_log_is_read(log: str, progress: Progress) -> None:
    assert read_log(log) == progress


@pytest.mark.parametrize(
    ("log", "plan", "complete"),
    [
        (CONSISTENT, LATEST, False),
        (EXHAUSTED, LATEST, True),
        (HOLE, LATEST, False),
        (CONSISTENT, MOMENT, False),
        (REACHED, MOMENT, True),
        (EXHAUSTED, MOMENT, False),
        (REACHED, BY_NAME, True),
        (EXHAUSTED, BY_NAME, False),
    ],
)
def test_only_what_is_complete_is_promoted(log: str, plan: Plan, complete: bool) -> None:
    assert is_complete(read_log(log), plan) is complete


def test_a_server_that_ended_says_why() -> None:
    log = HOLE + "2030-01-31 11:00:24.373 UTC [startup] PANIC:  could not read\n"
    with pytest.raises(RecoveryError, match=r"The restored server ended: could not read\. pgBackRest says: raised"):
        is_complete(read_log(log), LATEST)


@pytest.mark.parametrize(
    ("log", "plan", "last", "said"),
    [
        (
            HOLE,
            LATEST,
            NOON,
            "The archive is broken: WAL segment 000000010000000000000006 is missing or damaged in repository 1, and"
            " there is WAL up to 000000010000000000000006. What was written before the last good transaction, at"
            " 2030-01-31T12:00:00Z, can be had with -e restore_to=2030-01-31T12:00:00Z, and perhaps more from the other"
            " repository (-e restore_repository)." + REASON,
        ),
        (HOLE, LATEST, None, "before any transaction, can be had with -e restore_to=20300131-020000F, and perhaps"),
        (HOLE, MOMENT, NOON, "The archive is broken: WAL segment 000000010000000000000006 is missing or damaged"),
        (
            EXHAUSTED,
            MOMENT,
            NOON,
            "The archive of repository 1 ends at 2030-01-31T12:00:00Z, and nothing in it shows that the moment"
            " 2030-01-31T12:00:00Z was reached: -e restore_to=latest takes all that there is.",
        ),
        (
            START + "2030-01-31 11:00:21.670 UTC [startup] LOG:  waiting for WAL to become available at 0/5000018\n",
            LATEST,
            None,
            "Backup 20300131-020000F cannot be made consistent: WAL segment 000000010000000000000005 is missing or"
            " damaged in repository 1. Take another backup, or the other repository (-e restore_repository).",
        ),
        (CONSISTENT, LATEST, None, "Recovery had not ended after 60 s: run it again with a longer restore_timeout."),
    ],
)
def test_giving_up_says_what_can_be_had(log: str, plan: Plan, last: datetime.datetime | None, said: str) -> None:
    assert said in str(give_up(read_log(log), plan, last, 60))


def test_a_standby_is_like_its_primary() -> None:
    control = """\
Latest checkpoint's TimeLineID:       1
wal_level setting:                    logical
wal_log_hints setting:                on
max_connections setting:              60
max_worker_processes setting:         8
max_wal_senders setting:              10
max_prepared_xacts setting:           0
max_locks_per_xact setting:           64
track_commit_timestamp setting:       off
"""
    assert like_the_primary(control) == {
        "wal_level": "logical",
        "wal_log_hints": "on",
        "max_connections": "60",
        "max_worker_processes": "8",
        "max_wal_senders": "10",
        "max_prepared_transactions": "0",
        "max_locks_per_transaction": "64",
        "track_commit_timestamp": "off",
    }


def test_settings_are_quoted() -> None:
    assert render({"port": 5433, "archive_command": "echo 'a'"}).splitlines()[1:] == [
        "archive_command = 'echo ''a'''",
        "port = '5433'",
    ]
