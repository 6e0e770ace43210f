"""The progress callback: quiet on a terminal, Ansible's own output elsewhere, failures in full in both."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.callback.progress import clock, shorten

PLAYBOOK = """
- name: Configure
  hosts: all
  connection: local
  gather_facts: false
  tasks:
    - {name: Change something, ansible.builtin.command: echo planted-output}
    - {name: Say where it is, ansible.builtin.debug: {msg: [first line, second line]}, run_once: true}
    - {name: Expected to fail, ansible.builtin.command: /bin/false, ignore_errors: true}
    - {name: Break, ansible.builtin.command: ls planted-missing-file, when: break_it | bool}
"""


def run(tmp_path: Path, *arguments: str, terminal: bool) -> tuple[int, str]:
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(PLAYBOOK)
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "one,two,", str(playbook), *arguments]
    collections = Path(__file__).parents[5]
    environment = os.environ | {
        "ANSIBLE_STDOUT_CALLBACK": "gym.platform.progress",
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "COLUMNS": "100",
        "TERM": "xterm",
    }
    if not terminal:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout
    controller, terminal_side = pty.openpty()
    with subprocess.Popen(command, env=environment, stdout=terminal_side, stderr=subprocess.DEVNULL) as process:
        os.close(terminal_side)
        chunks = []
        while True:
            try:
                chunk = os.read(controller, 65536)
            except OSError:
                break
            if not chunk:
                break
            chunks.append(chunk)
        os.close(controller)
        code = process.wait()
    return code, b"".join(chunks).decode()


def test_a_terminal_sees_steps_changes_messages_and_totals(tmp_path: Path) -> None:
    code, output = run(tmp_path, "-e", "break_it=false", terminal=True)
    assert code == 0
    assert "changed  Change something: one, two" in output
    assert "first line\r\nsecond line" in output
    assert "Change something  1/2" in output
    assert "Configure  (2 changed)" in output
    assert "2 hosts, 5 ok, 2 changed" in output
    assert "TASK [" not in output
    assert "PLAY RECAP" not in output


def test_a_terminal_sees_a_failure_in_full(tmp_path: Path) -> None:
    code, output = run(tmp_path, "-e", "break_it=true", terminal=True)
    assert code == 2
    assert "failed in: Configure / Break" in output
    assert "planted-missing-file" in output
    assert "failed on one, two" in output
    assert "failed in: Configure / Expected to fail" not in output


@pytest.mark.parametrize("arguments", [(), ("-v",)])
def test_elsewhere_it_is_ansibles_default(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, output = run(tmp_path, "-e", "break_it=false", *arguments, terminal=bool(arguments))
    assert code == 0
    assert "TASK [Change something]" in output
    assert "PLAY RECAP" in output


def test_a_long_step_is_cut_to_the_width() -> None:
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"
    assert clock(187.9) == "03:07"
