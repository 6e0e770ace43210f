"""The driver for Docker hosts behind HAProxy: containers by colour, traffic by a map, jobs by timers of the first host.

It asks modules of this collection to do things on the machines, by a function that the action hands in.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.utils.helpers import pct_to_int
from ansible_collections.gym.platform.plugins.module_utils.release_driver import (
    COLOURS,
    Answer,
    Colour,
    DriverError,
    Observation,
    Release,
    Request,
)
from ansible_collections.gym.platform.plugins.module_utils.release_placement import (
    Wish,
    check_ports,
    one_off,
    places,
    release_configuration,
    standing,
    wanted_instances,
)

COLOURS_MAP = "/etc/haproxy/maps/colours.map"
ASSETS_VOLUME = "gym-assets"
DOCUMENT = "/var/lib/gym/releases.json"
SERIAL = re.compile(r"[1-9]\d*%?")


@dataclass(frozen=True)
class Call:
    """A module of this collection that is run on a machine."""

    host: str
    module: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    check_mode: bool = False


# Runs all calls at the same time and returns what the modules answered, in the order of the calls.
Caller = Callable[[Sequence[Call]], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Target:
    """The options of the role release_docker."""

    services: Sequence[Mapping[str, Any]]
    # Machines that run containers, with their private addresses.
    hosts: Mapping[str, str]
    edges: Sequence[str]
    domain: str
    repository: str
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    # By the name of a one-off: what it gets instead of the services' secrets.
    one_off_secrets: Mapping[str, Mapping[str, str]]
    registry_username: str
    registry_password: str
    extra_hosts: Sequence[str]
    mounts: Sequence[str]
    # Where containers find the static files of all releases; empty where there are none.
    assets_directory: str
    health_command: Sequence[str]
    # How many hosts start at a time: a number, or a percentage of them such as 50%.
    serial: str
    ready_timeout_seconds: int
    drain_timeout_seconds: int
    stop_timeout_seconds: int


class DockerDriver:
    """Does what release_driver.Driver says."""

    def __init__(self, target: Target, call: Caller) -> None:
        """Remember both; nothing is asked yet."""
        self._target, self._call = target, call
        self._web = [service for service in target.services if service["kind"] == "web"]
        self._first = next(iter(target.hosts))
        self._batches = batches(list(target.hosts), target.serial)

    @property
    def longest_seconds(self) -> float:
        """Each batch of a start waits for containers, then for the front door; a stop for requests, then containers."""
        target = self._target
        start = len(self._batches) * 2 * target.ready_timeout_seconds
        return max(start, target.drain_timeout_seconds + target.stop_timeout_seconds)

    def resolve(self, version: str, digest: str = "") -> Release:
        """Ask the registry what a tag stands for; one machine alone, so that a tag that moves splits no release."""
        mark = digest or (version if version.startswith("sha256:") else "")
        reference = f"{self._target.repository}@{mark}" if mark else f"{self._target.repository}:{version}"
        (answer,) = self._ask([self._containers(self._first, resolve=reference)])
        wish = self._wish(Release(version, str(answer["digest"]), ""))
        return Release(version, wish.digest, release_configuration(self._target.services, wish))

    def observe(self, wanted: Release | None) -> Observation:
        """Look at all machines at the same time."""
        hosts, edges = list(self._target.hosts), list(self._target.edges)
        answers = self._ask(
            [
                *(self._containers(host) for host in hosts),
                *(Call(edge, "haproxy_map", {"path": COLOURS_MAP}, check_mode=True) for edge in edges),
            ]
        )
        seen = {host: answer["containers"] for host, answer in zip(hosts, answers, strict=False)}
        maps = [answer["entries"] for answer in answers[len(hosts) :]]
        shares = {int(entries.get(service["name"], 0)) for entries in maps for service in self._web}
        return Observation(
            colours={colour: self._colour(colour, wanted, seen) for colour in COLOURS},
            share=shares.pop() if len(shares) == 1 else None,
            jobs=self._colour("", wanted, seen).standing,
        )

    def start(self, colour: str, release: Release) -> None:
        """Start the containers and wait until the front door finds them ready, one batch of hosts after the other."""
        wanted = self._wanted(colour, release)
        for hosts in self._batches:
            self._ask([self._containers(host, present=wanted[host], colours=[colour]) for host in hosts])
            self._ask(self._servers(colour, "up", self._target.ready_timeout_seconds, hosts))

    def shift(self, share: int) -> None:
        """Write the share into the map of every front door: in its memory and in its file."""
        entries = {service["name"]: str(share) for service in self._web}
        self._ask([Call(edge, "haproxy_map", {"path": COLOURS_MAP, "entries": entries}) for edge in self._target.edges])

    def stop(self, colour: str, stays: Release | None) -> None:
        """Drain the colour's open requests, stop its containers, and renew the jobs."""
        # What outlives the drain gets the stop timeout on top: a service finishes its requests on SIGTERM.
        self._call(self._servers(colour, "drained", self._target.drain_timeout_seconds))
        # Without a release that stays, jobs stay as they are.
        jobs = self._wanted("", stays) if stays else {host: [] for host in self._target.hosts}
        gone = [colour, ""] if stays else [colour]
        self._ask([self._containers(host, present=jobs[host], colours=gone) for host in jobs])

    def address(self, colour: str) -> Preview:
        """Return the preview address of the front doors."""
        hostnames = {service["name"]: f"{service['hostname']}.{self._target.domain}" for service in self._web}
        return Preview(colour, hostnames, list(self._target.edges), self._ask)

    def run(self, name: str, command: Sequence[str], release: Release) -> str:
        """Run a container to its end: on the first machine, and for assets on all, as each keeps them itself."""
        record = one_off(name, command, self._wish(release))
        secrets = self._target.one_off_secrets.get(name, {})
        hosts = list(self._target.hosts) if name == "assets" else [self._first]
        answers = self._ask([self._containers(host, run=[record], secrets=secrets) for host in hosts])
        return str(answers[0]["output"][name])

    def _containers(self, host: str, **arguments: Any) -> Call:
        target = self._target
        return Call(
            host,
            "docker_services",
            {
                "secrets": target.secrets,
                "registry_username": target.registry_username,
                "registry_password": target.registry_password,
                "ready_timeout": target.ready_timeout_seconds,
                "stop_timeout": target.stop_timeout_seconds,
                **arguments,
            },
        )

    def _ask(self, calls: Sequence[Call]) -> Sequence[Mapping[str, Any]]:
        answers = self._call(calls)
        seen = (problem(call, answer) for call, answer in zip(calls, answers, strict=True))
        if problems := [text for text in seen if text]:
            raise DriverError("; ".join(problems))
        return answers

    def _servers(self, colour: str, until: str, seconds: int, hosts: Collection[str] = ()) -> list[Call]:
        """Return the calls that wait on every front door until the colour's servers are up or drained.

        Of some hosts, only what stands there is waited for.
        """
        everywhere = list(self._target.hosts)
        found = {
            f"{service['name']}_{colour}": {
                place.server for place in places(service, everywhere) if place.host in (hosts or everywhere)
            }
            for service in self._web
        }
        waiting = {
            "backends": [backend for backend, servers in found.items() if servers],
            "servers": sorted(set().union(*found.values())) if hosts else [],
            "until": until,
            "timeout": seconds,
        }
        return [Call(edge, "haproxy_servers", waiting) for edge in self._target.edges]

    def _wish(self, release: Release) -> Wish:
        target = self._target
        return Wish(
            target.repository,
            release.version,
            release.digest,
            release.configuration,
            target.environment,
            target.secrets,
            target.extra_hosts,
            target.mounts,
            {ASSETS_VOLUME: target.assets_directory} if target.assets_directory else {},
            target.health_command,
            target.stop_timeout_seconds,
        )

    def _wanted(self, colour: str, release: Release) -> dict[str, list[dict[str, Any]]]:
        return wanted_instances(self._target.services, self._target.hosts, colour, self._wish(release))

    def _colour(self, colour: str, wanted: Release | None, seen: Mapping[str, Sequence[Mapping[str, Any]]]) -> Colour:
        observed = {host: of(colour, items) for host, items in seen.items()}
        found = next((item for items in observed.values() for item in items), None)
        release = Release(found["version"], found["digest"], found["release"]) if found else None
        needed = self._wanted(colour, wanted) if wanted else {}
        return Colour(standing(needed, observed, wanted.configuration if wanted else ""), release)


