"""The driver for Kubernetes: a Deployment for each service and colour, traffic by the weights of the Gateway API.

It works on EKS and on GKE alike. `docs/releases-kubernetes.md` says what the cluster has to bring.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx2
from ansible_collections.gym.platform.plugins.module_utils import kubernetes_manifests as manifests
from ansible_collections.gym.platform.plugins.module_utils import kubernetes_readiness as readiness
from ansible_collections.gym.platform.plugins.module_utils.kubernetes_cluster import Cluster, Object
from ansible_collections.gym.platform.plugins.module_utils.kubernetes_manifests import COLOUR_HEADER, HTTPRoute
from ansible_collections.gym.platform.plugins.module_utils.kubernetes_pod import (
    COLOUR,
    MANAGED,
    NAME,
    ONE_OFF,
    PART,
    SETTINGS,
    Target,
    configuration,
    released,
    settings,
)
from ansible_collections.gym.platform.plugins.module_utils.release_driver import (
    COLOURS,
    Answer,
    Colour,
    DriverError,
    Observation,
    Release,
    Request,
    Standing,
    other,
)
from ansible_collections.gym.platform.plugins.module_utils.release_image import image_digest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.batch_v1 import CronJob, Job
from lightkube.resources.core_v1 import ConfigMap, Pod, Secret
from lightkube.resources.policy_v1 import PodDisruptionBudget

DOCUMENT = "releases"
# The options that say where the cluster is and who we are, and not what shall run.
CONNECTION = ("kubeconfig", "context", "registry_username", "registry_password")
# What a colour consists of. What is seen of a colour goes last, so that an interrupted end is ended by the next run.
OF_A_COLOUR = (HorizontalPodAutoscaler, PodDisruptionBudget, Deployment)
POLL_SECONDS = 0.5
REQUEST_SECONDS = 15
LOG_LINES = 20
# What a gateway answers while it does not know a route or its pods yet.
NOT_YET = (404, 502, 503, 504)


class KubernetesDriver:
    """Does what release_driver.Driver says."""

    def __init__(self, target: Target, cluster: Cluster, web: httpx2.Client, login: tuple[str, str]) -> None:
        """Remember all; nothing is asked yet. `web` asks the registry and the gateway."""
        self._target, self._cluster, self._client, self._login = target, cluster, web, login
        self._web, self._running = target.of("web"), target.of("web", "worker")
        # Once a run is enough for what is the same in all of its steps.
        self._founded = False

    @property
    def longest_seconds(self) -> float:
        """A start waits for pods and then for their route, a stop for open requests, a one-off for its end."""
        target = self._target
        ends = target.stop_timeout_seconds + target.ready_timeout_seconds
        return max(
            2 * target.ready_timeout_seconds, target.drain_timeout_seconds + ends, ends + target.one_off_timeout_seconds
        )

    def resolve(self, version: str, digest: str = "") -> Release:
        """Ask the registry what the version stands for."""
        found = image_digest(self._client, self._target.repository, digest or version, self._login)
        return Release(version, found, configuration(self._target, version, found))

    def observe(self, wanted: Release | None) -> Observation:
        """Look at the Deployments, the routes and the jobs."""
        workloads = self._cluster.find(Deployment, MANAGED)
        routes = self._shares()
        shares = {routes.get(service["name"], 0) for service in self._web}
        return Observation(
            colours={
                colour: self._colour([item for item in workloads if item.metadata.labels[COLOUR] == colour], wanted)
                for colour in COLOURS
            },
            share=shares.pop() if len(shares) == 1 else None,
            jobs=self._jobs(wanted),
        )

    def start(self, colour: str, release: Release) -> None:
        """Apply all that the colour needs and wait until its pods are ready and the gateway knows them."""
        target, shares = self._target, self._shares()
        sizes = {service["name"]: self._size(service, colour) for service in self._running}
        wanted: list[Object] = [
            item
            for service in self._running
            for item in (
                manifests.workload(target, service, colour, release, sizes[service["name"]]),
                manifests.budget(service, colour),
                manifests.scaler(service, colour, sizes[service["name"]]),
            )
            if item
        ]
        # A web service that is new gets the share that the others have.
        share = next(iter(shares.values()), 0)
        routes = [manifests.route(target, service, shares.get(service["name"], share)) for service in self._web]
        self._found()
        self._cluster.apply(*wanted, *routes)
        names = {(item.kind, item.metadata.name) for item in wanted}
        for kind in OF_A_COLOUR:
            for item in self._cluster.find(kind, {**MANAGED, COLOUR: colour}):
                if (kind.__name__, item.metadata.name) not in names:
                    self._cluster.delete(kind, item.metadata.name)
        self._until(lambda: self._not_ready(colour), target.ready_timeout_seconds)
        self._until(self._not_routed, target.ready_timeout_seconds)

    def shift(self, share: int) -> None:
        """Write the weights into the route of each web service and wait until the gateway has taken them."""
        self._cluster.apply(*(manifests.route(self._target, service, share) for service in self._web))
        self._until(self._not_routed, self._target.ready_timeout_seconds)

    def stop(self, colour: str, stays: Release | None) -> None:
        """Delete the colour, wait until its pods have finished what they hold, and renew the jobs."""
        self._let_shrink(other(colour))
        for kind in OF_A_COLOUR:
            for item in self._cluster.find(kind, {**MANAGED, COLOUR: colour}):
                self._cluster.delete(kind, item.metadata.name)
        grace = self._target.drain_timeout_seconds + self._target.stop_timeout_seconds
        # A node may be slow to say that a pod has ended.
        self._until(lambda: self._not_gone({**MANAGED, COLOUR: colour}), grace + self._target.ready_timeout_seconds)
        if stays:
            self._renew_jobs(stays)
        self._sweep()

    def address(self, colour: str) -> TestRoute:
        """Return the test route of the gateway."""
        hostnames = {service["name"]: f"{service['hostname']}.{self._target.domain}" for service in self._web}
        return TestRoute(colour, hostnames, self._client, self._target.ready_timeout_seconds)

    def run(self, name: str, command: Sequence[str], release: Release) -> str:
        """Run a Job to its end and return the last lines of its pod, which has one stream for both outputs."""
        target, labels = self._target, {**MANAGED, NAME: name, PART: ONE_OFF}
        said = f"{name} ({' '.join(command)})"
        self._found()
        # One that an interrupted run left behind must not run beside the new one.
        self._cluster.delete(Job, name)
        self._until(lambda: self._not_gone(labels), target.stop_timeout_seconds + target.ready_timeout_seconds)
        job = self._cluster.create(manifests.one_off(target, name, command, release))
        if job is None:
            raise DriverError(f"{said} is being run by somebody else at this moment: wait for it to end")
        try:
            self._cluster.apply(manifests.one_off_secrets(target, job))
            self._until(lambda: self._not_ended(name, labels, said), target.one_off_timeout_seconds)
            (pod,) = self._cluster.find(Pod, labels)
            return self._cluster.log(pod.metadata.name, LOG_LINES)
        finally:
            self._cluster.delete(Job, name)

    def _found(self) -> None:
        if not self._founded:
            self._cluster.apply(*manifests.foundation(self._target), *settings(self._target))
            self._founded = True

    # --- what stands

    def _colour(self, found: Sequence[Object], wanted: Release | None) -> Colour:
        if not found:
            return Colour()
        release = released(found[0])
        if wanted is None or any(released(item) != wanted for item in found):
            return Colour(Standing.OTHER, release)
        scales = {f"{service['name']}-": service for service in self._running}
        needed = {name: manifests.scale(service) for name, service in scales.items()}
        there = {}
        for item in found:
            name = item.metadata.name.removesuffix(item.metadata.labels[COLOUR])
            ready = (item.status and item.status.availableReplicas) or 0
            enough = name in scales and ready >= scales[name]["replicas"]
            there[name] = item.metadata.annotations[manifests.REPLICAS] if enough else ""
        return Colour(Standing.WHOLE if there == needed else Standing.PART, release)

    def _jobs(self, wanted: Release | None) -> Standing:
        there = {item.metadata.name: released(item) for item in self._cluster.find(CronJob, MANAGED)}
        needed = {service["name"] for service in self._target.of("job")}
        if not there:
            return Standing.ABSENT if needed else Standing.WHOLE
        if any(release != wanted for release in there.values()):
            return Standing.OTHER
        return Standing.WHOLE if there.keys() == needed else Standing.PART

    def _shares(self) -> dict[str, int]:
        return {item.metadata.name: manifests.share_of(item) for item in self._cluster.find(HTTPRoute, MANAGED)}

    def _size(self, service: Mapping[str, Any], colour: str) -> int:
        """Return how many instances to start: what takes over must carry what the other colour carries now."""
        least = int(service["replicas"])
        most = int(service.get("maximum_replicas", least))
        there = [self._cluster.get(Deployment, f"{service['name']}-{name}") for name in COLOURS]
        return min(most, max([least, *(int(item.spec.replicas) for item in there if item)]))

    # --- what is waited for: each returns what is still in the way

    def _not_ready(self, colour: str) -> str:
        labels = {**MANAGED, COLOUR: colour}
        pods = self._cluster.find(Pod, labels)
        if reason := next(filter(None, map(readiness.fatal, pods)), ""):
            raise DriverError(reason)
        late = [
            f"{item.metadata.name} {text}"
            for item in self._cluster.find(Deployment, labels)
            if (text := readiness.rollout(item))
        ]
        return "; ".join([*late, *filter(None, map(readiness.slow, pods))] if late else [])

    def _not_routed(self) -> str:
        routes = self._cluster.find(HTTPRoute, MANAGED)
        return "; ".join(f"route {item.metadata.name}: {text}" for item in routes if (text := readiness.untaken(item)))

    def _not_gone(self, labels: Mapping[str, str]) -> str:
        names = [pod.metadata.name for pod in self._cluster.find(Pod, labels)]
        return f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} not ended yet" if names else ""

    def _not_ended(self, name: str, labels: Mapping[str, str], said: str) -> str:
        pods = self._cluster.find(Pod, labels)
        if reason := next(filter(None, map(readiness.fatal, pods)), ""):
            raise DriverError(f"{said} did not start: {reason}")
        job = self._cluster.get(Job, name)
        how = readiness.ended(job) if job else "Failed"
        if how == "Failed":
            raise DriverError(f"{said} {readiness.failure(job, pods) if job else 'was deleted while it ran'}")
        return "" if how else "; ".join([f"{said} still runs", *filter(None, map(readiness.slow, pods))])

    def _until(self, in_the_way: Callable[[], str], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while text := in_the_way():
            if time.monotonic() > deadline:
                raise DriverError(f"{text}, after {seconds} s")
            time.sleep(POLL_SECONDS)

    # --- the end of a release

    def _let_shrink(self, colour: str) -> None:
        """Let the colour that stays have as few instances as it may: taking over, it kept as many as the other had."""
        found = self._cluster.find(HorizontalPodAutoscaler, {**MANAGED, COLOUR: colour})
        there = {item.metadata.name: item.spec.minReplicas for item in found}
        for service in self._running:
            wanted = manifests.scaler(service, colour, service["replicas"])
            if wanted and there.get(f"{service['name']}-{colour}", service["replicas"]) != service["replicas"]:
                self._cluster.apply(wanted)

    def _renew_jobs(self, release: Release) -> None:
        jobs = self._target.of("job")
        if self._jobs(release) is not Standing.WHOLE:
            self._found()
            self._cluster.apply(*(manifests.timer(self._target, service, release) for service in jobs))
        for item in self._cluster.find(CronJob, MANAGED):
            if item.metadata.name not in {service["name"] for service in jobs}:
                self._cluster.delete(CronJob, item.metadata.name)

    def _sweep(self) -> None:
        """Delete the settings that nothing reads any more."""
        readers = [item.spec.template for item in self._cluster.find(Deployment, MANAGED)]
        readers += [item.spec.jobTemplate.spec.template for item in self._cluster.find(CronJob, MANAGED)]
        used = {
            (source.configMapRef or source.secretRef).name
            for template in readers
            for container in template.spec.containers
            for source in container.envFrom or []
        }
        for kind in (ConfigMap, Secret):
            for item in self._cluster.find(kind, SETTINGS):
                if item.metadata.name not in used:
                    self._cluster.delete(kind, item.metadata.name)


class TestRoute:
    """Asks one colour through the gateway, by the header that its routes look at."""

    def __init__(self, colour: str, hostnames: Mapping[str, str], client: httpx2.Client, seconds: float) -> None:
        """Remember all; nothing is asked yet."""
        self._colour, self._hostnames, self._client, self._seconds = colour, hostnames, client, seconds

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Ask, again for a while where the gateway does not know a new route or new pods yet."""
        deadline = time.monotonic() + self._seconds
        return [self._answer(request, deadline) for request in requests]

    def _answer(self, request: Request, deadline: float) -> Answer:
        url = f"https://{self._hostnames[request.service]}{request.path}"
        while True:
            late = time.monotonic() > deadline
            try:
                answer = self._client.get(url, headers={COLOUR_HEADER: self._colour})
            except httpx2.HTTPError as error:
                if late:
                    raise DriverError(f"{url} does not answer for the {self._colour} colour: {error}") from error
            else:
                if answer.status_code not in NOT_YET or late:
                    return Answer(answer.status_code, answer.text)
            time.sleep(POLL_SECONDS)


