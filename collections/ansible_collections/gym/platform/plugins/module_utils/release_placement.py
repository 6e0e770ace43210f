"""Where the instances of a release stand on Docker hosts, and what a container of one is. Pure.

An *instance* is one container. Its *configuration* is a fingerprint of everything that it was started with apart from
its colour, so that two instances with the same fingerprint are the same release.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.release_driver import COLOURS, GREEN, Standing

# A service has the ports <port>, <port> + 10, ... on a host for the instances of its blue colour; green is 50 above.
GREEN_OFFSET = 50
INSTANCE_STEP = 10
INSTANCES_PER_HOST = GREEN_OFFSET // INSTANCE_STEP
# What an instance's fingerprint leaves out: the things in which two colours of one release differ.
COLOUR_KEYS = ("name", "colour", "port")

Record = Mapping[str, Any]


class ReleaseError(ValueError):
    """The description of the services cannot be placed or is not understood."""


@dataclass(frozen=True)
class Place:
    """Where one instance of a service stands."""

    host: str
    index: int

    def port(self, service_port: int, colour: str) -> int:
        """Return the port on the host that reaches the instance."""
        return service_port + INSTANCE_STEP * self.index + (GREEN_OFFSET if colour == GREEN else 0)

    def suffix(self) -> str:
        """Tell a host's second and third instance apart in names."""
        return f"-{self.index + 1}" if self.index else ""

    @property
    def server(self) -> str:
        """Return what the front door calls the instance."""
        return f"{self.host}{self.suffix()}"


