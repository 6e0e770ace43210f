"""Why something on Kubernetes is not as it shall be, in words: from what the cluster tells of it. Pure."""

from __future__ import annotations

from typing import Any

# What does not mend itself by waiting, or not in the time of a release.
FATAL = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CrashLoopBackOff", "CreateContainerError")
SHOWN_CHARACTERS = 600

# Objects of the client, see kubernetes_cluster.
Object = Any


def rollout(deployment: Object) -> str:
    """Return what a Deployment still lacks, nothing when all its pods are new and ready."""
    wanted, status = deployment.spec.replicas, deployment.status
    if status is None or (status.observedGeneration or 0) < deployment.metadata.generation:
        return "has not been looked at by the cluster yet"
    updated, available = status.updatedReplicas or 0, status.availableReplicas or 0
    if updated < wanted or available < wanted or (status.replicas or 0) > updated:
        return f"has {min(updated, available)} of {wanted} pods ready"
    return ""


def fatal(pod: Object) -> str:
    """Return why a pod will not come up, with its last lines where it wrote any; nothing while it still may."""
    for status in _containers(pod):
        waiting = status.state and status.state.waiting
        if waiting and waiting.reason in FATAL:
            ended = _ended(status)
            if ended:
                return f"{pod.metadata.name} ended with exit code {ended.exitCode} again and again{_lines(ended)}"
            return f"{pod.metadata.name}: {waiting.reason}, {(waiting.message or '')[:SHOWN_CHARACTERS]}"
    return ""


def slow(pod: Object) -> str:
    """Return what a pod waits for, nothing when it is ready."""
    name = pod.metadata.name
    for condition in (pod.status and pod.status.conditions) or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{name} has no node: {condition.message or condition.reason}"
    for status in _containers(pod):
        waiting = status.state and status.state.waiting
        if waiting:
            return f"{name}: {waiting.reason}{f', {waiting.message}' if waiting.message else ''}"
        if not status.ready:
            ended = _ended(status)
            if ended:
                return f"{name} ended with exit code {ended.exitCode}{_lines(ended)}"
            return f"{name} runs, and its readiness probe fails"
    return ""


def ended(job: Object) -> str:
    """Return how a Job ended: `Complete`, `Failed`, or nothing while it runs."""
    conditions = (job.status and job.status.conditions) or []
    return next((one.type for one in conditions if one.status == "True" and one.type in ("Complete", "Failed")), "")


def failure(job: Object, pods: list[Object]) -> str:
    """Return why a Job failed."""
    for pod in pods:
        for status in _containers(pod):
            if (found := _ended(status)) and found.exitCode:
                return f"ended with exit code {found.exitCode}{_lines(found)}"
    return next((one.message or one.reason for one in job.status.conditions if one.type == "Failed"), "failed")


def untaken(route: Object) -> str:
    """Return why a route is not in force, nothing when each of its gateways has taken it as it is now."""
    parents = ((getattr(route, "status", None)) or {}).get("parents") or []
    if not parents:
        return "no gateway has taken it: is there a Gateway of that name, and a controller for it?"
    for parent in parents:
        conditions = {condition["type"]: condition for condition in parent["conditions"]}
        for kind in ("Accepted", "ResolvedRefs"):
            condition = conditions.get(kind, {"status": "Unknown"})
            if condition.get("observedGeneration", 0) < route.metadata.generation:
                return "the gateway has not taken its last change yet"
            if condition["status"] != "True":
                return f"the gateway does not take it: {condition.get('message') or condition.get('reason') or kind}"
    return ""


def _containers(pod: Object) -> list[Object]:
    """Return how the containers of a pod are; one that is being deleted does not count any more."""
    return [] if pod.metadata.deletionTimestamp else list((pod.status and pod.status.containerStatuses) or [])


def _ended(status: Object) -> Object:
    return (status.state and status.state.terminated) or (status.lastState and status.lastState.terminated)


def _lines(ended: Object) -> str:
    text = (ended.message or "").strip()[-SHOWN_CHARACTERS:]
    return f". Its last lines:\n{text}" if text else ""
