"""Look for every acknowledged marker of a drill, judge it by the policy, and write what it has shown."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from ansible.plugins.action import ActionBase
from ansible_collections.gym.platform.plugins.module_utils import moments
from ansible_collections.gym.platform.plugins.module_utils.atomic_file import write_atomically
from ansible_collections.gym.platform.plugins.module_utils.drill_book import DRILL, Book
from ansible_collections.gym.platform.plugins.module_utils.drill_clients import (
    CLIENTS,
    PLACE,
    CacheClient,
    Database,
    NotAcknowledgedError,
    rows,
)
from ansible_collections.gym.platform.plugins.module_utils.drill_journal import Attempt, Marker
from ansible_collections.gym.platform.plugins.module_utils.drill_measure import Measurement, measure
from ansible_collections.gym.platform.plugins.module_utils.drill_report import Policy, page, record

# What a drill that has failed makes of ansible-playbook's exit status, by the callback `outcome`.
EXIT_FAILED = 5
POLL_SECONDS = 0.5
POLICY: dict[str, dict[str, Any]] = {
    "rto_seconds": {"type": "float", "required": True},
    "rpo_seconds": {"type": "float", "required": True},
    "lossless": {"type": "bool", "required": True},
}
RESTORED: dict[str, dict[str, Any]] = {
    "place": {"type": "dict", "options": PLACE, "required": True},
    "until": {"type": "str", "required": True},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    **DRILL,
    **CLIENTS,
    "environment": {"type": "str", "required": True},
    "scenario": {"type": "str", "required": True},
    "policy": {"type": "dict", "options": POLICY, "required": True},
    "restored": {"type": "dict", "options": RESTORED},
    "live": {"type": "bool", "default": True},
    "back": {"type": "float"},
    "failure": {"type": "str", "default": ""},
    "killed": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 60},
}


def past(directory: Path) -> list[dict[str, Any]]:
    """Return the reports of a directory; what is no report is none."""
    found = []
    for path in sorted(directory.glob("*Z.json")):
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except ValueError:
            continue
    return [report for report in found if isinstance(report, dict)]


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """The task."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what is described in the module of the same name."""
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=ARGUMENTS)
        if self._task.check_mode:
            return {"changed": False}
        book = Book(Path(options["drill"]))
        attempts, steps = book.attempts(), book.steps()
        disaster = next((step.begun for step in steps if step.disaster), steps[0].begun if steps else time.time())
        broken = [f"'{step.name}' failed: {step.failure}." for step in steps if step.failure]
        failures = [options["failure"], *broken[:1]] if options["killed"] else broken[:1] or [options["failure"]]
        looks: list[Measurement] = []
        if options["live"]:
            looks.append(self._look(options, None, attempts, disaster, failures))
        if options["restored"] and options["restored"]["until"]:
            looks.append(self._look(options, options["restored"], attempts, disaster, failures))
        # Nothing was restored, so nothing of it is there.
        measured = looks[0] if looks else measure(attempts, [], disaster)
        if options["back"] is not None:
            since = options["back"] - disaster if options["back"] else None
            measured = dataclasses.replace(measured, rto_seconds=since)
        about = {"environment": options["environment"], "scenario": options["scenario"]}
        policy, why = Policy(**options["policy"]), " ".join(filter(None, failures))
        report = record(
            about,
            measured,
            policy,
            steps,
            past(book.stem.parent),
            why,
            looks[1:],
            outage=options["back"] is None,
            killed=options["killed"],
        )
        data, shown = (book.stem.with_name(f"{book.stem.name}.{kind}") for kind in ("json", "html"))
        write_atomically(data, json.dumps(report, indent=2) + "\n")
        write_atomically(shown, page(report, attempts))
        result = {"changed": True, "report": report, "files": [str(data), str(shown)]}
        result["msg"] = f"{report['sentence']} Report: {shown}"
        return result if report["passed"] else {**result, "failed": True, "exit_status": EXIT_FAILED}

    def _look(
        self,
        options: Mapping[str, Any],
        restored: Mapping[str, Any] | None,
        attempts: list[Attempt],
        disaster: float,
        failures: list[str],
    ) -> Measurement:
        """Measure what is there, live or where it was restored; what cannot be read is a failure, and is not there."""
        until = moments.read(restored["until"]).timestamp() if restored else None
        found, failure = self._found(options, restored["place"] if restored else None, attempts)
        failures.append(failure)
        return measure(attempts, found, disaster, until)

    def _found(
        self, options: Mapping[str, Any], elsewhere: Mapping[str, Any] | None, attempts: list[Attempt]
    ) -> tuple[list[Marker], str]:
        """Return the markers that are there, or why they could not be read: then none of them counts as found."""
        end = time.monotonic() + options["timeout"]
        while True:
            try:
                if options["cache"]:
                    return CacheClient(options["cache"]).found([attempt.marker for attempt in attempts]), ""
                database = options["database"]
                place = Database(**(elsewhere or database["place"]))
                with place.connect(database["user"], database["password"]) as session:
                    return rows(session), ""
            except (psycopg.Error, NotAcknowledgedError) as error:
                if time.monotonic() > end:
                    return [], f"The markers could not be read: {str(error).strip()}"
            time.sleep(POLL_SECONDS)
