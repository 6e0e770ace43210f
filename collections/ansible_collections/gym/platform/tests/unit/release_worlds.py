"""Targets in memory, as the scenarios of test_release_drivers.py see them: what a person would see from outside.

A world of another target is one class like `DockerWorld`, added to WORLDS.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ansible_collections.gym.platform.plugins.module_utils import release_docker
from ansible_collections.gym.platform.plugins.module_utils.release_docker import Call
from ansible_collections.gym.platform.plugins.module_utils.release_driver import Driver, Store
from ansible_collections.gym.platform.plugins.module_utils.release_placement import plan_containers
from ansible_collections.gym.platform.tests.unit.kubernetes_world import KubernetesWorld
from release_ecs_world import EcsWorld

API: dict[str, Any] = {
    "name": "api",
    "kind": "web",
    "command": ["api"],
    "port": 8000,
    "hostname": "api",
    "health_path": "/healthz",
    "ready_path": "/readyz",
    "replicas": 2,
    "cpu": 1.0,
    "memory_mb": 256,
}
WORKER: dict[str, Any] = {
    "name": "worker",
    "kind": "worker",
    "command": ["worker"],
    "port": 8001,
    "health_path": "/healthz",
    "replicas": 2,
    "cpu": 0.5,
    "memory_mb": 128,
}
JOB: dict[str, Any] = {
    "name": "report",
    "kind": "job",
    "command": ["report"],
    "schedule": "*-*-* 02:30:00",
    "cpu": 0.5,
    "memory_mb": 128,
}
SERVICES = [API, WORKER, JOB]
HOSTS = {"app-1": "10.0.0.1", "app-2": "10.0.0.2"}


class Killed(BaseException):
    """The controller was killed."""


class World(Protocol):
    """A target, and what can go wrong with it."""

    # Whether it takes a second to release to.
    slow: bool
    # Versions that the registry does not have, that do not start, that answer with another version.
    missing: set[str]
    broken: set[str]
    lying: set[str]
    # Names of one-offs that fail: `migrate expand`, `migrate contract`.
    failing: set[str]
    # Names of one-offs that find nothing left to do, and say so.
    done: set[str]
    # Whether the front door refuses a new share.
    stuck: bool
    # The front door's shares of green, in the order in which they were set.
    shifts: list[int]
    # Called before each change of the target; raises Killed for a controller that is killed there.
    before_change: Callable[[], None]

    def connect(self) -> tuple[Driver, Store]:
        """Return the driver and the store of a new run."""

    def shares(self) -> set[int]:
        """Return the per cents of requests that go to green, one for each part of the front door that differs."""

    def versions(self) -> dict[str, set[str]]:
        """Return the versions of what stands, by colour, whether or not it runs; colours with nothing are left out."""

    def workers(self) -> set[str]:
        """Return the versions of the workers that run."""

    def job_version(self) -> str:
        """Return the version of the scheduled job, empty before the first release."""


class DockerWorld:
    """Hosts and a front door, whose modules work on dictionaries."""

    slow = False

    def __init__(self, serial: str = "100%") -> None:
        self.missing: set[str] = {"nowhere"}
        self.broken: set[str] = {"broken"}
        self.lying: set[str] = {"liar"}
        self.failing: set[str] = set()
        self.done: set[str] = set()
        self.stuck = False
        self.shifts: list[int] = []
        self.before_change: Callable[[], None] = lambda: None
        self.serial = serial
        self.settings = {"REGION": "local"}
        self.services: Sequence[Mapping[str, Any]] = SERVICES
        self.containers: dict[str, dict[str, dict[str, Any]]] = {host: {} for host in HOSTS}
        self.maps: dict[str, dict[str, str]] = {"edge-1": {"api": "0"}, "edge-2": {"api": "0"}}
        self.files: dict[str, tuple[str, str]] = {}

    def connect(self) -> tuple[Driver, Store]:
        options = {
            "services": self.services,
            "hosts": HOSTS,
            "edges": list(self.maps),
            "domain": "gym.test",
            "repository": "registry:5000/api",
            "environment": self.settings,
            "secrets": {"PASSWORD": "planted"},
            "one_off_secrets": {"migrate": {"URL": "planted"}},
            "registry_username": "",
            "registry_password": "",
            "extra_hosts": [],
            "mounts": [],
            "assets_directory": "/srv/assets",
            "health_command": ["check", "http://127.0.0.1:{port}{path}"],
            "serial": self.serial,
            "ready_timeout_seconds": 1,
            "drain_timeout_seconds": 1,
            "stop_timeout_seconds": 1,
        }
        return release_docker.connect(options, self.call)

    def shares(self) -> set[int]:
        return {int(entries["api"]) for entries in self.maps.values()}

    def versions(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for items in self.containers.values():
            for item in items.values():
                if item["colour"]:
                    found.setdefault(item["colour"], set()).add(item["version"])
        return found

    def workers(self) -> set[str]:
        return {
            item["version"]
            for items in self.containers.values()
            for item in items.values()
            if item["kind"] == "worker" and item["running"]
        }

    def job_version(self) -> str:
        job = self.containers["app-1"].get("report")
        return str(job["version"]) if job else ""

    def call(self, calls: Sequence[Call]) -> list[Mapping[str, Any]]:
        return [getattr(self, f"_{call.module}")(call.host, dict(call.arguments)) for call in calls]

    def _docker_services(self, host: str, options: dict[str, Any]) -> dict[str, Any]:
        here = self.containers[host]
        reference = options.get("resolve", "")
        version = reference.rpartition(":")[2]
        if reference and version in self.missing:
            return {"failed": True, "problem": f"the registry does not give image {reference}"}
        if any(options.get(key) for key in ("run", "present", "colours")):
            self.before_change()
        output = {}
        for record in options.get("run", []):
            name = " ".join([record["name"], *record["command"][1:]])
            if name in self.failing:
                return {"failed": True, "problem": f"{name} ended with exit code 1"}
            output[record["name"]] = json.dumps({"changed": name not in self.done})
        plan = plan_containers(list(here.values()), options.get("present", []), options.get("colours", []))
        for record in plan.create:
            kept = ("name", "service", "kind", "colour", "version", "digest", "configuration", "release")
            bad = record["version"] in self.broken
            state = {"running": record["kind"] != "job" and not bad, "health": "healthy"}
            here[record["name"]] = {**{key: record[key] for key in kept}, **state}
            if bad:
                return {"failed": True, "problem": f"{record['name']} stopped with exit code 1"}
        for name in plan.remove:
            del here[name]
        return {"containers": list(here.values()), "digest": f"sha256:{version}", "output": output}

    def _haproxy_map(self, host: str, options: dict[str, Any]) -> dict[str, Any]:
        entries = options.get("entries", {})
        if entries:
            self.before_change()
            if self.stuck:
                return {"unreachable": True}
            self.maps[host] |= entries
            if host == "edge-1":
                self.shifts.append(int(entries["api"]))
        return {"entries": self.maps[host]}

    def _haproxy_servers(self, host: str, options: dict[str, Any]) -> dict[str, Any]:
        return {"servers": []}

    def _preview_requests(self, host: str, options: dict[str, Any]) -> dict[str, Any]:
        there = [
            item
            for items in self.containers.values()
            for item in items.values()
            if item["colour"] == options["colour"] and item["service"] == "api" and item["running"]
        ]
        if not there:
            return {"failed": True, "problem": "no server answers"}
        version = "another" if there[0]["version"] in self.lying else there[0]["version"]
        answer = {"status": 200, "body": json.dumps({"version": version})}
        return {"answers": [answer for _ in options["requests"]]}

    def _marked_file(self, host: str, options: dict[str, Any]) -> dict[str, Any]:
        content, mark = self.files.get(host, ("", ""))
        if "content" not in options:
            return {"content": content, "mark": mark}
        self.before_change()
        if mark != options["mark"]:
            return {"written": False, "mark": mark}
        self.files[host] = (options["content"], str(int(mark or "0") + 1))
        return {"written": True, "mark": self.files[host][1]}


WORLDS: dict[str, Callable[[], World]] = {
    "docker": DockerWorld,
    "docker_one_by_one": lambda: DockerWorld(serial="1"),
    "ecs": EcsWorld,
    "kubernetes": KubernetesWorld,
}
