"""Steps of a drill are taken as a person would, and remembered; it is waited for what clients are told."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.action.drill_journal import begun, good
from ansible_collections.gym.platform.plugins.module_utils.drill_book import Book
from ansible_collections.gym.platform.plugins.module_utils.drill_journal import Attempt

TENANTS = ["north-gym", "south-gym"]
PLAYBOOK = """
- name: Drill
  hosts: localhost
  gather_facts: false
  module_defaults:
    gym.platform.drill_step: {{drill: "{stem}", timeout: 5}}
  tasks:
    - name: Cause it
      gym.platform.drill_step: {{run: "echo caused > cause", directory: "{directory}", disaster: true}}
    - name: Wait for what is said
      gym.platform.drill_step: {{run: "echo one >> {directory}/count; wc -l < {directory}/count; exit 1", says: "^3$"}}
    - name: See the errors apart
      gym.platform.drill_step: {{run: "echo out; echo error >&2"}}
      register: apart
    - name: Expect them so
      ansible.builtin.assert: {{that: "apart.stdout == 'out\\n' and apart.stderr == 'error\\n' and apart.rc == 0"}}
    - name: Meet an error
      gym.platform.drill_step: {{run: "echo because >&2; exit 3"}}
      ignore_errors: true
    - name: Hang
      gym.platform.drill_step: {{run: "sleep 60", says: "^done$", timeout: 1}}
      ignore_errors: true
    - name: Wait in vain
      gym.platform.drill_step: {{run: "echo never", says: "^always$", timeout: 1}}
"""


def run(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "playbook.yml").write_text(PLAYBOOK.format(stem=directory / "drill", directory=directory))
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(Path(__file__).parents[5]),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", *options]
    return subprocess.run(
        [*command, str(directory / "playbook.yml")],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_steps_are_taken_and_remembered(tmp_path: Path) -> None:
    done = run(tmp_path)
    steps = Book(tmp_path / "drill").steps()
    assert [step.name for step in steps] == [
        "Cause it",
        "Wait for what is said",
        "See the errors apart",
        "Meet an error",
        "Hang",
        "Wait in vain",
    ], done.stdout
    assert (tmp_path / "cause").read_text() == "caused\n"
    assert [step.disaster for step in steps] == [True, False, False, False, False, False]
    assert [bool(step.failure) for step in steps] == [False, False, False, True, True, True]
    assert steps[1].ended - steps[1].begun >= 1.0, "asked again after half a second, twice"
    assert all(one.ended <= other.begun for one, other in itertools.pairwise(steps))
    assert steps[3].failure == "it ended with 3; it said: because"
    assert steps[4].failure == "not within 1 s: it ended with 124, without having said '^done$'; it said: nothing"
    assert steps[5].failure == "not within 1 s: it ended with 0, without having said '^always$'; it said: never"
    assert done.returncode == 2
    assert "Wait in vain: not within 1 s" in done.stdout


def test_check_mode_takes_no_step(tmp_path: Path) -> None:
    run(tmp_path, "--check")
    assert not (tmp_path / "cause").exists()
    assert Book(tmp_path / "drill").steps() == []


def attempt(number: int, at: float, error: str = "") -> Attempt:
    return Attempt(number, TENANTS[number % 2], "p", at - 0.01, at, error)


def test_a_drill_begins_when_every_gym_and_every_client_was_served() -> None:
    journal = [attempt(number, number / 10) for number in range(12)]
    assert begun(journal, TENANTS, clients=6)
    assert not begun(journal[:11], TENANTS, clients=6)
    assert not begun(journal[::2], TENANTS, clients=1), "the other gym has none"


@pytest.mark.parametrize(
    ("failed_at", "now", "expected"),
    [
        (0.0, 9.9, True),
        (6.0, 9.9, False),
        # Nobody has written for a while: that is no good sign.
        (0.0, 20.0, False),
    ],
)
def test_clients_write_again_when_nothing_has_failed_for_a_while(failed_at: float, now: float, expected: bool) -> None:
    journal = [attempt(number, number / 10) for number in range(100)]
    journal.append(attempt(100, failed_at, "gone"))
    journal.sort(key=lambda attempt: attempt.ended)
    assert good(journal, now) is expected
    assert not good([], now)
    assert not good(journal[-20:], now), "they have only just begun"
