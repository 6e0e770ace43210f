"""A small API server of Kubernetes, for tests: no API server can be had from the package registries of this machine.

It is ours, and knows what the driver uses and nothing else: objects with resourceVersion and generation, create,
replace that compares, server-side apply that takes away what its manager no longer applies, labels, deletion with what
is owned, and the status that controllers would write for Deployments, Jobs and routes. It departs from the real one in
this: lists are replaced whole by apply, every field may be forced, objects are not validated (tests/kubernetes does
that with the published schemas), and nodes, probes and schedules do not exist: `behave` says what becomes of a pod.
"""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
KINDS = {
    "namespaces": "Namespace", "configmaps": "ConfigMap", "secrets": "Secret", "services": "Service", "pods": "Pod",
    "serviceaccounts": "ServiceAccount", "deployments": "Deployment", "jobs": "Job", "cronjobs": "CronJob",
    "networkpolicies": "NetworkPolicy", "poddisruptionbudgets": "PodDisruptionBudget", "httproutes": "HTTPRoute",
    "horizontalpodautoscalers": "HorizontalPodAutoscaler",
}  # fmt: skip
# What may not be changed once it is there, by kind.
FROZEN = {"Deployment": ("spec", "selector"), "Job": ("spec", "template")}


@dataclass(frozen=True)
class Fate:
    """What becomes of the container of a pod: it runs, or waits for a reason, or has ended with an exit code."""

    reason: str = ""
    exit_code: int = 0
    said: str = ""
    # How often the pods are looked at before this has come true.
    looks: int = 0
    ready: bool = True


