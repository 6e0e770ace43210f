"""What is particular to ECS: what stands in the account after every step, and what goes wrong there only."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils import release_ecs
from ansible_collections.gym.platform.plugins.module_utils.release_driver import DriverError, Request, Standing
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_records import (
    LONGEST_STOP_SECONDS,
    configuration,
)
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_traffic import TrialListener, key_of
from ansible_collections.gym.platform.plugins.module_utils.release_story import Result
from ansible_collections.gym.platform.tests.unit.release_ecs_account import colour_of, version_of
from release_ecs_world import LOGS, NAME, EcsWorld
from release_worlds import API, JOB, SERVICES
from test_release_drivers import Releasing


@pytest.fixture
def world() -> EcsWorld:
    return EcsWorld()


@pytest.fixture
def releasing(world: EcsWorld) -> Releasing:
    return Releasing(world)


def standing(world: EcsWorld) -> dict[str, Any]:
    """Return what a person sees in the account: who gets what, what runs, what is scaled, what the schedule starts."""
    services = {service["serviceName"]: service for service in world.services()}
    held = {
        name: any(one.get("SuspendedState", {}).values()) for name, one in world.scaled().items() if name in services
    }
    return {
        "green": world.shares(),
        "versions": {name: version_of(world.definition(one["taskDefinition"])) for name, one in services.items()},
        "tasks": {name: one["runningCount"] for name, one in services.items()},
        "scaled": held,
        "job": world.job_version(),
    }


def stands(*colours: tuple[str, str], green: int, scaled: str, held: bool = False, job: str) -> dict[str, Any]:
    """Return what is declared to stand: colours with their versions, each with an API and a worker of two tasks."""
    names = [(f"{service}-{colour}", version) for colour, version in colours for service in ("api", "worker")]
    return {
        "green": {green},
        "versions": dict(names),
        "tasks": {name: 2 for name, _ in names},
        "scaled": {f"{service}-{scaled}": held for service in ("api", "worker")},
        "job": job,
    }


def test_weights_services_and_what_they_start_are_as_declared_after_every_step(
    world: EcsWorld, releasing: Releasing
) -> None:
    assert releasing.release("1").result is Result.LIVE
    seen: dict[str, dict[str, Any]] = {}
    run = releasing.run()
    run._say = lambda text: seen.__setitem__(text.split(" s  ")[-1].strip(), standing(world))
    assert run.release("2").result is Result.LIVE
    alone = functools.partial(stands, ("blue", "1"), scaled="blue", job="1")
    both = functools.partial(stands, ("blue", "1"), ("green", "2"), job="1")
    assert seen == {
        "expand green": alone(green=0),
        "prove old blue": alone(green=0),
        "start green": both(green=0, scaled="blue"),
        "smoke test green": both(green=0, scaled="blue"),
        "shift green 10 %": both(green=10, scaled="blue", held=True),
        "judge green 10 %": both(green=10, scaled="blue", held=True),
        "shift green 50 %": both(green=50, scaled="blue", held=True),
        "judge green 50 %": both(green=50, scaled="blue", held=True),
        "shift green 100 %": both(green=100, scaled="green"),
        "bake green": both(green=100, scaled="green"),
        "contract green": both(green=100, scaled="green"),
        "retire blue": stands(("green", "2"), green=100, scaled="green", job="2"),
    }


def test_a_release_that_is_taken_back_leaves_everything_as_it_was(world: EcsWorld, releasing: Releasing) -> None:
    releasing.release("1")
    before = standing(world), active(world)
    for version in ("broken", "liar"):
        assert releasing.release(version).result is Result.FAILED
        assert (standing(world), active(world)) == before


def active(world: EcsWorld) -> set[str]:
    """Return the families that have a task definition which could be started."""
    return {arn.split("/")[1] for arn in world.client("ecs").list_task_definitions()["taskDefinitionArns"]}


def test_only_what_runs_can_be_started(world: EcsWorld, releasing: Releasing) -> None:
    for version in ("1", "2", "3"):
        releasing.release(version)
    assert {name.rpartition(":")[0] for name in active(world)} == {
        f"{NAME}-{one}" for one in ("api-blue", "worker-blue", "report")
    }
    assert len(active(world)) == 3


def test_a_service_is_what_its_noun_and_the_stacks_say(world: EcsWorld, releasing: Releasing) -> None:
    releasing.release("1")
    services = {service["serviceName"]: service for service in world.services()}
    for service in services.values():
        breaker = service["deploymentConfiguration"]["deploymentCircuitBreaker"]
        assert (breaker["enable"], breaker["rollback"]) == (True, False)
        assert service["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == "DISABLED"
        definition = world.definition(service["taskDefinition"])
        (container,) = definition["containerDefinitions"]
        assert container["image"].startswith(f"{world.facts['RegistryGymApiRepositoryUri']}@sha256:")
        assert container["readonlyRootFilesystem"] and container["stopTimeout"] <= LONGEST_STOP_SECONDS
        values = {one["name"]: one["value"] for one in container["environment"]}
        assert values.items() >= {"RELEASE_COLOUR": "blue", "RELEASE_VERSION": "1", "QUEUE": "notifications"}.items()
        assert container["secrets"] == [
            {"name": "PASSWORD", "valueFrom": f"{world.facts['SecretsServiceSecretArn']}:password::"}
        ]
    providers = {
        name: {one["capacityProvider"] for one in service["capacityProviderStrategy"]}
        for name, service in services.items()
    }
    assert providers == {"api-blue": {"FARGATE"}, "worker-blue": {"FARGATE", "FARGATE_SPOT"}}
    assert services["api-blue"]["loadBalancers"][0]["targetGroupArn"] == world.facts["ComputeApiBlueTargetsArn"]
    assert "healthCheck" in world.definition(f"{NAME}-worker-blue")["containerDefinitions"][0]


def test_the_test_listener_tells_colours_by_their_header_and_the_live_one_by_weights(
    world: EcsWorld, releasing: Releasing
) -> None:
    releasing.release("1")
    host = f"api.{world.domain}"
    assert {key_of(rule["Conditions"]) for rule in world.rules("Trial").values()} == {f"{host} blue", f"{host} green"}
    assert [key_of(rule["Conditions"]) for rule in world.rules("Live").values()] == [host]
    assert not any(colour_of(rule) for rule in world.rules("Live").values())


def test_scaling_has_the_values_of_the_inventory(world: EcsWorld, releasing: Releasing) -> None:
    world.settings["services"] = [{**API, "replicas": 4, "maximum_replicas": 12}, *SERVICES[1:]]
    releasing.release("1")
    scaled = world.scaled()["api-blue"]
    assert (scaled["MinCapacity"], scaled["MaxCapacity"]) == (4, 12)
    asked = {"ServiceNamespace": "ecs", "ResourceId": scaled["ResourceId"]}
    client = world.client("application-autoscaling")
    actions = client.describe_scheduled_actions(**asked)["ScheduledActions"]
    assert {(one["Schedule"], one["Timezone"], one["ScalableTargetAction"]["MinCapacity"]) for one in actions} == {
        ("cron(0 23 * * ? *)", "Europe/Dublin", 2),
        ("cron(0 5 * * ? *)", "Europe/Dublin", 4),
    }
    policies = client.describe_scaling_policies(**asked)["ScalingPolicies"]
    targets = {one["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] for one in policies}
    assert targets == {60.0, 75.0}


def test_a_new_colour_has_as_many_tasks_as_the_load_has_brought_the_old_one_to(
    world: EcsWorld, releasing: Releasing
) -> None:
    releasing.release("1")
    world.client("ecs").update_service(cluster=NAME, service="api-blue", desiredCount=5)
    releasing.release("2")
    assert {one["serviceName"]: one["desiredCount"] for one in world.services()} == {"api-green": 5, "worker-green": 2}


def test_what_somebody_took_away_is_put_back_without_a_switch(world: EcsWorld, releasing: Releasing) -> None:
    releasing.release("1")
    scaled = world.scaled()["api-blue"]["ResourceId"]
    world.client("application-autoscaling").deregister_scalable_target(
        ServiceNamespace="ecs", ResourceId=scaled, ScalableDimension="ecs:service:DesiredCount"
    )
    story = releasing.release("1")
    assert [step.action for step in story.steps] == ["start", "smoke test"]
    assert world.scaled().keys() == {"api-blue", "worker-blue"}


def test_more_replicas_are_no_new_release(world: EcsWorld, releasing: Releasing) -> None:
    releasing.release("1")
    world.settings["services"] = [{**API, "maximum_replicas": 9}, *SERVICES[1:]]
    story = releasing.release("1")
    assert [step.action for step in story.steps] == ["start", "smoke test"]
    assert world.scaled()["api-blue"]["MaxCapacity"] == 9


def test_the_hours_in_which_fewer_tasks_stay_are_no_difference(world: EcsWorld, releasing: Releasing) -> None:
    releasing.release("1")
    scaled = world.scaled()["api-blue"]
    # As a scheduled action does it.
    world.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=scaled["ResourceId"],
        ScalableDimension=scaled["ScalableDimension"],
        MinCapacity=1,
        MaxCapacity=scaled["MaxCapacity"],
    )
    assert releasing.release("1").result is Result.UNCHANGED


def test_a_new_password_is_a_new_release(world: EcsWorld, releasing: Releasing) -> None:
    releasing.release("1")
    world.client("secretsmanager").put_secret_value(
        SecretId=world.facts["SecretsServiceSecretArn"], SecretString='{"password": "another"}'
    )
    assert [service["serviceName"] for service in world.services()] == ["api-blue", "worker-blue"]
    assert releasing.release("1").result is Result.LIVE
    assert [service["serviceName"] for service in world.services()] == ["api-green", "worker-green"]


def test_the_rules_of_a_service_that_is_no_longer_described_go_with_the_next_release(
    world: EcsWorld, releasing: Releasing
) -> None:
    releasing.release("1")
    world.settings["domain"] = "another.test"
    world.hosts["api.another.test"] = world
    assert releasing.release("2").result is Result.LIVE
    hosts = {
        key_of(rule["Conditions"]).split()[0]
        for listener in ("Live", "Trial")
        for rule in world.rules(listener).values()
    }
    assert hosts == {"api.another.test"}


def test_a_schedule_is_what_its_noun_and_the_stacks_say(world: EcsWorld, releasing: Releasing) -> None:
    assert world.schedules() == {}, "nothing runs before there is anything to run"
    releasing.release("1")
    (schedule,) = world.schedules().values()
    assert (schedule["ScheduleExpression"], schedule["ScheduleExpressionTimezone"]) == ("cron(30 2 * * ? *)", "UTC")
    assert (schedule["State"], schedule["KmsKeyArn"]) == ("ENABLED", world.facts["SecretsMessagesKeyArn"])
    target = schedule["Target"]
    assert target["Arn"] == world.facts["ComputeClusterArn"]
    assert target["RoleArn"] == world.facts["QueueSchedulesRoleArn"]
    assert target["DeadLetterConfig"] == {"Arn": world.facts["QueueSchedulesDeadQueueArn"]}
    started = target["EcsParameters"]
    assert started["CapacityProviderStrategy"] == [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    assert started["NetworkConfiguration"]["awsvpcConfiguration"] == {
        "AssignPublicIp": "DISABLED",
        "Subnets": ["subnet-a", "subnet-b"],
        "SecurityGroups": ["sg-1"],
    }
    assert started["TaskDefinitionArn"] in world.client("ecs").list_task_definitions()["taskDefinitionArns"]


def test_another_time_of_a_job_is_no_new_release(world: EcsWorld, releasing: Releasing) -> None:
    releasing.release("1")
    world.settings["services"] = [*SERVICES[:-1], {**JOB, "schedule": "*-*-* 04:00:00"}]
    story = releasing.release("1")
    assert [step.action for step in story.steps] == ["retire"]
    assert world.schedules()["report"]["ScheduleExpression"] == "cron(0 4 * * ? *)"
    assert releasing.release("1").result is Result.UNCHANGED


@pytest.mark.parametrize("state", ["gone", "DISABLED"])
def test_a_schedule_that_somebody_took_away_is_put_back(world: EcsWorld, releasing: Releasing, state: str) -> None:
    releasing.release("1")
    before = world.schedules()["report"]
    scheduler, place = world.client("scheduler"), {"Name": "report", "GroupName": NAME}
    if state == "gone":
        scheduler.delete_schedule(**place)
    else:
        parts = ("ScheduleExpression", "FlexibleTimeWindow", "Target")
        scheduler.update_schedule(**place, State=state, **{part: before[part] for part in parts})
    assert releasing.release("1").result is Result.LIVE
    after = world.schedules()["report"]
    assert after["State"] == "ENABLED"
    assert world.job_version() == "1"


def test_a_job_that_is_no_longer_described_runs_no_more(world: EcsWorld, releasing: Releasing) -> None:
    releasing.release("1")
    world.settings["services"] = SERVICES[:-1]
    assert releasing.release("2").result is Result.LIVE
    assert world.schedules() == {}
    assert f"{NAME}-report:1" not in active(world)


def test_what_runs_once_has_its_own_secrets_and_says_its_last_lines(world: EcsWorld) -> None:
    driver, _ = world.connect()
    said = driver.run("migrate", ["migrate", "expand"], driver.resolve("1"))
    assert '"said": "migrate expand"' in said
    (stopped,) = world.client("ecs").list_tasks(cluster=NAME, desiredStatus="STOPPED")["taskArns"]
    (task,) = world.client("ecs").describe_tasks(cluster=NAME, tasks=[stopped])["tasks"]
    (container,) = world.definition(task["taskDefinitionArn"])["containerDefinitions"]
    assert [one["name"] for one in container["secrets"]] == ["MIGRATION_PASSWORD"]
    assert container["logConfiguration"]["options"]["awslogs-group"] == LOGS
    assert active(world) == set()


def test_two_writers_of_the_document_are_told_apart(world: EcsWorld) -> None:
    _, store = world.connect()
    assert store.read() == ("", "")
    first = store.write("one", "")
    assert first
    assert store.write("two", "") is None, "somebody was faster"
    second = store.write("two", first)
    assert second and second != first
    assert store.write("three", first) is None
    assert store.read() == ("two", second)


# --- what goes wrong


@pytest.fixture
def live(world: EcsWorld, releasing: Releasing) -> Iterator[Releasing]:
    """Have version 1 serve, and see that it still does afterwards."""
    releasing.release("1")
    yield releasing
    assert releasing.serves() == {"1"}


def test_an_image_that_is_not_in_the_registry_names_those_that_are(live: Releasing) -> None:
    with pytest.raises(DriverError, match=r"no image nowhere in gym/test/gym-api; the newest are .*liar") as refused:
        live.release("nowhere")
    assert "playbooks/build.yml" in str(refused.value)


def test_a_crash_loop_ends_when_the_circuit_breaker_trips_and_says_why(live: Releasing) -> None:
    story = live.release("broken")
    assert story.result is Result.FAILED
    assert "circuit breaker was triggered" in story.sentence
    assert "a task ended with exit code 1: Essential container in task exited" in story.sentence


def test_a_service_that_is_never_stable_ends_with_the_time_that_it_has(world: EcsWorld, live: Releasing) -> None:
    world.hanging, world.settings["ready_timeout_seconds"] = {"2"}, 1
    story = live.release("2")
    assert story.result is Result.FAILED
    assert "api-green has 2 of 2 tasks ready" in story.sentence


def test_a_task_that_never_ends_is_waited_for_by_the_next_run(world: EcsWorld, live: Releasing) -> None:
    world.endless, world.settings["one_off_timeout_seconds"] = True, 1
    story = live.release("2")
    assert "migrate still runs after 1 seconds" in story.sentence
    (left,) = world.client("ecs").list_tasks(cluster=NAME, family=f"{NAME}-migrate")["taskArns"]
    world.endless = False
    assert "migrate still runs" in live.release("2").sentence
    world.end(left, 0)


def test_a_call_that_is_throttled_is_made_again(world: EcsWorld, live: Releasing) -> None:
    world.refusals = {"DescribeServices": ["ThrottlingException"], "RunTask": ["ThrottlingException"]}
    assert live.release("2").result is Result.LIVE
    assert world.refusals == {"DescribeServices": [], "RunTask": []}
    live.release("1")


def test_an_aws_that_goes_on_throttling_is_a_sentence(world: EcsWorld, live: Releasing) -> None:
    world.refusals = {"RunTask": ["ThrottlingException"] * 100}
    story = live.release("2")
    assert story.result is Result.FAILED
    assert "AWS still refuses so many calls" in story.sentence


def test_a_stack_that_is_not_there_yet_is_named(world: EcsWorld) -> None:
    del world.facts["ComputeExecutionRoleArn"]
    driver, _ = world.connect()
    with pytest.raises(DriverError, match="give out no ComputeExecutionRoleArn: provision the environment first"):
        driver.resolve("1")


def test_options_that_are_wrong_are_named() -> None:
    with pytest.raises(DriverError, match="unexpected keyword argument 'nonsense'"):
        release_ecs.connect({"nonsense": 1})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"endpoint_url": "nonsense"}, "endpoint_url is 'nonsense'"), ({"region": "eu-wset-1"}, "did you mean eu-west-1")],
)
def test_an_account_that_cannot_be_meant_is_a_sentence(world: EcsWorld, change: dict[str, str], complaint: str) -> None:
    facts = {"compute": {"ClusterName": NAME, "ReleasesTable": "releases"}}
    options = {**vars(world.target()), "facts": facts, **change}
    with pytest.raises(DriverError, match=complaint):
        release_ecs.connect(options)[1].read()


def test_a_test_listener_that_cannot_be_reached_says_from_where_it_can() -> None:
    listener = TrialListener("http://127.0.0.1:1", "blue", {"api": "api.test"})
    with pytest.raises(DriverError, match="answers only within the environment's network"):
        listener.ask([Request("api", "/")])


def test_the_fingerprint_knows_settings_and_passwords_and_no_colour(world: EcsWorld) -> None:
    target = world.target()
    release = world.connect()[0].resolve("1")
    known = configuration(target, release, {"PASSWORD": "1"})
    assert known == configuration(target, replace(release, configuration="x"), {"PASSWORD": "1"})
    assert known != configuration(target, release, {"PASSWORD": "2"})
    assert known != configuration(replace(target, environment={"REGION": "x"}), release, {"PASSWORD": "1"})
    assert known != configuration(target, replace(release, digest="sha256:0"), {"PASSWORD": "1"})


def test_nothing_stands_before_the_first_release(world: EcsWorld) -> None:
    driver, _ = world.connect()
    observed = driver.observe(driver.resolve("1"))
    assert {colour.standing for colour in observed.colours.values()} == {Standing.ABSENT}
    assert (observed.share, observed.jobs) == (None, Standing.ABSENT)


def test_nothing_is_left_of_releases_when_both_colours_have_gone(world: EcsWorld, releasing: Releasing) -> None:
    releasing.release("1")
    driver, _ = world.connect()
    for colour in ("blue", "green"):
        driver.stop(colour, None)
    assert (world.services(), world.scaled(), world.schedules()) == ([], {}, {})
    assert active(world) == set()
    assert not world.rules("Live") and not world.rules("Trial")
