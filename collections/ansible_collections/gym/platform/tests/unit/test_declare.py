"""What is written, and what is removed, when a capability is declared."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.gym.platform.plugins.action.declare import check_name, differences


@pytest.mark.parametrize("name", ["backup", "backup_dr"])
def test_names_begin_with_the_capability(name: str) -> None:
    assert check_name(name, "backup") == name


@pytest.mark.parametrize("name", ["backups", "network", "dr_backup"])
def test_a_name_that_another_role_could_own_is_refused(name: str) -> None:
    with pytest.raises(AnsibleActionFail, match="does not begin with 'backup'"):
        check_name(name, "backup")


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    same, other, new = (tmp_path / f"backup{end}.yml" for end in ("", "_a", "_b"))
    same.write_text("1")
    other.write_text("2")
    found = differences(tmp_path, "backup", {same: "1", other: "3", new: "4"})
    assert found == [(other, "2", "3"), (new, None, "4")]


def test_what_is_no_longer_declared_is_removed_and_nothing_of_others(tmp_path: Path) -> None:
    for name in ("backup", "backup_dr", "backups", "network"):
        (tmp_path / f"{name}.yml").write_text(name)
    found = differences(tmp_path, "backup", {tmp_path / "backup.yml": "backup"})
    assert found == [(tmp_path / "backup_dr.yml", "backup_dr", None)]
