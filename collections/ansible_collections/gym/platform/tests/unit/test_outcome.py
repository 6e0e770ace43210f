"""The exit status of ansible-playbook is what a failed task asks for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

@pytest.mark.parametrize(
    ("failed", "ignored", "status", "expected"),
    [("true", "false", 3, 3), ("true", "false", 4, 4), ("true", "false", 0, 2), ("false", "false", 3, 0),
     ("true", "true", 3, 0)],
)  # fmt: skip
def test_a_failed_task_decides(tmp_path: Path, failed: str, ignored: str, status: int, expected: int) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "ends.py").write_text(
        "#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\n"
        "module = AnsibleModule(argument_spec={'failed': {'type': 'bool'}, 'status': {'type': 'int'}})\n"
        "module.exit_json(failed=module.params['failed'], msg='over', exit_status=module.params['status'])\n"
    )
    (tmp_path / "playbook.yml").write_text(
        "- name: End\n  hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n"
        f"    - name: End\n      ends: {{failed: {failed}, status: {status}}}\n      ignore_errors: {ignored}\n"
    )
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(Path(__file__).parents[5]),
        "ANSIBLE_CALLBACKS_ENABLED": "gym.platform.outcome",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", str(tmp_path / "playbook.yml")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stdout + done.stderr
    assert "PLAY RECAP" in done.stdout, "the other callbacks have said everything"
