"""Markers last until they are cleared, and a restart is a reload, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.module_utils.pending import Pending, is_unit_name


def test_markers_are_left_read_and_cleared(tmp_path: Path) -> None:
    pending = Pending(str(tmp_path / "run"))
    assert (pending.restarts(), pending.reloads(), pending.daemon_reload()) == (set(), set(), False)
    new = pending.mark(restart=["a.service"], reload=["a.service", "b@1.service"], daemon_reload=True)
    assert len(new) == 4
    again = Pending(str(tmp_path / "run"))
    assert (again.restarts(), again.reloads(), again.daemon_reload()) == (
        {"a.service"}, {"a.service", "b@1.service"}, True,
    )  # fmt: skip
    assert again.mark(restart=["a.service", "c.service"]) == [tmp_path / "run" / "restart" / "c.service"]
    again.clear_restart("a.service")
    again.clear_daemon_reload()
    assert (pending.restarts(), pending.reloads(), pending.daemon_reload()) == ({"c.service"}, {"b@1.service"}, False)
    again.clear_reload("b@1.service")
    again.clear_reload("never.marked.service")
    assert pending.reloads() == set()


@pytest.mark.parametrize("name", ["ssh.service", "a@b.timer", r"dev-disk-by\x2did.swap", "x:y_z.socket"])
def test_full_names_of_units(name: str) -> None:
    assert is_unit_name(name)


@pytest.mark.parametrize("name", ["ssh", "a/b.service", ".service", "a b.service", "ssh.servic", "a.service\n", ""])
def test_what_is_no_name_of_a_unit(name: str) -> None:
    assert not is_unit_name(name)
