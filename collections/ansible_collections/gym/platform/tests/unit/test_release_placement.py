"""Where instances stand and what they are, without any host: every case is a table of what runs and what is wanted."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.filter import release as filters
from ansible_collections.gym.platform.plugins.module_utils.release_driver import Standing
from ansible_collections.gym.platform.plugins.module_utils.release_placement import (
    GREEN_OFFSET,
    INSTANCES_PER_HOST,
    ReleaseError,
    Wish,
    check_ports,
    edge_services,
    one_off,
    places,
    plan_containers,
    release_configuration,
    standing,
    wanted_instances,
)
from release_worlds import API, HOSTS, JOB, SERVICES, WORKER

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
    plain = Wish(**{**values, **changes})
    return Wish(**{**values, **changes, "configuration": release_configuration(SERVICES, plain)})


def running(records: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Return the containers that these records become."""
    return {
        host: [{**item, "running": item["kind"] != "job", "health": "healthy"} for item in items]
        for host, items in records.items()
    }


def compared(wanted: Wish, there: dict[str, list[dict[str, Any]]], colour: str = "blue") -> Standing:
    return standing(wanted_instances(SERVICES, HOSTS, colour, wanted), there, wanted.configuration)


BLUE, GREEN = (running(wanted_instances(SERVICES, HOSTS, colour, wish())) for colour in ("blue", "green"))


def test_a_colour_has_every_service_but_jobs_and_jobs_are_on_the_first_host() -> None:
    blue = wanted_instances(SERVICES, HOSTS, "blue", wish())
    assert [record["name"] for record in blue["app-1"]] == ["api-blue", "worker-blue"]
    jobs = wanted_instances(SERVICES, HOSTS, "", wish())
    assert [[record["name"] for record in jobs[host]] for host in HOSTS] == [["report"], []]
    assert "RELEASE_COLOUR" not in jobs["app-1"][0]["environment"]


class TestStanding:
    def test_what_runs_as_it_is_wanted_is_whole(self) -> None:
        assert compared(wish(), BLUE) is Standing.WHOLE
        assert compared(wish(), {host: [] for host in HOSTS}) is Standing.ABSENT

    @pytest.mark.parametrize(
        "changes",
        [
            {"version": "2"},
            {"secrets": {"PASSWORD": "second"}},
            {"environment": {"REGION": "other"}},
            {"extra_hosts": ["a:10.0.0.9"]},
        ],
    )
    def test_another_image_setting_or_secret_is_another_release(self, changes: dict[str, Any]) -> None:
        assert compared(wish(**changes), BLUE) is Standing.OTHER

    def test_a_lost_instance_leaves_a_part(self) -> None:
        assert compared(wish(), {**BLUE, "app-2": BLUE["app-2"][:1]}) is Standing.PART

    @pytest.mark.parametrize("state", [{"running": False}, {"health": "unhealthy"}])
    def test_an_instance_that_does_not_work_leaves_a_part(self, state: dict[str, Any]) -> None:
        first, *rest = BLUE["app-1"]
        assert compared(wish(), {**BLUE, "app-1": [{**first, **state}, *rest]}) is Standing.PART

    def test_a_service_that_nobody_wants_any_more_is_too_much(self) -> None:
        wanted = wanted_instances([API, JOB], HOSTS, "blue", wish())
        assert standing(wanted, BLUE, wish().configuration) is Standing.PART

    def test_no_job_is_wanted_and_none_is_there(self) -> None:
        assert standing({"app-1": []}, {"app-1": []}, "1") is Standing.WHOLE


class TestFingerprint:
    def test_secrets_are_in_it_and_nowhere_else(self) -> None:
        assert "first" not in str(wanted_instances(SERVICES, HOSTS, "blue", wish()))

    def test_both_colours_of_one_release_have_the_same(self) -> None:
        blue, green = (wanted_instances(SERVICES, HOSTS, colour, wish())["app-1"][0] for colour in ("blue", "green"))
        assert blue["configuration"] == green["configuration"]
        assert green["port"] == blue["port"] + GREEN_OFFSET

    def test_more_replicas_are_the_same_release(self) -> None:
        more = [{**API, "replicas": 4}, WORKER, JOB]
        assert release_configuration(more, wish()) == release_configuration(SERVICES, wish())


def test_a_one_off_has_no_port_and_no_colour() -> None:
    record = one_off("migrate", ["migrate"], wish())
    assert (record["port"], record["colour"], record["command"]) == (0, "", ["migrate"])


class TestPlaces:
    def test_replicas_are_spread_and_a_second_instance_has_its_own_port(self) -> None:
        spread = places({**API, "replicas": 3}, list(HOSTS))
        assert [(place.host, place.port(8000, "blue"), place.port(8000, "green")) for place in spread] == [
            ("app-1", 8000, 8050),
            ("app-2", 8000, 8050),
            ("app-1", 8010, 8060),
        ]

    def test_the_front_door_and_the_containers_agree_on_ports(self) -> None:
        services = [{**API, "replicas": 5}]
        servers = edge_services(services, HOSTS, "gym.test")[0]
        wanted = wanted_instances(services, HOSTS, "blue", wish())
        containers = {(record["address"], record["port"]) for records in wanted.values() for record in records}
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
    def test_a_host_replaces_what_differs_and_keeps_what_does_not(self) -> None:
        same = plan_containers(BLUE["app-1"], wanted_instances(SERVICES, HOSTS, "blue", wish())["app-1"], [])
        assert (same.create, same.replace, same.remove) == ([], [], [])
        present = wanted_instances(SERVICES, HOSTS, "blue", wish(secrets={}))["app-1"][:1]
        plan = plan_containers([*BLUE["app-1"], *GREEN["app-1"]], present, ["blue"])
        assert plan.replace == ["api-blue"]
        assert plan.remove == ["worker-blue"], "of another colour nothing is said"

    def test_a_job_at_work_is_named(self) -> None:
        (job,) = running(wanted_instances(SERVICES, HOSTS, "", wish()))["app-1"]
        wanted = wanted_instances(SERVICES, HOSTS, "", wish("2"))["app-1"]
        assert plan_containers([{**job, "running": True}], wanted, []).finish == ["report"]


def test_the_filters_turn_errors_into_sentences() -> None:
    with pytest.raises(AnsibleFilterError, match="no host to run it on"):
        filters.edge_services([API], {}, "gym.test")


def test_every_web_service_is_asked_whether_it_is_ready_and_for_its_version() -> None:
    assert filters.release_smoke_tests(SERVICES) == [
        {"service": "api", "path": "/readyz"},
        {"service": "api", "path": "/version", "versioned": True},
    ]


def test_each_job_has_a_timer() -> None:
    found = filters.release_job_units([API, {**JOB, "schedule": "daily"}])
    assert [file["path"] for file in found["files"]] == [
        "/etc/systemd/system/report.service",
        "/etc/systemd/system/report.timer",
    ]
    assert found["units"] == [{"name": "report.timer"}]
