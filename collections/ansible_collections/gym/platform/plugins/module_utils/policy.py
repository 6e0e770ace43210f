# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an environment may not be, even when every single value is legal.

One rule is one pure function of the description; its docstring says why it exists and is shown with the problem.
`everywhere` binds every environment, `in_production` only production. A rule that needs a noun whose form is broken, or
a key that must be there and is not, finds nothing: that is reported already, and guessing would report it twice.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.drill_scenarios import CONFIRMED, unattended
from ansible_collections.gym.platform.plugins.module_utils.environment import Document, Path_, Problem, dotted
from ansible_collections.gym.platform.plugins.module_utils.schema import is_template, nearest, schemas

# The green colour of a service listens this far above its blue one.
COLOUR_OFFSET = 50
MINIMUM_RETENTION_DAYS = 30
MINIMUM_ZONES = 3
# Of a target group of AWS, which is the shortest of all.
LONGEST_NAME = 32
COMPUTE = {"docker": ("docker_hosts",), "aws": ("ecs", "docker_hosts", "eks"), "gcp": ("cloud_run", "gke")}
DATA_GROUPS = ("database", "cache", "sentinel", "queue")
# What `from` in the firewall may name besides inventory groups.
ORIGINS = ("containers", "controllers", "anywhere")
FREQUENCIES = ("hourly", "daily", "weekly")


class UnsoundError(Exception):
    """A rule asked for a noun that is missing or whose form is broken."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a rule found: where, what, and how to put it right."""

    path: Path_
    message: str
    legal: str = ""
    fix: str = ""


