"""What Prometheus reads and whom it warns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.filter.monitoring import (
    alert_rules,
    exporter_files,
    exporter_units,
    scrape_configs,
    service_jobs,
)
from ansible_collections.gym.platform.plugins.module_utils.metrics import CATALOGUE, prometheus_expression

COLLECTION = Path(__file__).parents[2]
GROUPS = {"app": ["app-2", "app-1"], "database": ["db-1"], "empty": []}
HOSTVARS = {name: {"ansible_host": f"10.0.0.{number}"} for number, name in enumerate(("app-1", "app-2", "db-1"), 1)}
ALERT = {"name": "Slow", "summary": "s", "metric": "http_latency_p95_seconds", "for_minutes": 5, "severity": "warning"}


def configs(*jobs: dict[str, Any]) -> list[dict[str, Any]]:
    return scrape_configs(jobs, GROUPS, HOSTVARS, "/ca.pem")


def test_a_job_reads_every_host_of_its_group() -> None:
    assert configs({"name": "machine", "group": "app", "port": 9100}) == [
        {
            "job_name": "machine",
            "scheme": "http",
            "metrics_path": "/metrics",
            "static_configs": [
                {"targets": ["10.0.0.1:9100"], "labels": {"instance": "app-1"}},
                {"targets": ["10.0.0.2:9100"], "labels": {"instance": "app-2"}},
            ],
        }
    ]


def test_https_is_verified_by_the_authority() -> None:
    found = configs({"name": "patroni", "group": "database", "port": 8008, "scheme": "https"})
    assert found[0]["tls_config"] == {"ca_file": "/ca.pem"}


def test_prometheus_own_words_pass_through() -> None:
    found = configs({"name": "a", "group": "app", "port": 1, "settings": {"scrape_timeout": "3s"}})
    assert found[0]["scrape_timeout"] == "3s"


def test_a_job_may_be_read_at_an_interval_of_its_own() -> None:
    found = configs(
        {"name": "a", "group": "app", "port": 1, "interval_seconds": 1},
        {"name": "b", "group": "app", "port": 2, "interval_seconds": 60},
    )
    assert [(job["scrape_interval"], job["scrape_timeout"]) for job in found] == [("1s", "1s"), ("60s", "10s")]


def test_a_service_is_read_at_the_port_of_each_colour() -> None:
    services: list[dict[str, Any]] = [
        {"name": "api", "kind": "web", "port": 8000, "metrics_path": "/metrics"},
        {"name": "worker", "kind": "worker", "port": 8001, "metrics_path": "/metrics"},
        {"name": "report", "kind": "job", "schedule": "daily"},
    ]
    found = configs(*service_jobs(services, "app", {"blue": 0, "green": 50}, 1))
    assert [(job["job_name"], job.get("scrape_interval")) for job in found] == [("api", "1s"), ("worker", None)]
    assert [(target["targets"][0], target["labels"]) for target in found[0]["static_configs"]] == [
        ("10.0.0.1:8000", {"instance": "app-1", "service": "api", "colour": "blue"}),
        ("10.0.0.2:8000", {"instance": "app-2", "service": "api", "colour": "blue"}),
        ("10.0.0.1:8050", {"instance": "app-1", "service": "api", "colour": "green"}),
        ("10.0.0.2:8050", {"instance": "app-2", "service": "api", "colour": "green"}),
    ]


def test_a_group_without_hosts_has_no_targets() -> None:
    assert configs({"name": "x", "group": "empty", "port": 1})[0]["static_configs"] == []


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([{"name": "x", "group": "nowhere", "port": 1}], "reads the group 'nowhere'"),
        ([{"name": "x", "group": "app", "prot": 1}], "'prot' is not a key of a job"),
        (
            [{"name": "x", "group": "app", "port": 1}, {"name": "x", "group": "app", "port": 2, "path": "/m"}],
            "two jobs have the name 'x'",
        ),
    ],
)
def test_a_bad_job_is_refused_by_name(jobs: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(message)):
        configs(*jobs)


def test_an_alert_becomes_a_rule() -> None:
    buckets = "gym_http_request_duration_seconds_bucket"
    assert alert_rules([{**ALERT, "above": 0.5, "receiver": "platform"}]) == [
        {
            "alert": "Slow",
            "expr": f"(histogram_quantile(0.95, sum by (le) (rate({buckets}[5m])))) > 0.5",
            "for": "5m",
            "labels": {"severity": "warning", "receiver": "platform"},
            "annotations": {"summary": "s", "value": "{{ $value }}"},
        }
    ]
    assert alert_rules([{**ALERT, "below": 0.5}])[0]["expr"].endswith("< 0.5")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "'Slow' needs exactly one of `above` and `below`"),
        ({"above": 1, "below": 0}, "'Slow' needs exactly one of `above` and `below`"),
        ({"above": 1, "metric": "queue_dept"}, "Did you mean 'queue_depth'?"),
    ],
)
def test_a_bad_alert_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(message)):
        alert_rules([{**ALERT, **changes}])


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        (
            "http_error_ratio",
            'sum(rate(gym_http_responses_total{code_class="5xx"}[5m])) / sum(rate(gym_http_responses_total[5m]))',
        ),
        ("queue_depth", "max by (queue) (gym_queue_messages)"),
        ("kiosk_heartbeat_age_seconds", "time() - max by (tenant) (gym_kiosk_heartbeat_timestamp_seconds)"),
    ],
)
def test_the_catalogue_in_the_words_of_prometheus(name: str, expression: str) -> None:
    assert prometheus_expression(name) == expression


def test_every_metric_that_an_environment_may_name_is_in_the_catalogue() -> None:
    schema = yaml.safe_load((COLLECTION / "schemas" / "common.yml").read_text(encoding="utf-8"))
    assert set(schema["$defs"]["metric"]["enum"]) <= set(CATALOGUE)


CATALOGUE_OF_EXPORTERS = {
    "node": {"port": 9100, "environment": {"ARGS": ""}},
    "redis": {"port": 9121, "environment": {"REDIS_PASSWORD": "x"}},
}


def test_a_machine_has_the_files_of_its_own_exporters() -> None:
    files = exporter_files(CATALOGUE_OF_EXPORTERS, ["redis"])
    assert [file["path"] for file in files] == [
        "/etc/default/prometheus-redis-exporter",
        "/etc/systemd/system/prometheus-redis-exporter.service.d/gym.conf",
    ]
    assert (files[0]["mode"], files[0]["sensitive"]) == ("0600", True)
    assert files[0]["variables"] == {"environment": {"REDIS_PASSWORD": "x"}}


def test_an_exporter_that_is_not_listed_is_stopped() -> None:
    node, redis = exporter_units(CATALOGUE_OF_EXPORTERS, ["node"])
    assert node["name"] == "prometheus-node-exporter.service"
    assert node["ready"][-1] == "http://127.0.0.1:9100/metrics"
    assert redis == {"name": "prometheus-redis-exporter.service", "enabled": False, "state": "stopped"}
