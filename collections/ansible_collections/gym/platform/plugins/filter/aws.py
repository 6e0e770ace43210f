"""What AWS has for what a noun wishes: the smallest machine that is large enough, the nearest legal number."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.module_utils import fargate

# The days for which CloudWatch keeps a log group.
RETENTIONS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
# Megabytes of memory by class, smallest first; burstable ones below, because small environments sleep most of the day.
DATABASE_CLASSES = {
    "db.t4g.micro": 1024, "db.t4g.small": 2048, "db.t4g.medium": 4096, "db.m7g.large": 8192, "db.r7g.large": 16384,
    "db.r7g.xlarge": 32768, "db.r7g.2xlarge": 65536, "db.r7g.4xlarge": 131072, "db.r7g.8xlarge": 262144,
    "db.r7g.12xlarge": 393216, "db.r7g.16xlarge": 524288,
}  # fmt: skip
# What ElastiCache leaves for keys.
CACHE_CLASSES = {
    "cache.t4g.micro": 512, "cache.t4g.small": 1402, "cache.t4g.medium": 3164, "cache.m7g.large": 6528,
    "cache.r7g.large": 13384, "cache.r7g.xlarge": 26952, "cache.r7g.2xlarge": 54087, "cache.r7g.4xlarge": 108360,
    "cache.r7g.8xlarge": 216903, "cache.r7g.12xlarge": 325447, "cache.r7g.16xlarge": 429414,
}  # fmt: skip
CLASSES = {"database": DATABASE_CLASSES, "cache": CACHE_CLASSES}
# What a number without a unit means to PostgreSQL, which RDS asks for: milliseconds, seconds, kilobytes and so on.
BASE_UNITS = {
    **dict.fromkeys(
        ("deadlock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout", "lock_timeout",
         "log_autovacuum_min_duration", "log_min_duration_sample", "log_min_duration_statement", "statement_timeout",
         "wal_receiver_timeout", "wal_sender_timeout"), "ms"),
    **dict.fromkeys(("autovacuum_naptime", "checkpoint_timeout", "tcp_keepalives_idle"), "s"),
    **dict.fromkeys(("autovacuum_work_mem", "logical_decoding_work_mem", "maintenance_work_mem", "work_mem"), "kB"),
    **dict.fromkeys(("max_slot_wal_keep_size", "max_wal_size", "min_wal_size", "wal_keep_size"), "MB"),
    **dict.fromkeys(("effective_cache_size", "shared_buffers", "temp_buffers", "wal_buffers"), "8kB"),
}  # fmt: skip
# Milliseconds, or kilobytes.
UNITS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000,
         "kB": 1, "8kB": 8, "MB": 1024, "GB": 1024**2, "TB": 1024**3}  # fmt: skip
TIMES = frozenset(("ms", "s", "min", "h", "d"))
QUANTITY = re.compile(r"(-?\d+) ?([A-Za-z]+)")
# The part of a machine that services may have.
HOST_SHARE = 0.8
# A calendar expression of systemd.time with a date of numbers and stars, and a time.
CALENDAR = re.compile(r"(?:(?P<day>[A-Z][a-z]{2}) )?(?:\d{4}|\*)-(?P<month>\d{1,2}|\*)-(?P<date>\d{1,2}|\*)"
                      r" (?P<hour>\d{1,2}|\*):(?P<minute>\d{1,2}|\*):\d{1,2}")  # fmt: skip


def logical_id(name: str) -> str:
    """Return a name as CloudFormation's logical ids are written: `cache/rate_limit` becomes `CacheRateLimit`."""
    words = re.findall(r"[A-Za-z0-9]+", name)
    if not words:
        raise AnsibleFilterError(f"'{name}' has no letter or digit that a logical id could be made of.")
    return "".join(word[0].upper() + word[1:] for word in words)


def log_retention(days: int) -> int:
    """Return the legal number of days that is long enough. Raises AnsibleFilterError beyond the longest."""
    return _at_least(days, RETENTIONS, f"{days} days are longer than CloudWatch keeps a log group")


def instance_class(memory_mb: int, kind: str) -> str:
    """Return the smallest class of a `database` or a `cache` that has the memory. Raises AnsibleFilterError if none."""
    classes = CLASSES[kind]
    size = _at_least(memory_mb, classes.values(), f"{memory_mb} MB are more than a {kind} has on one node")
    return next(name for name, memory in classes.items() if memory == size)


def fargate_size(service: Mapping[str, Any]) -> dict[str, int]:
    """Return the least `cpu` (units) and `memory` (MB) of Fargate for the `cpu` and `memory_mb` of a service."""
    try:
        return fargate.size(service)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


def schedule_cron(calendar: str) -> str:
    """Return a systemd calendar expression as one of EventBridge Scheduler: the same times, in UTC."""
    found = CALENDAR.fullmatch(calendar)
    if not found:
        raise AnsibleFilterError(
            f"'{calendar}' cannot be said to EventBridge: write [Mon ]*-*-* HH:MM:SS, with numbers or stars."
        )
    date, month, hour, minute = (found[part].lstrip("0") or "0" for part in ("date", "month", "hour", "minute"))
    if found["day"]:
        return f"cron({minute} {hour} ? {month} {found['day'].upper()} *)"
    return f"cron({minute} {hour} {date} {month} ? *)"


