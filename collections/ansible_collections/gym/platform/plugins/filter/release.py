"""The release, as playbooks see it; the thinking is in module_utils/release_placement.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.module_utils import release_placement


def edge_services(services: Sequence[Mapping[str, Any]], hosts: Mapping[str, str], domain: str) -> list[dict[str, Any]]:
    """Describe the web services to the front door."""
    try:
        return release_placement.edge_services(services, hosts, domain)
    except release_placement.ReleaseError as error:
        raise AnsibleFilterError(str(error)) from error


def release_smoke_tests(services: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what every web service is asked before it gets traffic: that it is ready, and its version."""
    return [
        test
        for service in services
        if service["kind"] == "web"
        for test in (
            {"service": service["name"], "path": service["ready_path"]},
            {"service": service["name"], "path": "/version", "versioned": True},
        )
    ]


def release_job_units(services: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the files and the units that start the jobs at their times."""
    jobs = [service for service in services if service["kind"] == "job"]
    return {
        "files": [
            {
                "path": f"/etc/systemd/system/{job['name']}.{kind}",
                "template": f"job.{kind}.j2",
                "variables": {"job": job},
                "units": [f"{job['name']}.timer"] if kind == "timer" else [],
            }
            for job in jobs
            for kind in ("service", "timer")
        ],
        "units": [{"name": f"{job['name']}.timer"} for job in jobs],
    }


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name them for Ansible."""
        return {
            "edge_services": edge_services,
            "release_job_units": release_job_units,
            "release_smoke_tests": release_smoke_tests,
        }
