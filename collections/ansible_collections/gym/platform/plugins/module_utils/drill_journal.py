"""What a client of a drill has written, and what it was told: one line for each attempt, kept outside the system."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Marker:
    """What is written: a number that is used once, the tenant it belongs to, and a text that nobody can guess."""

    number: int
    tenant: str
    payload: str


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One marker that a client tried to write, once.

    Times are seconds since 1970. Without an error the marker was acknowledged; with one it may be there or not.
    """

    number: int
    tenant: str
    payload: str
    begun: float
    ended: float
    error: str = ""

    @property
    def acknowledged(self) -> bool:
        """Tell whether the system has said that it has the marker."""
        return not self.error

    @property
    def marker(self) -> Marker:
        """Return what was written."""
        return Marker(self.number, self.tenant, self.payload)


class Journal:
    """A file of attempts. A line that was written survives the power cut of this machine."""

    def __init__(self, path: Path) -> None:
        """Begin the file; one that is there already is an error, because it is the evidence of another drill."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("x", encoding="utf-8")
        self._lock = threading.Lock()

    def write(self, attempt: Attempt) -> None:
        """Append an attempt. May be called by several threads."""
        with self._lock:
            self._file.write(json.dumps(dataclasses.asdict(attempt)) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())


def attempts(path: Path) -> list[Attempt]:
    """Return the attempts of a journal, in the order in which they ended; none where there is no file yet.

    The last line may be half written while the journal grows, and is left out then.
    """
    return [Attempt(**line) for line in lines(path)]


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Go through the records of a file with one JSON document a line, but for a last line that is half written."""
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if text.endswith("\n"):
                yield json.loads(text)
