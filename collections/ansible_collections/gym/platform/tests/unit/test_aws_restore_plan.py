"""What RDS is restored to, what is refused with what is possible, and how an interrupted run is carried on with."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_plan import (
    Possible,
    Restoration,
    Shard,
    Snapshot,
    plan,
)
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import RefusedError, Request

DAY = datetime.datetime(2030, 1, 31, tzinfo=datetime.UTC)
NOW, LATEST = DAY.replace(hour=18), DAY.replace(hour=17, minute=55)
FIRST = DAY - datetime.timedelta(days=35)
SNAPSHOTS = (
    Snapshot("rds:gym-1-2030-01-30", "", DAY - datetime.timedelta(days=1)),
    Snapshot("awsbackup:job-1", "before-migration", DAY.replace(hour=9)),
    Snapshot("awsbackup:job-2", "before-migration", DAY.replace(hour=12)),
)
POSSIBLE = Possible(FIRST, LATEST, SNAPSHOTS)
NOON = "2030-01-31T12:00:00Z"


def shard(name: str = "gym-1", **changes: Any) -> Shard:
    return Shard(**{"name": name, "possible": POSSIBLE, "tags": {}, **changes})


def request(to: str = "latest", **changes: Any) -> Request:
    return Request(**{"to": to, "environment": "production", **changes})


def in_place(to: str = "latest") -> Request:
    return request(to, place="in_place", confirm="production")


def restored(to: str, of: str = "gym-1") -> dict[str, str]:
    return {"restored-from": of, "restored-to": to}


@pytest.mark.parametrize(
    ("to", "restored_to", "snapshot"),
    [
        ("latest", "2030-01-31T17:55:00Z", ""),
        ("2030-01-31 13:00:00+01:00", NOON, ""),
        ("before-migration", "awsbackup:job-2", "awsbackup:job-2"),
        ("rds:gym-1-2030-01-30", "rds:gym-1-2030-01-30", "rds:gym-1-2030-01-30"),
    ],
)
def test_a_moment_or_a_snapshot_is_taken(to: str, restored_to: str, snapshot: str) -> None:
    assert plan(request(to), [shard()], NOW) == [Restoration("gym-1", "gym-1", "gym-1-restored", restored_to, snapshot)]


def test_all_shards_are_restored_to_one_moment() -> None:
    behind = Possible(FIRST, LATEST - datetime.timedelta(minutes=4))
    found = plan(request(), [shard(), shard("gym-2", possible=behind)], NOW)
    assert {one.restored_to for one in found} == {"2030-01-31T17:51:00Z"}


@pytest.mark.parametrize(
    ("asked", "changes", "complaint"),
    [
        (request("2029-12-01T00:00:00Z"), {}, "before the oldest backup: choose a time from 2029-12-27T00:00:00Z to"),
        (request("2030-02-01T00:00:00Z"), {}, r"in the future \(it is 2030-01-31T18:00:00Z\)"),
        (request("2030-01-31T17:59:00Z"), {}, "backups do not reach that far yet: .*17:55:00Z, or 'latest'"),
        (request("2030-01-31T12:00:00"), {}, "has no zone"),
        (request("before-migratoin"), {}, r"did you mean 'before-migration'\?\): choose before-migration of 2030"),
        (request("noon"), {"possible": Possible(FIRST, LATEST)}, "no snapshot of that name: choose a time, or"),
        (request(), {"possible": Possible(None, None)}, "has no backup to restore from"),
        (request(), {"tags": None}, "There is no database instance 'gym-1': provision"),
        (request(place="in_place"), {}, "restore_confirm is missing: add -e restore_confirm=production"),
        (request(place="in_place", confirm="staging"), {}, "restore_confirm is 'staging'"),
        (request(place="above"), {}, "give one of beside, in_place"),
        (request(NOON), {"beside": {}}, "was not restored from 'gym-1'"),
        (request(NOON), {"beside": restored("x")}, "restored to x, and not to 2030-01-31T12:00:00Z: carry on"),
        # A look at noon is not what somebody wants to serve in the evening.
        (in_place(), {"beside": restored(NOON)}, "remove it first by -e restore_state=absent"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_can(asked: Request, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RefusedError, match=complaint):
        plan(asked, [shard(**changes)], NOW)


@pytest.mark.parametrize(
    ("changes", "to_restore", "to_take_over", "target"),
    [
        ({}, True, True, "gym-1-restored"),
        # Somebody may have restored it to look at it, without what has to serve.
        ({"beside": restored(NOON)}, True, True, "gym-1-restored"),
        # The old one has its other name, and the restored one not its new one.
        ({"tags": None, "beside": restored(NOON)}, False, True, "gym-1-restored"),
        # Its backups are as young as it is.
        ({"tags": restored(NOON), "possible": Possible(LATEST, LATEST)}, False, False, "gym-1"),
    ],
)
def test_an_interrupted_restoration_in_place_is_carried_on_with(
    changes: dict[str, Any], to_restore: bool, to_take_over: bool, target: str
) -> None:
    (found,) = plan(in_place(NOON), [shard(**changes)], NOW)
    assert (found.to_restore, found.to_take_over, found.target) == (to_restore, to_take_over, target)


def test_once_names_change_every_shard_goes_the_same_way_whatever_is_the_latest_by_then() -> None:
    done = shard("gym-1", tags=restored(NOON))
    begun = shard("gym-2", tags=None, beside=restored(NOON, "gym-2"))
    waiting = shard("gym-3", beside=restored(NOON, "gym-3"))
    found = plan(in_place(), [done, begun, waiting], NOW)
    assert [(one.to_restore, one.to_take_over) for one in found] == [(False, False), (False, True), (True, True)]
    with pytest.raises(RefusedError, match="'gym-2' is half replaced"):
        plan(in_place(), [shard("gym-1"), begun], NOW)


# --- back from another region


def back(**changes: Any) -> Shard:
    return shard("gym-1", of="gym-dr-1", **changes)


ENDED = DAY.replace(hour=17)
SINCE = "2030-01-31T17:30:00Z"


@pytest.mark.parametrize(
    ("changes", "restored_to", "to_restore", "to_take_over"),
    [
        ({}, "2030-01-31T17:55:00Z", True, True),
        # Restored before writes ended there: by the evacuation before this one.
        ({"tags": restored(NOON, "gym-dr-1")}, "2030-01-31T17:55:00Z", True, True),
        ({"beside": restored(SINCE, "gym-dr-1")}, SINCE, True, True),
        ({"tags": None, "beside": restored(SINCE, "gym-dr-1")}, SINCE, False, True),
        ({"tags": restored(SINCE, "gym-dr-1")}, SINCE, False, False),
    ],
)
def test_what_was_written_elsewhere_comes_back_once_and_whole(
    changes: dict[str, Any], restored_to: str, to_restore: bool, to_take_over: bool
) -> None:
    (found,) = plan(in_place(), [back(**changes)], NOW, ENDED)
    assert (found.name, found.source, found.restored_to) == ("gym-1", "gym-dr-1", restored_to)
    assert (found.to_restore, found.to_take_over) == (to_restore, to_take_over)


def test_backups_that_end_before_the_last_write_are_waited_for() -> None:
    with pytest.raises(RefusedError, match="Writes ended at 2030-01-31T17:58:00Z, and backups end at 2030-01-31T17:55"):
        plan(in_place(), [back()], NOW, LATEST + datetime.timedelta(minutes=3))
