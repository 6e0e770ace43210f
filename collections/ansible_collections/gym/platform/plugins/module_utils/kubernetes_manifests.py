"""The objects of a release on Kubernetes, from the nouns of the environment. Pure: no cluster, no clock, no network.

The models are the client's own, so that a wrong field is a wrong type. What a container of the platform may do is
decided in `pod`, as closed as on a Docker host.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    Capabilities,
    ConfigMapEnvSource,
    Container,
    ContainerPort,
    EmptyDirVolumeSource,
    EnvFromSource,
    EnvVar,
    HTTPGetAction,
    Lifecycle,
    LifecycleHandler,
    PodSecurityContext,
    PodSpec,
    PodTemplateSpec,
    Probe,
    ResourceRequirements,
    SeccompProfile,
    SecretEnvSource,
    SecurityContext,
    ServicePort,
    ServiceSpec,
    SleepAction,
    TopologySpreadConstraint,
    Volume,
    VolumeMount,
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
from lightkube.resources.core_v1 import ConfigMap, Namespace, Secret, Service, ServiceAccount
from lightkube.resources.networking_v1 import NetworkPolicy
from lightkube.resources.policy_v1 import PodDisruptionBudget

HTTPRoute = create_namespaced_resource("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")

# Labels, by which objects are found again, and annotations, for what is no legal label.
NAME, COLOUR, PART = "app.kubernetes.io/name", "gym.platform/colour", "app.kubernetes.io/component"
MANAGED = {"app.kubernetes.io/managed-by": "gym-platform-release"}
SETTINGS = {**MANAGED, PART: "settings"}
VERSION, DIGEST, CONFIGURATION = "gym.platform/version", "gym.platform/digest", "gym.platform/configuration"
REPLICAS = "gym.platform/replicas"
COLOUR_HEADER = "X-Release-Colour"
# What runs once has no rights of a service.
ONE_OFF = "one-off"
# The share of a pod's processor above which there are more pods, as on the other kinds of compute.
BUSY_PERCENT = 60
PROBE_SECONDS, PROBE_TIMEOUT_SECONDS, PROBE_FAILURES = 5, 10, 3
# A pod that runs once is kept so long when nobody is left to remove it.
KEPT_SECONDS = 3600
DNS_PORT = 53
CALENDAR = re.compile(
    r"(?:(?P<day>Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?"
    r"\*-(?P<month>\*|\d\d)-(?P<date>\*|\d\d) (?P<hour>\*|\d\d):(?P<minute>\*|\d\d):00"
)

Record = Mapping[str, Any]
# An object of any kind, see kubernetes_cluster.
Object = Any


@dataclass(frozen=True)
class Target:
    """The options of the role release_kubernetes that say what shall run."""

    services: Sequence[Record]
    namespace: str
    domain: str
    repository: str
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    # By the name of a one-off: what it gets instead of the services' secrets.
    one_off_secrets: Mapping[str, Mapping[str, str]]
    # `name` and `namespace` of the Gateway that web services are reached through.
    gateway: Mapping[str, str]
    # Networks that requests and their health checks come from, and `{cidr, ports}` that pods may reach.
    ingress: Sequence[str]
    egress: Sequence[Record]
    ready_timeout_seconds: int
    drain_timeout_seconds: int
    stop_timeout_seconds: int
    run_timeout_seconds: int

    def of(self, *kinds: str) -> list[Record]:
        """Return the services of these kinds."""
        return [service for service in self.services if service["kind"] in kinds]


# --- what is there before any release, and belongs to no colour


def foundation(target: Target) -> list[Object]:
    """Return the namespace, who pods are, what they may reach, and the name under which each colour is reached."""
    accounts = [*(service["name"] for service in target.services), ONE_OFF]
    return [
        namespace(target),
        *(ServiceAccount(metadata=_metadata(name), automountServiceAccountToken=False) for name in accounts),
        NetworkPolicy(
            metadata=_metadata("nothing"),
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
    return NetworkPolicy(metadata=_metadata("egress"), spec=spec)


def _ingress(target: Target, service: Record) -> NetworkPolicy:
    rule = NetworkPolicyIngressRule(
        from_=[NetworkPolicyPeer(ipBlock=IPBlock(cidr=cidr)) for cidr in target.ingress],
        ports=[NetworkPolicyPort(port=service["port"], protocol="TCP")],
    )
    spec = NetworkPolicySpec(
        podSelector=LabelSelector(matchLabels={NAME: service["name"]}), policyTypes=["Ingress"], ingress=[rule]
    )
    return NetworkPolicy(metadata=_metadata(service["name"]), spec=spec)


def _service(service: Record, colour: str) -> Service:
    name = f"{service['name']}-{colour}"
    spec = ServiceSpec(
        selector={NAME: service["name"], COLOUR: colour},
        ports=[ServicePort(name="http", port=service["port"], targetPort="http")],
    )
    return Service(metadata=_metadata(name, {NAME: service["name"], COLOUR: colour}), spec=spec)


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


def settings(target: Target) -> tuple[ConfigMap, Secret]:
    """Return what all services read: under names by content, so that no release changes what another one reads."""
    environment, secrets = dict(target.environment), dict(target.secrets)
    return (
        ConfigMap(metadata=_metadata(f"environment-{_hash(environment)}", SETTINGS), data=environment, immutable=True),
        Secret(metadata=_metadata(f"secrets-{_hash(secrets)}", SETTINGS), data=_encoded(secrets), immutable=True),
    )


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
    metadata = _metadata(f"{service['name']}-{colour}", labels, release)
    metadata.annotations = {**(metadata.annotations or {}), REPLICAS: scale(service)}
    return Deployment(metadata=metadata, spec=spec)


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
    return HorizontalPodAutoscaler(metadata=_metadata(name, {NAME: service["name"], COLOUR: colour}), spec=spec)


def budget(service: Record, colour: str) -> PodDisruptionBudget:
    """Return that nodes are emptied of one instance after the other."""
    labels = {NAME: service["name"], COLOUR: colour}
    spec = PodDisruptionBudgetSpec(
        maxUnavailable=1, unhealthyPodEvictionPolicy="AlwaysAllow", selector=LabelSelector(matchLabels=labels)
    )
    return PodDisruptionBudget(metadata=_metadata(f"{service['name']}-{colour}", labels), spec=spec)


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
    return CronJob(metadata=_metadata(service["name"], {NAME: service["name"]}, release), spec=spec)


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
        activeDeadlineSeconds=target.run_timeout_seconds,
        ttlSecondsAfterFinished=KEPT_SECONDS,
        # It gets its own secrets, under its own name, and none of the services'.
        template=PodTemplateSpec(
            metadata=ObjectMeta(labels={**MANAGED, **labels}), spec=pod(target, service, release, secrets=name)
        ),
    )
    return Job(metadata=_metadata(name, labels, release), spec=spec)


def one_off_secrets(target: Target, job: Job) -> Secret:
    """Return the secrets of a command, which go when its job goes."""
    name, uid = job.metadata.name or "", job.metadata.uid or ""  # type: ignore[union-attr]
    metadata = _metadata(name, {NAME: name, PART: ONE_OFF})
    metadata.ownerReferences = [OwnerReference(apiVersion="batch/v1", kind="Job", name=name, uid=uid)]
    return Secret(metadata=metadata, data=_encoded(target.one_off_secrets.get(name, {})))


def _encoded(secrets: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in secrets.items()}


# --- the pod


def pod(target: Target, service: Record, release: Release, colour: str = "", secrets: str = "") -> PodSpec:
    """Return what one instance is: closed, except for what the service needs."""
    environment_name, secrets_name = (str(item.metadata.name) for item in settings(target) if item.metadata)
    name, port = service["name"], service.get("port")
    account = name if any(name == known["name"] for known in target.services) else ONE_OFF
    size = {"cpu": f"{round(service['cpu'] * 1000)}m", "memory": f"{service['memory_mb']}Mi"}
    environment = {"RELEASE_VERSION": release.version}
    if colour:
        environment["RELEASE_COLOUR"] = colour
    if port:
        environment["PORT"] = str(port)
    container = Container(
        name=name,
        image=f"{target.repository}@{release.digest}",
        args=list(service["command"]),
        env=[EnvVar(name=key, value=value) for key, value in sorted(environment.items())],
        envFrom=[
            EnvFromSource(configMapRef=ConfigMapEnvSource(name=environment_name)),
            EnvFromSource(secretRef=SecretEnvSource(name=secrets or secrets_name)),
        ],
        # Equal, so that a pod is the last to go when a node is short, and never slower than it was measured.
        resources=ResourceRequirements(requests=dict(size), limits=dict(size)),
        securityContext=SecurityContext(
            allowPrivilegeEscalation=False,
            readOnlyRootFilesystem=True,
            capabilities=Capabilities(drop=["ALL"]),
        ),
        volumeMounts=[VolumeMount(name="tmp", mountPath="/tmp")],  # noqa: S108 - a path inside the container
        # The last lines of one that failed are in its status, so that they are seen when it has gone.
        terminationMessagePolicy="FallbackToLogsOnError",
    )
    if port:
        container.ports = [ContainerPort(name="http", containerPort=port)]
        health = service.get("health_path", "/")
        container.startupProbe = _probe(health, target.ready_timeout_seconds // PROBE_SECONDS + 1)
        container.livenessProbe = _probe(health, PROBE_FAILURES)
        container.readinessProbe = _probe(service.get("ready_path", health), PROBE_FAILURES)
    drain = target.drain_timeout_seconds if service["kind"] == "web" else 0
    if drain:
        # Balancers hear of the end of a pod later than the pod: until then it goes on answering.
        container.lifecycle = Lifecycle(preStop=LifecycleHandler(sleep=SleepAction(seconds=drain)))
    return PodSpec(
        serviceAccountName=account,
        automountServiceAccountToken=False,
        enableServiceLinks=False,
        restartPolicy="Always" if colour else "Never",
        terminationGracePeriodSeconds=drain + target.stop_timeout_seconds,
        securityContext=PodSecurityContext(runAsNonRoot=True, seccompProfile=SeccompProfile(type="RuntimeDefault")),
        topologySpreadConstraints=[
            TopologySpreadConstraint(
                maxSkew=1,
                topologyKey=key,
                whenUnsatisfiable="ScheduleAnyway",
                labelSelector=LabelSelector(matchLabels={NAME: name, COLOUR: colour}),
            )
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ]
        if colour
        else None,
        containers=[container],
        volumes=[Volume(name="tmp", emptyDir=EmptyDirVolumeSource(medium="Memory", sizeLimit="64Mi"))],
    )


def _probe(path: str, failures: int) -> Probe:
    return Probe(
        httpGet=HTTPGetAction(path=path, port="http"),
        periodSeconds=PROBE_SECONDS,
        timeoutSeconds=PROBE_TIMEOUT_SECONDS,
        failureThreshold=failures,
    )


# --- names and fingerprints


def configuration(target: Target, version: str, digest: str) -> str:
    """Return the fingerprint of a release: of all its pods, wherever and however many they are."""
    release = Release(version, digest, "")
    pods = [pod(target, service, release).to_dict() for service in target.services]
    schedules = [service.get("schedule", "") for service in target.services]
    return _hash([pods, schedules])


def released(item: Object) -> Release:
    """Return the release that an object is of."""
    notes = item.metadata.annotations or {}
    return Release(notes.get(VERSION, ""), notes.get(DIGEST, ""), notes.get(CONFIGURATION, ""))


def _metadata(name: str, labels: Mapping[str, str] | None = None, release: Release | None = None) -> ObjectMeta:
    metadata = ObjectMeta(name=name, labels={**MANAGED, **(labels or {})})
    if release:
        metadata.annotations = {
            VERSION: release.version,
            DIGEST: release.digest,
            CONFIGURATION: release.configuration,
        }
    return metadata


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
