"""A restored database takes the place of another one: in which order, and from wherever an earlier run has ended."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_takeover import (
    DELETE,
    REPLICATE,
    Member,
    Step,
    is_replaced,
    plan,
)
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import RefusedError

MADE = datetime.datetime(2030, 1, 31, 12, tzinfo=datetime.UTC)
OLD = MADE - datetime.timedelta(days=100)
RESTORED = {"restored-from": "gym-1", "restored-to": "2030-01-31T11:00:00Z"}
World = dict[str, Member]


def world(replicas: int = 2) -> World:
    """Return an instance, its replicas, and what was restored from it."""
    names = ["gym-1", *(f"gym-1-replica-{number}" for number in range(1, replicas + 1))]
    found = {name: Member(name, "" if name == "gym-1" else "gym-1", OLD, {"of": "stack"}) for name in names}
    return {**found, "gym-1-restored": Member("gym-1-restored", "", MADE, RESTORED)}


def taken(step: Step, before: World) -> World:
    """Return what RDS has after a step."""
    after = dict(before)
    if step.kind == REPLICATE:
        assert step.like in after
        after[step.name] = Member(step.name, step.other, MADE, {})
    elif step.kind == DELETE:
        assert is_replaced(after[step.name].source), "the other ones serve"
        del after[step.name]
    else:
        assert step.other not in after, "two of one name"
        after[step.other] = dataclasses.replace(after.pop(step.name), name=step.other)
        for name, member in after.items():
            if member.source == step.name:
                after[name] = dataclasses.replace(member, source=step.other)
    return after


def run(before: World, steps: int = 99) -> World:
    for step in list(plan("gym-1", before).steps)[:steps]:
        before = taken(step, before)
    return before


def shape(found: World) -> dict[str, tuple[str, datetime.datetime]]:
    return {name: (member.source, member.made) for name, member in found.items()}


DONE = {
    "gym-1": ("", MADE),
    "gym-1-replica-1": ("gym-1", MADE),
    "gym-1-replica-2": ("gym-1", MADE),
    "gym-1-until-20300131t120000": ("", OLD),
}


def test_the_writer_is_away_for_two_renames_and_everything_else_is_prepared_before() -> None:
    assert [str(step) for step in plan("gym-1", world(1)).steps] == [
        "make gym-1-replica-1-restored, a replica of gym-1-restored, like gym-1-replica-1",
        "rename gym-1 to gym-1-until-20300131t120000",
        "rename gym-1-restored to gym-1",
        "rename gym-1-replica-1 to gym-1-replica-1-until-20300131t120000",
        "rename gym-1-replica-1-restored to gym-1-replica-1",
        "delete the replica gym-1-replica-1-until-20300131t120000",
    ]
    assert shape(run(world())) == DONE


@pytest.mark.parametrize("steps", range(12))
def test_it_can_end_after_every_step_and_is_carried_on_with(steps: int) -> None:
    half = run(world(), steps)
    assert shape(run(half)) == DONE
    # A third run may have to carry on as well.
    assert shape(run(run(half, 1))) == DONE


def test_there_is_nothing_to_do_when_it_is_done() -> None:
    done = run(world())
    assert plan("gym-1", done).steps == []
    # What was replaced is removed by hand one day.
    del done["gym-1-until-20300131t120000"]
    assert plan("gym-1", done).steps == []


def test_a_place_can_be_taken_again() -> None:
    done = run(world())
    later = MADE + datetime.timedelta(hours=1)
    again = run({**done, "gym-1-restored": Member("gym-1-restored", "", later, RESTORED)})
    assert shape(again)["gym-1"] == ("", later)
    assert {name for name in again if is_replaced(name)} == {
        "gym-1-until-20300131t120000",
        "gym-1-until-20300131t130000",
    }


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"gym-1-restored": Member("gym-1-restored", "", MADE, {})}, "restore first"),
        ({"gym-1-until-20300131t120000": Member("gym-1-until-20300131t120000", "", OLD, {})}, "is there already"),
    ],
)
def test_what_is_not_meant_is_refused(changed: World, complaint: str) -> None:
    with pytest.raises(RefusedError, match=complaint):
        plan("gym-1", {**world(), **changed})


def test_what_comes_from_the_other_region_takes_the_place_as_well() -> None:
    elsewhere = {"restored-from": "gym-dr-1"}
    members = {**world(1), "gym-1-restored": Member("gym-1-restored", "", MADE, elsewhere)}
    with pytest.raises(RefusedError, match="was not restored from 'gym-1'"):
        plan("gym-1", members)
    steps = plan("gym-1", members, "gym-dr-1").steps
    assert steps == plan("gym-1", world(1)).steps


def test_a_name_that_is_too_long_is_told_before_anything_is_renamed() -> None:
    name = "g" * 45
    members = {
        name: Member(name, "", OLD, {}),
        f"{name}-restored": Member(f"{name}-restored", "", MADE, {"restored-from": name}),
    }
    with pytest.raises(RefusedError, match="longer than the 63 letters"):
        plan(name, members)
