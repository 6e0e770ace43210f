# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where an environment is and what it is called. Each public function is a rule of module_utils/policy.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.environment import Path_, dotted
from ansible_collections.gym.platform.plugins.module_utils.policy_rule import (
    Description,
    Finding,
    UnsoundError,
    repeated,
)

COMPUTE = {"docker": ("docker_hosts",), "aws": ("ecs", "docker_hosts", "eks"), "gcp": ("cloud_run", "gke")}


def environment_is_its_directory(described: Description) -> Iterator[Finding]:
    """An environment is chosen by its directory and by nothing else; names of resources are made from this one."""
    name = described["platform"]["environment"]
    if name != described.environment:
        yield Finding(
            ("platform", "environment"),
            f"{name} stands in the directory {described.environment}",
            described.environment,
            "write the directory's name",
        )


def compute_belongs_to_provider(described: Description) -> Iterator[Finding]:
    """A provider runs services only on its own kinds of compute."""
    provider, compute = described["platform"]["provider"], described["platform"]["compute"]
    if compute not in COMPUTE.get(provider, (compute,)):
        yield Finding(
            ("platform", "compute"),
            f"{compute} is not offered by the provider {provider}",
            ", ".join(COMPUTE[provider]),
            "choose one of these, or another provider",
        )


def zones_belong_to_region(described: Description) -> Iterator[Finding]:
    """A zone in another region would spread one network over two regions."""
    region = described["platform"]["region"]
    for index, zone in enumerate(described["platform"]["zones"]):
        if not zone.startswith(region):
            yield Finding(("platform", "zones", index), f"{zone} is not in the region {region}", f"{region}...")


def dr_region_is_another_region(described: Description) -> Iterator[Finding]:
    """The copy that is to survive the loss of a region must not be lost with it."""
    platform = described["platform"]
    if platform.get("dr_region") == platform["region"]:
        yield Finding(("platform", "dr_region"), f"{platform['region']} is the region itself", "another region")


def stand_in_is_elsewhere(described: Description) -> Iterator[Finding]:
    """What takes over from an environment must neither be lost with it nor take its names away from it."""
    platform = described["platform"]
    primary = platform.get("stands_in_for")
    if primary and primary["region"] == platform["region"]:
        place = ("platform", "stands_in_for", "region")
        yield Finding(place, f"{platform['region']} is the region of the stand-in, too", "the region of the primary")
    if primary and primary["environment"] == platform["environment"]:
        place = ("platform", "stands_in_for", "environment")
        yield Finding(place, f"{platform['environment']} stands in for itself", "the primary's directory")


def names_are_unique(described: Description) -> Iterator[Finding]:
    """Two records of one name become one resource, and one of them silently vanishes."""
    lists: list[tuple[str, ...]] = [("services",), ("buckets",), ("alerts",), ("dashboards",), ("tenants",)]
    lists += [
        ("cache", "uses"),
        ("monitoring", "receivers"),
        ("access", "administrators"),
        ("secret_store", "generated"),
    ]
    for path in lists:
        try:
            records: Any = described[path[0]]
        except UnsoundError:
            continue
        for step in path[1:]:
            records = records[step]
        places: list[tuple[Path_, Any]] = [((*path, index, "name"), one["name"]) for index, one in enumerate(records)]
        for place, name, first in repeated(places):
            number = int(first[-2]) + 1
            yield Finding(
                place, f"the name {name} is taken by record {number} of {'.'.join(path)}", "a name of its own"
            )


def queue_names_are_unique(described: Description) -> Iterator[Finding]:
    """A dead-letter queue is a queue as well: a name that is used twice would deliver dead letters again."""
    places: list[tuple[Path_, Any]] = []
    for index, queue in described.records("queues"):
        places.append((("queues", index, "name"), queue["name"]))
        if "dead_letter" in queue:
            places.append((("queues", index, "dead_letter", "name"), queue["dead_letter"]["name"]))
    for place, name, first in repeated(places):
        yield Finding(place, f"the name {name} is taken by {dotted(first)}", "a name of its own")
