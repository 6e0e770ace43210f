"""From what runs on the engine to what the inventory asks for: the steps between, worked out without touching it."""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

LABEL_ENVIRONMENT = "gym.platform"
LABEL_SPEC = "gym.platform.spec"
LABEL_NETWORK = "gym.platform.network"
# Which key a host lets in: another copy of the repository has another one.
LABEL_KEY = "gym.platform.key"
NESTED_ENGINE = "/var/lib/docker"


class PlanError(Exception):
    """What is asked for cannot be had; the message is one sentence with the fix."""


@dataclass(frozen=True)
class Port:
    """A port of a host that this machine's loopback address shows as well."""

    inside: int
    outside: int


@dataclass(frozen=True)
class Host:
    """One host as the inventory describes it."""

    name: str
    address: str
    ports: tuple[Port, ...] = ()
    # Whether it runs an engine of its own, whose files cannot lie on the layers of a container.
    engine: bool = False


@dataclass(frozen=True)
class Place:
    """A network as it has to be, by the name that the engine knows it by; a region of its own."""

    name: str
    subnet: str

    @property
    def interface(self) -> str:
        """Name its bridge: at most 15 characters, and recognisable in `ip link`."""
        return self.name[:15]


@dataclass(frozen=True)
class Rule:
    """A rule of this machine's packet filter, as `iptables -S` writes it: table, chain, match and target."""

    table: str
    chain: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Desired:
    """All hosts of one environment and the networks that they are on."""

    environment: str
    networks: tuple[Place, ...]
    prefix: str
    hosts: tuple[Host, ...]

    def network(self, host: Host) -> Place:
        """Return the network that the host's address lies in; `check` has made sure that there is one."""
        address = ipaddress.ip_address(host.address)
        return next(place for place in self.networks if address in ipaddress.ip_network(place.subnet))

    def container(self, host: Host) -> str:
        """Name the container of a host."""
        return f"{self.prefix}{host.name}"

    def volume(self, host: Host) -> str:
        """Name the volume of a host's engine."""
        return f"{self.prefix}{host.name}-docker"


@dataclass(frozen=True)
class Container:
    """A container as the engine describes it."""

    name: str
    state: str
    labels: dict[str, str] = field(default_factory=dict)
    # Identifiers of its networks; one that was removed behind its back is still named here.
    networks: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """A network as the engine describes it."""

    identifier: str
    name: str
    subnets: tuple[str, ...]
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Current:
    """What the engine has, whoever made it."""

    containers: tuple[Container, ...] = ()
    networks: tuple[Network, ...] = ()
    volumes: tuple[tuple[str, dict[str, str]], ...] = ()
    # Destination and interface of the machine's routes.
    routes: tuple[tuple[str, str], ...] = ()
    # The packet filter's rules of the chains that ways between networks need, in their order.
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Step:
    """One thing to do, and why: create_network, remove_network, create, attach, start, remove, remove_volume, and
    open_way and close_way, for which there is a rule."""

    verb: str
    name: str
    why: str
    rule: Rule | None = None


def payload(desired: Desired, host: Host, image: str = "") -> dict[str, Any]:
    """Describe the container of a host in the words of the engine's API.

    Not `--privileged`, which an engine that has no CAP_SYS_RESOURCE itself refuses: everything but that one capability.
    """
    mounts = []
    if host.engine:
        labels = {LABEL_ENVIRONMENT: desired.environment}
        volume = {"Type": "volume", "Source": desired.volume(host), "Target": NESTED_ENGINE}
        mounts.append({**volume, "VolumeOptions": {"Labels": labels}})
    return {
        "Image": image,
        "Hostname": host.name,
        "Cmd": ["/usr/local/sbin/boot"],
        "Env": ["container=docker"],
        "StopSignal": "SIGRTMIN+3",
        "Labels": {LABEL_ENVIRONMENT: desired.environment},
        "ExposedPorts": {f"{port.inside}/tcp": {} for port in host.ports},
        "HostConfig": {
            "NetworkMode": desired.network(host).name,
            "CapAdd": ["ALL"],
            "CapDrop": ["SYS_RESOURCE"],
            "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
            # `systempaths=unconfined`: the host sees its memory and sets its kernel parameters.
            "MaskedPaths": [],
            "ReadonlyPaths": [],
            "CgroupnsMode": "private",
            "Tmpfs": {"/run": "", "/run/lock": ""},
            # A reboot from inside ends the container and starts it again; what was killed or stopped stays down.
            "RestartPolicy": {"Name": "unless-stopped"},
            "PortBindings": {
                f"{port.inside}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port.outside)}] for port in host.ports
            },
            "Mounts": mounts,
        },
        "NetworkingConfig": {"EndpointsConfig": {desired.network(host).name: endpoint(host)}},
    }


def endpoint(host: Host) -> dict[str, Any]:
    """Describe a host's place on the network; the aliases resolve before anything is configured."""
    return {"IPAMConfig": {"IPv4Address": host.address}, "Aliases": [host.name]}


