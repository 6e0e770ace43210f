"""Write what a rehearsal has shown, as data and as a page."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gym.platform.plugins.module_utils.rehearsal_report import page, record

STEP = {
    "name": {"type": "str", "required": True},
    "results": {"type": "list", "elements": "str", "required": True},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "directory": {"type": "path", "required": True},
    "environment": {"type": "str", "required": True},
    "begun": {"type": "float", "required": True},
    "steps": {"type": "list", "elements": "dict", "required": True, "options": STEP},
    "failure": {"type": "str", "default": ""},
    "found": {"type": "dict", "required": True},
    "checkov": {"type": "str", "default": ""},
    "accepted": {"type": "list", "elements": "dict", "default": []},
}


def seconds(result: Mapping[str, Any]) -> float:
    """Return how long a task took: our own say it, in one of two words, and commands as `h:mm:ss.ssssss`."""
    for word in ("elapsed", "seconds"):
        if isinstance(result.get(word), (int, float)):
            return float(result[word])
    parts = [float(part) for part in str(result.get("delta", "0")).split(":")]
    return float(sum(part * 60**power for power, part in enumerate(reversed(parts))))


def taken(steps: Sequence[Mapping[str, Any]], variables: Mapping[str, Any], failure: str) -> list[dict[str, Any]]:
    """Return the steps that were taken, up to the first that failed or was not reached."""
    found: list[dict[str, Any]] = []
    for step in steps:
        results = [variables.get(name) for name in step["results"]]
        there = [result for result in results if result]
        passed = len(there) == len(results) and not any(result.get("failed") for result in there)
        told = {"name": step["name"], "seconds": round(sum(map(seconds, there)), 2), "passed": passed}
        found.append(told if passed else {**told, "message": failure or "not reached"})
        if not passed:
            break
    return found


def posture(output: str, accepted: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """Return how many checks passed, and those that did not, with the reason for which that is accepted.

    Raises ValueError for what is no JSON.
    """
    if not output.strip():
        return {}
    found = json.loads(output)
    failed = []
    for item in found.get("results", {}).get("failed_checks", []):
        place = f"{item['resource']} @{Path(item['file_path']).stem}"
        reasons = [
            one["reason"]
            for one in accepted
            if one["check"] == item["check_id"]
            and fnmatchcase(place, one["resource"] if " @" in one["resource"] else f"{one['resource']} @*")
        ]
        told = {"check": item["check_id"], "resource": item["resource"], "name": item["check_name"]}
        failed.append({**told, "reason": " ".join(reasons)})
    return {"passed": found.get("summary", {}).get("passed", 0), "failed": failed}


class ActionModule(ActionBase):  # type: ignore[misc]
    """The task."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write both files. Raises AnsibleActionFail when checkov's output cannot be read."""
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=ARGUMENTS)
        steps = taken(options["steps"], task_vars or {}, options["failure"])
        now = datetime.now(UTC)
        try:
            found = {**options["found"], "posture": posture(options["checkov"], options["accepted"])}
        except ValueError as error:
            raise AnsibleActionFail(f"What checkov wrote is no JSON: {error}.") from error
        moment, elapsed = f"{now:%Y-%m-%d %H:%M:%S} UTC", time.time() - options["begun"]
        report = record(options["environment"], moment, elapsed, steps, found)
        stem = Path(options["directory"]) / f"{now:%Y%m%dT%H%M%SZ}"
        files = {f"{stem}.json": json.dumps(report, indent=2) + "\n", f"{stem}.html": page(report)}
        if not self._task.check_mode:
            stem.parent.mkdir(parents=True, exist_ok=True)
            for path, content in files.items():
                Path(path).write_text(content, encoding="utf-8")
        return {"changed": False, "passed": report["passed"], "steps": report["steps"], "files": list(files)}
