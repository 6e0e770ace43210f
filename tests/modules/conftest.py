"""Where the tasks of the modules' tests are run: here, or on a host that is run by systemd.

The tests on a host need MODULES_INVENTORY, an inventory of which the first host is used, and leave nothing behind.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.modules.playing import Ansible, Outcome, Task


@pytest.fixture
def local(tmp_path: Path) -> Ansible:
    """Ansible against this machine; a fresh folder is all that it touches."""
    inventory = tmp_path / "inventory.yml"
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"here": here}}}))
    return Ansible(tmp_path, str(inventory), "here")


@pytest.fixture
def host(tmp_path: Path) -> Ansible:
    """Ansible against a host that is run by systemd."""
    inventory = os.environ.get("MODULES_INVENTORY")
    if not inventory:
        pytest.skip("MODULES_INVENTORY names no inventory")
    return Ansible(tmp_path, str(Path(inventory).resolve()), "all[0]")


@pytest.fixture
def clean_host(host: Ansible) -> Iterator[Callable[..., Outcome]]:
    """The same, with everything that is called module-test-… removed before and after."""
    script = (
        "systemctl stop 'module-test-*'; systemctl unmask $(ls /etc/systemd/system | grep ^module-test-); "
        "rm -rf /etc/systemd/system/module-test-* /etc/systemd/system/*.wants/module-test-* /etc/module-test "
        "/run/gym-platform/*/module-test-* /run/module-test*; systemctl daemon-reload; "
        "systemctl reset-failed 'module-test-*'; true"
    )
    clean: Task = {"ansible.builtin.shell": script, "become": True}
    assert host.play(clean).last["rc"] == 0
    yield host.play
    host.play(clean)
