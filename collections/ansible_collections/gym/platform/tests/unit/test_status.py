"""The table of what runs where, and the judgements behind it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from ansible_collections.gym.platform.plugins.filter.status import platform_status
from ansible_collections.gym.platform.plugins.module_utils.haproxy_runtime import Server
from ansible_collections.gym.platform.plugins.module_utils.host_probes import (
    ask,
    judge_cache,
    judge_containers,
    judge_failed,
    judge_member,
    judge_queue,
    judge_traffic,
    judge_units,
    parse_info,
    read_units,
)

UNITS = """Id=haproxy.service
LoadState=loaded
ActiveState=active
NRestarts=0

Id=docker.service
LoadState=loaded
ActiveState=failed
NRestarts=5

Id=nothing.service
LoadState=not-found
ActiveState=inactive
NRestarts=0
"""


def server(backend: str, name: str, up: bool = True) -> Server:
    return Server(backend, name, "UP" if up else "DOWN", 0, 0, "L7OK" if up else "L4CON", "")


def container(**changes: Any) -> dict[str, Any]:
    return {
        "name": "api-blue",
        "service": "api",
        "kind": "web",
        "colour": "blue",
        "version": "1",
        "running": True,
        "health": "healthy",
        "status": "Up",
        **changes,
    }


def test_a_unit_has_to_be_active_and_its_restarts_are_told() -> None:
    rows = judge_units(read_units(UNITS))
    assert [(row["service"], row["healthy"], row["state"]) for row in rows] == [
        ("haproxy", True, "active"),
        ("docker", False, "failed"),
        ("nothing", False, "not-found"),
    ]
    assert rows[1]["detail"] == "restarted by itself 5 times"


def test_units_that_failed_and_are_on_no_list_are_told() -> None:
    rows = judge_failed("logrotate.service loaded failed failed Rotate\n")
    assert [(row["service"], row["healthy"]) for row in rows] == [("logrotate", False)]


@pytest.mark.parametrize(
    ("changes", "healthy"),
    [
        ({}, True),
        ({"health": "unhealthy"}, False),
        ({"health": "starting"}, False),
        ({"running": False, "health": "", "status": "Exited (1) 2 hours ago"}, False),
        ({"kind": "job", "running": False, "health": "", "status": "Created"}, True),
        ({"kind": "job", "running": False, "health": "", "status": "Exited (0) 2 hours ago"}, True),
        ({"kind": "job", "running": False, "health": "", "status": "Exited (3) 2 hours ago"}, False),
        ({"kind": "job", "running": True, "health": "", "status": "Up 3 seconds"}, True),
    ],
)
def test_a_service_has_to_work_and_a_job_to_have_worked(changes: dict[str, Any], healthy: bool) -> None:
    assert judge_containers([container(**changes)])[0]["healthy"] is healthy


@pytest.mark.parametrize(
    ("share", "rows"),
    [
        ("0", [("blue", 100, False, "1 of 2 servers up")]),
        ("100", [("green", 100, True, "1 of 1 servers up")]),
        ("30", [("blue", 70, False, "1 of 2 servers up"), ("green", 30, True, "1 of 1 servers up")]),
    ],
)
def test_colours_with_traffic_need_their_servers(share: str, rows: list[tuple[str, int, bool, str]]) -> None:
    servers = [server("api_blue", "a"), server("api_blue", "b", up=False), server("api_green", "a")]
    found = judge_traffic({"api": share}, servers)
    assert [(row["colour"], row["traffic"], row["healthy"], row["state"]) for row in found] == rows


def test_a_service_without_any_server_is_not_healthy() -> None:
    assert judge_traffic({"api": "0"}, [])[0]["healthy"] is False


@pytest.mark.parametrize(
    ("member", "healthy"),
    [
        ({"role": "leader", "state": "running"}, True),
        ({"role": "sync_standby", "state": "streaming", "lag": 0}, True),
        ({"role": "replica", "state": "running", "lag": 10}, True),
        ({"role": "replica", "state": "running", "lag": 101}, False),
        ({"role": "replica", "state": "running", "lag": "unknown"}, False),
        ({"role": "replica", "state": "start failed", "lag": 0}, False),
    ],
)
def test_a_member_runs_and_is_not_far_behind(member: dict[str, Any], healthy: bool) -> None:
    cluster = {"members": [{"name": "other", "role": "leader", "state": "stopped"}, {"name": "db-1", **member}]}
    assert judge_member("db-1", cluster, 100)[0]["healthy"] is healthy


def test_a_member_that_the_cluster_does_not_know_is_told() -> None:
    assert judge_member("db-1", {"members": []}, 100)[0]["healthy"] is False


@pytest.mark.parametrize(
    ("info", "healthy"),
    [
        ("# Replication\r\nrole:master\r\nconnected_slaves:1\r\n", True),
        ("role:master\r\nconnected_slaves:0\r\n", False),
        ("role:slave\r\nmaster_link_status:up\r\nmaster_last_io_seconds_ago:1\r\n", True),
        ("role:slave\r\nmaster_link_status:down\r\nmaster_link_down_since_seconds:9\r\n", False),
        ("", False),
    ],
)
def test_a_primary_has_a_replica_and_a_replica_its_primary(info: str, healthy: bool) -> None:
    assert judge_cache(parse_info(info), replicated=True)[0]["healthy"] is healthy


def test_a_primary_that_is_alone_by_intention_is_healthy() -> None:
    alone = "role:master\r\nconnected_slaves:0\r\n"
    assert judge_cache(parse_info(alone), replicated=False)[0]["healthy"]


def test_letters_among_the_dead_wait_for_a_person() -> None:
    depth = {"ApproximateNumberOfMessages": "3", "ApproximateNumberOfMessagesNotVisible": "1"}
    assert judge_queue("q", depth, dead=False)["healthy"] is True
    assert judge_queue("q", depth, dead=True)["healthy"] is False
    assert judge_queue("q", {"ApproximateNumberOfMessages": "0"}, dead=True)["healthy"] is True
    assert judge_queue("q", depth, dead=False)["detail"] == "3 wait, 1 in delivery"


def test_a_probe_that_fails_is_a_row_and_no_error() -> None:
    (row,) = ask("containers", {"socket": "/nonexistent/docker.sock"})
    assert row["healthy"] is False
    assert "did not answer" in row["detail"]


class TestTable:
    ANSWERS: ClassVar[dict[str, Any]] = {
        "edge-1": {
            "observations": [{"service": "api", "healthy": True, "state": "up", "colour": "blue", "traffic": 100}]
        },
        "app-1": {
            "observations": [
                {
                    "service": "api-blue",
                    "of": "api",
                    "kind": "web",
                    "colour": "blue",
                    "healthy": True,
                    "state": "healthy",
                },
                {
                    "service": "api-green",
                    "of": "api",
                    "kind": "web",
                    "colour": "green",
                    "healthy": True,
                    "state": "healthy",
                },
            ]
        },
        "db-1": {"unreachable": True, "msg": "No route to host\nmore"},
        "db-2": {"msg": "The module failed"},
    }

    def test_the_share_of_the_front_door_is_on_each_container(self) -> None:
        rows = {row["service"]: row for row in platform_status(self.ANSWERS)["rows"]}
        assert rows["api-blue"]["traffic"] == "100 %"
        assert rows["api-green"]["traffic"] == "0 %"

    def test_machines_that_are_away_are_rows_and_problems(self) -> None:
        assert platform_status(self.ANSWERS)["problems"] == [
            "db-1 machine: unreachable (No route to host)",
            "db-2 machine: gave no answer (The module failed)",
        ]

    def test_columns_are_aligned_and_empty_ones_are_left_out(self) -> None:
        lines = platform_status(self.ANSWERS)["table"].splitlines()
        assert lines[0].split() == ["HOST", "SERVICE", "COLOUR", "TRAFFIC", "OK", "STATE", "DETAIL"]
        column = lines[0].index("STATE")
        assert [line[column:].split("  ")[0] for line in lines[1:]] == [
            "up",
            "healthy",
            "healthy",
            "unreachable",
            "gave no answer",
        ]
        assert lines[3].startswith("        "), "the host is written once"

    def test_all_well_is_no_problem(self) -> None:
        assert platform_status({"edge-1": self.ANSWERS["edge-1"]})["problems"] == []
