"""Which backup a restore begins with, and everything that is refused, on what a real pgBackRest 2.45 has said."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils import moments
from ansible_collections.gym.platform.plugins.module_utils.pgbackrest_info import (
    Repository,
    byte_of,
    read_history,
    read_repository,
    segment_at,
    segment_number,
)
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import (
    GIB,
    Disk,
    Plan,
    RefusedError,
    Request,
    check_request,
    choose_repository,
    make_plan,
)

DAY = datetime.datetime(2030, 1, 31, tzinfo=datetime.UTC)
NOW = DAY.replace(hour=18)
FULL, NOON, LATER = "20300131-020000F", "20300131-020000F_20300131-120000D", "20300131-020000F_20300131-150000D"
# What a restore to just before 14:00 leaves behind: PostgreSQL's own words.
RESTORED_AT_TWO = "1\t0/60003E0\tbefore 2030-01-31 14:00:00.328281+00\n\n"
FAILED_OVER = "1\t0/60003E0\tno recovery target specified\n\n"
# Which was made at 15:30.
LISTING = {"00000002.history": {"time": int((DAY + datetime.timedelta(hours=15.5)).timestamp()), "type": "file"}}
DISK = Disk(free=100 * GIB)


def at(hour: float) -> datetime.datetime:
    return DAY + datetime.timedelta(hours=hour)


def row(label: str, hour: float, segment: str, **more: Any) -> dict[str, Any]:
    """Return a backup as `pgbackrest info` has it: complete at this hour, consistent in this WAL segment."""
    stop = int(at(hour).timestamp())
    return {
        "label": label,
        "type": "full" if "_" not in label else "diff",
        "database": {"id": 1, "repo-key": more.pop("repository", 1)},
        "archive": {"start": segment, "stop": segment},
        "lsn": {"start": f"0/{segment[-2:]}000028", "stop": f"0/{segment[-2:]}000100"},
        "info": {"size": 10 * GIB, "delta": 10 * GIB, "repository": {"size": 3 * GIB, "delta": 3 * GIB}},
        "timestamp": {"start": stop - 5, "stop": stop},
        "error": False,
        **more,
    }


ROWS = [
    row(FULL, 2, "000000010000000000000003"),
    row(NOON, 12, "000000010000000000000005", annotation={"name": "before-migration"}),
    row(LATER, 15, "000000010000000000000007"),
]


def information(rows: list[dict[str, Any]], newest: str, faults: dict[int, str] | None = None) -> list[dict[str, Any]]:
    keys = sorted({entry["database"]["repo-key"] for entry in rows} | set(faults or {}) | {1})
    status = {key: {"code": 1, "message": fault} for key, fault in (faults or {}).items()}
    return [
        {
            "name": "gym",
            "archive": [
                {"database": {"id": 1, "repo-key": key}, "id": "15-1", "min": "000000010000000000000001", "max": newest}
                for key in keys
            ],
            "backup": rows,
            "repo": [{"key": key, "status": status.get(key, {"code": 0, "message": "ok"})} for key in keys],
        }
    ]


def repository(rows: list[dict[str, Any]] | None = None, newest: str = "00000001000000000000000A") -> Repository:
    return read_repository(information(ROWS if rows is None else rows, newest), "gym", 1)


def plan(request: Request, of: Repository | None = None, disk: Disk = DISK) -> Plan:
    return make_plan(request, of or repository(), NOW, disk)


def test_what_pgbackrest_says_is_read() -> None:
    found = repository()
    assert [backup.label for backup in found.backups] == [FULL, NOON, LATER]
    noon = found.backups[1]
    assert (noon.kind, noon.name, noon.size, noon.stored) == ("diff", "before-migration", 10 * GIB, 3 * GIB)
    assert (noon.stopped, noon.timeline, noon.position) == (at(12), 1, 0x5000100)
    assert found.archive == "archive/gym/15-1"
    assert read_repository([], "gym", 1).fault == "nothing is known about this database"


def test_positions_and_segments_are_in_the_same_order() -> None:
    assert byte_of("1/7000018") == (1 << 32) + 0x7000018
    assert segment_number("000000020000000100000007") == byte_of("1/7000018") // (16 << 20) == 256 + 7
    assert segment_at(2, byte_of("1/7000018")) == "000000020000000100000007"


def test_histories_tell_restores_from_failovers() -> None:
    restored, failed = read_history(RESTORED_AT_TWO + FAILED_OVER.replace("1", "2", 1), 3, LISTING)
    assert (restored.timeline, restored.position) == (1, 0x60003E0)
    assert (restored.given_up_from, restored.given_up_until) == (at(14).replace(microsecond=328281), at(15.5))
    assert (failed.timeline, failed.given_up_from, failed.given_up_until) == (2, None, None)


@pytest.mark.parametrize(
    ("to", "label", "target", "to_the_end"),
    [
        ("latest", LATER, None, True),
        (FULL, FULL, None, False),
        ("before-migration", NOON, None, False),
        ("2030-01-31T11:59:59Z", FULL, at(12) - datetime.timedelta(seconds=1), False),
        ("2030-01-31 12:00:00+00", NOON, at(12), False),
        ("2030-01-31T17:00:00+01:00", LATER, at(16), False),
    ],
)
def test_the_newest_backup_before_the_moment_is_taken(
    to: str, label: str, target: datetime.datetime | None, to_the_end: bool
) -> None:
    found = plan(Request(to=to))
    assert (found.backup.label, found.target, found.to_the_end, found.timeline) == (label, target, to_the_end, 1)


@pytest.mark.parametrize(
    ("to", "options", "said"),
    [
        ("latest", {}, "the newest moment in the archive"),
        ("before-migration", {"recovery_target": "immediate"}, f"the backup {NOON}, made at 2030-01-31T12:00:00Z"),
        (
            "2030-01-31T16:00:00.5Z",
            {"recovery_target_time": "2030-01-31 16:00:00.500000+00:00", "recovery_target_inclusive": "off"},
            "just before 2030-01-31T16:00:00.500000Z",
        ),
    ],
)
def test_postgresql_is_told_where_to_stop(to: str, options: dict[str, str], said: str) -> None:
    found = plan(Request(to=to))
    assert found.recovery_options() == {"recovery_target_timeline": "current", **options}
    assert found.restored_to == said


def test_of_two_backups_with_one_name_the_newer_is_meant() -> None:
    rows = [*ROWS, row("20300131-160000F", 16, "000000010000000000000008", annotation={"name": "before-migration"})]
    assert plan(Request(to="before-migration"), repository(rows)).backup.label == "20300131-160000F"


def test_a_damaged_backup_is_passed_over() -> None:
    rows = [*ROWS[:2], {**ROWS[2], "error": True}]
    assert plan(Request(), repository(rows)).backup.label == NOON


REFUSED_MOMENTS: list[tuple[str, str]] = [
    ("2030-01-31T19:00:00Z", "2030-01-31T19:00:00Z, which is in the future (it is 2030-01-31T18:00:00Z): choose a time"
     " from 2030-01-31T02:00:00Z to now, or 'latest'"),
    ("2030-01-31T01:00:00Z", "2030-01-31T01:00:00Z, and the oldest backup of repository 1 was complete after that:"
     " choose a time from 2030-01-31T02:00:00Z to now"),
    ("2030-01-31T12:00:00", "'2030-01-31T12:00:00' has no zone: add Z for UTC, or an offset such as +01:00"),
    ("2030-13-31T12:00:00Z", "'2030-13-31T12:00:00Z' is no time: write it as 2030-01-31T12:00:00Z"),
    ("before-migratoin", "'before-migratoin', and repository 1 has no backup of that name (did you mean"
     f" 'before-migration'?): choose {LATER} of 2030-01-31T15:00:00Z, {NOON} (before-migration) of"),
    ("20300101-020000F", "'20300101-020000F', and repository 1 has no backup of that name (did you mean"
     " '20300131-020000F'?)"),
]  # fmt: skip


@pytest.mark.parametrize(("to", "said"), REFUSED_MOMENTS)
def test_a_moment_without_a_backup_is_refused_with_those_that_there_are(to: str, said: str) -> None:
    with pytest.raises(RefusedError) as refused:
        plan(Request(to=to))
    assert said in str(refused.value)


def test_a_refusal_lists_no_more_backups_than_a_person_reads() -> None:
    rows = [row(f"203001{day:02}-020000F", 24 * day - 720, "000000010000000000000003") for day in range(1, 10)]
    with pytest.raises(RefusedError, match="and 4 older ones, a time, or 'latest'"):
        plan(Request(to="nothing"), repository(rows))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request(place="in-place"), "restore_place is 'in-place'; give one of beside, in_place"),
        (
            Request(place="in_place", environment="production"),
            "replaces the database of 'production', and restore_confirm is missing: add -e restore_confirm=production",
        ),
        (
            Request(place="in_place", environment="production", confirm="staging"),
            "and restore_confirm is 'staging': add -e restore_confirm=production",
        ),
        (
            Request(place="in_place", environment="production", confirm="production", part="north-gym"),
            "'north-gym' alone cannot be restored with restore_place=in_place",
        ),
        (
            Request(place="in_place", environment="production", confirm="production", part="members"),
            "'members' alone cannot be restored with restore_place=in_place",
        ),
    ],
)
def test_what_was_not_confirmed_or_contradicts_itself_is_refused(request_: Request, said: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_request(request_)
    assert said in str(refused.value)


def test_what_was_confirmed_passes() -> None:
    check_request(Request(place="in_place", environment="production", confirm="production"))
    check_request(Request(environment="production", part="north-gym"))


def chosen(number: int, rows: list[dict[str, Any]], faults: dict[int, str] | None = None) -> int:
    said = information(rows, "00000001000000000000000A", faults)
    asked: list[int] = []

    def ask(which: int) -> Repository:
        asked.append(which)
        return read_repository(said, "gym", which)

    found = choose_repository(Request(repository=number), (1, 2), ask)
    assert asked[-1] == found.number
    return found.number


IN_TWO = [{**entry, "database": {"id": 1, "repo-key": key}} for key in (1, 2) for entry in ROWS]


def test_the_first_repository_is_taken_that_can_be_restored_from() -> None:
    assert chosen(0, IN_TWO) == 1
    assert chosen(2, IN_TWO) == 2
    assert chosen(0, IN_TWO, {1: "missing stanza path"}) == 2
    assert chosen(0, [{**entry, "error": entry["database"]["repo-key"] == 1} for entry in IN_TWO]) == 2


@pytest.mark.parametrize(
    ("number", "rows", "faults", "said"),
    [
        (3, IN_TWO, {}, "restore_repository is 3; there is 1 or 2."),
        (1, IN_TWO, {1: "missing stanza path"}, "(repository 1: missing stanza path): try -e restore_repository=2."),
        (
            0,
            [],
            {},
            "(repository 1: it holds no backup; repository 2: nothing is known about this database): there is nothing",
        ),
        (0, [{**ROWS[0], "error": True}], {}, "(repository 1: every backup has damaged pages; repository 2:"),
    ],
)
def test_a_repository_that_cannot_be_restored_from_is_refused(
    number: int, rows: list[dict[str, Any]], faults: dict[int, str], said: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        chosen(number, rows, faults)
    assert said in str(refused.value)


def test_a_machine_without_repositories_is_refused() -> None:
    with pytest.raises(RefusedError, match="has no repository here: configure the backups"):
        choose_repository(Request(), (), lambda number: Repository(number, ""))


def test_what_a_repository_complains_about_can_be_read() -> None:
    fault = "unable to load info file:\nkey found outside of section at line 1: Salted__\x02g~\ufffd\ufffd"
    found = read_repository(information(ROWS, "", {1: fault}), "gym", 1)
    assert found.fault == "unable to load info file: key found outside of section at line 1: Salted__ g~"


def test_a_backup_without_its_wal_is_refused() -> None:
    said = f"Backup {LATER} needs WAL up to 000000010000000000000007, and repository 1 has it up to 0000000100000000"
    with pytest.raises(RefusedError) as refused:
        plan(Request(), repository(newest="000000010000000000000006"))
    assert said in str(refused.value)
    assert f"choose {NOON} (before-migration)" in str(refused.value)


# After a restore to 14:00 that was made at 15:30: the backup of 15:00 lies in what was given up, that of 17:00 behind.
AFTER = row("20300131-170000F", 17, "000000020000000000000008")
TWO_HISTORIES = replace(
    repository([*ROWS, AFTER], newest="00000002000000000000000A"), forks=read_history(RESTORED_AT_TWO, 2, LISTING)
)


@pytest.mark.parametrize(
    ("to", "timeline", "label", "followed"),
    [
        ("latest", 0, "20300131-170000F", 2),
        ("2030-01-31T17:30:00Z", 0, "20300131-170000F", 2),
        ("2030-01-31T13:00:00Z", 0, NOON, 2),
        ("2030-01-31T15:10:00Z", 1, LATER, 1),
        ("2030-01-31T15:10:00Z", 2, NOON, 2),
        ("2030-01-31T15:45:00Z", 0, NOON, 2),
        (LATER, 0, LATER, 1),
    ],
)
def test_after_a_restore_both_histories_can_be_reached(to: str, timeline: int, label: str, followed: int) -> None:
    forks = TWO_HISTORIES.forks if timeline != 1 else ()
    found = plan(Request(to=to, timeline=timeline), replace(TWO_HISTORIES, forks=forks))
    assert (found.backup.label, found.timeline) == (label, followed)


@pytest.mark.parametrize(
    ("to", "timeline", "said"),
    [
        (
            "2030-01-31T15:10:00Z",
            0,
            "an earlier restore gave up what was written from 2030-01-31T14:00:00.328281Z on, until it was made at"
            " 2030-01-31T15:30:00Z. Say which history is meant: -e restore_timeline=1 for what was given up,"
            " -e restore_timeline=2 for what that restore went back to.",
        ),
        ("latest", 1, "restore_timeline=1 needs a moment: give a time in restore_to instead of 'latest'"),
        ("latest", 7, "restore_timeline is 7; the archive has 1 to 2"),
    ],
)
def test_a_moment_that_there_were_two_of_is_refused(to: str, timeline: int, said: str) -> None:
    with pytest.raises(RefusedError) as refused:
        plan(Request(to=to, timeline=timeline), TWO_HISTORIES)
    assert said in str(refused.value)


def test_a_failover_gives_nothing_up() -> None:
    failed_over = replace(repository(newest="00000002000000000000000A"), forks=read_history(FAILED_OVER, 2, LISTING))
    found = plan(Request(to="2030-01-31T14:30:00Z"), failed_over)
    assert (found.backup.label, found.timeline) == (NOON, 2)
    assert found.recovery_options()["recovery_target_timeline"] == "2"


def test_a_timeline_that_no_backup_leads_to_is_refused() -> None:
    alone = replace(
        repository([ROWS[2]], newest="00000002000000000000000A"), forks=read_history(RESTORED_AT_TWO, 2, LISTING)
    )
    for to in ("latest", "2030-01-31T16:00:00Z"):
        with pytest.raises(RefusedError, match="No backup leads to timeline 2: give another restore_timeline"):
            plan(Request(to=to), alone)


@pytest.mark.parametrize(
    ("disk", "needed"),
    [
        (Disk(free=12 * GIB), 12 * GIB),
        (Disk(free=12 * GIB, old=8 * GIB), 12 * GIB),
        (Disk(free=4 * GIB, old=8 * GIB, keep_old=False), 4 * GIB),
        (Disk(free=2 * GIB, old=20 * GIB, keep_old=False), 2 * GIB),
    ],
)
def test_a_disk_has_to_take_the_data_a_tenth_more_and_a_gigabyte(disk: Disk, needed: int) -> None:
    assert plan(Request(), disk=disk).needed == needed


@pytest.mark.parametrize(
    ("disk", "said"),
    [
        (
            Disk(free=12 * GIB - 1),
            f"The disk is too small: backup {LATER} needs 12.0 GiB (10.0 GiB of data and room for WAL)",
        ),
        (Disk(free=2 * GIB), "and 2.0 GiB are free: free 10.0 GiB."),
        (Disk(free=5 * GIB, old=8 * GIB), "free 7.0 GiB, or give up the old data, which is otherwise kept until"),
        (Disk(free=5 * GIB, old=8 * GIB), "-e restore_keep_old=false needs 4.0 GiB."),
        (Disk(free=2 * GIB, old=8 * GIB), "and 2.0 GiB are free: free 10.0 GiB."),
        (Disk(free=1 * GIB, old=8 * GIB, keep_old=False), "needs 4.0 GiB"),
    ],
)
def test_too_small_a_disk_is_refused_before_anything_is_touched(disk: Disk, said: str) -> None:
    with pytest.raises(RefusedError) as refused:
        plan(Request(), disk=disk)
    assert said in str(refused.value)


def test_moments_are_shown_as_they_are_read() -> None:
    assert moments.show(moments.read("2030-01-31 13:00:00.25+01")) == "2030-01-31T12:00:00.250000Z"
