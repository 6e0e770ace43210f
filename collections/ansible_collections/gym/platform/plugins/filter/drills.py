"""Drills that begin by themselves: which timers there are, what is told of a drill, and when somebody is warned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.module_utils.drill_scenarios import unattended

# In systemd's words, by the controller's clock. What hurts begins when those are at work who could help, and what does
# not at night, after the backups and their verification; hours apart, although drills also wait for each other.
TIMES = {
    "restore": "05:00:00",
    "corruption": "07:00:00",
    "cache": "09:00:00",
    "failover": "10:00:00",
    "object_store": "11:00:00",
}
DAYS = {"daily": "*-*-*", "weekly": "Tue *-*-*", "monthly": "Tue *-*-01..07"}
# In seconds; a month is the longest time between two first Tuesdays.
PERIODS = {"daily": 86400, "weekly": 7 * 86400, "monthly": 35 * 86400}
# What Prometheus is told of a drill, as roles/prometheus/files/backups.yml names it too.
HELP = {
    "dr_drill_last_run_timestamp_seconds": "When the last drill of a scenario ended.",
    "dr_drill_passed": "Whether it has passed.",
    "dr_drill_rto_seconds": "For how long clients could not write in it, or their data were away.",
}


def drill_jobs(drills: Sequence[Mapping[str, str]], environment: str) -> list[dict[str, str]]:
    """Return a job for each scenario that can begin by itself; `time` is empty for one that is not wanted.

    Args:
        drills: Records with a `scenario` and how often (`every`) it is practised.
        environment: The environment on which it is.

    Raises AnsibleFilterError for a scenario that cannot begin by itself.
    """
    every = {drill["scenario"]: drill["every"] for drill in drills}
    legal = unattended("docker")
    for scenario in every:
        if scenario not in legal:
            raise AnsibleFilterError(
                f"drill_schedule_drills: '{scenario}' cannot begin by itself. Legal: {', '.join(legal)}."
            )
    return [
        {
            "name": f"dr-drill-{environment}-{scenario}",
            "scenario": scenario,
            "time": f"{DAYS[every[scenario]]} {TIMES[scenario]}" if scenario in every else "",
        }
        for scenario in legal
    ]


def drill_job_files(jobs: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return the unit files of all jobs, as records for gym.platform.config_files: those not wanted are removed."""
    files: list[dict[str, Any]] = []
    for job in jobs:
        for kind in ("service", "timer"):
            path = f"/etc/systemd/system/{job['name']}.{kind}"
            wanted = {"template": f"drill.{kind}.j2", "variables": {"job": dict(job)}}
            units = [f"{job['name']}.timer"] if kind == "timer" and job["time"] else []
            files.append({"path": path, **(wanted if job["time"] else {"state": "absent"}), "units": units})
    return files


def drill_job_units(jobs: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return the timers of all jobs, as records for gym.platform.systemd_units: those not wanted are stopped."""
    return [
        {"name": f"{job['name']}.timer", **({} if job["time"] else {"enabled": False, "state": "stopped"})}
        for job in jobs
    ]


def drill_metrics(report: Mapping[str, Any]) -> str:
    """Return what Prometheus is told of a drill, in its text format; what was not measured is left out."""
    steps = report["steps"]
    values = {
        "dr_drill_last_run_timestamp_seconds": steps[-1]["ended"] if steps else None,
        "dr_drill_passed": int(report["passed"]),
        "dr_drill_rto_seconds": report["rto_seconds"],
    }
    labels = f'environment="{report["environment"]}",scenario="{report["scenario"]}"'
    return "".join(
        f"# HELP {name} {HELP[name]}\n# TYPE {name} gauge\n{name}{{{labels}}} {value}\n"
        for name, value in values.items()
        if value is not None
    )


def drill_rules(drills: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return Prometheus's alerting rules for drills that do not begin as often as they have to.

    One that has never been practised is nobody's fault before twice its period is over.
    """
    rules = []
    for drill in drills:
        scenario, longest = drill["scenario"], 2 * PERIODS[drill["every"]]
        last_run = f'dr_drill_last_run_timestamp_seconds{{scenario="{scenario}"}}'
        for name, expression, lasts, summary in (
            ("DrillTooOld", f"time() - {last_run} > {longest}", "0s", "is not practised"),
            ("DrillNeverRun", f"absent({last_run})", f"{longest}s", "has never been practised, and is to be"),
        ):
            rules.append(
                {
                    "alert": name,
                    "expr": expression,
                    "for": lasts,
                    "labels": {"severity": "warning", "scenario": scenario},
                    "annotations": {"summary": f"The drill {scenario} {summary} {drill['every']}"},
                }
            )
    return rules


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        return {
            "drill_jobs": drill_jobs,
            "drill_job_files": drill_job_files,
            "drill_job_units": drill_job_units,
            "drill_metrics": drill_metrics,
            "drill_rules": drill_rules,
        }
