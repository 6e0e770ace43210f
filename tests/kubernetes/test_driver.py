"""The driver over HTTP: against the API server of our own tests, and against a real one where KUBECONFIG names it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils import kubernetes_manifests as manifests
from ansible_collections.gym.platform.plugins.module_utils.kubernetes_cluster import Cluster
from ansible_collections.gym.platform.plugins.module_utils.kubernetes_pod import COLOUR, MANAGED, Target, settings
from ansible_collections.gym.platform.plugins.module_utils.release_driver import (
    BLUE,
    GREEN,
    DriverError,
    Release,
    Standing,
)
from ansible_collections.gym.platform.plugins.module_utils.release_kubernetes import (
    DOCUMENT,
    KubernetesDriver,
    KubernetesStore,
    connect,
)
from ansible_collections.gym.platform.tests.unit.kubernetes_api import Api, Fate
from ansible_collections.gym.platform.tests.unit.kubernetes_world import OPTIONS, kubeconfig, variables
from lightkube import ApiError, Client
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.core_v1 import ConfigMap, Namespace

from tests.kubernetes.api_server import MISSING, serving
from tests.kubernetes.golden import target


class Here:
    """A cluster that is served on this machine; `fates` are what becomes of pods, by the version in them."""

    def __init__(self, api: Api, url: str, fates: dict[str, Fate]) -> None:
        self.api, self.url, self.fates = api, url, fates

    def connect(self, **changes: Any) -> tuple[KubernetesDriver, KubernetesStore]:
        repository = f"{self.url.removeprefix('http://')}/api"
        return connect({**OPTIONS, "repository": repository, "kubeconfig": kubeconfig(self.url), **changes})

    def release(self, version: str, colour: str) -> Release:
        """Bring a version to a colour, with all requests."""
        driver, _ = self.connect()
        release = driver.resolve(version)
        driver.start(colour, release)
        driver.shift(100 if colour == GREEN else 0)
        return release


@pytest.fixture
def here() -> Iterator[Here]:
    fates: dict[str, Fate] = {}

    def fate(pod: Mapping[str, Any]) -> Fate:
        return fates.get(variables(pod)["RELEASE_VERSION"], Fate())

    api = Api(fate)
    with serving(api) as url:
        yield Here(api, url, fates)


def test_a_colour_is_started_when_its_pods_are_ready(here: Here) -> None:
    here.fates["1"] = Fate(looks=4)
    release = here.release("1", BLUE)
    (driver, _) = here.connect(ready_timeout_seconds=20)
    observed = driver.observe(release)
    assert (observed.colours[BLUE].standing, observed.colours[BLUE].release) == (Standing.WHOLE, release)
    assert observed.colours[GREEN].standing is Standing.ABSENT
    assert (observed.share, observed.jobs) == (0, Standing.ABSENT)


@pytest.mark.parametrize(
    ("fate", "reasons"),
    [
        (Fate("ImagePullBackOff", said='Back-off pulling image "x"'), ["ImagePullBackOff", "Back-off pulling"]),
        (Fate("CrashLoopBackOff", 3, "no module named x"), ["exit code 3", "no module named x"]),
        (Fate("ErrImagePull", said="denied"), ["0 of 2 pods ready", "ErrImagePull, denied", "after 1 s"]),
        (Fate(ready=False), ["0 of 2 pods ready", "its readiness probe fails", "after 1 s"]),
    ],
)
def test_what_does_not_come_up_says_why(here: Here, fate: Fate, reasons: Sequence[str]) -> None:
    here.fates["2"] = fate
    driver, _ = here.connect()
    with pytest.raises(DriverError) as failed:
        driver.start(GREEN, driver.resolve("2"))
    assert all(reason in str(failed.value) for reason in reasons), str(failed.value)


def test_an_image_that_does_not_exist_is_told_before_anything_is_done(here: Here) -> None:
    driver, _ = here.connect()
    with pytest.raises(DriverError, match=f"does not give image .*:{MISSING} .status 404"):
        driver.resolve(MISSING)
    assert here.api.objects == {}


def test_a_colour_takes_over_as_many_as_the_other_has_and_may_shrink_when_it_has_gone(here: Here) -> None:
    one = here.release("1", BLUE)
    here.api.objects["deployments", "api-blue"]["spec"]["replicas"] = 3
    two = here.release("2", GREEN)
    assert here.api.objects["deployments", "api-green"]["spec"]["replicas"] == 3
    scaler = here.api.objects["horizontalpodautoscalers", "api-green"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 4)
    driver, _ = here.connect()
    driver.stop(BLUE, two)
    assert here.api.objects["horizontalpodautoscalers", "api-green"]["spec"]["minReplicas"] == 2
    assert driver.observe(two).colours[GREEN].standing is Standing.WHOLE
    assert driver.observe(one).colours[GREEN].standing is Standing.OTHER


def test_a_colour_is_gone_when_its_pods_have_ended(here: Here) -> None:
    here.release("1", BLUE)
    release = here.release("2", GREEN)
    here.api.drain_looks = 3
    driver, _ = here.connect()
    driver.stop(BLUE, release)
    assert {pod["metadata"]["labels"][COLOUR] for pod in here.api.all("pods")} == {GREEN}
    kinds = ("deployments", "horizontalpodautoscalers", "poddisruptionbudgets")
    assert not [name for kind, name in here.api.objects if kind in kinds and name.endswith(BLUE)]
    (job,) = here.api.all("cronjobs")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert variables(job["spec"]["jobTemplate"]["spec"]["template"])["RELEASE_VERSION"] == "2"


def test_pods_that_never_end_are_told(here: Here) -> None:
    here.release("1", BLUE)
    here.api.drain_looks = 10_000
    driver, _ = here.connect()
    with pytest.raises(DriverError, match="have not ended yet, after 3 s"):
        driver.stop(BLUE, None)


def test_settings_go_with_the_last_one_who_reads_them(here: Here) -> None:
    driver, _ = here.connect()
    driver.start(BLUE, driver.resolve("1"))
    other, _ = here.connect(environment={"REGION": "another"})
    release = other.resolve("1")
    other.start(GREEN, release)
    names = {item["metadata"]["name"] for item in here.api.all("configmaps")}
    assert len(names) == 2, "both colours serve, and each reads its own"
    other.stop(BLUE, release)
    (left,) = here.api.all("configmaps")
    assert left["data"] == {"REGION": "another"}


def test_a_gateway_that_is_not_there_is_told(here: Here) -> None:
    here.api.gateways = set()
    driver, _ = here.connect()
    with pytest.raises(DriverError, match="route api: no gateway has taken it"):
        driver.start(BLUE, driver.resolve("1"))


def test_a_command_gives_its_last_lines_and_leaves_nothing(here: Here) -> None:
    here.fates["1"] = Fate("Completed", 0, "two lines\nof output", looks=2)
    driver, _ = here.connect(one_off_timeout_seconds=20)
    assert driver.run("migrate", ["migrate", "expand"], driver.resolve("1")) == "two lines\nof output"
    assert not [name for _, name in here.api.objects if name.startswith("migrate")]


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        (Fate("Completed", 2, "relation exists"), "ended with exit code 2. Its last lines:\nrelation exists"),
        (Fate("ImagePullBackOff"), "did not start: migrate-pod: ImagePullBackOff"),
        (Fate(), "still runs.* after 1 s"),
    ],
)
def test_a_command_that_fails_says_why_and_leaves_nothing(here: Here, fate: Fate, reason: str) -> None:
    here.fates["1"] = fate
    driver, _ = here.connect()
    with pytest.raises(DriverError, match=rf"migrate \(migrate expand\) .*{reason}"):
        driver.run("migrate", ["migrate", "expand"], driver.resolve("1"))
    assert not [name for _, name in here.api.objects if name.startswith("migrate")]


def test_the_store_takes_one_of_two_writers(here: Here) -> None:
    _, store = here.connect()
    _, other = here.connect()
    assert store.read() == ("", "")
    first = store.write("one", "")
    assert first
    assert other.write("two", "") is None, "somebody was faster with the first document"
    assert other.read() == ("one", first)
    second = other.write("two", first)
    assert second
    assert second != first
    assert store.write("three", first) is None, "somebody was faster with the second"
    assert store.read() == ("two", second)


def test_an_api_that_is_away_is_a_sentence() -> None:
    with serving(Api()) as url:
        pass
    driver, store = connect({**OPTIONS, "kubeconfig": kubeconfig(url)})
    for asked in (lambda: driver.observe(None), store.read):
        with pytest.raises(DriverError, match=f"the Kubernetes API at {url} does not answer"):
            asked()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"context": "elsewhere"}, "does not say where the cluster is: Context 'elsewhere' not found"),
        ({"kubeconfig": "/nowhere"}, "does not say where the cluster is: .* not found"),
        ({"colour": "red"}, "unexpected keyword argument 'colour'"),
        ({"secret_values": {}}, "secrets.Application"),
    ],
)
def test_bad_options_are_told(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(DriverError, match=reason):
        connect({**OPTIONS, "kubeconfig": kubeconfig("http://127.0.0.1:1"), **change})


@pytest.mark.skipif(not os.environ.get("KUBECONFIG"), reason="no cluster is at hand: KUBECONFIG names none")
def test_a_real_api_server_takes_the_manifests_and_compares_versions() -> None:
    cluster = Cluster("gym-platform-test")
    wanted = target()
    store = KubernetesStore(Target(**{**vars(wanted), "namespace": "gym-platform-test"}), cluster)
    try:
        mark = store.write("one", "")
        assert mark
        assert store.write("two", "0") is None
        assert store.write("two", mark)
        release = Release("1.2", f"sha256:{'0' * 64}", "")
        dry = Client(namespace="gym-platform-test", field_manager="test", dry_run=True)
        job = manifests.one_off(wanted, "migrate", ["migrate"], release)
        for item in (
            *manifests.foundation(wanted)[1:],
            *settings(wanted),
            manifests.workload(wanted, wanted.services[0], BLUE, release, 2),
            manifests.scaler(wanted.services[0], BLUE, 2),
            manifests.budget(wanted.services[0], BLUE),
            *(manifests.timer(wanted, service, release) for service in wanted.of("job")),
            job,
        ):
            dry.apply(item, force=True)
        assert cluster.get(ConfigMap, DOCUMENT)
        assert not cluster.find(Deployment, MANAGED)
        assert not cluster.find(HorizontalPodAutoscaler, MANAGED)
    finally:
        try:
            Client().delete(Namespace, "gym-platform-test")
        except ApiError as error:
            assert error.status.code == 404
