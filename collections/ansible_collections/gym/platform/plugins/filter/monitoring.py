"""What Prometheus reads and whom it warns, from the inventory and the nouns `services` and `alerts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.module_utils.metrics import MetricError, prometheus_expression

JOB_KEYS = {"name", "group", "port", "scheme", "path", "labels", "interval_seconds", "settings"}


# Prometheus's own default.
LONGEST_TIMEOUT_SECONDS = 10


def service_jobs(
    services: Sequence[Mapping[str, Any]], group: str, colours: Mapping[str, int], web_interval_seconds: int
) -> list[dict[str, Any]]:
    """Return the jobs that read the services of the machines in `group`, each colour at its own port.

    What serves requests is read at an interval of its own, because releases are judged by it.
    """
    return [
        {
            "name": service["name"],
            "group": group,
            "port": int(service["port"]) + offset,
            "path": service["metrics_path"],
            "labels": {"service": service["name"], "colour": colour},
            **({"interval_seconds": web_interval_seconds} if service["kind"] == "web" else {}),
        }
        for service in services
        if "metrics_path" in service and "port" in service
        for colour, offset in colours.items()
    ]


def scrape_configs(
    jobs: Sequence[Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    authority: str,
) -> list[dict[str, Any]]:
    """Return Prometheus's `scrape_configs`: a job for each name, a target for each host of its group.

    A group without hosts gives a job without targets, so that a part that is not there yet is not an error.
    """
    configs: dict[str, dict[str, Any]] = {}
    for job in jobs:
        unknown = sorted(set(job) - JOB_KEYS)
        if unknown:
            raise AnsibleFilterError(
                f"monitoring: '{unknown[0]}' is not a key of a job. Legal: {', '.join(sorted(JOB_KEYS))}."
            )
        if job["group"] not in groups:
            raise AnsibleFilterError(
                f"monitoring: the job '{job['name']}' reads the group '{job['group']}', which the inventory does not"
                f" have. Legal: {', '.join(sorted(groups))}."
            )
        scheme = job.get("scheme", "http")
        how: dict[str, Any] = {
            "job_name": job["name"],
            "scheme": scheme,
            "metrics_path": job.get("path", "/metrics"),
            **({"tls_config": {"ca_file": authority}} if scheme == "https" else {}),
            **_interval(job),
            **job.get("settings", {}),
        }
        config = configs.setdefault(job["name"], {**how, "static_configs": []})
        if {key: value for key, value in config.items() if key != "static_configs"} != how:
            raise AnsibleFilterError(
                f"monitoring: two jobs have the name '{job['name']}' and are read in different ways: rename one."
            )
        config["static_configs"] += [
            {
                "targets": [f"{hostvars[host].get('ansible_host', host)}:{job['port']}"],
                "labels": {"instance": host, **job.get("labels", {})},
            }
            for host in sorted(groups[job["group"]])
        ]
    return list(configs.values())


def _interval(job: Mapping[str, Any]) -> dict[str, str]:
    """Return how often a job is read, where it has an interval of its own; Prometheus wants no longer timeout."""
    if "interval_seconds" not in job:
        return {}
    interval = int(job["interval_seconds"])
    return {"scrape_interval": f"{interval}s", "scrape_timeout": f"{min(interval, LONGEST_TIMEOUT_SECONDS)}s"}


def alert_rules(alerts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return Prometheus's alerting rules from the noun `alerts`."""
    rules = []
    for alert in alerts:
        bounds = [(sign, alert[word]) for word, sign in (("above", ">"), ("below", "<")) if word in alert]
        if len(bounds) != 1:
            raise AnsibleFilterError(f"alerts: '{alert['name']}' needs exactly one of `above` and `below`.")
        try:
            expression = prometheus_expression(alert["metric"])
        except MetricError as error:
            raise AnsibleFilterError(f"alerts: '{alert['name']}': {error}") from None
        rules.append(
            {
                "alert": alert["name"],
                "expr": f"({expression}) {bounds[0][0]} {bounds[0][1]}",
                "for": f"{alert['for_minutes']}m",
                "labels": {
                    "severity": alert["severity"],
                    **({"receiver": alert["receiver"]} if "receiver" in alert else {}),
                },
                "annotations": {"summary": alert["summary"], "value": "{{ $value }}"},
            }
        )
    return rules


def exporter_files(catalogue: Mapping[str, Mapping[str, Any]], exporters: Sequence[str]) -> list[dict[str, Any]]:
    """Return the files of the exporters that a machine runs, as records for gym.platform.config_files."""
    files: list[dict[str, Any]] = []
    for name in exporters:
        unit = f"prometheus-{name}-exporter.service"
        files += [
            {
                "path": f"/etc/default/prometheus-{name}-exporter",
                "template": "exporter.env.j2",
                "variables": {"environment": dict(catalogue[name]["environment"])},
                "mode": "0600",
                "sensitive": True,
                "units": [unit],
            },
            {"path": f"/etc/systemd/system/{unit}.d/gym.conf", "source": "exporter.service.conf", "units": [unit]},
        ]
    return files


def exporter_units(catalogue: Mapping[str, Mapping[str, Any]], exporters: Sequence[str]) -> list[dict[str, Any]]:
    """Return the units of all exporters, as records for gym.platform.systemd_units: those not listed are stopped.

    An exporter is ready when it has answered once: some break down only when they are asked.
    """
    units: list[dict[str, Any]] = []
    for name, exporter in catalogue.items():
        unit: dict[str, Any] = {"name": f"prometheus-{name}-exporter.service"}
        if name in exporters:
            address = f"http://127.0.0.1:{exporter['port']}/metrics"
            unit["ready"] = ["curl", "--silent", "--fail", "--max-time", "10", "--output", "/dev/null", address]
        else:
            unit |= {"enabled": False, "state": "stopped"}
        units.append(unit)
    return units


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name them for Ansible."""
        return {
            "service_jobs": service_jobs,
            "scrape_configs": scrape_configs,
            "alert_rules": alert_rules,
            "exporter_files": exporter_files,
            "exporter_units": exporter_units,
        }