def secret_reference(parameter: str, key: str = "password") -> str:
    """Return what CloudFormation reads from Secrets Manager when it needs it; the secret's ARN is in a parameter."""
    return f"{{{{resolve:secretsmanager:${{{parameter}}}:SecretString:{key}}}}}"


def rds_parameters(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return PostgreSQL's settings as RDS takes them: 250ms becomes 250, on becomes 1, and a unit is never guessed.

    Raises AnsibleFilterError for a unit on a setting whose own unit is not known here.
    """
    found = {}
    for name, value in settings.items():
        text = {True: "1", False: "0", "on": "1", "off": "0"}.get(value, str(value))
        if (quantity := QUANTITY.fullmatch(text)) and quantity[2] in UNITS:
            base = BASE_UNITS.get(name, "")
            if not base or (base in TIMES) != (quantity[2] in TIMES):
                raise AnsibleFilterError(
                    f"database.settings: what '{value}' is to {name} on RDS is not known here: write the plain number"
                    f" that PostgreSQL's documentation gives the unit of, or add {name} to BASE_UNITS."
                )
            text = str(int(quantity[1]) * UNITS[quantity[2]] // UNITS[base])
        found[name] = text
    return found


def stored_secrets(uses: Iterable[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the secrets that a cloud keeps: a user for each use of the cache, and those of the services.

    The users of the cache are told of a new password by the rotation. One of the database would have to be told by a
    function that speaks to it, and a new signing key would log everybody out: these are replaced by hand.
    """
    users = [
        {
            "name": f"cache/{use['name']}",
            "username": use["name"],
            "cache_user": f"{name}-{use['name'].replace('_', '-')}",
            "rotated": True,
        }
        for use in uses
    ]
    fixed = {
        "cache/default": "default",
        "database/master": "gym_master",
        "database/application": "gym_app",
        "database/migration": "gym_migration",
        "database/monitoring": "gym_monitoring",
        "service/session_signing": "sessions",
    }
    return users + [{"name": secret, "username": username} for secret, username in fixed.items()]


def cache_nodes(cache: Mapping[str, Any], name: str) -> list[str]:
    """Return the names that ElastiCache gives the nodes of a replication group."""
    nodes = range(1, cache["replicas"] + 2)
    if not cache["cluster_mode"]:
        return [f"{name}-{node:03}" for node in nodes]
    return [f"{name}-{shard:04}-{node:03}" for shard in range(1, cache["shards"] + 1) for node in nodes]


def host_count(services: Iterable[Mapping[str, Any]], cpu: float, memory_mb: int, zones: int) -> dict[str, int]:
    """Return how many machines hold all replicas: `minimum`, and `maximum` for when there is most to do.

    One is in each zone, and one may be lost. A fifth of each is left to what is not a service, and a job runs where
    there is room. Raises AnsibleFilterError for a service that no machine holds.
    """
    running = [service for service in services if service["kind"] != "job"]
    for service in running:
        if service["cpu"] > cpu * HOST_SHARE or service["memory_mb"] > memory_mb * HOST_SHARE:
            raise AnsibleFilterError(
                f"services: {service['name']} asks for {service['cpu']} processors and {service['memory_mb']} MB, and"
                f" a machine has {cpu * HOST_SHARE:g} and {memory_mb * HOST_SHARE:g} to give: choose larger machines."
            )

    def needed(key: str) -> int:
        counts = [service.get(key) or service.get("replicas", 1) for service in running]
        processors = sum(count * service["cpu"] for count, service in zip(counts, running, strict=True))
        memory = sum(count * service["memory_mb"] for count, service in zip(counts, running, strict=True))
        share: float = max(processors / (cpu * HOST_SHARE), memory / (memory_mb * HOST_SHARE))
        return math.ceil(share)

    minimum = max(zones, needed("replicas") + 1)
    return {"minimum": minimum, "maximum": max(minimum + zones, needed("maximum_replicas") + 1)}


def service_secrets(uses: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the environment variables of services that are passwords, each with the output that names its secret."""
    found = {f"REDIS_{use['name'].upper()}_PASSWORD": f"SecretsCache{logical_id(use['name'])}SecretArn" for use in uses}
    return {
        "DATABASE_PASSWORD": "SecretsDatabaseApplicationSecretArn",
        "SESSION_SIGNING_KEY": "SecretsServiceSessionSigningSecretArn",
        **found,
    }


def service_ports(services: Iterable[Mapping[str, Any]], offsets: Iterable[int]) -> list[int]:
    """Return the ports on which services listen, each colour's offset added."""
    return sorted({service["port"] + offset for service in services if "port" in service for offset in offsets})


def _at_least(wanted: float, legal: Iterable[int], problem: str) -> int:
    found = [value for value in sorted(legal) if value >= wanted]
    if not found:
        raise AnsibleFilterError(f"{problem}: at most {max(legal)}.")
    return found[0]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name them for Ansible."""
        return {
            "logical_id": logical_id,
            "log_retention": log_retention,
            "cache_nodes": cache_nodes,
            "host_count": host_count,
            "instance_class": instance_class,
            "fargate_capacity": fargate.CAPACITY.__getitem__,
            "fargate_size": fargate_size,
            "schedule_cron": schedule_cron,
            "secret_reference": secret_reference,
            "service_ports": service_ports,
            "service_secrets": service_secrets,
            "off_peak_actions": fargate.off_peak_actions,
            "rds_parameters": rds_parameters,
            "stored_secrets": stored_secrets,
        }
