"""When jobs run: schedules of EventBridge, each of which starts one revision, that of the release which is live."""

from __future__ import annotations

from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.release_driver import Release, Standing
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_aws import Aws
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_definitions import Definitions
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_records import (
    Record,
    Target,
    family,
    schedule_record,
    task_definition,
)


class Jobs:
    """The schedules of the environment's group. The group, its role and its dead letters are the stack's."""

    def __init__(self, target: Target, aws: Aws, definitions: Definitions) -> None:
        """Remember all; nothing is asked yet."""
        self._target, self._aws, self._definitions = target, aws, definitions
        self._jobs = target.of_kind("job")

    def standing(self, configuration: str) -> Standing:
        """Compare the schedules with those that are wanted of a release."""
        found = self._found()
        if not found:
            return Standing.ABSENT if self._jobs else Standing.WHOLE
        if any(self._definitions.release(started(one)).configuration != configuration for one in found.values()):
            return Standing.OTHER
        wanted = {job["name"]: job for job in self._jobs}
        whole = wanted.keys() == found.keys() and all(self._is_right(wanted[name], found[name]) for name in found)
        return Standing.WHOLE if whole else Standing.PART

    def renew(self, release: Release) -> None:
        """Let the schedules start this release from now on, each by one call: it is the old one or the new one."""
        found = self._found()
        for job in self._jobs:
            self._have(job, found.pop(job["name"], None), release)
        self._delete(found)

    def forget(self) -> None:
        """Delete all."""
        self._delete(self._found())

    def _found(self) -> dict[str, Record]:
        """Return the schedules by name. A stack that knows of no jobs has no group of them."""
        if "QueueSchedulesName" not in self._target.facts:
            return {}
        group = {"GroupName": self._target.fact("QueueSchedulesName")}
        names = [one["Name"] for one in self._aws.every("scheduler", "list_schedules", "Schedules", **group)]
        return {name: self._aws.ask("scheduler", "get_schedule", Name=name, **group) for name in names}

    def _is_right(self, job: Record, found: Record) -> bool:
        return has(found, schedule_record(self._target, job, started(found)))

    def _have(self, job: Record, found: Record | None, release: Release) -> None:
        if found and self._definitions.release(started(found)) == release:
            definition = started(found)
        else:
            definition = self._definitions.register(task_definition(self._target, job, "", release))
        wanted = schedule_record(self._target, job, definition)
        if found is None:
            self._aws.ask("scheduler", "create_schedule", **wanted)
        elif not has(found, wanted):
            self._aws.ask("scheduler", "update_schedule", **wanted)
        self._definitions.retire(family(self._target, job["name"]), but=definition)

    def _delete(self, found: dict[str, Record]) -> None:
        for name, one in found.items():
            self._aws.ask("scheduler", "delete_schedule", Name=name, GroupName=one["GroupName"])
            self._definitions.retire(family(self._target, name))


def started(schedule: Record) -> str:
    """Return the ARN of what a schedule starts."""
    return str(schedule["Target"]["EcsParameters"]["TaskDefinitionArn"])


def has(found: Any, wanted: Any) -> bool:
    """Tell whether a record has everything that is wanted; AWS adds what it takes by default."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(has(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(has, found, wanted))
    return bool(found == wanted)