def fingerprint(desired: Desired, host: Host) -> str:
    """Sum up a host, so that a changed description is noticed.

    The image is left out on purpose: roles install what they need on running hosts, and data is worth more than images.
    """
    return hashlib.sha256(json.dumps(payload(desired, host), sort_keys=True).encode()).hexdigest()[:16]


def check(desired: Desired) -> None:
    """Refuse hosts that no engine could start."""
    subnets = _subnets(desired)
    legal = " or ".join(str(subnet) for subnet in subnets)
    addresses: dict[str, str] = {}
    outside: dict[int, str] = {}
    for host in desired.hosts:
        if not host.address:
            raise PlanError(f"{host.name} has no ansible_host: give it a free address of {legal} in the inventory.")
        try:
            address = ipaddress.ip_address(host.address)
        except ValueError as error:
            raise PlanError(f"ansible_host of {host.name} is {host.address!r}, which is no address.") from error
        subnet = next((subnet for subnet in subnets if address in subnet), None)
        if subnet is None:
            raise PlanError(f"ansible_host of {host.name} is {address}, which is outside network.cidr {legal}.")
        if address in (subnet.network_address, subnet.broadcast_address, next(subnet.hosts())):
            raise PlanError(f"ansible_host of {host.name} is {address}, which {subnet} keeps for itself.")
        if host.address in addresses:
            raise PlanError(f"{addresses[host.address]} and {host.name} both have the address {host.address}.")
        addresses[host.address] = host.name
        for port in host.ports:
            if port.outside in outside:
                raise PlanError(f"{outside[port.outside]} and {host.name} both publish 127.0.0.1:{port.outside}.")
            outside[port.outside] = host.name


def plan(current: Current, desired: Desired) -> list[Step]:
    """Work out what has to be done so that exactly the desired hosts run."""
    check(desired)
    steps: list[Step] = []
    by_name = {container.name: container for container in current.containers}
    wanted = {desired.container(host): host for host in desired.hosts}

    for name in sorted(wanted):
        found = by_name.get(name)
        if found and found.labels.get(LABEL_ENVIRONMENT) != desired.environment:
            raise PlanError(
                f"A container named {name} exists and is not ours: rename it, or remove it with `docker rm -f {name}`."
            )

    networks = {place: _own_network(current, place) for place in desired.networks}
    for place, network in networks.items():
        if network is None:
            _refuse_clash(current, place)
            steps.append(Step("create_network", place.name, "missing"))
    steps += [Step("open_way", _told(rule), "missing", rule) for rule in _missing_rules(current, desired.networks)]

    left = sorted(item.name for item in _ours(current, desired.environment) if item.name not in wanted)
    steps += [Step("remove", name, "no longer in the inventory") for name in left]

    for name, host in wanted.items():
        found = by_name.get(name)
        if found is None:
            steps.append(Step("create", name, "missing"))
        elif found.labels.get(LABEL_SPEC) != fingerprint(desired, host):
            steps += [Step("remove", name, "described differently"), Step("create", name, "described differently")]
        elif found.state in ("created", "dead", "removing"):
            steps += [Step("remove", name, "half-built"), Step("create", name, "half-built")]
        else:
            network = networks[desired.network(host)]
            if network is None or network.identifier not in found.networks or host.address not in found.addresses:
                steps.append(Step("attach", name, "off the network"))
            if found.state == "paused":
                steps.append(Step("unpause", name, "paused"))
            elif found.state not in ("running", "restarting"):
                steps.append(Step("start", name, found.state))
    return steps


