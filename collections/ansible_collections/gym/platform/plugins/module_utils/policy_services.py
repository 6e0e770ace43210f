# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs: its health, its ports, its schedule. Each public function is a rule of module_utils/policy.py."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.environment import Path_, dotted
from ansible_collections.gym.platform.plugins.module_utils.policy_rule import Description, Finding, repeated

# The green colour of a service listens this far above its blue one.
COLOUR_OFFSET = 50
# Kinds of services that run all day.
ALL_DAY = ("web", "worker")
# Of a target group of AWS, which is the shortest of all.
LONGEST_NAME = 32


def _without(described: Description, key: str, kinds: Collection[str]) -> Iterator[tuple[Path_, str]]:
    """Return where the key of each service is missing that is of one of these kinds, and the service's name."""
    for index, service in described.records("services"):
        if service["kind"] in kinds and key not in service:
            yield ("services", index, key), service["name"]


def service_has_health_path(described: Description) -> Iterator[Finding]:
    """Without a health check a dead container keeps its traffic, and a release cannot be judged."""
    for place, name in _without(described, "health_path", ALL_DAY):
        yield Finding(place, f"is missing: {name} cannot be health-checked", "a path", "add `health_path: /healthz`")


def service_has_port(described: Description) -> Iterator[Finding]:
    """Health and metrics are read over HTTP, so whatever runs all day listens somewhere."""
    for place, name in _without(described, "port", ALL_DAY):
        yield Finding(place, f"is missing: {name} cannot be reached", "a port", "add `port: 8000`")


def web_has_ready_path(described: Description) -> Iterator[Finding]:
    """A container that lives but cannot reach its database must get no requests."""
    for place, name in _without(described, "ready_path", ("web",)):
        yield Finding(place, f"is missing: when can {name} serve?", "a path", "add `ready_path: /readyz`")


def web_has_hostname(described: Description) -> Iterator[Finding]:
    """The front door sends a request to a service by the name that was asked for."""
    named: list[tuple[Path_, Any]] = []
    for index, service in described.records("services"):
        if "hostname" in service:
            named.append((("services", index, "hostname"), service["hostname"]))
        elif service["kind"] == "web":
            yield Finding(
                ("services", index, "hostname"),
                f"is missing: no request would reach {service['name']}",
                "a name",
                "add `hostname: api`",
            )
    for place, name, first in repeated(named):
        yield Finding(
            place,
            f"{name} is the hostname of {dotted(first[:2], {'services': described['services']})}",
            "a hostname of its own",
        )


def job_has_schedule(described: Description) -> Iterator[Finding]:
    """A job runs by its schedule; what runs all day has none, and would be started twice by it."""
    for index, service in described.records("services"):
        if service["kind"] == "job" and "schedule" not in service:
            yield Finding(
                ("services", index, "schedule"),
                f"is missing: {service['name']} would never run",
                "a calendar expression",
                'add `schedule: "*-*-* 02:30:00"`',
            )
        if service["kind"] != "job" and "schedule" in service:
            yield Finding(
                ("services", index, "schedule"),
                f"a {service['kind']} runs all day",
                "none",
                "remove it, or make the service a job",
            )


def scaling_goes_up(described: Description) -> Iterator[Finding]:
    """A service that may have fewer containers than it has is scaled down when there is most to do."""
    for index, service in described.records("services"):
        replicas = service.get("replicas", 1)
        if service.get("maximum_replicas", replicas) < replicas:
            yield Finding(
                ("services", index, "maximum_replicas"),
                f"{service['maximum_replicas']} is less than the {replicas} replicas",
                f"at least {replicas}",
            )


def service_ports_do_not_collide(described: Description) -> Iterator[Finding]:
    """During a release both colours run on one machine: blue on the port, green 50 above it."""
    taken: dict[int, str] = {}
    for index, service in described.records("services"):
        for colour, offset in (("blue", 0), ("green", COLOUR_OFFSET)):
            port = service.get("port", -1) + offset
            if "port" in service and port in taken:
                yield Finding(
                    ("services", index, "port"),
                    f"{port} ({colour}) is taken by {taken[port]}",
                    f"a port that is not taken, nor {COLOUR_OFFSET} above or below one",
                )
                break
            taken[port] = f"{service['name']} ({colour})"


def firewall_lets_services_through(described: Description) -> Iterator[Finding]:
    """On our own machines a port that the firewall does not open is a service that is never healthy."""
    if described["platform"]["provider"] != "docker":
        return
    rules = [rule for rule in described["firewall"] if rule["group"] == "app"]
    for index, service in described.records("services"):
        for port in (service["port"], service["port"] + COLOUR_OFFSET) if "port" in service else ():
            if not any(rule["port"] <= port <= rule.get("to_port", rule["port"]) for rule in rules):
                yield Finding(
                    ("services", index, "port"),
                    f"{port} is closed on the group app",
                    "; ".join(f"{rule['port']} to {rule.get('to_port', rule['port'])}" for rule in rules),
                    "choose a port that is open, or open it in the noun firewall",
                )
                break


def names_fit_the_cloud(described: Description) -> Iterator[Finding]:
    """AWS's names of target groups have at most 32 letters, and a stack that cannot be made stops half way."""
    platform = described["platform"]
    if platform["provider"] != "aws":
        return
    for index, service in described.records("services"):
        name = f"{platform['name']}-{platform['environment']}-{service.get('hostname', '')}-green"
        if service["kind"] == "web" and len(name) > LONGEST_NAME:
            yield Finding(
                ("services", index, "hostname"),
                f"{name} has {len(name)} letters",
                f"a hostname of at most {len(service.get('hostname', '')) - len(name) + LONGEST_NAME}",
            )