@dataclasses.dataclass(frozen=True)
class Description:
    """The nouns of one environment and its hosts, as the rules see them."""

    environment: str
    nouns: Mapping[str, Document]
    hosts: Document | None = None

    def __getitem__(self, noun: str) -> Any:
        """Return the value of a noun."""
        if noun not in self.nouns:
            raise UnsoundError(noun)
        return self.nouns[noun].value[noun]

    @functools.cached_property
    def groups(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the hosts of every inventory group, those of its children included."""
        if self.hosts is None:
            raise UnsoundError("hosts")
        found: dict[str, dict[str, dict[str, Any]]] = {}

        def visit(name: str, group: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
            hosts = {host: dict(variables or {}) for host, variables in ((group or {}).get("hosts") or {}).items()}
            for child, content in ((group or {}).get("children") or {}).items():
                for host, variables in visit(child, content).items():
                    hosts[host] = {**hosts.get(host, {}), **variables}
            for host, variables in hosts.items():
                found.setdefault(name, {}).setdefault(host, {}).update(variables)
            found.setdefault(name, {})
            return hosts

        for name, group in (self.hosts.value or {}).items():
            visit(name, group)
        return found

    @functools.cached_property
    def addresses(self) -> dict[str, str]:
        """Return the address of every host that is listed with one."""
        hosts = {host: given for group in self.groups.values() for host, given in group.items() if given}
        return {host: str(given["ansible_host"]) for host, given in hosts.items() if "ansible_host" in given}


Rule = Callable[[Description], Iterable[Finding]]
EVERYWHERE: list[Rule] = []
PRODUCTION: list[Rule] = []


def everywhere(rule: Rule) -> Rule:
    """Apply a rule to every environment."""
    EVERYWHERE.append(rule)
    return rule


def in_production(rule: Rule) -> Rule:
    """Apply a rule to production alone."""
    PRODUCTION.append(rule)
    return rule


def check(described: Description, misspelt: Collection[Path_] = ()) -> Iterator[Problem]:
    """Apply all rules and report all that they find, but for keys whose only fault is their spelling."""
    rules = EVERYWHERE + (PRODUCTION if described.environment == "production" else [])
    for rule in rules:
        try:
            findings = list(rule(described))
        except (UnsoundError, KeyError):
            continue
        for finding in findings:
            if finding.path in misspelt:
                continue
            document = described.hosts if finding.path[0] == "hosts" else described.nouns[str(finding.path[0])]
            if document is not None:
                key = dotted(finding.path, document.value)
                why = " ".join((rule.__doc__ or "").split())
                line = document.line(finding.path if finding.path[0] != "hosts" else _place(document, finding.path[1]))
                name = getattr(rule, "__name__", "policy")
                yield Problem(document.file, line, key, finding.message, finding.legal, finding.fix, why, name)


def _place(hosts: Document, host: str | int) -> Path_:
    """Find where a host is listed with its address."""
    paths = [path for path in hosts.lines if path[-2:] == (host, "ansible_host")]
    return paths[-1] if paths else ()


def _named(described: Description, noun: str) -> Iterator[tuple[int, dict[str, Any]]]:
    yield from enumerate(described[noun])


def _repeated(values: Iterable[tuple[Path_, Any]]) -> Iterator[tuple[Path_, Any, Path_]]:
    """Find values that stand in two places."""
    seen: dict[Any, Path_] = {}
    for path, value in values:
        if value in seen:
            yield path, value, seen[value]
        else:
            seen[value] = path


# --- the environment as a whole


@everywhere
def environment_is_its_directory(described: Description) -> Iterator[Finding]:
    """An environment is chosen by its directory and by nothing else; names of resources are made from this one."""
    name = described["platform"]["environment"]
    if name != described.environment:
        yield Finding(
            ("platform", "environment"),
            f"{name} stands in the directory {described.environment}",
            described.environment,
            "write the directory's name",
        )


@everywhere
def compute_belongs_to_provider(described: Description) -> Iterator[Finding]:
    """A provider runs services only on its own kinds of compute."""
    provider, compute = described["platform"]["provider"], described["platform"]["compute"]
    if compute not in COMPUTE.get(provider, (compute,)):
        yield Finding(
            ("platform", "compute"),
            f"{compute} is not offered by the provider {provider}",
            ", ".join(COMPUTE[provider]),
            "choose one of these, or another provider",
        )


@everywhere
def zones_belong_to_region(described: Description) -> Iterator[Finding]:
    """A zone in another region would spread one network over two regions."""
    region = described["platform"]["region"]
    for index, zone in enumerate(described["platform"]["zones"]):
        if not zone.startswith(region):
            yield Finding(("platform", "zones", index), f"{zone} is not in the region {region}", f"{region}...")


@everywhere
def dr_region_is_another_region(described: Description) -> Iterator[Finding]:
    """The copy that is to survive the loss of a region must not be lost with it."""
    platform = described["platform"]
    if platform.get("dr_region") == platform["region"]:
        yield Finding(("platform", "dr_region"), f"{platform['region']} is the region itself", "another region")


@everywhere
def stand_in_is_elsewhere(described: Description) -> Iterator[Finding]:
    """What takes over from an environment must neither be lost with it nor take its names away from it."""
    platform = described["platform"]
    primary = platform.get("stands_in_for")
    if primary and primary["region"] == platform["region"]:
        place = ("platform", "stands_in_for", "region")
        yield Finding(place, f"{platform['region']} is the region of the stand-in, too", "the region of the primary")
    if primary and primary["environment"] == platform["environment"]:
        place = ("platform", "stands_in_for", "environment")
        yield Finding(place, f"{platform['environment']} stands in for itself", "the primary's directory")


@everywhere
def names_are_unique(described: Description) -> Iterator[Finding]:
    """Two records of one name become one resource, and one of them silently vanishes."""
    lists: list[tuple[str, ...]] = [("services",), ("buckets",), ("alerts",), ("dashboards",), ("tenants",)]
    lists += [
        ("cache", "uses"),
        ("monitoring", "receivers"),
        ("access", "administrators"),
        ("secret_store", "generated"),
    ]
    for path in lists:
        try:
            records: Any = described[path[0]]
        except UnsoundError:
            continue
        for step in path[1:]:
            records = records[step]
        places: list[tuple[Path_, Any]] = [((*path, index, "name"), one["name"]) for index, one in enumerate(records)]
        for place, name, first in _repeated(places):
            number = int(first[-2]) + 1
            yield Finding(
                place, f"the name {name} is taken by record {number} of {'.'.join(path)}", "a name of its own"
            )


@everywhere
def queue_names_are_unique(described: Description) -> Iterator[Finding]:
    """A dead-letter queue is a queue as well: a name that is used twice would deliver dead letters again."""
    places: list[tuple[Path_, Any]] = []
    for index, queue in _named(described, "queues"):
        places.append((("queues", index, "name"), queue["name"]))
        if "dead_letter" in queue:
            places.append((("queues", index, "dead_letter", "name"), queue["dead_letter"]["name"]))
    for place, name, first in _repeated(places):
        yield Finding(place, f"the name {name} is taken by {dotted(first)}", "a name of its own")


# --- services


@everywhere
def service_has_health_path(described: Description) -> Iterator[Finding]:
    """Without a health check a dead container keeps its traffic, and a release cannot be judged."""
    for index, service in _named(described, "services"):
        if service["kind"] in {"web", "worker"} and "health_path" not in service:
            yield Finding(
                ("services", index, "health_path"),
                f"is missing: {service['name']} cannot be health-checked",
                "a path",
                "add `health_path: /healthz`",
            )


@everywhere
def service_has_port(described: Description) -> Iterator[Finding]:
    """Health and metrics are read over HTTP, so whatever runs all day listens somewhere."""
    for index, service in _named(described, "services"):
        if service["kind"] in {"web", "worker"} and "port" not in service:
            yield Finding(
                ("services", index, "port"),
                f"is missing: {service['name']} cannot be reached",
                "a port",
                "add `port: 8000`",
            )


@everywhere
def web_has_ready_path(described: Description) -> Iterator[Finding]:
    """A container that lives but cannot reach its database must get no requests."""
    for index, service in _named(described, "services"):
        if service["kind"] == "web" and "ready_path" not in service:
            yield Finding(
                ("services", index, "ready_path"),
                f"is missing: when can {service['name']} serve?",
                "a path",
                "add `ready_path: /readyz`",
            )


@everywhere
def web_has_hostname(described: Description) -> Iterator[Finding]:
    """The front door sends a request to a service by the name that was asked for."""
    named: list[tuple[Path_, Any]] = []
    for index, service in _named(described, "services"):
        if "hostname" in service:
            named.append((("services", index, "hostname"), service["hostname"]))
        elif service["kind"] == "web":
            yield Finding(
                ("services", index, "hostname"),
                f"is missing: no request would reach {service['name']}",
                "a name",
                "add `hostname: api`",
            )
    for place, name, first in _repeated(named):
        yield Finding(
            place,
            f"{name} is the hostname of {dotted(first[:2], {'services': described['services']})}",
            "a hostname of its own",
        )


@everywhere
def job_has_schedule(described: Description) -> Iterator[Finding]:
    """A job runs by its schedule; what runs all day has none, and would be started twice by it."""
    for index, service in _named(described, "services"):
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


@everywhere
def scaling_goes_up(described: Description) -> Iterator[Finding]:
    """A service that may have fewer containers than it has is scaled down when there is most to do."""
    for index, service in _named(described, "services"):
        replicas = service.get("replicas", 1)
        if service.get("maximum_replicas", replicas) < replicas:
            yield Finding(
                ("services", index, "maximum_replicas"),
                f"{service['maximum_replicas']} is less than the {replicas} replicas",
                f"at least {replicas}",
            )


@everywhere
def service_ports_do_not_collide(described: Description) -> Iterator[Finding]:
    """During a release both colours run on one machine: blue on the port, green 50 above it."""
    taken: dict[int, str] = {}
    for index, service in _named(described, "services"):
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


@everywhere
def firewall_lets_services_through(described: Description) -> Iterator[Finding]:
    """On our own machines a port that the firewall does not open is a service that is never healthy."""
    if described["platform"]["provider"] != "docker":
        return
    rules = [rule for rule in described["firewall"] if rule["group"] == "app"]
    for index, service in _named(described, "services"):
        for port in (service["port"], service["port"] + COLOUR_OFFSET) if "port" in service else ():
            if not any(rule["port"] <= port <= rule.get("to_port", rule["port"]) for rule in rules):
                yield Finding(
                    ("services", index, "port"),
                    f"{port} is closed on the group app",
                    "; ".join(f"{rule['port']} to {rule.get('to_port', rule['port'])}" for rule in rules),
                    "choose a port that is open, or open it in the noun firewall",
                )
                break


@everywhere
def names_fit_the_cloud(described: Description) -> Iterator[Finding]:
    """AWS's names of target groups have at most 32 letters, and a stack that cannot be made stops half way."""
    platform = described["platform"]
    if platform["provider"] != "aws":
        return
    for index, service in _named(described, "services"):
        name = f"{platform['name']}-{platform['environment']}-{service.get('hostname', '')}-green"
        if service["kind"] == "web" and len(name) > LONGEST_NAME:
            yield Finding(
                ("services", index, "hostname"),
                f"{name} has {len(name)} letters",
                f"a hostname of at most {len(service.get('hostname', '')) - len(name) + LONGEST_NAME}",
            )


# --- data


@everywhere
def data_is_not_public(described: Description) -> Iterator[Finding]:
    """Nothing but our own services talks to the database and the cache; a public one is found in minutes."""
    for noun in ("database", "cache"):
        try:
            public = described[noun]["public"]
        except UnsoundError:
            continue
        if public:
            yield Finding((noun, "public"), "true: it could be reached from the internet", "false", "write false")


@everywhere
def public_bucket_is_behind_cdn(described: Description) -> Iterator[Finding]:
    """What is public is read through the content delivery network, which hides the bucket and pays the traffic."""
    for index, bucket in _named(described, "buckets"):
        if bucket["public"] and not bucket.get("cdn", False):
            yield Finding(
                ("buckets", index, "public"),
                "true without a CDN",
                "public with cdn: true, or not public",
                "add `cdn: true`, or write `public: false`",
            )


@everywhere
def standby_exists(described: Description) -> Iterator[Finding]:
    """High availability is a second node that takes over: without one the promise is empty."""
    try:
        database = described["database"]
        if database["high_availability"] and database["read_replicas"] < 1:
            yield Finding(("database", "read_replicas"), "0: there is nothing to fail over to", "at least 1")
    except UnsoundError:
        pass
    cache = described["cache"]
    if cache["high_availability"] and cache["replicas"] < 1:
        yield Finding(("cache", "replicas"), "0: there is nothing to fail over to", "at least 1")


@everywhere
def synchronous_needs_standby(described: Description) -> Iterator[Finding]:
    """A synchronous write waits for a second machine: alone, it would wait for ever."""
    database = described["database"]
    if database["synchronous"] and not database["high_availability"]:
        yield Finding(
            ("database", "synchronous"), "true without high availability", "false, or high_availability: true"
        )


@everywhere
def shards_are_cluster_mode(described: Description) -> Iterator[Finding]:
    """Only Redis Cluster spreads keys over shards; it needs three primaries to agree on the loss of one."""
    cache = described["cache"]
    if cache["cluster_mode"] and cache["shards"] < 3:
        yield Finding(("cache", "shards"), f"{cache['shards']} with cluster_mode", "at least 3")
    if not cache["cluster_mode"] and cache["shards"] > 1:
        yield Finding(("cache", "shards"), f"{cache['shards']} without cluster_mode", "1, or cluster_mode: true")


@everywhere
def cache_prefixes_are_apart(described: Description) -> Iterator[Finding]:
    """A use is confined to its prefix: two uses of one prefix read each other's keys."""
    places: list[tuple[Path_, Any]] = [
        (("cache", "uses", index, "prefix"), use["prefix"]) for index, use in enumerate(described["cache"]["uses"])
    ]
    for place, prefix, first in _repeated(places):
        owner = dotted(first[:3], {"cache": described["cache"]})
        yield Finding(place, f"{prefix} is the prefix of {owner}", "a prefix of its own")


# --- queues


@everywhere
def queue_has_dead_letter(described: Description) -> Iterator[Finding]:
    """A message that can never be delivered comes back for ever, or is lost without a trace."""
    for index, queue in _named(described, "queues"):
        if "dead_letter" not in queue:
            yield Finding(
                ("queues", index, "dead_letter"),
                "is missing: what cannot be delivered has no place to go",
                "a dead-letter queue",
                f"add `dead_letter: {{name: {queue['name']}-dead, ...}}`",
            )


@everywhere
def dead_letters_outlive_messages(described: Description) -> Iterator[Finding]:
    """The age of a message counts from its first day: dead letters kept no longer would vanish before they are read."""
    for index, queue in _named(described, "queues"):
        dead = queue.get("dead_letter", {"retention_days": queue["retention_days"] + 1})
        if dead["retention_days"] <= queue["retention_days"]:
            yield Finding(
                ("queues", index, "dead_letter", "retention_days"),
                f"{dead['retention_days']} is not longer than the queue's own {queue['retention_days']}",
                f"more than {queue['retention_days']}, at most 14",
            )


@everywhere
def backoff_grows(described: Description) -> Iterator[Finding]:
    """The wait doubles from the first attempt on, up to the maximum."""
    for index, queue in _named(described, "queues"):
        first, last = queue["backoff"]["initial_seconds"], queue["backoff"]["maximum_seconds"]
        if last < first:
            yield Finding(
                ("queues", index, "backoff", "maximum_seconds"),
                f"{last} is less than the first, {first}",
                f"at least {first}",
            )


# --- the front door


@everywhere
def drain_outlasts_requests(described: Description) -> Iterator[Finding]:
    """A colour that is stopped before its longest request has ended cuts that request off."""
    drain, request = described["edge"]["drain_timeout_seconds"], described["edge"]["request_timeout_seconds"]
    if drain < request:
        yield Finding(
            ("edge", "drain_timeout_seconds"),
            f"{drain} is less than the request timeout, {request}",
            f"at least {request}",
        )


@everywhere
def burst_covers_rate(described: Description) -> Iterator[Finding]:
    """A burst below the rate would refuse clients that stay within the rate."""
    limit = described["edge"]["rate_limit"]
    if limit["burst"] < limit["requests_per_second"]:
        yield Finding(
            ("edge", "rate_limit", "burst"),
            f"{limit['burst']} is less than the rate of one second",
            f"at least {limit['requests_per_second']}",
        )


# --- releases


@everywhere
def shares_of_a_release_rise(described: Description) -> Iterator[Finding]:
    """A share below the one before would send people back and forth between two versions."""
    shares = described["release"]["shares"]
    if shares != sorted(set(shares)):
        yield Finding(("release", "shares"), f"{shares} does not rise", f"such as {sorted(set(shares))}")


@everywhere
def smoke_tests_ask_web_services(described: Description) -> Iterator[Finding]:
    """Only what is behind the front door can be asked before it gets traffic."""
    web = [service["name"] for service in described["services"] if service["kind"] == "web"]
    for index, test in enumerate(described["release"]["smoke"]):
        if test["service"] not in web:
            yield Finding(
                ("release", "smoke", index, "service"), f"{test['service']} is no web service", ", ".join(web)
            )


@everywhere
def releases_begin_on_hosts_that_there_are(described: Description) -> Iterator[Finding]:
    """ECS and Kubernetes start a colour that has no traffic as a whole; a part of it at a time is for our own hosts."""
    serial, compute = described["release"]["serial"], described["platform"]["compute"]
    if compute != "docker_hosts" and serial != "100%":
        yield Finding(("release", "serial"), f"{serial} where services run on {compute}", "100%")


# --- alerts


@everywhere
def alert_reaches_a_receiver(described: Description) -> Iterator[Finding]:
    """An alert that nobody receives is worse than none: everybody believes that it is watched."""
    receivers = [receiver["name"] for receiver in described["monitoring"]["receivers"]]
    legal = ", ".join(receivers) or "none yet: add one to the noun monitoring"
    for index, alert in _named(described, "alerts"):
        if "receiver" not in alert:
            yield Finding(
                ("alerts", index, "receiver"),
                f"is missing: nobody hears of {alert['name']}",
                legal,
                "add `receiver: ...`",
            )
        elif alert["receiver"] not in receivers:
            meant = nearest(alert["receiver"], receivers)
            fix = f"did you mean `{meant}`?" if meant else "add the receiver to the noun monitoring"
            yield Finding(("alerts", index, "receiver"), f"{alert['receiver']} is not a receiver", legal, fix)


@everywhere
def alert_has_one_threshold(described: Description) -> Iterator[Finding]:
    """Without a threshold an alert never fires; with two, one of them is forgotten."""
    for index, alert in _named(described, "alerts"):
        if ("above" in alert) == ("below" in alert):
            found = "both `above` and `below`" if "above" in alert else "neither `above` nor `below`"
            yield Finding(("alerts", index), f"has {found}", "one of them", "keep or add one")


@everywhere
def receiver_can_be_reached(described: Description) -> Iterator[Finding]:
    """An address of another kind would be accepted, and the alert would arrive nowhere."""
    forms: dict[str, Callable[[str], bool]] = {
        "log": lambda text: text == "journal",
        "email": lambda text: "@" in text and "://" not in text,
        "webhook": lambda text: text.startswith("https://"),
    }
    legal = {"log": "journal", "email": "a mail address", "webhook": "an https address"}
    for index, receiver in enumerate(described["monitoring"]["receivers"]):
        kind, address = receiver["kind"], receiver["address"]
        if kind in forms and not is_template(address) and not forms[kind](address):
            yield Finding(
                ("monitoring", "receivers", index, "address"), f"{address} is no address for {kind}", legal[kind]
            )


# --- backups


@everywhere
def differential_is_between_fulls(described: Description) -> Iterator[Finding]:
    """A differential backup that is no more frequent than the full one saves nothing."""
    full, differential = described["backup"]["full"], described["backup"]["differential"]
    if FREQUENCIES.index(differential) >= FREQUENCIES.index(full):
        yield Finding(
            ("backup", "differential"),
            f"{differential} is not more often than the full backup ({full})",
            ", ".join(FREQUENCIES[: FREQUENCIES.index(full)]),
        )


@everywhere
def drill_begins_by_itself(described: Description) -> Iterator[Finding]:
    """A drill that cannot begin without a person, or not on this provider, would fail whenever its time has come."""
    provider = described["platform"]["provider"]
    legal = unattended(provider)
    for index, drill in enumerate(described["backup"]["drills"]):
        scenario = drill["scenario"]
        if scenario in legal:
            continue
        why = "needs a confirmation by a person" if scenario in CONFIRMED else f"cannot be practised on {provider}"
        yield Finding(
            ("backup", "drills", index, "scenario"),
            f"{scenario} {why}",
            ", ".join(legal) or "none",
            "remove it" + (", and run playbooks/dr_drill.yml by hand" if scenario in CONFIRMED else ""),
        )


@everywhere
def drill_has_one_period(described: Description) -> Iterator[Finding]:
    """A scenario is one timer: of two periods, one is forgotten."""
    drills = enumerate(described["backup"]["drills"])
    places: list[tuple[Path_, Any]] = [(("backup", "drills", index), drill["scenario"]) for index, drill in drills]
    for place, scenario, first in _repeated(places):
        message = f"{scenario} is practised by record {int(first[-1]) + 1} of backup.drills"
        yield Finding((*place, "scenario"), message, "each scenario once", "keep one of them")


# --- the network


def _network(described: Description, key: str = "cidr") -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(described["network"][key])
    except ValueError:
        return None


@everywhere
def regions_are_apart(described: Description) -> Iterator[Finding]:
    """Between two networks that share addresses there is no way: one of the two would never be meant."""
    first, second = _network(described), _network(described, "dr_cidr")
    if first and second and first.overlaps(second):
        yield Finding(("network", "dr_cidr"), f"{second} overlaps network.cidr {first}", "a network apart from it")


def _hosts_outside(described: Description, key: str) -> list[str]:
    """Return the hosts that have an address, and not one that a machine of this network could have."""
    network = _network(described, key)
    outside = []
    for host, text in described.addresses.items():
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError:
            continue
        reserved = (network.network_address, network.broadcast_address) if network else ()
        if network is None or address not in network or address in reserved:
            outside.append(host)
    return outside


@everywhere
def network_is_private(described: Description) -> Iterator[Finding]:
    """Addresses that belong to somebody else on the internet could no longer be reached."""
    network = _network(described)
    cidr = described["network"]["cidr"]
    private = [ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
    legal = "a network within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"
    if is_template(cidr):
        return
    if network is None:
        yield Finding(("network", "cidr"), f"{cidr} is not a network", legal, "the part behind the prefix must be zero")
    elif not any(network.subnet_of(block) for block in private):
        yield Finding(("network", "cidr"), f"{cidr} is not a private network", legal)


@everywhere
def network_is_large_enough(described: Description) -> Iterator[Finding]:
    """A network cannot be enlarged later without rebuilding everything in it."""
    network = _network(described)
    if network is None:
        return
    if described["platform"]["provider"] != "docker":
        # Sixteen subnets of 256: three in each of five zones, and one to spare; AWS allows at most /16.
        needed = 16 * 256
        if network.prefixlen < 16 or network.num_addresses < needed:
            yield Finding(
                ("network", "cidr"),
                f"{network} has {network.num_addresses} addresses",
                f"at least {needed}, which are sixteen subnets of 256, and at most 65536",
            )
        return
    # The first and the last address, and the engine's own.
    usable, wanted = network.num_addresses - 3, len(_hosts_outside(described, "dr_cidr"))
    if usable < wanted:
        yield Finding(
            ("network", "cidr"),
            f"{network} has {usable} addresses for {wanted} hosts",
            f"a network for at least {wanted} hosts",
        )


@everywhere
def hosts_are_in_the_network(described: Description) -> Iterator[Finding]:
    """A host outside the private network cannot reach the others, and two of one address answer for each other."""
    network = _network(described)
    if network is None:
        return
    at_home, abroad = _hosts_outside(described, "dr_cidr"), _network(described, "dr_cidr")
    outside = [host for host in _hosts_outside(described, "cidr") if host in at_home]
    # A network that is too small is one problem, not one for each host.
    usable = network.num_addresses - 3
    if usable >= len(at_home):
        for host in outside:
            message = f"{described.addresses[host]} is not in the network"
            yield Finding(("hosts", host), message, f"an address in {network}" + (f" or {abroad}" if abroad else ""))
    for path, text, first in _repeated(((host,), text) for host, text in described.addresses.items()):
        yield Finding(("hosts", *path), f"{text} is the address of {first[0]}", "an address of its own")


@everywhere
def enough_hosts_to_agree(described: Description) -> Iterator[Finding]:
    """Nodes outvote a lost one only when three or more, an odd number, have a voice."""
    if described["platform"]["provider"] != "docker":
        return
    wanted = {
        "database": described["database"]["high_availability"],
        "sentinel": described["cache"]["high_availability"] and not described["cache"]["cluster_mode"],
    }
    for group, available in wanted.items():
        count = len(described.groups.get(group, {}))
        if available and (count < 3 or count % 2 == 0):
            noun = "database" if group == "database" else "cache"
            yield Finding(
                (noun, "high_availability"),
                f"true with {count} hosts in the group {group}",
                "three hosts, or five",
                f"add hosts to the group {group} in hosts.yml",
            )


@everywhere
def firewall_names_known_groups(described: Description) -> Iterator[Finding]:
    """A rule for a group that does not exist opens nothing, and nobody notices until a service is not reached."""
    groups = sorted(described.groups)
    for index, rule in _named(described, "firewall"):
        origins: Iterable[tuple[Path_, str]] = (
            (("firewall", index, "from", place), origin) for place, origin in enumerate(rule["from"])
        )
        named = itertools.chain([(("firewall", index, "group"), rule["group"])], origins)
        for path, name in named:
            legal = groups if path[-1] == "group" else [*groups, *ORIGINS]
            if name not in legal:
                meant = nearest(name, legal)
                yield Finding(
                    path,
                    f"{name} is not a group of the inventory",
                    ", ".join(legal),
                    f"did you mean `{meant}`?" if meant else "add the group to hosts.yml",
                )


@everywhere
def firewall_ranges_go_up(described: Description) -> Iterator[Finding]:
    """A range that ends below its beginning opens nothing."""
    for index, rule in _named(described, "firewall"):
        if rule.get("to_port", rule["port"]) < rule["port"]:
            yield Finding(
                ("firewall", index, "to_port"),
                f"{rule['to_port']} is less than {rule['port']}",
                f"at least {rule['port']}",
            )


@everywhere
def firewall_closes_data(described: Description) -> Iterator[Finding]:
    """What holds the data of the gyms is reached by our own machines only."""
    for index, rule in _named(described, "firewall"):
        if rule["group"] in DATA_GROUPS and "anywhere" in rule["from"]:
            yield Finding(
                ("firewall", index, "from"),
                f"anywhere may reach port {rule['port']} of {rule['group']}",
                "inventory groups",
                "name the groups that need it",
            )


# --- secrets


@everywhere
def cache_uses_have_secrets(described: Description) -> Iterator[Finding]:
    """Each use of the cache has its own user and password, so that a stolen one opens one prefix only."""
    fixed = schemas()["secrets"]["properties"]["secrets"]["properties"]
    wanted = {f"cache_{use['name']}_password": use["name"] for use in described["cache"]["uses"]}
    missing = [key for key in wanted if key not in described["secrets"]]
    for key in described["secrets"]:
        if key.startswith("cache_") and key not in wanted and key not in fixed:
            meant = nearest(key, missing)
            missing = [other for other in missing if other != meant]
            fix = f"did you mean `{meant}`?" if meant else "remove it, or add the use to the noun cache"
            yield Finding(("secrets", key), "is the password of no use of the cache", ", ".join(wanted), fix)
    for key in missing:
        reference = f"\"{{{{ lookup('gym.platform.secret', 'cache/{wanted[key]}') }}}}\""
        yield Finding(
            ("secrets", key),
            f"is missing: the cache's use {wanted[key]} has no password",
            "a reference",
            f"add `{key}: {reference}`",
        )


@everywhere
def secrets_are_apart(described: Description) -> Iterator[Finding]:
    """One secret for two purposes cannot be replaced for one of them, and opens both when it leaks."""
    places: list[tuple[Path_, Any]] = [(("secrets", key), reference) for key, reference in described["secrets"].items()]
    for place, _reference, first in _repeated(places):
        yield Finding(place, f"refers to the same secret as {first[-1]}", "a secret of its own")


@everywhere
def referenced_secrets_are_made(described: Description) -> Iterator[Finding]:
    """The store makes what is listed in it: a reference to anything else ends a run half way."""
    if described["secret_store"]["provider"] != "file":
        return
    made = {one["name"] for one in described["secret_store"]["generated"]}
    # An authority is one entry that makes two secrets, a key and a certificate.
    made |= {
        f"{one['name']}/{part}"
        for one in described["secret_store"]["generated"]
        if one["kind"] == "certificate_authority"
        for part in ("key", "certificate")
    }
    for key, reference in described["secrets"].items():
        name = reference.split("'")[3] if "gym.platform.secret'" in reference and reference.count("'") >= 4 else None
        if name is not None and name not in made:
            meant = nearest(name, made)
            yield Finding(
                ("secrets", key),
                f"{name} is made by nobody",
                "a name in secret_store.generated",
                f"did you mean `{meant}`?" if meant else "add it to secret_store.generated",
            )


# --- production


@in_production
def production_survives_a_node(described: Description) -> Iterator[Finding]:
    """The loss of one machine must cost seconds, not a restore from backup."""
    for noun in ("database", "cache"):
        try:
            available = described[noun]["high_availability"]
        except UnsoundError:
            continue
        if not available:
            yield Finding((noun, "high_availability"), "false in production", "true", "write true")


@in_production
def production_loses_no_write(described: Description) -> Iterator[Finding]:
    """A check-in that was answered must be on two machines before it is answered."""
    database = described["database"]
    if database["high_availability"] and not database["synchronous"]:
        yield Finding(("database", "synchronous"), "false in production", "true", "write true")


@in_production
def production_survives_a_zone(described: Description) -> Iterator[Finding]:
    """Zones fail as a whole: what is in one zone only fails with it."""
    zones = described["platform"]["zones"]
    if len(zones) < MINIMUM_ZONES:
        yield Finding(
            ("platform", "zones"),
            f"{len(zones)} zones only ({', '.join(zones)}): what is left of two carries twice the load",
            f"at least {MINIMUM_ZONES}, in one region",
            "add a zone (Multi-AZ)",
        )


@in_production
def production_has_a_way_out_in_each_zone(described: Description) -> Iterator[Finding]:
    """A way out that all zones share is lost with the zone that it stands in."""
    if described["network"]["egress"] != "per_zone":
        yield Finding(("network", "egress"), f"{described['network']['egress']} in production", "per_zone")


@in_production
def production_has_a_dr_region(described: Description) -> Iterator[Finding]:
    """Without another region there is no place to rebuild in when the region is lost."""
    if not described["platform"].get("dr_region"):
        yield Finding(("platform", "dr_region"), "is missing", "a region other than region", "add `dr_region: ...`")


@in_production
def production_keeps_backups(described: Description) -> Iterator[Finding]:
    """Damage is often found weeks later, at the end of a billing month: a backup from before it must still exist."""
    days = described["backup"]["retention_days"]
    if days < MINIMUM_RETENTION_DAYS:
        yield Finding(
            ("backup", "retention_days"),
            f"{days} in production",
            f"at least {MINIMUM_RETENTION_DAYS}",
            f"write {MINIMUM_RETENTION_DAYS} or more",
        )


@in_production
def production_restores_any_second(described: Description) -> Iterator[Finding]:
    """A bad release at noon must not cost the check-ins of the morning."""
    if not described["backup"]["point_in_time"]:
        yield Finding(("backup", "point_in_time"), "false in production", "true", "write true")


@in_production
def production_copies_backups(described: Description) -> Iterator[Finding]:
    """A backup in the region that is lost is lost with it."""
    if not described["backup"]["dr_copy"]:
        yield Finding(("backup", "dr_copy"), "false in production", "true", "write true")


@in_production
def production_keeps_replaced_objects(described: Description) -> Iterator[Finding]:
    """Versions are the only backup that a bucket has."""
    for index, bucket in _named(described, "buckets"):
        if not bucket["versioned"]:
            yield Finding(("buckets", index, "versioned"), "false in production", "true", "write true")


@in_production
def production_runs_two_of_each(described: Description) -> Iterator[Finding]:
    """One container is an outage whenever its machine restarts."""
    for index, service in _named(described, "services"):
        if service["kind"] != "job" and service.get("replicas", 1) < 2:
            yield Finding(("services", index, "replicas"), f"{service.get('replicas', 1)} in production", "at least 2")


@in_production
def production_wakes_somebody(described: Description) -> Iterator[Finding]:
    """An alert that is only written to a log is read the next morning."""
    for index, receiver in enumerate(described["monitoring"]["receivers"]):
        if receiver["kind"] == "log":
            yield Finding(("monitoring", "receivers", index, "kind"), "log in production", "email, webhook")


@in_production
def production_has_a_budget(described: Description) -> Iterator[Finding]:
    """A mistake in a cloud is noticed by its bill: by an alert on a budget, or a month later."""
    if described["cost"]["monthly_budget_usd"] <= 0:
        yield Finding(("cost", "monthly_budget_usd"), "0 in production", "more than 0", "write what a month may cost")


@in_production
def production_lets_nothing_in_undecided(described: Description) -> Iterator[Finding]:
    """A version of which nobody knows whether it is good reaches every gym when it is promoted anyway."""
    if described["release"]["judge"]["inconclusive"] == "promote":
        yield Finding(("release", "judge", "inconclusive"), "promote in production", "hold, roll_back")
