# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each thing that locks, or takes something from the old colour, is refused, and its safe way is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.module_utils.migration_lint import Phase, lint, main

START = "set lock_timeout = '3s';\n"
NOT_VALID = "alter table t add constraint c check (a > 0) not valid"
LOCKS = {
    "alter table t add column a uuid not null": "adding-required-field",
    "alter table t add column a timestamptz not null default clock_timestamp()": "adding-field-with-default",
    "alter table t add column a int generated always as (b + 1) stored": "adding-field-with-default",
    "alter table t alter column a set not null": "adding-not-nullable-field",
    "alter table t alter column a type bigint": "changing-column-type",
    "alter table t rename column a to b": "renaming-column",
    "alter table t rename to u": "renaming-table",
    "alter table t set schema s": "ban-set-schema",
    "create index i on t (a)": "require-concurrent-index-creation",
    "drop index i": "require-concurrent-index-deletion",
    "reindex table t": "require-concurrent-reindex",
    "begin; create index concurrently i on t (a); commit": "ban-concurrent-index-creation-in-transaction",
    "alter table t add constraint c check (a > 0)": "constraint-missing-not-valid",
    "alter table t add constraint c foreign key (a) references u": "adding-foreign-key-constraint",
    "alter table t add constraint c unique (a)": "disallowed-unique-constraint",
    "alter table t add primary key (a)": "adding-serial-primary-key-field",
    f"begin; {NOT_VALID}; alter table t validate constraint c; commit": "constraint-missing-not-valid",
    "truncate t cascade": "ban-truncate-cascade",
    "drop schema s": "ban-drop-schema",
    "update t set a = 1": "whole-table-at-once",
    "delete from t": "whole-table-at-once",
    "lock table t": "rewrite-under-lock",
    "vacuum full t": "rewrite-under-lock",
    "vacuum (analyze, full) t": "rewrite-under-lock",
    "cluster t": "rewrite-under-lock",
    "refresh materialized view v": "rewrite-under-lock",
    "alter table t nonsense": "syntax-error",
}
TAKES_AWAY = {
    "alter table t drop column a": "ban-drop-column",
    "drop table t": "ban-drop-table",
    "drop view v": "ban-drop-view",
    "drop function f()": "ban-drop-function",
    "drop policy p on t": "ban-drop-policy",
    "alter table t drop constraint c": "ban-drop-constraint",
    "alter table t alter column a drop default": "ban-drop-default",
    "alter table t alter column a drop not null": "ban-drop-not-null",
    "revoke select on t from r": "ban-revoke",
}
SAFE = (
    "alter table t add column a uuid",
    "alter table t add column a int not null default 5",
    "create index concurrently i on t (a)",
    "drop index concurrently i",
    NOT_VALID,
    "alter table t validate constraint c",
    "begin; create table t (a int not null, b int references u); create index i on t (b); commit",
    "update t set a = 1 where a is null",
    "refresh materialized view concurrently v",
    "revoke all on function f() from public",
    "create function f() returns void language sql begin atomic update t set a = 1; delete from t; end",
    "create function f() returns void language plpgsql as $$ begin update t set a = 1; end $$",
)


def rules(tmp_path: Path, sql: str, phase: Phase) -> set[str]:
    path = tmp_path / "0001.sql"
    path.write_text(f"{START}{sql};\n")
    return {finding.rule for finding in lint(path, phase)}


@pytest.mark.parametrize("phase", ["expand", "contract"])
@pytest.mark.parametrize(("sql", "rule"), LOCKS.items())
def test_what_locks_is_refused_in_both_phases(tmp_path: Path, sql: str, rule: str, phase: Phase) -> None:
    assert rule in rules(tmp_path, sql, phase)


@pytest.mark.parametrize(("sql", "rule"), TAKES_AWAY.items())
def test_what_the_old_colour_has_is_taken_away_by_a_contract_alone(tmp_path: Path, sql: str, rule: str) -> None:
    assert rules(tmp_path, sql, "expand") == {rule}
    assert rules(tmp_path, sql, "contract") == set()


@pytest.mark.parametrize("phase", ["expand", "contract"])
@pytest.mark.parametrize("sql", SAFE)
def test_the_safe_way_is_open(tmp_path: Path, sql: str, phase: Phase) -> None:
    assert rules(tmp_path, sql, phase) == set()


def test_not_null_is_set_behind_a_validated_constraint(tmp_path: Path) -> None:
    constraint = "begin; alter table t add constraint c check (a is not null) not valid; commit"
    validate = "begin; alter table t validate constraint c; commit"
    end = "begin; alter table t alter column a set not null; alter table t drop constraint c; commit"
    assert rules(tmp_path, f"{constraint}; {validate}; {end}", "contract") == set()
    assert rules(tmp_path, f"{constraint}; {end}", "contract") == {"adding-not-nullable-field"}


def test_a_lock_without_a_timeout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.sql").write_text("alter table t add column a int;\n")
    assert [finding.rule for finding in lint(tmp_path / "1.sql", "expand")] == ["require-lock-timeout"]


def test_the_message_names_file_statement_and_safe_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = f"{START}alter table t\n  drop column a;\nupdate t\n  set a = 1;\n"
    (tmp_path / "expand").mkdir()
    path = tmp_path / "expand/7.sql"
    path.write_text(sql)
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{path}:2: ban-drop-column: alter table t drop column a",
        "    Dropping a column may break existing clients.",
        "    Safe: Leave it for the contract phase, when no old code is left.",
        f"{path}:4: whole-table-at-once: update t set a = 1",  # noqa: S608
        "    It locks every row until the commit, and check-ins wait for it.",
        "    Safe: Change rows in batches, each in a transaction of its own.",
        f"{tmp_path}: 1 migrations, 2 refused",
    ]
    (tmp_path / "contract").mkdir()
    path.rename(tmp_path / "contract/7.sql")
    (tmp_path / "contract/7.sql").write_text(f"{START}alter table t drop column a;")
    assert main([str(tmp_path)]) == 0


def test_nothing_to_check_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path} has no expand/*.sql")
