"""Run the hosts of an environment as systemd containers on this machine."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: local_hosts
short_description: Run the hosts of an environment as systemd containers on this machine
description:
  - Makes exactly the described hosts run, each on the private network that its address lies in, reachable over SSH with
    a generated key.
  - Networks reach each other by rules of this machine's packet filter, which are made and removed with them.
  - A missing host is made, a stopped one is started, one that was left half-built or is described differently is made
    anew, one that lost its network gets it back, and one that is no longer described is removed.
  - A new image alone changes no host, because the data of a host is worth more than its image.
  - Host keys are read through the engine, so C(known_hosts) is right without trusting the first connection.
options:
  state:
    description: Whether the hosts run, or whether nothing of the environment is left.
    type: str
    choices: [present, absent]
    default: present
  environment:
    description: Name of the environment; all that is made carries it as a label.
    type: str
    required: true
  addresses:
    description: Address of every host by its name.
    type: dict
    default: {}
  networks:
    description: The networks; several environments may share one.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the network., type: str, required: true}
      subnet: {description: Its address range., type: str, required: true}
  prefix:
    description: What the name of a container has in front of that of its host.
    type: str
    default: gym-
  published:
    description: Ports of hosts that also answer on 127.0.0.1.
    type: list
    elements: dict
    default: []
    suboptions:
      host: {description: Name of the host., type: str, required: true}
      port: {description: Port of the host., type: int, required: true}
      at: {description: Port of 127.0.0.1., type: int, required: true}
  engines:
    description: Hosts that run a Docker engine of their own.
    type: list
    elements: str
    default: []
  image:
    description: The image that new hosts start from.
    type: str
    default: ""
  ssh_directory:
    description: Where the key and C(known_hosts) are kept.
    type: path
    required: true
  timeout:
    description: Seconds until a started host has to answer over SSH.
    type: int
    default: 60
extends_documentation_fragment: [gym.platform.engine]
author: [Gym Platform]
attributes:
  check_mode: {support: full, description: Returns the steps without taking them.}
  diff_mode: {support: full, description: Shows the state of every host before and after.}
"""

EXAMPLES = r"""
- name: Run two hosts
  gym.platform.local_hosts:
    environment: example
    addresses: {edge-1: 10.203.0.11, app-1: 10.203.0.21}
    networks: [{name: gym-local, subnet: 10.203.0.0/24}]
    published: [{host: edge-1, port: 443, at: 8443}]
    engines: [app-1]
    image: gym-host:baked-0123456789ab
    ssh_directory: .state/example/ssh
"""

RETURN = r"""
steps:
  description: What was done, or would be, with verb, name and reason.
  type: list
  elements: dict
  returned: always
image_needed:
  description: Whether a host has to be made, for which an image is needed.
  type: bool
  returned: always
seconds:
  description: How long it took until all hosts answered.
  type: float
  returned: always
"""

import concurrent.futures
import io
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.atomic_file import write_if_different
from ansible_collections.gym.platform.plugins.module_utils.local_engine import ENGINE, Engine, EngineError
from ansible_collections.gym.platform.plugins.module_utils.local_login import authorized_key, banner, ensure_key
from ansible_collections.gym.platform.plugins.module_utils.local_network import PacketFilter, read_routes
from ansible_collections.gym.platform.plugins.module_utils.local_plan import (
    LABEL_KEY,
    LABEL_NETWORK,
    LABEL_SPEC,
    Container,
    Current,
    Desired,
    Host,
    Network,
    Place,
    PlanError,
    Port,
    Step,
    endpoint,
    fingerprint,
    key_mark,
    payload,
    plan,
    plan_absence,
    remade_for_key,
    sentence,
)

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
LOGIN_READY = ["systemctl", "start", "systemd-user-sessions.service", "ssh.service"]
# How Docker 20.10 refuses to remove a network that it takes for one that is in use.
MISCOUNTED = "has active endpoints"
# Making all hosts at once is bounded by the processors and not by the number of threads.
WORKERS = 16


