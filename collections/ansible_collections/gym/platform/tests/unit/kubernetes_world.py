"""A cluster, its gateway and its registry as the scenarios of test_release_drivers.py see them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
from ansible_collections.gym.platform.plugins.module_utils import release_kubernetes
from ansible_collections.gym.platform.plugins.module_utils.release_driver import GREEN, Driver, Store
from ansible_collections.gym.platform.tests.unit.kubernetes_api import Api, Fate

API = {"name": "api", "kind": "web", "command": ["api"], "port": 8000, "hostname": "api", "health_path": "/healthz",
       "ready_path": "/readyz", "replicas": 2, "maximum_replicas": 4, "cpu": 1.0, "memory_mb": 256}  # fmt: skip
WORKER = {"name": "worker", "kind": "worker", "command": ["worker"], "port": 8001, "health_path": "/healthz",
          "replicas": 2, "cpu": 0.5, "memory_mb": 128}  # fmt: skip
JOB = {"name": "report", "kind": "job", "command": ["report"], "schedule": "*-*-* 02:30:00", "cpu": 0.5,
       "memory_mb": 128}  # fmt: skip
OPTIONS: dict[str, Any] = {
    "services": [API, WORKER, JOB],
    "namespace": "gym",
    "domain": "gym.test",
    "repository": "registry.test/api",
    "registry_username": "",
    "registry_password": "",
    "environment": {"REGION": "local"},
    "secret_values": {"secrets.Application": "planted", "secrets.Migration": "planted too"},
    "secrets": {"PASSWORD": "secrets.Application"},
    "one_off_secrets": {"migrate": {"PASSWORD": "secrets.Migration"}},
    "gateway": {"name": "public", "namespace": "gateways"},
    "ingress": ["10.0.0.0/16"],
    "egress": [{"cidr": "10.0.0.0/16", "ports": [5432, 6379]}],
    "context": "",
    "ready_timeout_seconds": 1,
    "drain_timeout_seconds": 1,
    "stop_timeout_seconds": 1,
    "one_off_timeout_seconds": 1,
}
CLUSTER = "https://cluster.test"


def kubeconfig(server: str) -> str:
    """Write a kubeconfig and return its path. Each client would read the machine's authorities anew, for 80 ms."""
    cluster = {"server": server, "insecure-skip-tls-verify": True}
    context = {"cluster": "here", "user": "person"}
    content = {
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": cluster}],
        "contexts": [{"name": "here", "context": context}],
        "users": [{"name": "person", "user": {"token": "planted"}}],
    }
    path = Path(tempfile.mkdtemp()) / "kubeconfig"
    path.write_text(json.dumps(content))
    return str(path)


def variables(pod: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables of a pod or a template that it names itself."""
    (container,) = pod["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


class KubernetesWorld(httpx2.BaseTransport):
    """Everything that the driver asks, in place of the network."""

    slow = True
    kubeconfig = kubeconfig(CLUSTER)

    def __init__(self) -> None:
        self.missing: set[str] = {"nowhere"}
        self.broken: set[str] = {"broken"}
        self.lying: set[str] = {"liar"}
        self.failing: set[str] = set()
        self.done: set[str] = set()
        self.stuck = False
        self.shifts: list[int] = []
        self.before_change: Callable[[], None] = lambda: None
        self.api = Api(self._fate)

    def connect(self) -> tuple[Driver, Store]:
        options = {**OPTIONS, "kubeconfig": self.kubeconfig}
        return release_kubernetes.connect(options, transport=self)

    def shares(self) -> set[int]:
        found = set()
        for item in self.api.all("httproutes"):
            weights = {one["name"]: one["weight"] for one in item["spec"]["rules"][-1]["backendRefs"]}
            assert sum(weights.values()) == 100
            found.add(weights[f"api-{GREEN}"])
        return found

    def versions(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for pod in self.api.all("pods"):
            colour = variables(pod).get("RELEASE_COLOUR")
            if colour:
                found.setdefault(colour, set()).add(variables(pod)["RELEASE_VERSION"])
        return found

    def workers(self) -> set[str]:
        pods = [pod for pod in self.api.all("pods") if pod["spec"]["containers"][0]["name"] == WORKER["name"]]
        return {variables(pod)["RELEASE_VERSION"] for pod in pods}

    def job_version(self) -> str:
        jobs = [item["spec"]["jobTemplate"]["spec"]["template"] for item in self.api.all("cronjobs")]
        return variables(jobs[0])["RELEASE_VERSION"] if jobs else ""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        host, path = request.url.host, request.url.path
        if host == "registry.test":
            version = path.rpartition("/")[2].removeprefix("sha256:")
            if version in self.missing:
                return httpx2.Response(404)
            return httpx2.Response(200, headers={"Docker-Content-Digest": f"sha256:{version}"})
        if host == "api.gym.test":
            pods = list(self.api.backend(host, request.headers))
            if not pods:
                return httpx2.Response(503, text="no pod is ready")
            version = variables(pods[0])["RELEASE_VERSION"]
            return httpx2.Response(200, json={"version": "another" if version in self.lying else version})
        if request.method != "GET":
            self.before_change()
            if self.stuck and "httproutes" in path:
                return httpx2.Response(503, json={"code": 503, "message": "no endpoints available"})
        status, answer = self.api.answer(request.method, path, request.url.params, request.content)
        shares = self.shares()
        if shares and shares != set(self.shifts[-1:]):
            self.shifts.append(*shares)
        return httpx2.Response(status, text=answer) if isinstance(answer, str) else httpx2.Response(status, json=answer)

    def _fate(self, pod: Mapping[str, Any]) -> Fate:
        (container,) = pod["spec"]["containers"]
        version, name = variables(pod)["RELEASE_VERSION"], container["name"]
        if name in ("migrate", "assets", "command"):
            command = " ".join([name, *container["args"][1:]])
            bad, said = command in self.failing, json.dumps({"changed": command not in self.done})
            return Fate("Completed", int(bad), "relation exists" if bad else said)
        return Fate("CrashLoopBackOff", 1, "no module named x") if version in self.broken else Fate()
