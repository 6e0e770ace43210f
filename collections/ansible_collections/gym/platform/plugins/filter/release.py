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
    shares: Mapping[str, Any],
    wish: Mapping[str, Any],
) -> dict[str, Any]:
    """Compare what runs with what is wanted."""
    try:
        numbers = {name: int(share) for name, share in shares.items()}
        return release.as_dictionary(release.plan_release(services, hosts, observed, numbers, release.Wish(**wish)))
    except (release.ReleaseError, TypeError) as error:
        raise AnsibleFilterError(f"The release cannot be planned: {error}") from error


def release_problems(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say which hosts did not do a step, and why. A result that does not say that it succeeded did not."""
    problems = []
    for host, result in results.items():
        if result.get("unreachable"):
            problems.append(f"{host} cannot be reached")
        elif result.get("skipped"):
            continue
        elif result.get("problem", None) != "":
            problems.append(f"{host}: {result.get('problem') or result.get('msg') or 'gave no answer'}")
    return problems


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
            "release_plan": release_plan,
            "release_problems": release_problems,
        }
