"""In which steps a restored database takes the place of the one that it was restored from. Pure.

An endpoint of RDS is a name. So the old instance gets another name, and the restored one gets the old one's; whoever
asks by it meets the restored data after a minute or two, and nobody is told anything. The old one stays.

Replicas stay with the instance that they follow, whatever it is called. The restored one gets replicas of its own
before anything is renamed; those of the old one hold nothing that it does not hold, and go at the end.

Every step can be the last of an interrupted run: what is left is read off the names that there are.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.gym.platform.plugins.module_utils.aws_restore_plan import BESIDE_SUFFIX, SOURCE_TAG, Tags
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import RefusedError

# What was replaced is called after the moment at which the other one was made, in UTC.
_REPLACED = "-until-{stamp}"
_IS_REPLACED = re.compile(r"-until-\d{8}t\d{6}$")
# RDS takes no longer name.
LONGEST_NAME = 63

REPLICATE, RENAME, DELETE = "replicate", "rename", "delete"


@dataclass(frozen=True)
class Member:
    """An instance: what it is a replica of, or nothing, when it was made, and its tags."""

    name: str
    source: str
    made: datetime.datetime
    tags: Tags


@dataclass(frozen=True)
class Step:
    """One step.

    `replicate`: make the replica `name` of `other`, with the settings of `like`. `rename`: call `name` `other`.
    `delete`: delete the replica `name`.
    """

    kind: str
    name: str
    other: str = ""
    like: str = ""

    def __str__(self) -> str:
        """Say it in a few words."""
        if self.kind == REPLICATE:
            return f"make {self.name}, a replica of {self.other}, like {self.like}"
        return f"rename {self.name} to {self.other}" if self.kind == RENAME else f"delete the replica {self.name}"


@dataclass(frozen=True)
class Takeover:
    """What has to be done, and what the replaced instance is called afterwards."""

    steps: Sequence[Step]
    kept: str


def plan(live: str, members: Mapping[str, Member], source: str = "") -> Takeover:
    """Return what is left to do until `live` is what was restored from it, or from another `source`.

    Raises RefusedError.
    """
    source = source or live
    restored = members.get(live + BESIDE_SUFFIX)
    now = members.get(live)
    is_done = restored is None and now is not None and now.tags.get(SOURCE_TAG) == source
    new = now if is_done else restored
    if new is None or new.tags.get(SOURCE_TAG) != source:
        raise RefusedError(f"'{live}{BESIDE_SUFFIX}' was not restored from '{source}', or is not there: restore first.")
    replaced = _REPLACED.format(stamp=f"{new.made.astimezone(datetime.UTC):%Y%m%dt%H%M%S}")
    kept = live + replaced
    old = kept if is_done or now is None else live
    if old == live and kept in members:
        raise RefusedError(f"'{kept}' is there already: rename or remove it.")
    followers = [one for one in members.values() if one.source == old]
    successors = {one.name.removesuffix(BESIDE_SUFFIX): one.name for one in members.values() if one.source == new.name}
    places = {one.name: one.name.removesuffix(replaced) for one in followers}
    steps = [
        Step(REPLICATE, place + BESIDE_SUFFIX, new.name, name)
        for name, place in sorted(places.items())
        if place not in successors
    ]
    steps += [Step(RENAME, live, kept)] if old == live else []
    steps += [] if is_done else [Step(RENAME, new.name, live)]
    for name, place in sorted(places.items()):
        steps += [Step(RENAME, name, name + replaced)] if name == place else []
        beside = place + BESIDE_SUFFIX
        steps += [Step(RENAME, beside, place)] if successors.get(place, beside) == beside else []
        steps.append(Step(DELETE, place + replaced))
    # An interrupted run may have deleted the replica whose place is still to be taken.
    taken = set(places.values())
    steps += [
        Step(RENAME, name, place) for place, name in sorted(successors.items()) if place not in taken and name != place
    ]
    for step in steps:
        if len(step.other) > LONGEST_NAME:
            raise RefusedError(f"'{step.other}' is longer than the {LONGEST_NAME} letters that RDS takes for a name.")
    return Takeover(steps, kept)


def is_replaced(name: str) -> bool:
    """Tell whether an instance is called as one that was replaced."""
    return _IS_REPLACED.search(name) is not None
