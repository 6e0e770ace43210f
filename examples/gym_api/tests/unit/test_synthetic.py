"""The same plan gives the same bytes."""

import dataclasses
from datetime import date
from typing import Any

import pytest

from gym_api.synthetic import Checksum, Plan, Synthetic

PLAN = Plan(seed=7, gyms=3, members=4, months=2, visits=5, until=date(2026, 1, 1))


def rows_of(plan: Plan) -> dict[str, list[str]]:
    return {table.name: list(table.lines()) for table in Synthetic(plan).tables()}


def checksum_of(plan: Plan) -> str:
    checksum = Checksum()
    for table in Synthetic(plan).tables():
        assert b"".join(checksum.blocks(table, lines_a_block=7)) == "".join(table.lines()).encode()
    return checksum.hexdigest()


def test_the_bytes_are_those_of_every_other_day() -> None:
    assert checksum_of(PLAN) == "d952c26dfdc18a6a5e88f463f2c6a696225168b423216b0bbbe6ff13f5afce31"


@pytest.mark.parametrize("change", [{"seed": 8}, {"gyms": 2}, {"members": 5}, {"months": 1}, {"visits": 4}])
def test_another_plan_is_other_data(change: dict[str, Any]) -> None:
    other = dataclasses.replace(PLAN, **change)
    assert checksum_of(other) != checksum_of(PLAN)
    assert other.fingerprint != PLAN.fingerprint


def test_there_is_as_much_as_was_asked_for() -> None:
    rows = rows_of(PLAN)
    assert {name: len(lines) for name, lines in rows.items()} == {
        "tenants": 3,
        "members": 12,
        "kiosks": 6,
        "check_ins": 3 * 4 * 2 * 5,
    }
    ids = [line.split("\t")[1] for line in rows["check_ins"]]
    assert len(set(ids)) == len(ids)


def test_check_ins_are_of_the_gym_s_own_members_in_the_months_before() -> None:
    rows = rows_of(PLAN)
    members = {tuple(line.split("\t")[:2]) for line in rows["members"]}
    kiosks = {tuple(line.split("\t")[:2]) for line in rows["kiosks"]}
    for line in rows["check_ins"]:
        tenant, _, member, kiosk, _, moment, day = line.rstrip("\n").split("\t")
        assert (tenant, member) in members
        assert (tenant, kiosk) in kiosks
        assert "2025-11-02" <= moment[:10] == day < "2026-01-01"
