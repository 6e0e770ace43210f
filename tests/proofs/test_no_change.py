"""A second run changes nothing, and costs each machine few calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CALLS = 20
# These run on the controller alone, or are parts of the engine.
ON_CONTROLLER = {"ansible.builtin.assert", "ansible.builtin.debug", "ansible.builtin.validate_argument_spec"}


def calls(plays: list[dict[str, Any]]) -> Counter[str]:
    """Count the modules that ran on each machine; an item of a loop is a call of its own."""
    counted: Counter[str] = Counter()
    for task in (task for play in plays for task in play["tasks"]):
        for host, result in task["hosts"].items():
            if result.get("skipped") or result.get("action") in ON_CONTROLLER:
                continue
            counted[host] += len(result.get("results", [])) or 1
    return counted


def failures(plays: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """List what failed: the task, the host and what it said."""
    return [
        (task["task"]["name"], host, str(result.get("msg")))
        for play in plays
        for task in play["tasks"]
        for host, result in task["hosts"].items()
        if result.get("failed") or result.get("unreachable")
    ]


def test_a_second_run_changes_nothing_and_makes_few_calls() -> None:
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "inventories/development", "playbooks/site.yml"]
    environment = os.environ | {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout[done.stdout.index("{\n") :])
    assert done.returncode == 0, failures(report["plays"])
    changed = {host: stats["changed"] for host, stats in report["stats"].items() if stats["changed"]}
    assert changed == {}
    counted = calls(report["plays"])
    counted.pop("localhost", None)
    assert len(counted) == 12
    assert {host: count for host, count in counted.items() if count > CALLS} == {}