def key_mark(public_key: bytes) -> str:
    """Return the mark of a public key, as a host is labelled with it."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def remade_for_key(steps: Sequence[Step], current: Current, desired: Desired, public_key: bytes) -> list[Step]:
    """Have hosts made anew that would never let us in: they know another key, or ours is gone (empty)."""
    wanted = {desired.container(host) for host in desired.hosts}
    mark = key_mark(public_key) if public_key else ""
    foreign = [
        item.name
        for item in current.containers
        if item.name in wanted and (not mark or item.labels.get(LABEL_KEY, mark) != mark)
    ]
    kept = [step for step in steps if step.name not in foreign]
    why = "it knows another key" if mark else "its key is gone"
    return kept + [Step(verb, name, why) for name in foreign for verb in ("remove", "create")]


def plan_absence(current: Current, desired: Desired) -> list[Step]:
    """Work out what has to be removed so that nothing of the environment is left, and nothing else is touched."""
    ours = _ours(current, desired.environment)
    steps = [Step("remove", container.name, "not wanted") for container in ours]
    steps += [
        Step("remove_volume", name, "not wanted")
        for name, labels in current.volumes
        if labels.get(LABEL_ENVIRONMENT) == desired.environment
    ]
    names = [place.name for place in desired.networks]
    gone = []
    for network in current.networks:
        if network.name in names and LABEL_NETWORK in network.labels:
            others = [item for item in current.containers if item not in ours and network.identifier in item.networks]
            # Another environment's hosts may be on it; who leaves last removes it.
            if not others:
                gone.append(network.name)
    for rule in ways(desired.networks, gone):
        steps += [Step("close_way", _told(rule), "not wanted", rule)] * current.rules.count(rule)
    return steps + [Step("remove_network", name, "empty") for name in gone]


def ways(networks: Sequence[Place], ends: Sequence[str] | None = None) -> list[Rule]:
    """Return the rules that let networks reach each other; with `ends`, those that begin or end at one of them.

    The engine keeps its networks apart, except for what its chain DOCKER-USER accepts first, and gives what leaves one
    the address of this machine, which the firewalls of hosts would not know.
    """
    rules = []
    for source, target in itertools.permutations(networks, 2):
        if ends is None or {source.name, target.name} & set(ends):
            between = ("-i", source.interface, "-o", target.interface, "-j", "ACCEPT")
            rules.append(Rule("filter", "DOCKER-USER", between))
            rules.append(Rule("nat", "POSTROUTING", ("-s", source.subnet, "-d", target.subnet, "-j", "ACCEPT")))
    return rules


def _missing_rules(current: Current, networks: Sequence[Place]) -> list[Rule]:
    """Return the rules that are not there, or stand where what is before them decides."""
    return [rule for rule in ways(networks) if rule not in _before_decision(rule, current.rules)]


def _before_decision(rule: Rule, rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules up to the one that leaves nothing to a rule behind it."""
    return list(itertools.takewhile(lambda known: not _decides(known, rule), rules))


def _decides(known: Rule, rule: Rule) -> bool:
    """Tell whether a rule leaves nothing to another one behind it: all returns, or its source masquerades."""
    if (known.table, known.chain) != (rule.table, rule.chain):
        return False
    return known.words == ("-j", "RETURN") or (known.words[-1] == "MASQUERADE" and known.words[:2] == rule.words[:2])


def _told(rule: Rule) -> str:
    return f"{rule.table} {rule.chain} {' '.join(rule.words)}"


def _subnets(desired: Desired) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Read the networks' subnets; those that overlap would leave an address without a place."""
    subnets: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for place in desired.networks:
        try:
            subnet = ipaddress.ip_network(place.subnet)
        except ValueError as error:
            raise PlanError(f"network.cidr is {place.subnet!r}, which is no network: {error}.") from error
        if any(subnet.version == other.version and subnet.overlaps(other) for other in subnets):
            raise PlanError(f"network.cidr and network.dr_cidr overlap: {subnet} lies in both; choose another one.")
        subnets.append(subnet)
    return subnets


def sentence(message: str, name: str) -> str:
    """Put what the engine says about a host that does not start into words."""
    port = re.search(r"(?:Bind for|listen tcp4?) ([0-9.]+:\d+)", message)
    if port and ("already allocated" in message or "in use" in message):
        return f"{name} cannot start: {port[1]} is in use on this machine; stop what listens there, or publish another."
    if "no space left" in message.lower():
        return f"{name} cannot start: the disk of the Docker engine is full; free some space and run this again."
    return f"{name}: {' '.join(message.split())}"


def _ours(current: Current, environment: str) -> list[Container]:
    return [item for item in current.containers if item.labels.get(LABEL_ENVIRONMENT) == environment]


def _own_network(current: Current, place: Place) -> Network | None:
    for network in current.networks:
        if network.name != place.name:
            continue
        if LABEL_NETWORK not in network.labels:
            raise PlanError(
                f"A Docker network named {network.name} exists and is not ours: "
                f"rename it in local_hosts_networks, or remove it with `docker network rm {network.name}`."
            )
        if place.subnet not in network.subnets:
            raise PlanError(
                f"The network {network.name} has {', '.join(network.subnets)}, and network.cidr is {place.subnet}: "
                "run `make down` first (and `make molecule-down`, if Molecule's hosts are on it)."
            )
        return network
    return None


def _refuse_clash(current: Current, place: Place) -> None:
    """Refuse a subnet that something else uses already."""
    subnet = ipaddress.ip_network(place.subnet)

    def overlaps(others: Iterable[str]) -> bool:
        networks = (ipaddress.ip_network(other, strict=False) for other in others)
        return any(other.version == subnet.version and other.overlaps(subnet) for other in networks)

    for network in current.networks:
        if overlaps(network.subnets):
            raise PlanError(
                f"network.cidr {subnet} overlaps {', '.join(network.subnets)} of the Docker network {network.name}: "
                "choose another network.cidr, or remove that network."
            )
    for destination, interface in current.routes:
        if overlaps([destination]):
            raise PlanError(
                f"network.cidr {subnet} overlaps this machine's route to {destination} through {interface}: "
                "choose another network.cidr."
            )
