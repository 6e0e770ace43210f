"""Which rows go back, in which order, and what is refused; that the statements do it is proven on a real database."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import RefusedError
from ansible_collections.gym.platform.plugins.module_utils.restored_rows import (
    Column,
    Part,
    Table,
    Tenants,
    check_schemas,
    check_tenant_tables,
    contents_of,
    is_parent,
    parents_first,
    statements_of,
    table_parts,
    tenant_parts,
    unknown_tenant,
)

WORDS = Tenants("gym.tenants", "id", "slug", "tenant_id")
ID, TENANT = Column("id", "uuid NOT NULL"), Column("tenant_id", "uuid NOT NULL")
NAME = Column("name", "text")
TENANTS = Table("gym", "tenants", (ID, Column("slug", "text")), ("id",))
MEMBERS = Table("gym", "members", (TENANT, ID, NAME), ("tenant_id", "id"), frozenset({"gym.tenants"}))
CHECK_INS = Table("gym", "check_ins", (TENANT, ID), ("tenant_id", "id"), frozenset({"gym.members", "gym.kiosks"}))
PRICES = Table("gym", "prices", (NAME,), ())
OTHER = Table("other", "members", (ID,), ("id",))
ALL_TABLES = {table.full_name: table for table in (TENANTS, MEMBERS, CHECK_INS, PRICES, OTHER)}


def names(parts: list[Part]) -> list[str]:
    return [part.table.full_name for part in parts]


def test_a_tenant_has_a_part_of_every_table_with_its_column() -> None:
    parts = tenant_parts(ALL_TABLES, WORDS, "it's")
    assert names(parts) == ["gym.check_ins", "gym.members", "gym.tenants"]
    assert [part.condition for part in parts] == ["l.\"tenant_id\" = 'it''s'"] * 2 + ["l.\"id\" = 'it''s'"]
    assert len({part.stage for part in parts}) == 3


def test_parents_come_first_and_a_table_may_refer_to_itself() -> None:
    own = replace(MEMBERS, parents=frozenset({"gym.tenants", "gym.members"}))
    parts = tenant_parts({**ALL_TABLES, "gym.members": own}, WORDS, "x")
    assert names(parents_first(parts)) == ["gym.tenants", "gym.members", "gym.check_ins"]
    assert [is_parent(part, parts) for part in parents_first(parts)] == [True, True, False]


def test_tables_that_refer_to_each_other_are_refused() -> None:
    circle = {**ALL_TABLES, "gym.tenants": replace(TENANTS, parents=frozenset({"gym.members"}))}
    with pytest.raises(RefusedError, match="refer to each other, and their foreign keys are not DEFERRABLE"):
        parents_first(tenant_parts(circle, WORDS, "x"))


def test_tables_are_found_by_their_names() -> None:
    assert names(table_parts(ALL_TABLES, ["prices", " gym.members"], "all")) == ["gym.members", "gym.prices"]


@pytest.mark.parametrize(
    ("asked", "rows", "said"),
    [
        (
            ["membrs"],
            "all",
            "restore_table is 'membrs', and the backup has no such table; there is gym.members, other.members",
        ),
        (["zzz"], "all", "there is gym.check_ins, gym.members, gym.prices, gym.tenants, other.members."),
        (["members"], "all", "there are gym.members, other.members: write it with the schema"),
        (["prices"], "missing", "gym.prices has no primary key, so nothing tells which of its rows are missing"),
        (["prices"], "some", "restore_rows is 'some'; give one of all, missing."),
    ],
)
def test_tables_that_cannot_be_meant_are_refused(asked: list[str], rows: str, said: str) -> None:
    with pytest.raises(RefusedError) as refused:
        table_parts(ALL_TABLES, asked, rows)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ((TENANT, ID), "gym.members.name is only in the backup"),
        ((TENANT, ID, NAME, Column("phone", "text")), "gym.members.phone is only in the live database"),
        (
            (TENANT, ID, Column("name", "character varying(80)")),
            "gym.members.name is text in the backup and character varying(80) in the live database",
        ),
        (
            (TENANT, ID, Column("name", "text", computed=True)),
            "gym.members.name is text in the backup and text in the live",
        ),
    ],
)
def test_another_schema_is_refused_by_its_columns(live: tuple[Column, ...], said: str) -> None:
    parts = table_parts(ALL_TABLES, ["gym.members"], "all")
    with pytest.raises(RefusedError) as refused:
        check_schemas(parts, {**ALL_TABLES, "gym.members": replace(MEMBERS, columns=live)}, may_be_missing=True)
    assert said in str(refused.value)
    assert "Restore to a moment when it was" in str(refused.value)


def test_the_order_of_columns_is_no_difference_and_a_lost_table_is_found() -> None:
    turned = {**ALL_TABLES, "gym.members": replace(MEMBERS, columns=(NAME, ID, TENANT))}
    del turned["gym.prices"]
    parts = table_parts(ALL_TABLES, ["gym.members", "prices"], "all")
    assert names(check_schemas(parts, turned, may_be_missing=True)) == ["gym.prices"]


def test_another_key_is_refused() -> None:
    parts = table_parts(ALL_TABLES, ["gym.members"], "all")
    with pytest.raises(RefusedError, match=r"is \(tenant_id, id\) in the backup and \(id\) in the live database"):
        check_schemas(parts, {"gym.members": replace(MEMBERS, key=("id",))}, may_be_missing=True)


def test_tables_of_tenants_have_to_be_on_both_sides() -> None:
    parts = tenant_parts(ALL_TABLES, WORDS, "x")
    with pytest.raises(RefusedError, match=r"gym\.check_ins is only in the backup"):
        check_schemas(parts, {"gym.tenants": TENANTS, "gym.members": MEMBERS}, may_be_missing=False)
    new = Table("gym", "lockers", (TENANT,))
    check_tenant_tables(parts, ALL_TABLES, WORDS)
    with pytest.raises(RefusedError, match=r"gym\.lockers is only in the live database"):
        check_tenant_tables(parts, {**ALL_TABLES, "gym.lockers": new}, WORDS)


def test_a_refusal_lists_no_more_differences_than_a_person_reads() -> None:
    wide = replace(MEMBERS, columns=(*MEMBERS.columns, *(Column(f"c{number:02}", "text") for number in range(20))))
    with pytest.raises(RefusedError, match=r"c11 is only in the live database, and 8 more\."):
        check_schemas(table_parts(ALL_TABLES, ["gym.members"], "all"), {"gym.members": wide}, may_be_missing=True)


def test_an_unknown_tenant_is_told_the_nearest() -> None:
    assert "of 3 tenants the nearest are north-gym. Give" in str(unknown_tenant("nort-gym", ["a", "b", "north-gym"]))
    assert "of 2 tenants the nearest are a, b" in str(unknown_tenant("zzz", ["a", "b"]))
    assert "there was none at all" in str(unknown_tenant("zzz", []))


def test_a_whole_table_is_locked_and_of_a_tenant_only_what_others_refer_to() -> None:
    whole = Part(MEMBERS, "s")
    assert whole.lock(is_parent=False) == 'LOCK TABLE "gym"."members" IN SHARE ROW EXCLUSIVE MODE'
    assert replace(whole, rows="missing").lock(is_parent=True) is None
    own = replace(whole, condition="l.tenant_id = 'x'")
    assert own.lock(is_parent=False) is None
    assert "FOR UPDATE" in str(own.lock(is_parent=True))


def test_only_what_can_be_written_is_written() -> None:
    table = Table(
        "gym",
        "t",
        (ID, NAME, Column("n", "bigint", fixed=True, sequence="gym.t_n_seq"), Column("c", "text", computed=True)),
        ("id",),
    )
    part = Part(table, "s")
    assert 'SET "name" = b."name" FROM' in part.update()
    assert '("id", "name", "n") OVERRIDING SYSTEM VALUE' in part.insert()
    assert '"c"' not in part.copy_out() + part.insert() + part.update()
    assert "setval('gym.t_n_seq'" in part.advance()[0]
    assert not Part(replace(table, columns=(ID,)), "s").updatable


LISTING = """\
;
; Archive created at 2030-01-31 12:00:00 UTC
;
6; 2615 16397 SCHEMA - gym gym_owner
218; 1259 16408 TABLE gym members gym_owner
3382; 0 0 COMMENT gym TABLE members gym_owner
3383; 0 0 COMMENT gym COLUMN members.name gym_owner
3384; 0 0 ACL gym TABLE members gym_owner
3385; 0 0 ACL gym COLUMN members.name gym_owner
233; 1255 16438 FUNCTION gym silent(interval) gym_owner
3386; 0 0 ACL gym FUNCTION silent(silent_after interval) gym_owner
220; 1259 16421 TABLE gym check_ins gym_owner
3390; 0 0 ACL gym TABLE check_ins gym_owner
219; 1259 16420 SEQUENCE gym check_ins_s_seq gym_owner
3387; 0 0 SEQUENCE OWNED BY gym check_ins_s_seq gym_owner
217; 1259 16407 SEQUENCE gym members_n_seq gym_owner
3388; 0 0 SEQUENCE OWNED BY gym members_n_seq gym_owner
3226; 2606 16414 CONSTRAINT gym members members_pkey gym_owner
3230; 2606 16427 FK CONSTRAINT gym check_ins check_ins_tenant_id_member_id_fkey gym_owner
3374; 0 16408 ROW SECURITY gym members gym_owner
3376; 0 16421 ROW SECURITY gym check_ins gym_owner
3375; 3256 16432 POLICY gym members own gym_owner
"""


def test_what_went_with_a_table_is_found_in_a_dump_and_nothing_else() -> None:
    went = {(1259, 16408), (1255, 16438), (1259, 16407), (2606, 16414), (2606, 16427), (3256, 16432)}
    chosen = [int(line.split(";")[0]) for line in contents_of(LISTING, went)]
    assert chosen == [218, 3382, 3383, 3384, 3385, 233, 3386, 217, 3388, 3226, 3230, 3374, 3375]


def test_what_only_psql_understands_is_left_out() -> None:
    script = "-- Dumped\n\\restrict key\nSET row_security = off;\nCREATE TABLE t (\n    id int\n);\n\\unrestrict key\n"
    assert statements_of(script) == "SET row_security = off;\nCREATE TABLE t (\n    id int\n);"