class KubernetesStore:
    """Does what release_driver.Store says, with a ConfigMap: the cluster compares its resourceVersion and swaps."""

    def __init__(self, target: Target, cluster: Cluster) -> None:
        """Remember where; nothing is read yet."""
        self._target, self._cluster = target, cluster

    def read(self) -> tuple[str, str]:
        """Read the ConfigMap."""
        found = self._cluster.get(ConfigMap, DOCUMENT)
        return (found.data["document"], found.metadata.resourceVersion) if found else ("", "")

    def write(self, document: str, mark: str) -> str | None:
        """Create the ConfigMap where there is none, replace it where it is still the marked one."""
        labels = {**MANAGED, PART: DOCUMENT}
        item = ConfigMap(
            metadata=ObjectMeta(name=DOCUMENT, labels=labels, resourceVersion=mark or None), data={"document": document}
        )
        if mark:
            written = self._cluster.replace(item)
        else:
            self._cluster.apply(manifests.namespace(self._target))
            written = self._cluster.create(item)
        return written.metadata.resourceVersion if written else None


def described(options: Mapping[str, Any]) -> Target:
    """Return what shall run, by the options of the role release_kubernetes. Raises DriverError for bad ones.

    A secret is named there by where it is kept, so that each is read once.
    """
    # Ansible's texts know where they come from, and the models take plain ones.
    given = json.loads(json.dumps({key: value for key, value in options.items() if key not in CONNECTION}))
    try:
        values = given.pop("secret_values")
        given["secrets"] = {variable: values[name] for variable, name in given["secrets"].items()}
        given["one_off_secrets"] = {
            one_off: {variable: values[name] for variable, name in names.items()}
            for one_off, names in given["one_off_secrets"].items()
        }
        return Target(**given)
    except (KeyError, TypeError) as error:
        raise DriverError(f"the options of the target are not what they have to be: {error}") from error


def connect(
    options: Mapping[str, Any], call: object = None, transport: httpx2.BaseTransport | None = None
) -> tuple[KubernetesDriver, KubernetesStore]:
    """Return driver and store for the options of the role release_kubernetes. Raises DriverError for bad ones.

    The cluster is asked from here, so nothing is called on machines. `transport` carries all requests in place of the
    network.
    """
    target = described(options)
    cluster = Cluster(target.namespace, options["kubeconfig"], options["context"], transport)
    client = httpx2.Client(transport=transport, timeout=REQUEST_SECONDS)
    login = options["registry_username"], options["registry_password"]
    return KubernetesDriver(target, cluster, client, login), KubernetesStore(target, cluster)
