"""What a release is: where instances stand, what is live, and what has to be done. Pure: no host, no clock, no network.

The words: a service has two colours, blue and green. The *live* colour gets the requests, the other one is *idle*. An
*instance* is one container. Its *configuration* is a fingerprint of everything that it was started with apart from its
colour, so that two instances with the same fingerprint are the same release.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

BLUE, GREEN = "blue", "green"
COLOURS = (BLUE, GREEN)
# A service has the ports <port>, <port> + 10, ... on a host for the instances of its blue colour; green is 50 above.
GREEN_OFFSET = 50
INSTANCE_STEP = 10
INSTANCES_PER_HOST = GREEN_OFFSET // INSTANCE_STEP
# What an instance's fingerprint leaves out: the things in which two colours of one release differ.
COLOUR_KEYS = ("name", "colour", "port")

Record = Mapping[str, Any]


class ReleaseError(ValueError):
    """The description of the services cannot be placed or is not understood."""


def other(colour: str) -> str:
    """Return the colour that is not this one."""
    return GREEN if colour == BLUE else BLUE


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
                        "name": f"{place.host}{place.suffix()}",
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
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    extra_hosts: Sequence[str] = ()
    mounts: Sequence[str] = ()
    health_command: Sequence[str] = ()
    stop_seconds: int = 30
    migration_command: Sequence[str] = ()


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
        "extra_hosts": list(wish.extra_hosts),
        "mounts": list(wish.mounts),
        "stop_seconds": wish.stop_seconds,
    }
    record["configuration"] = fingerprint(record, wish.secrets)
    return record


def one_off(name: str, command: Sequence[str], wish: Wish) -> dict[str, Any]:
    """Describe a container that runs a command to its end, such as the one that brings the schema up to date."""
    service = {"name": name, "kind": "job", "command": command, "cpu": 1.0, "memory_mb": 256}
    return instance(service, Place("", 0), "", wish, "")


def live_colour(service: Record, observed: Sequence[Record], share: int) -> str:
    """Return the colour that serves. A web service is where its requests go; a worker is where most of it runs."""
    if service["kind"] == "web":
        return GREEN if share >= 50 else BLUE
    running = [item["colour"] for item in observed if item["service"] == service["name"] and item["running"]]
    return GREEN if running.count(GREEN) > running.count(BLUE) else BLUE


def target_colour(live: str, live_instances: Sequence[Record], configurations: set[str]) -> str:
    """Return the colour that the release starts.

    The live one when all that is left of it is already what is wanted: then a missing or stopped instance is started
    beside its siblings, with no switch. In every other case the idle one.
    """
    foreign = [item for item in live_instances if item["configuration"] not in configurations]
    return other(live) if foreign else live


@dataclass
class Plan:
    """Everything that a release will do, by host. Empty lists everywhere: there is nothing to do."""

    version: str
    digest: str
    start: dict[str, list[dict[str, Any]]]
    jobs: dict[str, list[dict[str, Any]]]
    retire: dict[str, list[str]]
    undo: dict[str, list[str]]
    colours: dict[str, dict[str, Any]]
    shift: dict[str, int]
    backends: dict[str, list[str]]
    previous: dict[str, str]
    live: dict[str, str]
    migration: list[dict[str, Any]] = field(default_factory=list)
    smoke: list[dict[str, str]] = field(default_factory=list)

    @property
    def needed(self) -> bool:
        """Whether anything has to be done at all."""
        return bool(self.shift) or any(any(by_host.values()) for by_host in (self.start, self.jobs, self.retire))


def is_there(record: Record, item: Record | None) -> bool:
    """Tell whether a container is what the record wants. A job's container waits, stopped, for its timer."""
    if item is None or item["configuration"] != record["configuration"]:
        return False
    return record["kind"] == "job" or (bool(item["running"]) and item["health"] != "unhealthy")


def plan_release(
    services: Sequence[Record],
    hosts: Mapping[str, str],
    observed: Mapping[str, Sequence[Record]],
    edges: Sequence[Mapping[str, int]],
    wish: Wish,
    domain: str,
) -> Plan:
    """Compare what runs with what is wanted, and return the steps between them.

    `observed` has the containers of each host, `edges` the per cent of requests that go to green, for each front door.
    """
    check_ports(services)
    shares = edges[0]
    everything = [item for items in observed.values() for item in items]
    current = {host: {item["name"]: item for item in items} for host, items in observed.items()}
    plan = Plan(
        version=wish.version,
        digest=wish.digest,
        start={host: [] for host in hosts},
        jobs={host: [] for host in hosts},
        retire={host: [] for host in hosts},
        undo={host: [] for host in hosts},
        colours={},
        shift={},
        backends={"new": [], "old": []},
        previous=previous_release(services, everything, shares, wish),
        live={
            key: str((live_release(services, everything, shares) or {}).get(key, "")) for key in ("version", "digest")
        },
    )
    keep: dict[str, set[str]] = {host: set() for host in hosts}
    for service in services:
        name = service["name"]
        live = live_colour(service, everything, int(shares.get(name, 0)))
        standing = places(service, list(hosts))

        def records(
            colour: str, service: Record = service, standing: Sequence[Place] = standing
        ) -> list[tuple[str, dict[str, Any]]]:
            return [(place.host, instance(service, place, colour, wish, hosts[place.host])) for place in standing]

        of_live = [i for i in everything if i["service"] == name and i["colour"] == live and i["kind"] != "job"]
        target = target_colour(live, of_live, {record["configuration"] for _, record in records(live)})
        plan.colours[name] = {"live": live, "target": target, "kind": service["kind"]}
        lists = plan.jobs if service["kind"] == "job" else plan.start
        for host, record in records(target):
            keep[host].add(record["name"])
            if is_there(record, current.get(host, {}).get(record["name"])):
                continue
            lists[host].append({**record, "previous": plan.previous})
            # A failed repair of the live colour leaves what serves alone; a failed new colour goes away.
            if service["kind"] != "job" and target != live:
                plan.undo[host].append(record["name"])
        if service["kind"] == "web":
            share = 100 if target == GREEN else 0
            if any(edge.get(name) != share for edge in edges):
                plan.shift[name] = share
            if target != live:
                plan.backends["old"].append(f"{name}_{live}")
            plan.backends["new"].append(f"{name}_{target}")
            plan.smoke.append({"name": name, "hostname": f"{service['hostname']}.{domain}", "colour": target})
    if wish.migration_command and any(plan.start.values()):
        plan.migration = [one_off("migration", wish.migration_command, wish)]
    for host, names in current.items():
        plan.retire[host] = sorted(set(names) - keep.get(host, set()))
    return plan


