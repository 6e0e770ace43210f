"""What a release to ECS owns is in no stack: no plan, search for drift or apply has anything to do with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils import fargate
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import parse
from ansible_collections.gym.platform.plugins.module_utils.release_driver import Release
from ansible_collections.gym.platform.plugins.module_utils.release_ecs import EcsDriver, connect

from tests.project import ROOT, load
from tests.rehearsal.conftest import Account
from tests.stacks.changes import changes, nouns_with
from tests.stacks.golden import render

IMAGES = "gym/production/gym-api"


def noun(name: str) -> Any:
    return load(ROOT / "inventories/production/group_vars/all" / f"{name}.yml")[name]


@pytest.fixture(scope="module")
def bodies() -> dict[str, str]:
    return render("production")


@pytest.fixture(scope="module")
def account(endpoint: str, bodies: dict[str, str]) -> Account:
    """Return the account that the driver asks as well, with all stacks of production and two images."""
    found = Account(endpoint)
    stacks = found.stacks(bodies, client=lambda service, region: client(found, service, region))
    assert not stacks.apply(stacks.plan()).failed
    for version in ("1", "2"):
        manifest = json.dumps({"schemaVersion": 2, "annotations": {"version": version}})
        client(found, "ecr").put_image(repositoryName=IMAGES, imageManifest=manifest, imageTag=version)
    return found


def client(account: Account, service: str, region: str = "eu-west-1") -> Any:
    """Return a client of the account that the driver, which knows of a rehearsal only its address, gets."""
    import boto3

    return boto3.client(
        service,
        region_name=region,
        endpoint_url=account.endpoint,
        aws_access_key_id="rehearsal",
        aws_secret_access_key="rehearsal",
    )


def stacks_of(account: Account, bodies: dict[str, str]) -> Any:
    return account.stacks(bodies, client=lambda service, region: client(account, service, region))


@pytest.fixture(scope="module")
def driver(account: Account, bodies: dict[str, str]) -> EcsDriver:
    stacks = stacks_of(account, bodies)
    stacks.read()
    found, _ = connect(
        {
            "name": "gym-production",
            "region": "eu-west-1",
            "endpoint_url": account.endpoint,
            "tags": {"platform": "gym", "environment": "production"},
            "services": noun("services"),
            "domain": noun("platform")["domain"],
            "repository": "gym-api",
            "facts": stacks.outputs(),
            "environment": {},
            "outputs": {"QUEUE_NOTIFICATIONS": "QueueNotificationsName"},
            "secrets": {"DATABASE_PASSWORD": "SecretsDatabaseApplicationSecretArn"},
            "one_off_secrets": {},
            "off_peak": noun("cost")["off_peak"],
            "architecture": "X86_64",
            "trial_url": "",
            "ready_timeout_seconds": 20,
            "drain_timeout_seconds": 30,
            "one_off_timeout_seconds": 20,
        }
    )
    return found


@pytest.fixture(scope="module")
def released(driver: EcsDriver) -> Iterator[Release]:
    """Go from version 1 to version 2, and stop in the midst of it."""
    first, second = (driver.resolve(version) for version in ("1", "2"))
    driver.start("blue", first)
    driver.shift(0)
    driver.stop("green", first)
    driver.start("green", second)
    driver.shift(10)
    yield second


def schedules(account: Account) -> dict[str, str]:
    """Return when jobs run, by name."""
    scheduler, group = client(account, "scheduler"), {"GroupName": "gym-production"}
    found = (
        scheduler.get_schedule(Name=one["Name"], **group) for one in scheduler.list_schedules(**group)["Schedules"]
    )
    return {one["Name"]: one["ScheduleExpression"] for one in found}


def services(account: Account) -> dict[str, Any]:
    ecs = client(account, "ecs")
    arns = ecs.list_services(cluster="gym-production")["serviceArns"]
    found = ecs.describe_services(cluster="gym-production", services=arns)["services"]
    kept = ("taskDefinition", "desiredCount", "status")
    return {one["serviceName"]: {key: one[key] for key in kept} for one in found}


@pytest.mark.usefixtures("released")
def test_a_plan_finds_nothing_to_do(account: Account, bodies: dict[str, str]) -> None:
    assert stacks_of(account, bodies).plan().empty


@pytest.mark.usefixtures("released")
def test_there_is_no_drift_and_nothing_strange(account: Account, bodies: dict[str, str]) -> None:
    found = stacks_of(account, bodies).drift()
    assert (found["drifted"], found["strangers"]) == ([], [])


@pytest.mark.usefixtures("released")
def test_an_apply_leaves_a_release_as_it_is(account: Account, bodies: dict[str, str], driver: EcsDriver) -> None:
    before, share = services(account), driver.observe(None).share
    assert set(before) == {"gym-api-blue", "gym-worker-blue", "gym-api-green", "gym-worker-green"}
    assert share == 10
    (edit,) = [change for change in changes() if change.path == ("gym-api", "replicas")]
    other = render("production", nouns_with(edit))
    stacks = stacks_of(account, {**bodies, **other})
    plan = stacks.plan()
    assert {change.name for change in plan.changes} == {"compute.Cluster"}, "the price knows of it, and nothing else"
    assert not stacks.apply(plan).failed
    assert (services(account), driver.observe(None).share) == (before, share)


@pytest.mark.usefixtures("released")
def test_the_schedule_starts_what_is_live_and_only_that(account: Account) -> None:
    scheduler, group = client(account, "scheduler"), {"GroupName": "gym-production"}
    (schedule,) = scheduler.list_schedules(**group)["Schedules"]
    started = scheduler.get_schedule(Name=schedule["Name"], **group)["Target"]["EcsParameters"]["TaskDefinitionArn"]
    ecs = client(account, "ecs")
    assert ecs.list_task_definitions(familyPrefix="gym-production-gym-report")["taskDefinitionArns"] == [started]
    definition = ecs.describe_task_definition(taskDefinition=started, include=["TAGS"])
    assert {"key": "version", "value": "1"} in definition["tags"], "version 2 does not serve yet"


def released_in(body: str, resource: str) -> list[Any]:
    """List what a resource of a stack tells of a release."""
    return list(parse(body)["Resources"][resource]["Metadata"]["Platform"]["Released"].values())


@pytest.mark.usefixtures("released")
def test_what_is_priced_is_what_a_release_has_made(account: Account, bodies: dict[str, str]) -> None:
    told = released_in(bodies["compute"], "Cluster")
    priced = {one["Properties"]["Family"]: one["Properties"] for one in told if one["Type"].endswith("TaskDefinition")}
    strategies = {
        one["Properties"]["ServiceName"]: one["Properties"]["CapacityProviderStrategy"]
        for one in told
        if one["Type"].endswith("::Service")
    }
    ecs = client(account, "ecs")
    for service in noun("services"):
        colours = [""] if service["kind"] == "job" else ["-blue", "-green"]
        for colour in colours:
            family = f"gym-production-{service['name']}"
            made = ecs.describe_task_definition(taskDefinition=f"{family}{colour}")["taskDefinition"]
            assert (made["cpu"], made["memory"]) == (priced[family]["Cpu"], priced[family]["Memory"])
        if service["kind"] != "job":
            assert strategies[service["name"]] == fargate.CAPACITY[service["kind"]]
    told = released_in(bodies["queue"], "Schedules")
    assert {one["Properties"]["Name"]: one["Properties"]["ScheduleExpression"] for one in told} == schedules(account)
    scaled = client(account, "application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")
    least = {one["ResourceId"].rpartition("/")[2]: one["MinCapacity"] for one in scaled["ScalableTargets"]}
    assert least == {f"{one['name']}-blue": one["replicas"] for one in noun("services") if one["kind"] != "job"}
