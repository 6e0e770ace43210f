"""What AWS has for what a noun wishes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.filter import aws
from ansible_collections.gym.platform.plugins.module_utils import fargate


@pytest.mark.parametrize(
    ("name", "expected"),
    [("cache/rate_limit", "CacheRateLimit"), ("gym-api", "GymApi"), ("notificationsDead", "NotificationsDead")],
)
def test_logical_ids_are_words_without_marks(name: str, expected: str) -> None:
    assert aws.logical_id(name) == expected


def test_a_name_without_letters_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="no letter or digit"):
        aws.logical_id("--")


@pytest.mark.parametrize(("days", "expected"), [(1, 1), (30, 30), (31, 60), (91, 120), (3653, 3653)])
def test_logs_are_kept_long_enough(days: int, expected: int) -> None:
    assert aws.log_retention(days) == expected


def test_logs_cannot_be_kept_for_ever() -> None:
    with pytest.raises(AnsibleFilterError, match="at most 3653"):
        aws.log_retention(3654)


@pytest.mark.parametrize(
    ("memory", "kind", "expected"),
    [
        (1024, "database", "db.t4g.micro"),
        (1025, "database", "db.t4g.small"),
        (16384, "database", "db.r7g.large"),
        (1024, "cache", "cache.t4g.small"),
        (4096, "cache", "cache.m7g.large"),
    ],
)
def test_the_smallest_class_that_is_large_enough_is_taken(memory: int, kind: str, expected: str) -> None:
    assert aws.instance_class(memory, kind) == expected


def test_more_memory_than_any_class_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="more than a database has on one node: at most 524288"):
        aws.instance_class(786432, "database")


@pytest.mark.parametrize(
    ("cpu", "memory", "expected"),
    [
        (0.1, 64, (256, 512)),
        (0.5, 512, (512, 1024)),
        (0.25, 3000, (512, 3072)),
        (2.0, 2048, (2048, 4096)),
        (8, 16385, (8192, 20480)),
        (16, 122880, (16384, 122880)),
    ],
)
def test_fargate_has_a_size_for_every_service(cpu: float, memory: int, expected: tuple[int, int]) -> None:
    found = aws.fargate_size({"name": "x", "cpu": cpu, "memory_mb": memory})
    assert (found["cpu"], found["memory"]) == expected


def test_what_fargate_has_not_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="gym-api asks for 17 processors"):
        aws.fargate_size({"name": "gym-api", "cpu": 17, "memory_mb": 1})


@pytest.mark.parametrize(
    ("calendar", "expected"),
    [
        ("*-*-* 02:30:00", "cron(30 2 * * ? *)"),
        ("*-*-* 00:00:00", "cron(0 0 * * ? *)"),
        ("*-*-01 04:05:00", "cron(5 4 1 * ? *)"),
        ("Mon *-*-* 06:00:00", "cron(0 6 ? * MON *)"),
        ("*-*-* *:15:00", "cron(15 * * * ? *)"),
    ],
)
def test_calendars_become_cron(calendar: str, expected: str) -> None:
    assert aws.schedule_cron(calendar) == expected


@pytest.mark.parametrize("calendar", ["daily", "*-*-* 02:30", "Mon..Fri *-*-* 02:30:00"])
def test_calendars_that_cron_cannot_say_are_refused(calendar: str) -> None:
    with pytest.raises(AnsibleFilterError, match="cannot be said to EventBridge"):
        aws.schedule_cron(calendar)


def test_a_secret_is_read_when_it_is_needed() -> None:
    assert aws.secret_reference("SecretsCacheSecretArn") == (
        "{{resolve:secretsmanager:${SecretsCacheSecretArn}:SecretString:password}}"
    )


def test_both_colours_of_a_service_have_a_port() -> None:
    services = [{"port": 8000}, {"port": 8001}, {}]
    assert aws.service_ports(services, [0]) == [8000, 8001]
    assert aws.service_ports(services, [0, 50]) == [8000, 8001, 8050, 8051]


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("log_min_duration_statement", "250ms", "250"),
        ("log_min_duration_statement", "1s", "1000"),
        ("statement_timeout", "5min", "300000"),
        ("checkpoint_timeout", "15min", "900"),
        ("work_mem", "64MB", "65536"),
        ("shared_buffers", "8GB", "1048576"),
        ("max_wal_size", "4GB", "4096"),
        ("log_connections", "on", "1"),
        ("log_connections", True, "1"),
        ("log_connections", False, "0"),
        ("max_connections", 400, "400"),
        ("log_statement", "ddl", "ddl"),
    ],
)
def test_settings_are_written_as_rds_takes_them(setting: str, value: Any, expected: str) -> None:
    assert aws.rds_parameters({setting: value}) == {setting: expected}


@pytest.mark.parametrize(("setting", "value"), [("vacuum_cost_delay", "2ms"), ("work_mem", "2s")])
def test_a_unit_is_never_guessed(setting: str, value: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"to {setting} on RDS is not known"):
        aws.rds_parameters({setting: value})


OFF_PEAK = {"begins": "23:00", "ends": "05:30", "timezone": "UTC", "percent": 50}


@pytest.mark.parametrize(
    ("replicas", "percent", "fewer"), [(4, 50, 2), (5, 50, 3), (10, 10, 2), (1, 50, 1), (8, 100, 8)]
)
def test_few_stay_in_the_off_peak_hours(replicas: int, percent: int, fewer: int) -> None:
    service = {"replicas": replicas, "maximum_replicas": 20}
    begins, ends = fargate.off_peak_actions(service, {**OFF_PEAK, "percent": percent})
    assert begins == {
        "name": "off-peak-begins",
        "schedule": "cron(0 23 * * ? *)",
        "minimum": fewer,
        "maximum": 20,
    }
    assert (ends["schedule"], ends["minimum"]) == ("cron(30 5 * * ? *)", replicas)


def test_nodes_of_the_cache_have_elasticache_s_names() -> None:
    cache = {"cluster_mode": False, "shards": 1, "replicas": 1}
    assert aws.cache_nodes(cache, "gym") == ["gym-001", "gym-002"]
    cluster = {"cluster_mode": True, "shards": 2, "replicas": 1}
    assert aws.cache_nodes(cluster, "gym") == ["gym-0001-001", "gym-0001-002", "gym-0002-001", "gym-0002-002"]


def test_secrets_of_the_cache_are_replaced_and_the_others_are_not() -> None:
    found = {secret["name"]: secret for secret in aws.stored_secrets([{"name": "rate_limit"}], "gym-production")}
    assert found["cache/rate_limit"] == {
        "name": "cache/rate_limit",
        "username": "rate_limit",
        "cache_user": "gym-production-rate-limit",
        "rotated": True,
    }
    assert not found["database/application"].get("rotated")


def test_services_get_the_secrets_that_are_stored() -> None:
    uses = [{"name": "rate_limit"}]
    stored = {f"Secrets{aws.logical_id(one['name'])}SecretArn" for one in aws.stored_secrets(uses, "gym")}
    assert set(aws.service_secrets(uses).values()) <= stored
    assert aws.service_secrets(uses)["REDIS_RATE_LIMIT_PASSWORD"] == "SecretsCacheRateLimitSecretArn"


SERVICES = [
    {"name": "gym-api", "kind": "web", "replicas": 4, "maximum_replicas": 12, "cpu": 2.0, "memory_mb": 2048},
    {"name": "gym-worker", "kind": "worker", "replicas": 3, "cpu": 1.0, "memory_mb": 1024},
    {"name": "gym-report", "kind": "job", "cpu": 64.0, "memory_mb": 1},
]


def test_machines_hold_all_replicas_and_one_may_be_lost() -> None:
    # 4 * 2 + 3 * 1 processors of 3.2 each, and one; at most 12 * 2 + 3.
    assert aws.host_count(SERVICES, 4.0, 16384, 3) == {"minimum": 5, "maximum": 10}


def test_each_zone_has_a_machine() -> None:
    assert aws.host_count(SERVICES[1:], 16.0, 65536, 3) == {"minimum": 3, "maximum": 6}


def test_memory_counts_as_well() -> None:
    services = [{**SERVICES[0], "memory_mb": 6000, "maximum_replicas": 4}]
    assert aws.host_count(services, 64.0, 8192, 1)["minimum"] == 5


def test_a_service_that_no_machine_holds_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r"gym-api asks for 2\.0 processors .* has 1\.6"):
        aws.host_count(SERVICES, 2.0, 8192, 3)
