"""What one instance of a service is on Kubernetes, what it reads, and how a release of it is told from others. Pure.

What a container of the platform may do is decided in `pod`, as closed as on a Docker host.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.release_driver import Release
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
    Probe,
    ResourceRequirements,
    SeccompProfile,
    SecretEnvSource,
    SecurityContext,
    SleepAction,
    TopologySpreadConstraint,
    Volume,
    VolumeMount,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Secret

# Labels, by which objects are found again, and annotations, for what is no legal label.
NAME, COLOUR, PART = "app.kubernetes.io/name", "gym.platform/colour", "app.kubernetes.io/component"
MANAGED = {"app.kubernetes.io/managed-by": "gym-platform-release"}
SETTINGS = {**MANAGED, PART: "settings"}
VERSION, DIGEST, CONFIGURATION = "gym.platform/version", "gym.platform/digest", "gym.platform/configuration"
# What runs once has no rights of a service.
ONE_OFF = "one-off"
PROBE_SECONDS, PROBE_TIMEOUT_SECONDS, PROBE_FAILURES = 5, 10, 3

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
    one_off_timeout_seconds: int

    def of(self, *kinds: str) -> list[Record]:
        """Return the services of these kinds."""
        return [service for service in self.services if service["kind"] in kinds]


def settings(target: Target) -> tuple[ConfigMap, Secret]:
    """Return what all services read: under names by content, so that no release changes what another one reads."""
    environment, secrets = dict(target.environment), dict(target.secrets)
    names = f"environment-{fingerprint(environment)}", f"secrets-{fingerprint(secrets)}"
    return (
        ConfigMap(metadata=metadata(names[0], SETTINGS), data=environment, immutable=True),
        Secret(metadata=metadata(names[1], SETTINGS), data=encoded(secrets), immutable=True),
    )


def encoded(secrets: Mapping[str, str]) -> dict[str, str]:
    """Return secrets as the API takes them."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in secrets.items()}


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


def configuration(target: Target, version: str, digest: str) -> str:
    """Return the fingerprint of a release: of all its pods, wherever and however many they are."""
    release = Release(version, digest, "")
    pods = [pod(target, service, release).to_dict() for service in target.services]
    schedules = [service.get("schedule", "") for service in target.services]
    return fingerprint([pods, schedules])


def released(item: Object) -> Release:
    """Return the release that an object is of."""
    notes = item.metadata.annotations or {}
    return Release(notes.get(VERSION, ""), notes.get(DIGEST, ""), notes.get(CONFIGURATION, ""))


def metadata(name: str, labels: Mapping[str, str] | None = None, release: Release | None = None) -> ObjectMeta:
    """Return the name of an object, what it is found by, and the release that it is of."""
    described = ObjectMeta(name=name, labels={**MANAGED, **(labels or {})})
    if release:
        described.annotations = {
            VERSION: release.version,
            DIGEST: release.digest,
            CONFIGURATION: release.configuration,
        }
    return described


def fingerprint(value: Any) -> str:
    """Return a short word that is another one for another value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
