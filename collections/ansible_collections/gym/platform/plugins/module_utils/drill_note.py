"""What is noted of a drill until it has ended: whose it is, and how what it has done is taken back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.processes import is_running, started_at


@dataclasses.dataclass(frozen=True)
class Process:
    """A process of this machine, which is never taken for a later one with its number."""

    pid: int
    started_at: str

    @staticmethod
    def of(pid: int) -> Process:
        """Return the process that has the number now."""
        return Process(pid, started_at(pid))

    @property
    def runs(self) -> bool:
        """Tell whether it has not ended."""
        return is_running(self.pid, self.started_at)


@dataclasses.dataclass(frozen=True)
class Undo:
    """A command that takes back what a drill has done, where it is run, and in which directory; safe to repeat."""

    run: str = ""
    host: str = "localhost"
    directory: str = ""


@dataclasses.dataclass(frozen=True)
class Note:
    """A drill that has not ended."""

    scenario: str
    # The run of ansible-playbook, and the process of the step that it takes or took last.
    run: Process
    worker: Process | None = None
    step: str = ""
    undo: Undo | None = None

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(dataclasses.asdict(self))


def parse(text: str) -> Note:
    """Read a note. Raises ValueError for what is none."""
    try:
        plain: dict[str, Any] = json.loads(text)
        worker, undo = plain["worker"], plain["undo"]
        return Note(
            plain["scenario"],
            Process(**plain["run"]),
            Process(**worker) if worker else None,
            plain["step"],
            Undo(**undo) if undo else None,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no note of a drill: {text[:100]}") from error
