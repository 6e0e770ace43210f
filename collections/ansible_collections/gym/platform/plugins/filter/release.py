"""The release, as playbooks see it; the thinking is in module_utils/release.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.module_utils import release


def edge_services(services: Sequence[Mapping[str, Any]], hosts: Mapping[str, str], domain: str) -> list[dict[str, Any]]:
    """Describe the web services to the front door."""
    try:
        return release.edge_services(services, hosts, domain)
    except release.ReleaseError as error:
        raise AnsibleFilterError(str(error)) from error


def release_plan(
    services: Sequence[Mapping[str, Any]],
    hosts: Mapping[str, str],
    observed: Mapping[str, Sequence[Mapping[str, Any]]],
    edges: Sequence[Mapping[str, Any]],
    wish: Mapping[str, Any],
    domain: str,
) -> dict[str, Any]:
    """Compare what runs with what is wanted."""
    try:
        shares = [{name: int(share) for name, share in edge.items()} for edge in edges]
        return release.as_dictionary(
            release.plan_release(services, hosts, observed, shares, release.Wish(**wish), domain)
        )
    except (release.ReleaseError, TypeError) as error:
        raise AnsibleFilterError(f"The release cannot be planned: {error}") from error


def release_command(live: Mapping[str, Any], wish: Mapping[str, Any], command: Sequence[str]) -> list[dict[str, Any]]:
    """Describe a container that runs a command to its end in the image of the live release."""
    if not live:
        raise AnsibleFilterError("Nothing is released yet, so there is no image to run in: run playbooks/deploy.yml.")
    wanted = release.Wish(**{**wish, "digest": live["digest"], "version": live["version"]})
    return [release.one_off("command", command, wanted)]


def release_outcome(
    plan: Mapping[str, Any], hostvars: Mapping[str, Mapping[str, Any]], hosts: Sequence[str], edges: Sequence[str]
) -> dict[str, Any]:
    """Say how the steps went that have been taken so far, from what the hosts answered."""
    answers = {
        step: {host: hostvars[host].get(f"__release_docker_{step}", release.NOT_YET) for host in where}
        for step, where in {
            "migrated": hosts,
            "started": hosts,
            "ready": edges,
            "smoke": edges,
            "shifted": edges,
            "stopped": hosts,
        }.items()
    }
    return release.outcome(plan, answers)


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


def live_release(
    services: Sequence[Mapping[str, Any]], observed: Sequence[Mapping[str, Any]], shares: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a container that serves at this moment, or an empty record."""
    return release.live_release(services, observed, {name: int(share) for name, share in shares.items()}) or {}


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name them for Ansible."""
        return {
            "edge_services": edge_services,
            "live_release": live_release,
            "release_command": release_command,
            "release_job_units": release_job_units,
            "release_outcome": release_outcome,
            "release_plan": release_plan,
        }
