"""Who keeps the name of the front door when an environment is removed: nobody, or the environment that it leads to."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.project import ROOT, described, environment

REMOVALS = ("teardown", "clean")
ENVIRONMENTS = ("development", "development-dr")
WITHIN = 120  # seconds, only a guard: a run takes three on a machine at rest


def front_door(name: str) -> str:
    """Return the address at which an environment answers."""
    (host,) = environment(name).inventory.groups["edge"].get_hosts()
    return str(host.vars["ansible_host"])


def changed(removal: str, name: str, state: Path) -> bool:
    """Run the end of a playbook in check mode, after the machines are gone, and say whether it would change anything.

    In check mode, because the machines of this machine's own environments are not a test's to remove.
    """
    command = ["ansible-playbook", "-i", f"inventories/{name}", f"playbooks/{removal}.yml", "--check"]
    command += ["--start-at-task", "Have no name for the front door", "-e", f"state_directory={state / name}"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, timeout=WITHIN
    )
    assert done.returncode == 0, done.stdout + done.stderr
    recap = done.stdout[done.stdout.index("PLAY RECAP") :]
    assert "localhost" in recap, done.stdout
    return "changed=0" not in recap


@pytest.mark.parametrize("removal", REMOVALS)
@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("leads_to", ENVIRONMENTS)
def test_a_name_goes_with_the_environment_that_it_leads_to(
    removal: str, name: str, leads_to: str, tmp_path: Path
) -> None:
    record = tmp_path / "names" / described(name, "platform")["domain"]
    record.parent.mkdir()
    record.write_text(f"{front_door(leads_to)}\n")
    assert changed(removal, name, tmp_path) == (name == leads_to)


def test_where_nobody_has_a_name_there_is_nothing_to_remove(tmp_path: Path) -> None:
    assert not changed("teardown", "development", tmp_path)