def places(service: Record, hosts: Sequence[str]) -> list[Place]:
    """Spread the replicas of a service evenly over the hosts; a job has one place, on the first."""
    if not hosts:
        raise ReleaseError(f"service {service['name']}: there is no host to run it on")
    replicas = 1 if service["kind"] == "job" else int(service["replicas"])
    if replicas > len(hosts) * INSTANCES_PER_HOST:
        raise ReleaseError(
            f"service {service['name']}: {replicas} replicas do not fit on {len(hosts)} hosts;"
            f" a host has ports for {INSTANCES_PER_HOST}. Use fewer replicas or add hosts to the group"
        )
    return [Place(hosts[number % len(hosts)], number // len(hosts)) for number in range(replicas)]


def check_ports(services: Sequence[Record]) -> None:
    """Refuse two services whose ports meet on a host: bases must differ within every step of ten."""
    owner: dict[int, str] = {}
    for service in services:
        if "port" not in service:
            continue
        for index in range(INSTANCES_PER_HOST if int(service.get("replicas", 1)) > 1 else 1):
            for colour in COLOURS:
                port = Place("", index).port(int(service["port"]), colour)
                if port in owner:
                    raise ReleaseError(
                        f"services {owner[port]} and {service['name']} would both use port {port} of a host:"
                        f" give them ports that differ by 1 to {INSTANCE_STEP - 1}"
                    )
                owner[port] = service["name"]


def edge_services(services: Sequence[Record], hosts: Mapping[str, str], domain: str) -> list[dict[str, Any]]:
    """Describe the web services to the front door: host names, and the servers of each colour."""
    check_ports(services)
    return [
        {
            "name": service["name"],
            "hostnames": [f"{service['hostname']}.{domain}"],
            "ready_path": service["ready_path"],
            **{
                colour: [
                    {
                        "name": place.server,
                        "address": hosts[place.host],
                        "port": place.port(int(service["port"]), colour),
                    }
                    for place in places(service, list(hosts))
                ]
                for colour in COLOURS
            },
        }
        for service in services
        if service["kind"] == "web"
    ]


def fingerprint(record: Record, secrets: Mapping[str, str]) -> str:
    """Return the configuration of an instance as a short word. Secrets are in it: a new password is a new release."""
    kept = {key: value for key, value in record.items() if key not in COLOUR_KEYS}
    kept["environment"] = {k: v for k, v in record["environment"].items() if k != "RELEASE_COLOUR"}
    text = json.dumps([kept, dict(secrets)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Wish:
    """What shall run: the version that people say and the digest that machines check."""

    repository: str
    version: str
    digest: str
    # That of the release as a whole, see release_configuration.
    configuration: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    extra_hosts: Sequence[str] = ()
    mounts: Sequence[str] = ()
    # Volumes of the host by name, each with its place in a container.
    volumes: Mapping[str, str] = field(default_factory=dict)
    health_command: Sequence[str] = ()
    stop_seconds: int = 30


def instance(service: Record, place: Place, colour: str, wish: Wish, address: str) -> dict[str, Any]:
    """Describe one container of a service."""
    colour_word = "" if service["kind"] == "job" else colour
    inner_port = int(service["port"]) if "port" in service else 0
    words = {"port": str(inner_port), "path": service.get("health_path", "/")}
    environment = {**wish.environment, "RELEASE_VERSION": wish.version}
    if colour_word:
        environment["RELEASE_COLOUR"] = colour
    if inner_port:
        environment["PORT"] = str(inner_port)
    record: dict[str, Any] = {
        "name": "-".join(filter(None, (service["name"], colour_word))) + place.suffix(),
        "service": service["name"],
        "kind": service["kind"],
        "colour": colour_word,
        "image": f"{wish.repository}@{wish.digest}",
        "version": wish.version,
        "digest": wish.digest,
        "command": list(service["command"]),
        "environment": environment,
        "address": address,
        "port": place.port(inner_port, colour) if inner_port else 0,
        "inner_port": inner_port,
        "cpu": float(service["cpu"]),
        "memory_mb": int(service["memory_mb"]),
        "health": [part.format(**words) for part in wish.health_command] if inner_port else [],
        "health_path": words["path"],
        "extra_hosts": list(wish.extra_hosts),
        "mounts": list(wish.mounts),
        "volumes": dict(wish.volumes),
        "volumes_mode": "ro",
        "stop_seconds": wish.stop_seconds,
    }
    record["configuration"] = fingerprint(record, wish.secrets)
    record["release"] = wish.configuration
    return record


def one_off(name: str, command: Sequence[str], wish: Wish) -> dict[str, Any]:
    """Describe a container that runs a command to its end, such as the one that brings the schema up to date."""
    service = {"name": name, "kind": "job", "command": command, "cpu": 1.0, "memory_mb": 256}
    return {**instance(service, Place("", 0), "", wish, ""), "volumes_mode": "rw"}


def release_configuration(services: Sequence[Record], wish: Wish) -> str:
    """Return the fingerprint of a release as a whole: that of its instances, wherever and however many they are."""
    parts = [instance(service, Place("", 0), "", wish, "")["configuration"] for service in services]
    return hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()[:16]


def wanted_instances(
    services: Sequence[Record], hosts: Mapping[str, str], colour: str, wish: Wish
) -> dict[str, list[dict[str, Any]]]:
    """Return the containers of a colour by host; those of jobs for the colour that is no colour."""
    wanted: dict[str, list[dict[str, Any]]] = {host: [] for host in hosts}
    for service in services:
        if (service["kind"] == "job") == bool(colour):
            continue
        for place in places(service, list(hosts)):
            wanted[place.host].append(instance(service, place, colour, wish, hosts[place.host]))
    return wanted


def standing(
    wanted: Mapping[str, Sequence[Record]], observed: Mapping[str, Sequence[Record]], release: str
) -> Standing:
    """Compare the containers of a colour that are wanted of a release with those that there are."""
    there = {(host, item["name"]): item for host, items in observed.items() for item in items}
    if not there:
        return Standing.ABSENT if any(wanted.values()) else Standing.WHOLE
    if any(item["release"] != release for item in there.values()):
        return Standing.OTHER
    needed = {(host, record["name"]): record for host, records in wanted.items() for record in records}
    whole = needed.keys() == there.keys() and all(is_there(record, there[key]) for key, record in needed.items())
    return Standing.WHOLE if whole else Standing.PART


def is_there(record: Record, item: Record | None) -> bool:
    """Tell whether a container is what the record wants. A job's container waits, stopped, for its timer."""
    if item is None or any(item[key] != record[key] for key in ("configuration", "release")):
        return False
    return record["kind"] == "job" or (bool(item["running"]) and item["health"] != "unhealthy")


@dataclass(frozen=True)
class ContainerPlan:
    """What one host has to do: `replace` and `remove` are names, `finish` are jobs at work that may end first."""

    create: list[dict[str, Any]]
    replace: list[str]
    remove: list[str]
    finish: list[str]


def plan_containers(observed: Sequence[Record], present: Sequence[Record], colours: Sequence[str]) -> ContainerPlan:
    """Compare a host's containers with those that shall be there; of `colours` there shall be no others."""
    current = {item["name"]: item for item in observed}
    wanted = {record["name"] for record in present}
    create = [dict(record) for record in present if not is_there(record, current.get(record["name"]))]
    replace = [record["name"] for record in create if record["name"] in current]
    remove = [name for name, item in current.items() if item["colour"] in colours and name not in wanted]
    finish = [name for name in (*replace, *remove) if current[name]["kind"] == "job" and current[name]["running"]]
    return ContainerPlan(create, replace, remove, finish)
