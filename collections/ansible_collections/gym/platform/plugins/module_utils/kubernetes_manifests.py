"""The objects of a release on Kubernetes, from the nouns of the environment. Pure: no cluster, no clock, no network.

The models are the client's own, so that a wrong field is a wrong type. What is in them is in `kubernetes_pod`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.kubernetes_pod import (
    COLOUR,
    MANAGED,
    NAME,
    ONE_OFF,
    PART,
    Object,
    Record,
    Target,
    encoded,
    metadata,
    pod,
)
from ansible_collections.gym.platform.plugins.module_utils.release_driver import COLOURS, GREEN, DriverError, Release
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.apps_v1 import DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment
from lightkube.models.autoscaling_v2 import (
    CrossVersionObjectReference,
    HorizontalPodAutoscalerSpec,
    MetricSpec,
    MetricTarget,
    ResourceMetricSource,
)
from lightkube.models.batch_v1 import CronJobSpec, JobSpec, JobTemplateSpec
from lightkube.models.core_v1 import (
    PodTemplateSpec,
    ServicePort,
    ServiceSpec,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta, OwnerReference
from lightkube.models.networking_v1 import (
    IPBlock,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
)
from lightkube.models.policy_v1 import PodDisruptionBudgetSpec
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.batch_v1 import CronJob, Job
from lightkube.resources.core_v1 import Namespace, Secret, Service, ServiceAccount
from lightkube.resources.networking_v1 import NetworkPolicy
from lightkube.resources.policy_v1 import PodDisruptionBudget

HTTPRoute = create_namespaced_resource("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")

REPLICAS = "gym.platform/replicas"
COLOUR_HEADER = "X-Release-Colour"
# The share of a pod's processor above which there are more pods, as on the other kinds of compute.
BUSY_PERCENT = 60
# A pod that runs once is kept so long when nobody is left to remove it.
KEPT_SECONDS = 3600
DNS_PORT = 53
CALENDAR = re.compile(
    r"(?:(?P<day>Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?"
    r"\*-(?P<month>\*|\d\d)-(?P<date>\*|\d\d) (?P<hour>\*|\d\d):(?P<minute>\*|\d\d):00"
)

# --- what is there before any release, and belongs to no colour


def foundation(target: Target) -> list[Object]:
    """Return the namespace, who pods are, what they may reach, and the name under which each colour is reached."""
    accounts = [*(service["name"] for service in target.services), ONE_OFF]
    return [
        namespace(target),
        *(ServiceAccount(metadata=metadata(name), automountServiceAccountToken=False) for name in accounts),
        NetworkPolicy(
            metadata=metadata("nothing"),
            spec=NetworkPolicySpec(podSelector=LabelSelector(), policyTypes=["Ingress", "Egress"]),
        ),
        _egress(target),
        *(_ingress(target, service) for service in target.of("web")),
        *(_service(service, colour) for service in target.of("web") for colour in COLOURS),
    ]


def namespace(target: Target) -> Namespace:
    """Return the namespace; the cluster itself refuses pods in it that are more open than ours."""
    labels = {**MANAGED, "pod-security.kubernetes.io/enforce": "restricted"}
    return Namespace(metadata=ObjectMeta(name=target.namespace, labels=labels))


def _egress(target: Target) -> NetworkPolicy:
    names = NetworkPolicyEgressRule(
        ports=[NetworkPolicyPort(port=DNS_PORT, protocol=protocol) for protocol in ("UDP", "TCP")]
    )
    reached = [
        NetworkPolicyEgressRule(
            to=[NetworkPolicyPeer(ipBlock=IPBlock(cidr=rule["cidr"]))],
            ports=[NetworkPolicyPort(port=port, protocol="TCP") for port in rule["ports"]],
        )
        for rule in target.egress
    ]
    spec = NetworkPolicySpec(
        podSelector=LabelSelector(matchLabels=MANAGED), policyTypes=["Egress"], egress=[names, *reached]
    )
    return NetworkPolicy(metadata=metadata("egress"), spec=spec)


def _ingress(target: Target, service: Record) -> NetworkPolicy:
    rule = NetworkPolicyIngressRule(
        from_=[NetworkPolicyPeer(ipBlock=IPBlock(cidr=cidr)) for cidr in target.ingress],
        ports=[NetworkPolicyPort(port=service["port"], protocol="TCP")],
    )
    spec = NetworkPolicySpec(
        podSelector=LabelSelector(matchLabels={NAME: service["name"]}), policyTypes=["Ingress"], ingress=[rule]
    )
    return NetworkPolicy(metadata=metadata(service["name"]), spec=spec)


def _service(service: Record, colour: str) -> Service:
    name = f"{service['name']}-{colour}"
    spec = ServiceSpec(
        selector={NAME: service["name"], COLOUR: colour},
        ports=[ServicePort(name="http", port=service["port"], targetPort="http")],
    )
    return Service(metadata=metadata(name, {NAME: service["name"], COLOUR: colour}), spec=spec)


def route(target: Target, service: Record, share: int) -> Object:
    """Return where requests of a web service go: by its header to a colour, all others by the weights."""

    def backend(colour: str, weight: int = 1) -> dict[str, Any]:
        return {"name": f"{service['name']}-{colour}", "port": service["port"], "weight": weight}

    shares = {colour: share if colour == GREEN else 100 - share for colour in COLOURS}
    to_one = [
        {
            "matches": [{"headers": [{"name": COLOUR_HEADER, "value": colour}]}],
            "backendRefs": [backend(colour)],
        }
        for colour in COLOURS
    ]
    to_both = {"backendRefs": [backend(colour, shares[colour]) for colour in COLOURS]}
    return HTTPRoute.from_dict(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": service["name"], "labels": {**MANAGED, NAME: service["name"]}},
            "spec": {
                "parentRefs": [dict(target.gateway)],
                "hostnames": [f"{service['hostname']}.{target.domain}"],
                "rules": [*to_one, to_both],
            },
        }
    )


def share_of(found: Object) -> int:
    """Return the per cent of requests that a route sends to green."""
    weights = {one["name"]: one["weight"] for one in found.spec["rules"][-1]["backendRefs"]}
    return next(int(weight) for name, weight in weights.items() if name.endswith(f"-{GREEN}"))


# --- one colour


def workload(target: Target, service: Record, colour: str, release: Release, replicas: int) -> Deployment:
    """Return what runs a service in a colour."""
    labels = {NAME: service["name"], COLOUR: colour}
    spec = DeploymentSpec(
        replicas=replicas,
        revisionHistoryLimit=1,
        progressDeadlineSeconds=target.ready_timeout_seconds,
        # What is repaired in place never has fewer pods than it shall have.
        strategy=DeploymentStrategy(
            type="RollingUpdate", rollingUpdate=RollingUpdateDeployment(maxSurge=1, maxUnavailable=0)
        ),
        selector=LabelSelector(matchLabels=labels),
        template=PodTemplateSpec(
            metadata=ObjectMeta(labels={**MANAGED, **labels}), spec=pod(target, service, release, colour)
        ),
    )
    described = metadata(f"{service['name']}-{colour}", labels, release)
    described.annotations = {**(described.annotations or {}), REPLICAS: scale(service)}
    return Deployment(metadata=described, spec=spec)


def scale(service: Record) -> str:
    """Say between which numbers a service's instances are."""
    return f"{service['replicas']}-{service.get('maximum_replicas', service['replicas'])}"