def previous_release(
    services: Sequence[Record], observed: Sequence[Record], shares: Mapping[str, int], wish: Wish
) -> dict[str, str]:
    """Return version and digest that a rollback would go to, once the wish is live. Empty when there is none.

    Kept on the new containers themselves, so it is as durable as they are and needs no file that can be lost. A release
    of the same image with other settings passes on what its predecessor knew.
    """
    live = live_release(services, observed, shares)
    if not live:
        return {}
    if live["digest"] == wish.digest:
        return (
            {"version": live["previous_version"], "digest": live["previous_digest"]} if live["previous_digest"] else {}
        )
    return {"version": live["version"], "digest": live["digest"]}


def live_release(
    services: Sequence[Record], observed: Sequence[Record], shares: Mapping[str, int]
) -> dict[str, Any] | None:
    """Return a container of the first service that gets requests, or does work, at this moment."""
    for service in sorted(services, key=lambda service: service["kind"] != "web"):
        live = live_colour(service, observed, int(shares.get(service["name"], 0)))
        for item in observed:
            if item["service"] == service["name"] and item["colour"] == live and item["running"]:
                return dict(item)
    return None


def as_dictionary(plan: Plan) -> dict[str, Any]:
    """Return the plan for a playbook."""
    return {**asdict(plan), "needed": plan.needed}


@dataclass(frozen=True)
class ContainerPlan:
    """What one host has to do: `replace` and `remove` are names, `finish` are jobs at work that may end first."""

    create: list[dict[str, Any]]
    replace: list[str]
    remove: list[str]
    finish: list[str]


def plan_containers(observed: Sequence[Record], present: Sequence[Record], absent: Sequence[str]) -> ContainerPlan:
    """Compare a host's containers with those that shall be there and those that shall not."""
    current = {item["name"]: item for item in observed}
    create = [dict(record) for record in present if not is_there(record, current.get(record["name"]))]
    replace = [record["name"] for record in create if record["name"] in current]
    remove = [name for name in absent if name in current]
    finish = [name for name in (*replace, *remove) if current[name]["kind"] == "job" and current[name]["running"]]
    return ContainerPlan(create, replace, remove, finish)


# What a host answered to a step that has not been taken, or not on this host.
NOT_YET: Record = {"skipped": True}
# The steps that may fail without anybody noticing, in their order.
BEFORE_THE_SWITCH = ("migrated", "started", "ready", "smoke")


def problems(answers: Mapping[str, Record]) -> list[str]:
    """Say which hosts did not do a step, and why. An answer that does not say that it went well did not go well."""
    found = []
    for host, answer in answers.items():
        if answer.get("unreachable"):
            found.append(f"{host} cannot be reached")
        elif not answer.get("skipped") and answer.get("problem") != "":
            found.append(f"{host}: {answer.get('problem') or answer.get('msg') or 'gave no answer'}")
    return found


def outcome(plan: Record, answers: Mapping[str, Mapping[str, Record]]) -> dict[str, Any]:
    """Return what went wrong before, at and after the switch, and a sentence for the person who waits."""
    before = next(filter(None, (problems(answers[step]) for step in BEFORE_THE_SWITCH)), [])
    shift, after = problems(answers["shifted"]), problems(answers["stopped"])
    wanted, live = plan["version"], plan["live"]["version"]
    colours = ", ".join(
        f"{name} {colour['target']}" for name, colour in plan["colours"].items() if colour["kind"] != "job"
    )
    if not plan["needed"]:
        sentence = f"Version {wanted} runs already, with these settings; nothing was done."
    elif before:
        rest = f"Version {live} serves as before." if live else "Nothing was live before."
        sentence = f"Version {wanted} did not go live. {rest} {'; '.join(before)}"
        if after:
            sentence += f" What had been started could not be taken away everywhere: {'; '.join(after)}"
    elif shift:
        sentence = (
            f"The traffic could not be switched to version {wanted} everywhere: {'; '.join(shift)}."
            " Both colours keep running; release again when this is mended."
        )
    elif after:
        sentence = f"Version {wanted} is live, but the rest was not cleared away: {'; '.join(after)}"
    else:
        sentence = f"Version {wanted} is live ({colours})" + (f", before it {live}." if live else ".")
    return {
        "before": before,
        "shift": shift,
        "after": after,
        "ok": not (before or shift or after),
        "sentence": sentence,
    }
