"""Moments that people write: a time with its zone. Pure."""

from __future__ import annotations

import datetime


def read(text: str) -> datetime.datetime:
    """Read a time, and return it in UTC. Raises ValueError with a sentence that says what is missing.

    Without a zone it is refused: whoever guesses one restores a database to the wrong hour.
    """
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is no time: write it as 2030-01-31T12:00:00Z.") from error
    if found.tzinfo is None:
        raise ValueError(f"'{text}' has no zone: add Z for UTC, or an offset such as +01:00.")
    return found.astimezone(datetime.UTC)


def show(moment: datetime.datetime) -> str:
    """Write a time in UTC as it is read, and no more digits than it has."""
    return moment.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