class Hosts:
    """The hosts of one environment on one engine."""

    def __init__(self, engine: Engine, desired: Desired, ssh: Path, image: str, timeout: int) -> None:
        """Remember what to work with; nothing is touched yet."""
        self._engine = engine
        self._desired = desired
        self._ssh = ssh
        self._image = image
        self._timeout = timeout
        self._by_container = {desired.container(host): host for host in desired.hosts}
        self._filter = PacketFilter()
        # Networks that the engine would not let go.
        self.kept: list[str] = []

    def current(self) -> Current:
        """Read what the engine has."""
        containers = []
        for record in self._engine.call("GET", "/containers/json", {"all": 1}):
            networks = (record.get("NetworkSettings") or {}).get("Networks") or {}
            settings = [item for item in networks.values() if item]
            configured = [(item.get("IPAMConfig") or {}).get("IPv4Address") for item in settings]
            containers.append(
                Container(
                    name=record["Names"][0].lstrip("/"),
                    state=record["State"],
                    labels=record.get("Labels") or {},
                    networks=tuple(item.get("NetworkID", "") for item in settings),
                    addresses=tuple(address for address in configured if address),
                )
            )
        networks_found = []
        for record in self._engine.call("GET", "/networks"):
            ranges = ((record.get("IPAM") or {}).get("Config")) or []
            networks_found.append(
                Network(
                    identifier=record["Id"],
                    name=record["Name"],
                    subnets=tuple(item["Subnet"] for item in ranges if item.get("Subnet")),
                    labels=record.get("Labels") or {},
                )
            )
        volumes = self._engine.call("GET", "/volumes").get("Volumes") or []
        return Current(
            containers=tuple(containers),
            networks=tuple(networks_found),
            volumes=tuple((item["Name"], item.get("Labels") or {}) for item in volumes),
            routes=read_routes(),
            rules=self._filter.rules() if len(self._desired.networks) > 1 else (),
        )

    def take(self, steps: list[Step]) -> None:
        """Take the steps: the network first and last, the hosts side by side in between."""
        places = {place.name: place for place in self._desired.networks}
        for step in steps:
            if step.verb == "create_network":
                self._create_network(places[step.name])
            elif step.verb == "open_way" and step.rule:
                self._filter.add(step.rule)
            elif step.verb == "close_way" and step.rule:
                self._filter.remove(step.rule)
        by_name: dict[str, list[Step]] = {}
        for step in steps:
            if step.verb in ("remove", "create", "attach", "start", "unpause"):
                by_name.setdefault(step.name, []).append(step)
        self._side_by_side(self._change, by_name.items())
        self._side_by_side(self._remove_volume, ((step.name,) for step in steps if step.verb == "remove_volume"))
        for step in steps:
            if step.verb == "remove_network":
                self._remove_network(step.name)

    def wait(self, fresh: set[str]) -> list[str]:
        """Wait until all hosts take logins, and return their lines for known_hosts."""
        return self._side_by_side(self._ready, ((name, name in fresh) for name in self._by_container))

    def _side_by_side(self, act: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Call a function for all arguments at once; the first complaint is raised after all have ended."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=WORKERS) as pool:
            futures = [pool.submit(act, *items) for items in arguments]
            return [future.result() for future in futures]

    def _change(self, name: str, steps: list[Step]) -> None:
        acts = {"remove": self._remove, "create": self._create, "attach": self._attach, "start": self._start}
        try:
            for step in steps:
                if step.verb == "unpause":
                    self._engine.call("POST", f"/containers/{quote(name)}/unpause")
                else:
                    acts[step.verb](name)
        except EngineError as error:
            raise EngineError(sentence(str(error), name)) from error

    def _remove_network(self, name: str) -> None:
        """Remove a network, unless the engine takes hosts for being on it that are gone.

        It miscounts them now and then when hosts have lost their power, and counts anew when it starts.
        """
        path = f"/networks/{quote(name)}"
        try:
            self._engine.call("DELETE", path, accept=(404,))
        except EngineError as error:
            if MISCOUNTED not in str(error) or self._engine.call("GET", path)["Containers"]:
                raise
            self.kept.append(name)

    def _create_network(self, place: Place) -> None:
        body = {
            "Name": place.name,
            "CheckDuplicate": True,
            "Driver": "bridge",
            "IPAM": {"Config": [{"Subnet": place.subnet}]},
            "Labels": {LABEL_NETWORK: "local"},
            "Options": {"com.docker.network.bridge.name": place.interface},
        }
        self._engine.call("POST", "/networks/create", body=body)

    def _create(self, name: str) -> None:
        host = self._by_container[name]
        if host.engine:
            # What is left of a host that is no more: its services would start again, with the secrets of then.
            self._remove_volume(self._desired.volume(host))
        body = payload(self._desired, host, self._image)
        key = (self._ssh / "id_ed25519.pub").read_bytes()
        body["Labels"] |= {LABEL_SPEC: fingerprint(self._desired, host), LABEL_KEY: key_mark(key)}
        self._engine.call("POST", "/containers/create", {"name": name}, body)
        # Before its first start: a container that never ran is half-built, so an interruption here is repaired.
        self._engine.call("PUT", f"/containers/{quote(name)}/archive", {"path": "/"}, authorized_key(key))
        self._start(name)

    def _start(self, name: str) -> None:
        self._engine.call("POST", f"/containers/{quote(name)}/start", accept=(304,))

    def _remove(self, name: str) -> None:
        self._engine.call("DELETE", f"/containers/{quote(name)}", {"force": 1, "v": 1}, accept=(404,))

    def _remove_volume(self, name: str) -> None:
        self._engine.call("DELETE", f"/volumes/{quote(name)}", accept=(404,))

    def _attach(self, name: str) -> None:
        """Give a host its place on the network back, whatever became of the network that it was on."""
        network = quote(self._desired.network(self._by_container[name]).name)
        body: dict[str, Any] = {"Container": name, "Force": True}
        try:
            self._engine.call("POST", f"/networks/{network}/disconnect", body=body)
        except EngineError as error:
            # It was not connected at all.
            if error.status not in (403, 404, 500):
                raise
        body = {"Container": name, "EndpointConfig": endpoint(self._by_container[name])}
        self._engine.call("POST", f"/networks/{network}/connect", body=body)

    def _ready(self, name: str, fresh: bool, last_try: bool = False) -> str:
        """Wait until a host takes logins; a fresh one must also have started without a failed unit."""
        end = time.monotonic() + self._timeout
        host = self._by_container[name]
        if fresh or not banner(host.address):
            self._until(end, name, lambda: self._engine.run(name, LOGIN_READY)[0] == 0)
        self._until(end, name, lambda: banner(host.address))
        if fresh:
            failed = self._failed_units(name)
            if failed:
                # It has no data yet, and making it again costs a second. Left as it is, it would never be complete.
                self._remove(name)
                if last_try:
                    raise EngineError(f"{name} was made twice, and each time did not start completely: {failed}.")
                self._create(name)
                return self._ready(name, fresh, last_try=True)
        archive = self._engine.call("GET", f"/containers/{quote(name)}/archive", {"path": HOST_KEY})
        with tarfile.open(fileobj=io.BytesIO(archive)) as content:
            member = content.extractfile(Path(HOST_KEY).name)
            kind, key = (member.read() if member else b"").decode().split()[:2]
        return f"{host.address} {kind} {key}"

    def _failed_units(self, name: str) -> str:
        """Wait for the end of the boot and name the units that failed with their last words, or nothing."""
        code, state = self._engine.run(name, ["systemctl", "is-system-running", "--wait"])
        if code == 0:
            return ""
        _, listing = self._engine.run(name, ["systemctl", "--failed", "--plain", "--no-legend"])
        failed = []
        for unit in (line.split()[0] for line in listing.splitlines() if line.split()):
            _, journal = self._engine.run(name, ["journalctl", "--boot", "--lines=3", "--output=cat", "--unit", unit])
            failed.append(f"{unit} ({' / '.join(journal.splitlines())})")
        return ", ".join(failed) or f"it is {state.strip()}"

    def _until(self, end: float, name: str, condition: Callable[[], bool]) -> None:
        while True:
            try:
                if condition():
                    return
            except EngineError as error:
                # 409: the container is between a stop and a start.
                if error.status not in (409, 500):
                    raise
            if time.monotonic() > end:
                raise EngineError(
                    f"{name} did not take logins within {self._timeout} s: see `docker logs {name}` and "
                    f"`docker exec {name} journalctl -b`."
                )
            time.sleep(0.1)


def desired_from(options: dict[str, Any]) -> Desired:
    """Read the module's options."""
    known = set(options["addresses"])
    for name in [record["host"] for record in options["published"]] + options["engines"]:
        if name not in known:
            raise PlanError(f"{name} is no host of this environment: its hosts are {', '.join(sorted(known))}.")
    return Desired(
        environment=options["environment"],
        networks=tuple(Place(item["name"], item["subnet"]) for item in options["networks"]),
        prefix=options["prefix"],
        hosts=tuple(
            Host(
                name=name,
                address=str(address or ""),
                ports=tuple(Port(item["port"], item["at"]) for item in options["published"] if item["host"] == name),
                engine=name in options["engines"],
            )
            for name, address in options["addresses"].items()
        ),
    )


def picture(current: Current, environment: str) -> str:
    """List the hosts and their states, for a diff."""
    ours = [item for item in current.containers if item.labels.get("gym.platform") == environment]
    return "".join(f"{item.name}: {item.state}\n" for item in sorted(ours, key=lambda item: item.name))


def sketch(before: str, steps: list[Step]) -> str:
    """List the hosts and their states as they are after the steps."""
    states = dict(line.split(": ", 1) for line in before.splitlines())
    for step in steps:
        if step.verb == "remove":
            states.pop(step.name, None)
        elif step.verb in ("create", "start", "unpause"):
            states[step.name] = "running"
    return "".join(f"{name}: {state}\n" for name, state in sorted(states.items()))


def present(hosts: Hosts, desired: Desired, options: dict[str, Any], check: bool) -> tuple[list[Step], bool, str]:
    """Have all hosts run; return the steps, whether anything changed, and the picture before."""
    ssh = Path(options["ssh_directory"])
    key = ssh / "id_ed25519"
    key_missing = not key.is_file()
    before = hosts.current()
    drawn = picture(before, desired.environment)
    public_key = b"" if key_missing else key.with_suffix(".pub").read_bytes()
    steps = remade_for_key(plan(before, desired), before, desired, public_key)
    if check:
        return steps, bool(steps) or key_missing, drawn
    if any(step.verb == "create" for step in steps) and not options["image"]:
        raise PlanError("A host has to be made, and no image is given to make it from.")
    changed = ensure_key(ssh, f"ansible@{desired.environment}")
    hosts.take(steps)
    lines = hosts.wait({step.name for step in steps if step.verb == "create"})
    changed |= write_if_different(ssh / "known_hosts", "".join(f"{line}\n" for line in lines))
    return steps, bool(steps) or changed, drawn


def absent(hosts: Hosts, desired: Desired, check: bool) -> tuple[list[Step], bool, str]:
    """Have nothing left; return the steps, whether anything changed, and the picture before."""
    before = hosts.current()
    steps = plan_absence(before, desired)
    if not check:
        hosts.take(steps)
    return steps, bool(steps), picture(before, desired.environment)


def main() -> None:
    """Run the module."""
    published = {
        "host": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
        "at": {"type": "int", "required": True},
    }
    network = {"name": {"type": "str", "required": True}, "subnet": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "environment": {"type": "str", "required": True},
            "addresses": {"type": "dict", "default": {}},
            "networks": {"type": "list", "elements": "dict", "required": True, "options": network},
            "prefix": {"type": "str", "default": "gym-"},
            "published": {"type": "list", "elements": "dict", "default": [], "options": published},
            "engines": {"type": "list", "elements": "str", "default": []},
            "image": {"type": "str", "default": ""},
            "ssh_directory": {"type": "path", "required": True, "no_log": False},
            **ENGINE,
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    options = module.params
    started = time.monotonic()
    try:
        desired = desired_from(options)
        engine = Engine(options["socket"])
        hosts = Hosts(engine, desired, Path(options["ssh_directory"]), options["image"], options["timeout"])
        if options["state"] == "present":
            steps, changed, before = present(hosts, desired, options, module.check_mode)
        else:
            steps, changed, before = absent(hosts, desired, module.check_mode)
    except (EngineError, PlanError) as error:
        module.fail_json(msg=str(error))
    except subprocess.CalledProcessError as error:
        module.fail_json(msg=f"The SSH key could not be made: {' '.join(str(error.stderr).split())}")
    except OSError as error:
        module.fail_json(msg=f"{options['ssh_directory']} cannot be used: {error}")
    for name in hosts.kept:
        module.warn(
            f"The network {name} stays, because the Docker engine miscounts what is on it. It does no harm, and goes "
            "by the same command once the engine has been started anew."
        )
    module.exit_json(
        changed=changed,
        steps=[{"verb": step.verb, "name": step.name, "why": step.why} for step in steps],
        image_needed=any(step.verb == "create" for step in steps),
        seconds=round(time.monotonic() - started, 1),
        diff={"before": before, "after": sketch(before, steps)},
    )


if __name__ == "__main__":
    main()