def scaler(service: Record, colour: str, least: int) -> HorizontalPodAutoscaler | None:
    """Return what gives a service more instances while it is busy, None for one that always has as many."""
    if "maximum_replicas" not in service:
        return None
    name = f"{service['name']}-{colour}"
    busy = MetricTarget(type="Utilization", averageUtilization=BUSY_PERCENT)
    spec = HorizontalPodAutoscalerSpec(
        scaleTargetRef=CrossVersionObjectReference(apiVersion="apps/v1", kind="Deployment", name=name),
        minReplicas=least,
        maxReplicas=service["maximum_replicas"],
        metrics=[MetricSpec(type="Resource", resource=ResourceMetricSource(name="cpu", target=busy))],
    )
    return HorizontalPodAutoscaler(metadata=metadata(name, {NAME: service["name"], COLOUR: colour}), spec=spec)


def budget(service: Record, colour: str) -> PodDisruptionBudget:
    """Return that nodes are emptied of one instance after the other."""
    labels = {NAME: service["name"], COLOUR: colour}
    spec = PodDisruptionBudgetSpec(
        maxUnavailable=1, unhealthyPodEvictionPolicy="AlwaysAllow", selector=LabelSelector(matchLabels=labels)
    )
    return PodDisruptionBudget(metadata=metadata(f"{service['name']}-{colour}", labels), spec=spec)


# --- what has no colour


def timer(target: Target, service: Record, release: Release) -> CronJob:
    """Return what starts a job at its times, never beside one that still runs."""
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels={**MANAGED, NAME: service["name"]}), spec=pod(target, service, release)
    )
    spec = CronJobSpec(
        schedule=cron(service["schedule"]),
        timeZone="Etc/UTC",
        concurrencyPolicy="Forbid",
        startingDeadlineSeconds=KEPT_SECONDS,
        successfulJobsHistoryLimit=1,
        failedJobsHistoryLimit=1,
        jobTemplate=JobTemplateSpec(spec=JobSpec(backoffLimit=0, template=template)),
    )
    return CronJob(metadata=metadata(service["name"], {NAME: service["name"]}, release), spec=spec)


def cron(calendar: str) -> str:
    """Return a systemd calendar expression as one of cron. Raises DriverError for one that cron cannot say."""
    found = CALENDAR.fullmatch(calendar)
    if not found:
        raise DriverError(f"'{calendar}' cannot be said to cron: write [Mon ]*-*-* HH:MM:00, with numbers or stars")
    parts = [found[part].lstrip("0") or "0" for part in ("minute", "hour", "date", "month")]
    return " ".join([*parts, found["day"] or "*"])


def one_off(target: Target, name: str, command: Sequence[str], release: Release) -> Job:
    """Return what runs a command to its end, once."""
    service = {"name": name, "kind": "job", "command": command, "cpu": 1.0, "memory_mb": 256}
    labels = {NAME: name, PART: ONE_OFF}
    spec = JobSpec(
        backoffLimit=0,
        activeDeadlineSeconds=target.one_off_timeout_seconds,
        ttlSecondsAfterFinished=KEPT_SECONDS,
        # It gets its own secrets, under its own name, and none of the services'.
        template=PodTemplateSpec(
            metadata=ObjectMeta(labels={**MANAGED, **labels}), spec=pod(target, service, release, secrets=name)
        ),
    )
    return Job(metadata=metadata(name, labels, release), spec=spec)


def one_off_secrets(target: Target, job: Object) -> Secret:
    """Return the secrets of a command, which go when its job goes."""
    name = job.metadata.name
    described = metadata(name, {NAME: name, PART: ONE_OFF})
    described.ownerReferences = [
        OwnerReference(apiVersion="batch/v1", kind="Job", name=name, uid=job.metadata.uid or "")
    ]
    return Secret(metadata=described, data=encoded(target.one_off_secrets.get(name, {})))
