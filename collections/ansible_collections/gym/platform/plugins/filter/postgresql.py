"""Size PostgreSQL for a machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

SMALLEST_MEMORY_MB = 128
MEGABYTE_KB = 1024
# PostgreSQL's own defaults, for machines too small to do better.
DEFAULT_MIN_WAL_MB, DEFAULT_MAX_WAL_MB = 80, 1024


def _positive(name: str, value: Any, smallest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
        raise AnsibleFilterError(
            f"postgresql_tuning: {name} is '{value}', and must be a whole number of at least {smallest}."
        )
    return int(value)


def postgresql_tuning(memory_mb: Any, cpus: Any, connections: Any) -> dict[str, str | int]:
    """Return the settings that follow from the memory and the processors that PostgreSQL has for itself.

    Where the constants come from:

    - shared_buffers a quarter of the memory: PostgreSQL 15 manual, 20.4.1 "a reasonable starting value is 25 % of the
      memory in your system".
    - effective_cache_size three quarters: PostgreSQL wiki, "Tuning Your PostgreSQL Server" ("1/2 of total memory would
      be a normal conservative setting, and 3/4 a more aggressive but still reasonable amount"); nothing else runs here.
    - maintenance_work_mem a sixteenth, at most 2 GB: pgtune's rule for every kind of load; 20.4.1 warns that
      autovacuum may take it once a worker, so autovacuum_work_mem is its third for the three workers.
    - work_mem: what shared_buffers leave, by three operations for every connection (pgtune), from 1 MB to 64 MB.
    - WAL sizes: twice and half the memory, between PostgreSQL's defaults and pgtune's figures for
      online processing (8 GB and 2 GB). 20.5.2: max_wal_size is a soft limit, and more only makes recovery longer.
    - random_page_cost 1.1 and effective_io_concurrency 200: pgtune for solid-state disks; the manual's 4.0 assumes
      a spinning disk with 90 % of the reads cached.
    - parallel workers: 20.4.6; one for each processor, half of them for one query, four at most (pgtune).
    """
    memory = _positive("memory_mb", memory_mb, SMALLEST_MEMORY_MB)
    processors = _positive("cpus", cpus, 1)
    sessions = _positive("connections", connections, 1)
    shared_buffers = memory // 4
    maintenance = min(memory // 16, 2048)
    work_kb = (memory - shared_buffers) * MEGABYTE_KB // (sessions * 3)
    for_one_query = min(max(processors // 2, 1), 4)
    return {
        "shared_buffers": f"{shared_buffers}MB",
        "effective_cache_size": f"{memory * 3 // 4}MB",
        "maintenance_work_mem": f"{maintenance}MB",
        "autovacuum_work_mem": f"{max(maintenance // 3, 1)}MB",
        "work_mem": f"{min(max(work_kb, MEGABYTE_KB), 64 * MEGABYTE_KB)}kB",
        "min_wal_size": f"{min(max(memory // 2, DEFAULT_MIN_WAL_MB), 2048)}MB",
        "max_wal_size": f"{min(max(memory * 2, DEFAULT_MAX_WAL_MB), 8192)}MB",
        "random_page_cost": "1.1",
        "effective_io_concurrency": 200,
        "max_worker_processes": max(processors, 8),
        "max_parallel_workers": processors,
        "max_parallel_workers_per_gather": for_one_query,
        "max_parallel_maintenance_workers": for_one_query,
    }


def postgresql_cluster_settings(
    parameters: Mapping[str, Any], synchronous: bool, failover: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what Patroni keeps in etcd for the whole cluster."""
    ttl, loop_wait, retry_timeout = (
        _positive(name, failover.get(name), smallest)
        for name, smallest in (("ttl", 20), ("loop_wait", 1), ("retry_timeout", 3))
    )
    if loop_wait + 2 * retry_timeout > ttl:
        raise AnsibleFilterError(
            f"postgresql_failover: loop_wait + 2 * retry_timeout is {loop_wait + 2 * retry_timeout} s and must not be"
            f" more than ttl, {ttl} s: a healthy leader would lose its key in a hiccup of etcd. Raise ttl, or lower the"
            " others."
        )
    return {
        **failover,
        "synchronous_mode": synchronous,
        # The leader goes on when etcd is lost, as long as it reaches every other member.
        "failsafe_mode": True,
        "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": dict(parameters)},
    }


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        return {
            "postgresql_tuning": postgresql_tuning,
            "postgresql_cluster_settings": postgresql_cluster_settings,
        }
