# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What keeps data: the database, the cache, the buckets. Each public function is a rule of module_utils/policy.py."""

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


def data_is_not_public(described: Description) -> Iterator[Finding]:
    """Nothing but our own services talks to the database and the cache; a public one is found in minutes."""
    for noun in ("database", "cache"):
        try:
            public = described[noun]["public"]
        except UnsoundError:
            continue
        if public:
            yield Finding((noun, "public"), "true: it could be reached from the internet", "false", "write false")


def public_bucket_is_behind_cdn(described: Description) -> Iterator[Finding]:
    """What is public is read through the content delivery network, which hides the bucket and pays the traffic."""
    for index, bucket in described.records("buckets"):
        if bucket["public"] and not bucket.get("cdn", False):
            yield Finding(
                ("buckets", index, "public"),
                "true without a CDN",
                "public with cdn: true, or not public",
                "add `cdn: true`, or write `public: false`",
            )


def standby_exists(described: Description) -> Iterator[Finding]:
    """High availability is a second node that takes over: without one the promise is empty."""
    try:
        database = described["database"]
        if database["high_availability"] and database["read_replicas"] < 1:
            yield Finding(("database", "read_replicas"), "0: there is nothing to fail over to", "at least 1")
    except UnsoundError:
        pass
    cache = described["cache"]
    if cache["high_availability"] and cache["replicas"] < 1:
        yield Finding(("cache", "replicas"), "0: there is nothing to fail over to", "at least 1")


def synchronous_needs_standby(described: Description) -> Iterator[Finding]:
    """A synchronous write waits for a second machine: alone, it would wait for ever."""
    database = described["database"]
    if database["synchronous"] and not database["high_availability"]:
        yield Finding(
            ("database", "synchronous"), "true without high availability", "false, or high_availability: true"
        )


def shards_are_cluster_mode(described: Description) -> Iterator[Finding]:
    """Only Redis Cluster spreads keys over shards; it needs three primaries to agree on the loss of one."""
    cache = described["cache"]
    if cache["cluster_mode"] and cache["shards"] < 3:
        yield Finding(("cache", "shards"), f"{cache['shards']} with cluster_mode", "at least 3")
    if not cache["cluster_mode"] and cache["shards"] > 1:
        yield Finding(("cache", "shards"), f"{cache['shards']} without cluster_mode", "1, or cluster_mode: true")


def cache_prefixes_are_apart(described: Description) -> Iterator[Finding]:
    """A use is confined to its prefix: two uses of one prefix read each other's keys."""
    places: list[tuple[Path_, Any]] = [
        (("cache", "uses", index, "prefix"), use["prefix"]) for index, use in enumerate(described["cache"]["uses"])
    ]
    for place, prefix, first in repeated(places):
        owner = dotted(first[:3], {"cache": described["cache"]})
        yield Finding(place, f"{prefix} is the prefix of {owner}", "a prefix of its own")
