"""The files of one drill, which begin with the same stem: its journal, its steps, and the process that writes markers.

<stem>.journal.jsonl    each marker and what its client was told; evidence, kept beside the report
<stem>.steps.jsonl      each step with its times, likewise
<stem>.writer.json      the process, while there is one
<stem>.writer.log       what it said, should it have died
<stem>.open.json        how what was done is taken back, until the drill has ended and all of it is
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.atomic_file import write_atomically
from ansible_collections.gym.platform.plugins.module_utils.drill_journal import Attempt, attempts, lines
from ansible_collections.gym.platform.plugins.module_utils.drill_note import Note, Process, Undo, parse
from ansible_collections.gym.platform.plugins.module_utils.processes import group_of, is_running, started_at

# The option of every module that has a part in a drill.
DRILL: dict[str, dict[str, Any]] = {"drill": {"type": "path", "required": True}}
WRITER = "ansible_collections.gym.platform.plugins.module_utils.drill_writer"
COLLECTIONS = Path(__file__).resolve().parents[5]
POLL_SECONDS = 0.1
# The writer gives what is under way ten seconds, and itself little more.
END_SECONDS = 20.0


class BookError(Exception):
    """The process that writes markers is not what it has to be; the message is one sentence."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing that was done. Times are seconds since 1970; without a command, it was waited for clients."""

    name: str
    host: str
    command: str
    begun: float
    ended: float
    # Why it failed; empty: it did not.
    failure: str = ""
    # Whether this is what was practised for: what comes before it is preparation.
    disaster: bool = False


class Book:
    """What is known about a drill that runs or ran."""

    def __init__(self, stem: Path) -> None:
        """Keep the files beside each other: `<directory>/<UTC time>`."""
        self.stem = stem
        self.journal = stem.with_name(f"{stem.name}.journal.jsonl")
        self._steps = stem.with_name(f"{stem.name}.steps.jsonl")
        self._process = stem.with_name(f"{stem.name}.writer.json")
        self._log = stem.with_name(f"{stem.name}.writer.log")
        self._open = stem.with_name(f"{stem.name}.open.json")

    # --- what is not taken back yet

    def open(self, scenario: str, run: int) -> None:
        """Note that a drill begins, which is over when the process `run` has closed it."""
        write_atomically(self._open, Note(scenario, Process.of(run)).text())

    @property
    def note(self) -> Note | None:
        """Return what is noted; None of a drill that has ended, and of what is none."""
        try:
            return parse(self._open.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def begin(self, step: str, worker: int, undo: Undo | None = None) -> None:
        """Note a step before it is done, and how it is taken back with all before it; without that, as before."""
        if note := self.note:
            note = dataclasses.replace(note, step=step, worker=Process.of(worker), undo=undo or note.undo)
            write_atomically(self._open, note.text())

    def undone(self) -> None:
        """Note that nothing has to be taken back any more."""
        if note := self.note:
            write_atomically(self._open, dataclasses.replace(note, undo=None).text())

    def close(self) -> None:
        """Forget the note, unless something has still to be taken back: then the next drill will."""
        if (note := self.note) and not note.undo:
            self._open.unlink()

    def end_step(self) -> None:
        """End the step that a run has left when it was killed, with all that the step has started here.

        A worker of ansible-playbook outlives it, and leads a group of its own. Raises BookError.
        """
        note = self.note
        if not (note and note.worker and note.worker.runs):
            return
        leader, end = note.worker.pid, time.monotonic() + END_SECONDS
        with suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGTERM)
        while group_of(leader):
            if time.monotonic() > end:
                raise BookError(
                    f"the step '{note.step}' of {self.stem.name}, whose run was killed, goes on as process {leader},"
                    f" and did not end within {END_SECONDS:.0f} s. End it, and repeat."
                )
            time.sleep(POLL_SECONDS)

    # --- steps

    def add(self, step: Step) -> None:
        """Remember a step."""
        self._steps.parent.mkdir(parents=True, exist_ok=True)
        with self._steps.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dataclasses.asdict(step)) + "\n")

    def steps(self) -> list[Step]:
        """Return all steps so far."""
        return [Step(**line) for line in lines(self._steps)]

    def attempts(self) -> list[Attempt]:
        """Return what clients have tried so far."""
        return attempts(self.journal)

    # --- the writer

    def start(self, options: Mapping[str, Any], run: int) -> None:
        """Start the writer, which ends by itself when the process `run` does. Raises BookError."""
        if self.writes():
            raise BookError(f"markers are being written for {self.stem.name} already.")
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        told = {**options, "journal": str(self.journal), "run": {"process": run, "started_at": started_at(run)}}
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", WRITER],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Ansible finds the collection by a hook of its own, and a plain Python does not.
                env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
            )
        # Atomically, and before it can write anything: a drill that is killed here can be cleared away by the next one.
        write_atomically(self._process, json.dumps({"pid": process.pid, "started_at": started_at(process.pid)}))
        try:
            assert process.stdin is not None  # noqa: S101 - it is a pipe
            process.stdin.write(json.dumps(told).encode())
            process.stdin.close()
        except OSError as error:
            raise BookError(f"the writer of markers ended at once: {self.said()}") from error

    def another(self) -> str:
        """Name the other drill of this environment, or the switchover, that is under way; empty where there is none."""
        for other in unended(self.stem.parent.parent):
            if other.stem != self.stem and (other.writes() or other.lives()):
                return f"{other.stem.parent.name} of {other.stem.name}"
        return ""

    def lives(self) -> bool:
        """Tell whether it is open, and the run that opened it still runs."""
        note = self.note
        return bool(note and note.run.runs)

    def writes(self) -> bool:
        """Tell whether the writer runs."""
        try:
            known = json.loads(self._process.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return is_running(int(known["pid"]), known["started_at"])

    def said(self) -> str:
        """Return the last line of what the writer said."""
        text = self._log.read_text(encoding="utf-8", errors="replace").strip() if self._log.exists() else ""
        return text.splitlines()[-1] if text else "it said nothing"

    def stop(self) -> None:
        """End the writer, which sees through what is under way, and forget it. Raises BookError."""
        end = time.monotonic() + END_SECONDS
        if self.writes():
            os.kill(int(json.loads(self._process.read_text(encoding="utf-8"))["pid"]), signal.SIGTERM)
        while self.writes():
            if time.monotonic() > end:
                raise BookError(f"the writer of markers did not end within {END_SECONDS:.0f} s.")
            time.sleep(POLL_SECONDS)
        self._process.unlink(missing_ok=True)
        if self._log.exists() and not self._log.stat().st_size:
            self._log.unlink()


def unended(reports: Path) -> list[Book]:
    """Return all books of an environment in which something is noted that an end would have removed."""
    paths = [*reports.glob("*/*.writer.json"), *reports.glob("*/*.open.json")]
    return [Book(stem) for stem in sorted({path.with_name(path.name.split(".")[0]) for path in paths})]


def killed(reports: Path) -> list[Book]:
    """Return the drills of an environment that were begun, and whose run has ended without closing their books."""
    return [book for book in unended(reports) if book.note and not book.lives()]
