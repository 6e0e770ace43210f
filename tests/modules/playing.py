"""Run tasks of our modules through Ansible itself and look at what each came to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
Task = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What one playbook of tasks came to."""

    results: list[dict[str, Any]]
    output: str

    @property
    def last(self) -> dict[str, Any]:
        """The result of the last task."""
        return self.results[-1]


class Ansible:
    """Plays lists of tasks against one host; a failed task is a result, too."""

    def __init__(self, folder: Path, inventory: str, pattern: str) -> None:
        self.folder = folder
        self._inventory = inventory
        self._pattern = pattern

    def play(self, *tasks: Task, variables: dict[str, Any] | None = None, options: tuple[str, ...] = ()) -> Outcome:
        play = {
            "hosts": self._pattern,
            "gather_facts": False,
            "vars": variables or {},
            "tasks": [{**task, "ignore_errors": True} for task in tasks],
        }
        playbook = self.folder / "playbook.yml"
        playbook.write_text(yaml.safe_dump([play], sort_keys=False))
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", self._inventory, *options, str(playbook)],
            cwd=REPOSITORY,
            env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_CONFIG": "ansible.cfg"},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,  # only a guard: twenty tasks take ten seconds on a machine at rest
        )
        # With -v, Ansible says more before the report and after it.
        lines = done.stdout.splitlines()
        assert "{" in lines, done.stdout + done.stderr
        end = len(lines) - lines[::-1].index("}")
        report = json.loads("\n".join(lines[lines.index("{") : end]))
        results = [next(iter(task["hosts"].values())) for task in report["plays"][0]["tasks"]]
        return Outcome(results, done.stdout + done.stderr)