@dataclass(frozen=True)
class Preview:
    """The preview address, which answers on the front doors themselves only."""

    colour: str
    hostnames: Mapping[str, str]
    edges: Sequence[str]
    call: Caller

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Ask on every front door; the first answer that is not 200 counts, or else that of the first one."""
        asked = [{"hostname": self.hostnames[request.service], "path": request.path} for request in requests]
        calls = [Call(edge, "preview_requests", {"colour": self.colour, "requests": asked}) for edge in self.edges]
        rows = zip(*(answer["answers"] for answer in self.call(calls)), strict=True)
        return [Answer(**next((one for one in row if one["status"] != 200), row[0])) for row in rows]


class DockerStore:
    """Does what release_driver.Store says, with a file of the first front door."""

    def __init__(self, edge: str, call: Caller) -> None:
        """Remember where; nothing is read yet."""
        self._edge, self._call = edge, call

    def read(self) -> tuple[str, str]:
        """Read the file."""
        answer = self._ask({"path": DOCUMENT})
        return base64.b64decode(answer["content"]).decode(), answer["mark"]

    def write(self, document: str, mark: str) -> str | None:
        """Replace the file, if it is still the marked one."""
        content = base64.b64encode(document.encode()).decode()
        answer = self._ask({"path": DOCUMENT, "content": content, "mark": mark})
        return answer["mark"] if answer["written"] else None

    def _ask(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        call = Call(self._edge, "marked_file", arguments)
        (answer,) = self._call([call])
        if text := problem(call, answer):
            raise DriverError(text)
        return answer


def connect(options: Mapping[str, Any], call: Caller) -> tuple[DockerDriver, DockerStore]:
    """Return driver and store for the options of the role release_docker. Raises DriverError for bad ones."""
    try:
        target = Target(**options)
    except TypeError as error:
        raise DriverError(f"the options of the target are not what they have to be: {error}") from error
    if not (target.hosts and target.edges):
        raise DriverError(
            f"there is nowhere to release to: hosts {list(target.hosts)}, front doors {list(target.edges)}"
        )
    if not SERIAL.fullmatch(target.serial):
        raise DriverError(
            f"release_docker_serial is '{target.serial}'; it is a number of hosts, such as 1, or a percentage of them,"
            " such as 50%"
        )
    check_ports(target.services)
    return DockerDriver(target, call), DockerStore(target.edges[0], call)


def batches(hosts: Sequence[str], serial: str) -> list[Sequence[str]]:
    """Return the hosts in groups of as many as a play of Ansible with this `serial` would have."""
    size = pct_to_int(serial, len(hosts))
    return [hosts[start : start + size] for start in range(0, len(hosts), size)]


def of(colour: str, items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the containers of a colour."""
    return [item for item in items if item["colour"] == colour]


def problem(call: Call, answer: Mapping[str, Any]) -> str:
    """Say why a machine did not do what it was asked, or nothing."""
    if answer.get("unreachable"):
        return f"{call.host} cannot be reached"
    if answer.get("failed"):
        return f"{call.host}: {answer.get('problem') or answer.get('msg') or 'gave no answer'}"
    return ""
