"""PostgreSQL is sized by rules, and a cluster's times must leave room for a hiccup."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.filter.postgresql import (
    postgresql_cluster_settings,
    postgresql_tuning,
)


def megabytes(value: str | int) -> float:
    text = str(value)
    return int(text[:-2]) / {"kB": 1024, "MB": 1}[text[-2:]]


@pytest.mark.parametrize("memory", [128, 512, 4096, 65536])
@pytest.mark.parametrize("cpus", [1, 2, 16])
@pytest.mark.parametrize("connections", [1, 100, 1000])
def test_every_machine_gets_settings_that_fit(memory: int, cpus: int, connections: int) -> None:
    settings = postgresql_tuning(memory, cpus, connections)
    shared = megabytes(settings["shared_buffers"])
    assert shared == memory // 4
    assert shared < megabytes(settings["effective_cache_size"]) <= memory
    assert 1 <= megabytes(settings["work_mem"]) <= 64
    assert megabytes(settings["maintenance_work_mem"]) <= min(memory / 8, 2048)
    assert 80 <= megabytes(settings["min_wal_size"]) < megabytes(settings["max_wal_size"]) <= 8192
    assert int(settings["max_parallel_workers"]) <= int(settings["max_worker_processes"])
    assert 1 <= int(settings["max_parallel_workers_per_gather"]) <= max(cpus, 1)


def test_the_known_machine() -> None:
    settings = postgresql_tuning(4096, 4, 100)
    assert {name: settings[name] for name in ("shared_buffers", "effective_cache_size", "maintenance_work_mem")} == {
        "shared_buffers": "1024MB",
        "effective_cache_size": "3072MB",
        "maintenance_work_mem": "256MB",
    }
    assert settings["work_mem"] == f"{3072 * 1024 // 300}kB"
    assert settings["max_parallel_workers_per_gather"] == 2


@pytest.mark.parametrize(
    ("memory", "cpus", "connections", "named"),
    [(64, 2, 100, "memory_mb"), ("512", 2, 100, "memory_mb"), (512, 0, 100, "cpus"), (512, 2, True, "connections")],
)
def test_a_bad_size_is_named(memory: Any, cpus: Any, connections: Any, named: str) -> None:
    with pytest.raises(AnsibleFilterError, match=named):
        postgresql_tuning(memory, cpus, connections)


GOOD = {"ttl": 20, "loop_wait": 3, "retry_timeout": 5, "primary_start_timeout": 15}


def test_the_cluster_gets_parameters_and_rules() -> None:
    settings = postgresql_cluster_settings({"max_connections": 100}, True, GOOD)
    assert settings["postgresql"]["parameters"] == {"max_connections": 100}
    assert settings["synchronous_mode"] is True
    assert settings["primary_start_timeout"] == 15


@pytest.mark.parametrize(
    ("change", "named"),
    [({"ttl": 10}, "ttl"), ({"retry_timeout": 2}, "retry_timeout"), ({"loop_wait": 11}, "must not be more than ttl")],
)
def test_times_that_lose_a_healthy_leader_are_refused(change: dict[str, int], named: str) -> None:
    with pytest.raises(AnsibleFilterError, match=named):
        postgresql_cluster_settings({}, True, {**GOOD, **change})
