"""Changes of one property of one record, as changes.yml lists them."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ENVIRONMENT = "production"


@dataclasses.dataclass(frozen=True)
class Change:
    """One property, its new value, and the stacks whose text changes with it."""

    noun: str
    path: tuple[str, ...]
    value: Any
    stacks: frozenset[str]

    def __str__(self) -> str:
        """Return the change in one line."""
        return f"{'.'.join((self.noun, *self.path))}={self.value}"


def changes() -> list[Change]:
    """Read all changes."""
    found = yaml.safe_load((Path(__file__).parent / "changes.yml").read_text(encoding="utf-8"))
    return [Change(one["noun"], tuple(one["path"]), one["value"], frozenset(one["stacks"])) for one in found]


def file_of(noun: str) -> Path:
    """Return the file of a noun, from the root of the project."""
    return Path("inventories", ENVIRONMENT, "group_vars/all", f"{noun}.yml")


def nouns_with(change: Change) -> dict[str, Any]:
    """Return the noun with the change made in it. Raises KeyError where the path leads nowhere."""
    nouns = copy.deepcopy(yaml.safe_load((ROOT / file_of(change.noun)).read_text(encoding="utf-8")))
    record = nouns[change.noun]
    for step in change.path[:-1]:
        record = _step(record, step)
    if change.path[-1] not in record:
        raise KeyError(f"{change} names no property of the environment.")
    record[change.path[-1]] = change.value
    return dict(nouns)


def _step(record: Any, name: str) -> Any:
    if isinstance(record, list):
        return next(one for one in record if one["name"] == name)
    return record[name]