class Refusal(Exception):  # noqa: N818 - it is an answer
    """An answer that is no success."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Api:
    """The cluster. `behave` gets the template of a pod and says what becomes of it."""

    behave: Callable[[Json], Fate] = lambda template: Fate()
    gateways: set[tuple[str, str]] = field(default_factory=lambda: {("gateways", "public")})
    # How often the pods of something that was deleted are looked at before they have gone.
    drain_looks: int = 0
    objects: dict[tuple[str, str], Json] = field(default_factory=dict)
    # By object, what the manager has applied last.
    applied: dict[tuple[str, str], Json] = field(default_factory=dict)
    version: int = 0
    looks: dict[str, int] = field(default_factory=dict)

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, Json | str]:
        """Answer a request with a status and an object, or a text for a log."""
        try:
            return self._answered(method, path, query, json.loads(body) if body else {})
        except Refusal as refusal:
            return refusal.code, {"kind": "Status", "code": refusal.code, "message": str(refusal)}

    def all(self, plural: str) -> list[Json]:
        """List the objects of a kind, by name."""
        return [item for (kind, _), item in sorted(self.objects.items()) if kind == plural]

    def _answered(self, method: str, path: str, query: Mapping[str, str], body: Json) -> tuple[int, Json | str]:
        parts = path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        if parts[0] == "namespaces" and len(parts) > 2:
            if method != "GET" and ("namespaces", parts[1]) not in self.objects:
                raise Refusal(404, f'namespaces "{parts[1]}" not found')
            parts = parts[2:]
        plural, name, inner = (*parts, "", "")[:3]
        if plural not in KINDS:
            raise Refusal(404, "the server could not find the requested resource")
        if inner == "log":
            return 200, self._log(name)
        if method == "GET" and not name:
            return 200, {"kind": f"{KINDS[plural]}List", "metadata": {}, "items": self._listed(plural, query)}
        key = (plural, name or str(body.get("metadata", {}).get("name")))
        found = self.objects.get(key)
        if method == "POST" and found:
            raise Refusal(409, f'{plural} "{key[1]}" already exists')
        if method in ("GET", "PUT", "DELETE") and not found:
            raise Refusal(404, f'{plural} "{name}" not found')
        if method == "DELETE":
            self._delete(key)
            return 200, {"kind": "Status", "status": "Success"}
        if method != "GET":
            self._write(key, self._wanted(method, key, body, query))
        return (201 if method == "POST" else 200), self.objects[key]

    def _listed(self, plural: str, query: Mapping[str, str]) -> list[Json]:
        wanted = dict(pair.split("=", 1) for pair in query.get("labelSelector", "").split(",") if pair)
        if plural == "pods":
            self._look()
        return [item for item in self.all(plural) if wanted.items() <= (item["metadata"].get("labels") or {}).items()]

    # --- writing

    def _wanted(self, method: str, key: tuple[str, str], body: Json, query: Mapping[str, str]) -> Json:
        found = self.objects.get(key)
        if (
            method == "PUT"
            and found
            and body["metadata"].get("resourceVersion") != found["metadata"]["resourceVersion"]
        ):
            raise Refusal(409, "the object has been modified; please apply your changes to the latest version")
        if method != "PATCH":
            return body
        if query.get("force") != "true" or not query.get("fieldManager"):
            raise Refusal(400, "apply needs a fieldManager, and conflicts are not known here: force it")
        before = self.applied.get(key, {})
        self.applied[key] = copy.deepcopy(body)
        return merged(copy.deepcopy(found or {}), before, body)

    def _write(self, key: tuple[str, str], wanted: Json) -> None:
        found = self.objects.get(key)
        kind = KINDS[key[0]]
        if found and kind in FROZEN:
            section, frozen = FROZEN[kind]
            if found[section][frozen] != wanted[section][frozen]:
                raise Refusal(422, f'{kind} "{key[1]}" is invalid: {section}.{frozen}: field is immutable')
        if found and found.get("immutable") and found.get("data") != wanted.get("data"):
            raise Refusal(422, f'{kind} "{key[1]}" is invalid: data: field is immutable when `immutable` is set')
        if found and {**wanted, "metadata": {}, "status": 0} == {**found, "metadata": {}, "status": 0}:
            own = {**wanted["metadata"], "resourceVersion": "", "generation": 0, "uid": ""}
            if own == {**found["metadata"], "resourceVersion": "", "generation": 0, "uid": ""}:
                return
        self.version += 1
        old = found or {"metadata": {"uid": f"uid-{self.version}", "generation": 0}}
        changed = old.get("spec") != wanted.get("spec")
        wanted = {**wanted, "kind": kind}
        wanted["metadata"] = {
            **wanted["metadata"],
            "resourceVersion": str(self.version),
            "uid": old["metadata"]["uid"],
            "generation": old["metadata"]["generation"] + int(changed),
        }
        self.objects[key] = wanted
        self._control(key)

    def _delete(self, key: tuple[str, str]) -> None:
        gone = self.objects.pop(key)
        self.applied.pop(key, None)
        for other, item in list(self.objects.items()):
            if any(owner["uid"] == gone["metadata"]["uid"] for owner in item["metadata"].get("ownerReferences", [])):
                if other[0] == "pods" and self.drain_looks:
                    item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                    self.looks[other[1]] = -self.drain_looks
                else:
                    self._delete(other)

    # --- what controllers do

    def _control(self, key: tuple[str, str]) -> None:
        item = self.objects[key]
        if key[0] == "deployments":
            for name in [pod["metadata"]["name"] for pod in self._pods_of(item)]:
                del self.objects["pods", name]
            mark = zlib.crc32(json.dumps(item["spec"]["template"], sort_keys=True).encode())
            for number in range(item["spec"].get("replicas", 1)):
                self._pod(item, item["spec"]["template"], f"{key[1]}-{mark:08x}-{number}")
        elif key[0] == "jobs" and not self._pods_of(item):
            self._pod(item, item["spec"]["template"], f"{key[1]}-pod")
        self._look()

    def _pod(self, owner: Json, template: Json, name: str) -> None:
        self.looks[name] = -self.behave(template).looks
        of = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
        owners = [{**of, "uid": owner["metadata"]["uid"]}]
        labels = dict(template["metadata"]["labels"])
        metadata = {"name": name, "uid": f"uid-{name}", "labels": labels, "ownerReferences": owners}
        self.objects["pods", name] = {"kind": "Pod", "metadata": metadata, "spec": template["spec"]}

    def _look(self) -> None:
        """Let a little time pass: pods become what they are to be, and the status of all follows."""
        for pod in self.all("pods"):
            name = pod["metadata"]["name"]
            self.looks[name] += 1
            if self.looks[name] > 0 and "deletionTimestamp" in pod["metadata"]:
                del self.objects["pods", name]
                continue
            (container,) = pod["spec"]["containers"]
            of = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}
            status = container_status(self.behave(pod), self.looks[name] > 0)
            pod["status"] = {"containerStatuses": [{**of, **status}]}
        for item in self.all("deployments"):
            pods = self._pods_of(item)
            ready = sum(pod["status"]["containerStatuses"][0]["ready"] for pod in pods)
            counts = {"replicas": len(pods), "updatedReplicas": len(pods), "availableReplicas": ready}
            item["status"] = {"observedGeneration": item["metadata"]["generation"], **counts}
        for item in self.all("jobs"):
            ends = [pod["status"]["containerStatuses"][0]["state"].get("terminated") for pod in self._pods_of(item)]
            how = {0: "Complete"}.get(ends[0]["exitCode"], "Failed") if ends and ends[0] else ""
            item["status"] = {"conditions": [{"type": how, "status": "True"}]} if how else {}
        for item in self.all("httproutes"):
            parents = [(one["namespace"], one["name"]) for one in item["spec"]["parentRefs"]]
            taken = {"status": "True", "observedGeneration": item["metadata"]["generation"]}
            conditions = [{"type": kind, **taken} for kind in ("Accepted", "ResolvedRefs")]
            item["status"] = {"parents": [{"conditions": conditions} for one in parents if one in self.gateways]}

    def _pods_of(self, owner: Json) -> list[Json]:
        uid = owner["metadata"]["uid"]
        return [pod for pod in self.all("pods") if pod["metadata"]["ownerReferences"][0]["uid"] == uid]

    def _log(self, name: str) -> str:
        if ("pods", name) not in self.objects:
            raise Refusal(404, f'pods "{name}" not found')
        return self.behave(self.objects["pods", name]).said

    # --- what a gateway does

    def backend(self, host: str, headers: Mapping[str, str]) -> Iterator[Json]:
        """Go through the ready pods that a request with these headers is sent to; by the weights to the heavier one."""
        for item in self.all("httproutes"):
            if host in item["spec"]["hostnames"] and item["status"]["parents"]:
                rule = next(rule for rule in item["spec"]["rules"] if matches(rule, headers))
                service = max(rule["backendRefs"], key=lambda one: int(one["weight"]))["name"]
                selector = self.objects["services", service]["spec"]["selector"]
                for pod in self.all("pods"):
                    ready = (
                        pod["status"]["containerStatuses"][0]["ready"] and "deletionTimestamp" not in pod["metadata"]
                    )
                    if ready and selector.items() <= pod["metadata"]["labels"].items():
                        yield pod


def container_status(fate: Fate, come: bool) -> Json:
    """Return the status of a container, before or after its fate has come true."""
    ended = {"terminated": {"exitCode": fate.exit_code, "message": fate.said}}
    if not come:
        return {"ready": False, "state": {"waiting": {"reason": "ContainerCreating"}}}
    if fate.reason == "Completed":
        return {"ready": False, "state": ended}
    if fate.reason:
        waiting = {"waiting": {"reason": fate.reason, "message": fate.said}}
        return {"ready": False, "state": waiting, "lastState": ended if fate.exit_code else {}}
    return {"ready": fate.ready, "state": {"running": {}}}


def matches(rule: Json, headers: Mapping[str, str]) -> bool:
    """Tell whether a request is one of a rule."""
    wanted = [{one["name"].lower(): one["value"] for one in match["headers"]} for match in rule.get("matches", [])]
    given = {name.lower(): value for name, value in headers.items()}
    return not wanted or any(one.items() <= given.items() for one in wanted)


def merged(found: Json, before: Json, wanted: Json) -> Json:
    """Return an object with what its manager applies now, and without what it has applied before and no longer does."""
    for key in before.keys() - wanted.keys():
        found.pop(key, None)
    for key, value in wanted.items():
        if isinstance(value, dict) and isinstance(found.get(key), dict):
            earlier = before.get(key)
            found[key] = merged(found[key], earlier if isinstance(earlier, dict) else {}, value)
        else:
            found[key] = copy.deepcopy(value)
    return found
