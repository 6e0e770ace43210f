"""The manifests are what was last reviewed, valid for the declared version of Kubernetes, and closed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest
import yaml
from ansible_collections.gym.platform.plugins.module_utils import kubernetes_manifests as manifests
from ansible_collections.gym.platform.plugins.module_utils.kubernetes_pod import Target, configuration, settings
from ansible_collections.gym.platform.plugins.module_utils.release_driver import DriverError

from tests.kubernetes.golden import GOLDEN, rendered, target, texts
from tests.project import Role

# The version of the clusters that the stacks declare.
VERSION = Role("compute").read("defaults/main.yml")["compute_kubernetes_version"]


def all_manifests() -> Iterator[dict[str, Any]]:
    """Read what is kept of staging, and what production would be."""
    for path in sorted(GOLDEN.glob("*.yml")):
        yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))
    for items in rendered(target("production")).values():
        yield from items


def pods() -> Iterator[dict[str, Any]]:
    """Find the pods in all of them."""
    for item in all_manifests():
        spec = item.get("spec") or {}
        template = (spec.get("jobTemplate") or {}).get("spec", spec).get("template")
        if template:
            yield template["spec"]


def test_manifests_are_the_reviewed_ones() -> None:
    reviewed = {path.name: path.read_text(encoding="utf-8") for path in GOLDEN.glob("*.yml")}
    assert texts() == reviewed, "run `make golden` and look at what changed"


def test_every_manifest_is_valid_for_the_declared_version() -> None:
    kinds = set()
    for item in all_manifests():
        kinds.add(item["kind"])
        # No package that is served here has the schema of the Gateway API.
        if item["kind"] != "HTTPRoute":
            kubernetes_validate.validate(item, VERSION, strict=True)
    assert len(kinds) == 12


def test_a_wrong_field_is_noticed() -> None:
    (workload, *_) = yaml.safe_load_all((GOLDEN / "gym-api.yml").read_text(encoding="utf-8"))
    wrong = copy.deepcopy(workload)
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_pods_may_do_no_more_than_containers_of_docker_hosts() -> None:
    found = list(pods())
    assert len(found) == 8
    for pod in found:
        (container,) = pod["containers"]
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert not pod["automountServiceAccountToken"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert "@sha256:" in container["image"]


def test_a_pod_has_time_to_drain_and_to_stop() -> None:
    web = next(pod for pod in pods() if pod["containers"][0]["name"] == "gym-api")
    drain = web["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert web["terminationGracePeriodSeconds"] == drain + 30


def test_colours_do_not_share_settings_that_differ() -> None:
    wanted = target()
    other = replace(wanted, secrets={**wanted.secrets, "DATABASE_PASSWORD": "another"})
    names = [[item.metadata.name for item in settings(one)] for one in (wanted, other)]  # type: ignore[union-attr]
    assert names[0][0] == names[1][0]
    assert names[0][1] != names[1][1]


def test_a_fingerprint_knows_secrets_and_schedules_and_not_how_many() -> None:
    wanted = target()

    def print_of(one: Target) -> str:
        return configuration(one, "1", "sha256:1")

    more = [{**service, "replicas": 9, "maximum_replicas": 9} for service in wanted.services]
    later = [{**service, "schedule": "*-*-* 03:00:00"} for service in wanted.services]
    assert print_of(replace(wanted, services=more)) == print_of(wanted)
    assert print_of(replace(wanted, services=later)) != print_of(wanted)
    assert print_of(replace(wanted, secrets={})) != print_of(wanted)


def test_a_one_off_gets_its_own_secrets_only() -> None:
    job, secret = yaml.safe_load_all((GOLDEN / "one_off.yml").read_text(encoding="utf-8"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"][1]["secretRef"]["name"] == secret["metadata"]["name"] == "migrate"
    assert list(secret["data"]) == ["MIGRATION_DATABASE_PASSWORD"]


@pytest.mark.parametrize(
    ("calendar", "cron"),
    [("*-*-* 02:30:00", "30 2 * * *"), ("Mon *-*-* 00:05:00", "5 0 * * Mon"), ("*-01-15 *:00:00", "0 * 15 1 *")],
)
def test_a_calendar_is_said_to_cron(calendar: str, cron: str) -> None:
    assert manifests.cron(calendar) == cron


@pytest.mark.parametrize("calendar", ["hourly", "*-*-* 02:30:30", "Mon..Fri *-*-* 02:30:00"])
def test_a_calendar_that_cron_cannot_say_is_refused(calendar: str) -> None:
    with pytest.raises(DriverError, match="cannot be said to cron"):
        manifests.cron(calendar)
