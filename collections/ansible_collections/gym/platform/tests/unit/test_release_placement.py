"""What a release does is decided without any host: every case is a table of what runs and what is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.filter import release as filters
from ansible_collections.gym.platform.plugins.module_utils.release import (
    GREEN_OFFSET,
    INSTANCES_PER_HOST,
    Plan,
    ReleaseError,
    Wish,
    check_ports,
    edge_services,
    outcome,
    places,
    plan_containers,
    plan_release,
    problems,
)

API: dict[str, Any] = {
    "name": "api",
    "kind": "web",
    "command": ["api"],
    "port": 8000,
    "hostname": "api",
    "health_path": "/healthz",
    "ready_path": "/readyz",
    "replicas": 2,
    "cpu": 1.0,
    "memory_mb": 256,
}
WORKER: dict[str, Any] = {
    "name": "worker",
    "kind": "worker",
    "command": ["worker"],
    "port": 8001,
    "health_path": "/healthz",
    "replicas": 2,
    "cpu": 0.5,
    "memory_mb": 128,
}
JOB: dict[str, Any] = {"name": "report", "kind": "job", "command": ["report"], "cpu": 0.5, "memory_mb": 128}
SERVICES = [API, WORKER, JOB]
HOSTS = {"app-1": "10.0.0.1", "app-2": "10.0.0.2"}
SECRETS = {"PASSWORD": "first"}


def wish(version: str = "1", **changes: Any) -> Wish:
    values: dict[str, Any] = {
        "repository": "registry:5000/api",
        "version": version,
        "digest": f"sha256:{version}",
        "environment": {"REGION": "local"},
        "secrets": SECRETS,
        "health_command": ["check", "http://127.0.0.1:{port}{path}"],
    }
    return Wish(**{**values, **changes})


class World:
    """Hosts and a front door that do what a plan says, as the role does it."""

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, dict[str, Any]]] = {host: {} for host in HOSTS}
        self.shares = {"api": 0}

    @property
    def observed(self) -> dict[str, list[dict[str, Any]]]:
        return {host: list(items.values()) for host, items in self.containers.items()}

    def plan(self, wanted: Wish, services: Sequence[Mapping[str, Any]] = SERVICES) -> Plan:
        return plan_release(services, HOSTS, self.observed, [self.shares], wanted, "gym.test")

    def run(self, records: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        for host, items in records.items():
            for record in items:
                previous = record["previous"]
                self.containers[host][record["name"]] = {
                    **{key: record[key] for key in ("name", "service", "kind", "colour", "version", "digest")},
                    "configuration": record["configuration"],
                    "previous_version": previous.get("version", ""),
                    "previous_digest": previous.get("digest", ""),
                    "running": record["kind"] != "job",
                    "health": "healthy",
                }

    def remove(self, names: Mapping[str, Sequence[str]]) -> None:
        for host, items in names.items():
            for name in items:
                self.containers[host].pop(name, None)

    def release(self, wanted: Wish, services: Sequence[Mapping[str, Any]] = SERVICES) -> Plan:
        plan = self.plan(wanted, services)
        self.run(plan.start)
        self.shares.update(plan.shift)
        self.run(plan.jobs)
        self.remove(plan.retire)
        return plan

    def names(self, host: str = "app-1") -> list[str]:
        return sorted(self.containers[host])


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_release_starts_on_the_colour_that_gets_the_traffic(world: World) -> None:
    plan = world.release(wish())
    assert plan.shift == {}
    assert world.names("app-1") == ["api-blue", "report", "worker-blue"]
    assert world.names("app-2") == ["api-blue", "worker-blue"]
    assert plan.backends == {"new": ["api_blue"], "old": []}


def test_what_runs_already_is_not_released_again(world: World) -> None:
    world.release(wish())
    assert world.plan(wish()).needed is False


def test_a_new_version_starts_beside_the_old_one_and_takes_its_place(world: World) -> None:
    world.release(wish("1"))
    plan = world.release(wish("2"))
    assert plan.shift == {"api": 100}
    assert plan.backends == {"new": ["api_green"], "old": ["api_blue"]}
    assert plan.undo["app-1"] == ["api-green", "worker-green"]
    assert plan.smoke == [{"name": "api", "hostname": "api.gym.test", "colour": "green"}]
    assert world.names() == ["api-green", "report", "worker-green"]
    assert world.release(wish("3")).shift == {"api": 0}
    assert world.names() == ["api-blue", "report", "worker-blue"]


@pytest.mark.parametrize(
    "changes",
    [{"secrets": {"PASSWORD": "second"}}, {"environment": {"REGION": "other"}}, {"extra_hosts": ["a:10.0.0.9"]}],
)
def test_other_settings_are_a_release_too(world: World, changes: dict[str, Any]) -> None:
    world.release(wish())
    plan = world.plan(wish(**changes))
    assert plan.shift == {"api": 100}
    assert len(plan.start["app-1"]) == 2


def test_a_lost_instance_is_started_again_without_a_switch(world: World) -> None:
    world.release(wish())
    world.remove({"app-2": ["api-blue"]})
    plan = world.plan(wish())
    assert [record["name"] for record in plan.start["app-2"]] == ["api-blue"]
    assert plan.start["app-1"] == []
    assert plan.shift == {}
    assert not any(plan.undo.values()), "what serves is not taken away when its repair fails"


@pytest.mark.parametrize("state", [{"running": False}, {"health": "unhealthy"}])
def test_an_instance_that_does_not_work_is_replaced(world: World, state: dict[str, Any]) -> None:
    world.release(wish())
    world.containers["app-1"]["api-blue"].update(state)
    assert [record["name"] for record in world.plan(wish()).start["app-1"]] == ["api-blue"]


def test_the_rest_of_a_release_that_was_interrupted_before_the_switch_is_used(world: World) -> None:
    world.release(wish("1"))
    world.run(world.plan(wish("2")).start)
    plan = world.release(wish("2"))
    assert not any(plan.start.values()), "the new colour runs already"
    assert plan.shift == {"api": 100}
    assert world.names() == ["api-green", "report", "worker-green"]


def test_the_rest_of_another_release_is_replaced(world: World) -> None:
    world.release(wish("1"))
    world.run(world.plan(wish("2")).start)
    plan = world.plan(wish("3"))
    assert [record["version"] for record in plan.start["app-1"]] == ["3", "3"]


def test_a_release_that_was_interrupted_after_the_switch_only_clears_away(world: World) -> None:
    world.release(wish("1"))
    plan = world.plan(wish("2"))
    world.run(plan.start)
    world.shares.update(plan.shift)
    again = world.plan(wish("2"))
    assert not any(again.start.values())
    assert again.shift == {}
    assert again.retire == {"app-1": ["api-blue", "worker-blue"], "app-2": ["api-blue", "worker-blue"]}


def test_going_back_while_a_failed_colour_still_stands_needs_no_start(world: World) -> None:
    world.release(wish("1"))
    world.run(world.plan(wish("2")).start)
    plan = world.plan(wish("1"))
    assert not any(plan.start.values())
    assert plan.retire["app-1"] == ["api-green", "worker-green"]


def test_a_switch_that_one_front_door_missed_is_repeated(world: World) -> None:
    world.release(wish())
    doors = [{"api": 0}, {"api": 100}]
    plan = plan_release(SERVICES, HOSTS, world.observed, doors, wish(), "gym.test")
    assert plan.needed
    assert plan.shift == {"api": 0}


def test_a_service_that_nobody_wants_any_more_goes_away(world: World) -> None:
    world.release(wish())
    assert world.plan(wish(), [API, JOB]).retire == {"app-1": ["worker-blue"], "app-2": ["worker-blue"]}


def test_a_job_is_on_one_host_and_has_no_colour(world: World) -> None:
    plan = world.plan(wish())
    assert [record["name"] for record in plan.jobs["app-1"]] == ["report"]
    assert plan.jobs["app-2"] == []
    assert plan.jobs["app-1"][0]["colour"] == ""
    assert "RELEASE_COLOUR" not in plan.jobs["app-1"][0]["environment"]


def test_a_migration_runs_when_something_starts_and_only_then(world: World) -> None:
    wanted = wish(migration_command=["migrate"])
    assert [record["command"] for record in world.release(wanted).migration] == [["migrate"]]
    assert world.plan(wanted).migration == []


def test_secrets_are_in_the_fingerprint_and_nowhere_else(world: World) -> None:
    assert "first" not in str(world.plan(wish()))


def test_both_colours_of_one_release_have_one_fingerprint(world: World) -> None:
    blue = world.plan(wish()).start["app-1"][0]
    world.release(wish("0"))
    green = world.plan(wish()).start["app-1"][0]
    assert (blue["colour"], green["colour"]) == ("blue", "green")
    assert blue["configuration"] == green["configuration"]
    assert green["port"] == blue["port"] + GREEN_OFFSET


class TestPrevious:
    def test_a_release_knows_what_it_replaced(self, world: World) -> None:
        assert world.release(wish("1")).previous == {}
        assert world.release(wish("2")).previous == {"version": "1", "digest": "sha256:1"}
        assert world.plan(wish("2")).live == {"version": "2", "digest": "sha256:2"}

    def test_other_settings_pass_on_what_their_predecessor_knew(self, world: World) -> None:
        world.release(wish("1"))
        world.release(wish("2"))
        assert world.release(wish("2", secrets={})).previous == {"version": "1", "digest": "sha256:1"}
        assert world.release(wish("1")).previous == {"version": "2", "digest": "sha256:2"}

    def test_the_live_release_is_what_the_front_door_sends_requests_to(self, world: World) -> None:
        world.release(wish("1"))
        world.run(world.plan(wish("2")).start)
        everything = [item for items in world.observed.values() for item in items]
        assert filters.live_release(SERVICES, everything, {"api": "0"})["version"] == "1"
        assert filters.live_release(SERVICES, everything, {"api": "100"})["version"] == "2"
        assert filters.live_release(SERVICES, [], {}) == {}


class TestPlaces:
    def test_replicas_are_spread_and_a_second_instance_has_its_own_port(self) -> None:
        spread = places({**API, "replicas": 3}, list(HOSTS))
        assert [(place.host, place.port(8000, "blue"), place.port(8000, "green")) for place in spread] == [
            ("app-1", 8000, 8050),
            ("app-2", 8000, 8050),
            ("app-1", 8010, 8060),
        ]

    def test_the_front_door_and_the_containers_agree_on_ports(self, world: World) -> None:
        services = [{**API, "replicas": 5}]
        servers = edge_services(services, HOSTS, "gym.test")[0]
        plan = world.plan(wish(), services)
        containers = {(r["address"], r["port"]) for records in plan.start.values() for r in records}
        assert {(server["address"], server["port"]) for server in servers["blue"]} == containers
        assert len({server["name"] for server in servers["green"]}) == 5

    def test_more_replicas_than_ports_are_refused(self) -> None:
        with pytest.raises(ReleaseError, match="11 replicas do not fit on 2 hosts"):
            places({**API, "replicas": 2 * INSTANCES_PER_HOST + 1}, list(HOSTS))

    def test_no_host_is_refused(self) -> None:
        with pytest.raises(ReleaseError, match="no host"):
            places(API, [])

    @pytest.mark.parametrize("port", [8000, 8010, 8050, 8090])
    def test_services_whose_ports_meet_are_refused(self, port: int) -> None:
        with pytest.raises(ReleaseError, match="api and worker would both use port"):
            check_ports([API, {**WORKER, "port": port}])

    def test_only_web_services_are_behind_the_front_door(self) -> None:
        found = edge_services(SERVICES, HOSTS, "gym.test")
        assert [(service["name"], service["hostnames"]) for service in found] == [("api", ["api.gym.test"])]


class TestContainers:
    def test_a_host_replaces_what_differs_and_keeps_what_does_not(self, world: World) -> None:
        world.release(wish("1"))
        present = [*world.plan(wish("1", secrets={})).start["app-1"]]
        same = plan_containers(world.observed["app-1"], [], [])
        assert (same.create, same.replace, same.remove) == ([], [], [])
        renamed = [{**present[0], "name": "api-blue"}]
        plan = plan_containers(world.observed["app-1"], renamed, ["worker-blue", "unknown"])
        assert plan.replace == ["api-blue"]
        assert plan.remove == ["worker-blue"]

    def test_a_job_at_work_is_named(self, world: World) -> None:
        world.release(wish("1"))
        world.containers["app-1"]["report"]["running"] = True
        jobs = world.plan(wish("2")).jobs["app-1"]
        assert plan_containers(world.observed["app-1"], jobs, []).finish == ["report"]


class TestOutcome:
    GOOD: Mapping[str, Any] = {"problem": ""}

    def answers(self, **steps: Mapping[str, Any]) -> dict[str, dict[str, Mapping[str, Any]]]:
        names = ("migrated", "started", "ready", "smoke", "shifted", "stopped")
        return {name: {"app-1": steps.get(name, self.GOOD), "app-2": self.GOOD} for name in names}

    def plan(self, world: World) -> dict[str, Any]:
        world.release(wish("1"))
        return filters.release_plan(
            SERVICES, HOSTS, world.observed, [{"api": "0"}], {"repository": "r", "version": "2", "digest": "d"}, "gym"
        )

    def test_a_good_release_says_what_is_live_and_what_was(self, world: World) -> None:
        found = outcome(self.plan(world), self.answers())
        assert found["ok"]
        assert found["sentence"] == "Version 2 is live (api green, worker green), before it 1."

    def test_a_failure_before_the_switch_says_what_serves(self, world: World) -> None:
        found = outcome(self.plan(world), self.answers(started={"problem": "api-green stopped with exit code 3"}))
        assert not found["ok"]
        assert found["sentence"] == (
            "Version 2 did not go live. Version 1 serves as before. app-1: api-green stopped with exit code 3"
        )

    def test_the_first_step_that_failed_is_told(self, world: World) -> None:
        found = outcome(
            self.plan(world), self.answers(migrated={"problem": "the first"}, smoke={"problem": "the second"})
        )
        assert found["before"] == ["app-1: the first"]

    def test_a_failed_switch_keeps_both_colours(self, world: World) -> None:
        found = outcome(self.plan(world), self.answers(shifted={"unreachable": True}))
        assert not found["ok"]
        assert found["before"] == []
        assert "app-1 cannot be reached. Both colours keep running" in found["sentence"]

    def test_steps_that_are_still_to_come_are_no_problem(self, world: World) -> None:
        later = {step: {"skipped": True} for step in ("started", "ready", "smoke", "shifted", "stopped")}
        assert outcome(self.plan(world), self.answers(**later))["ok"]

    @pytest.mark.parametrize(
        ("answer", "sentence"),
        [
            ({"problem": ""}, []),
            ({"skipped": True}, []),
            ({"unreachable": True, "msg": "ssh"}, ["h cannot be reached"]),
            ({"failed": False, "msg": "MODULE FAILURE"}, ["h: MODULE FAILURE"]),
            ({}, ["h: gave no answer"]),
        ],
    )
    def test_only_an_answer_that_says_so_went_well(self, answer: dict[str, Any], sentence: list[str]) -> None:
        assert problems({"h": answer}) == sentence


def test_the_filters_turn_errors_into_sentences() -> None:
    with pytest.raises(AnsibleFilterError, match="no host to run it on"):
        filters.edge_services([API], {}, "gym.test")
    with pytest.raises(AnsibleFilterError, match=r"cannot be planned: .*unexpected keyword argument 'tag'"):
        filters.release_plan(SERVICES, HOSTS, {}, [{}], {"tag": "1"}, "gym.test")


def test_each_job_has_a_timer() -> None:
    found = filters.release_job_units([API, {**JOB, "schedule": "daily"}])
    assert [file["path"] for file in found["files"]] == [
        "/etc/systemd/system/report.service",
        "/etc/systemd/system/report.timer",
    ]
    assert found["units"] == [{"name": "report.timer"}]
