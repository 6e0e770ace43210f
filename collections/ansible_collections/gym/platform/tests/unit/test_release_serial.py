"""On Docker hosts: over which of them a release goes at a time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.release_docker import Call, batches
from ansible_collections.gym.platform.plugins.module_utils.release_driver import DriverError
from ansible_collections.gym.platform.plugins.module_utils.release_story import Result
from release_worlds import HOSTS, DockerWorld
from test_release_drivers import Releasing

FIRST, SECOND = HOSTS


class Watched(DockerWorld):
    """Hosts that note what is asked of them: which containers they are to have, and which servers are waited for."""

    def __init__(self, serial: str) -> None:
        super().__init__(serial)
        self.asked: list[tuple[str, list[str]]] = []
        # Servers that the front door never finds ready.
        self.unready: set[str] = set()

    def call(self, calls: Sequence[Call]) -> list[Mapping[str, Any]]:
        for call in calls:
            if wanted := call.arguments.get("present"):
                self.asked.append((call.host, [record["name"] for record in wanted]))
        if servers := [call.arguments["servers"] for call in calls if call.arguments.get("until") == "up"]:
            assert all(one == servers[0] for one in servers), "all front doors wait for the same"
            self.asked.append(("front doors", servers[0]))
            if self.unready & set(servers[0]):
                return [{"failed": True, "problem": f"{call.host} waits"} for call in calls]
        return super().call(calls)


@pytest.mark.parametrize(
    ("serial", "sizes"),
    [("100%", [5]), ("50%", [2, 2, 1]), ("1", [1] * 5), ("2", [2, 2, 1]), ("9", [5]), ("1%", [1] * 5)],
)
def test_a_batch_is_as_large_as_a_play_s(serial: str, sizes: list[int]) -> None:
    hosts = ["a", "b", "c", "d", "e"]
    found = batches(hosts, serial)
    assert [len(batch) for batch in found] == sizes
    assert [host for batch in found for host in batch] == hosts


@pytest.mark.parametrize("serial", ["0", "-1", "half", "50 %", ""])
def test_what_is_no_number_of_hosts_is_told(serial: str) -> None:
    with pytest.raises(DriverError, match=f"release_docker_serial is '{serial}'; it is a number of hosts"):
        Releasing(DockerWorld(serial)).release("1")


def test_each_batch_is_ready_before_the_next_begins() -> None:
    world = Watched("1")
    Releasing(world).release("1")
    assert world.asked == [
        (FIRST, ["api-blue", "worker-blue"]),
        ("front doors", [FIRST]),
        (SECOND, ["api-blue", "worker-blue"]),
        ("front doors", [SECOND]),
        (FIRST, ["report"]),
    ]


def test_all_hosts_are_one_batch_by_default() -> None:
    world = Watched("100%")
    Releasing(world).release("1")
    assert world.asked[:3] == [
        (FIRST, ["api-blue", "worker-blue"]),
        (SECOND, ["api-blue", "worker-blue"]),
        ("front doors", [FIRST, SECOND]),
    ]


@pytest.mark.parametrize(("version", "unready"), [("broken", ""), ("2", FIRST)])
def test_a_batch_that_fails_ends_the_release_before_it_reaches_other_hosts(version: str, unready: str) -> None:
    world = Watched("1")
    releasing = Releasing(world)
    releasing.release("1")
    before = {host: dict(items) for host, items in world.containers.items()}
    world.asked.clear()
    world.unready = {unready}
    story = releasing.release(version)
    assert story.result is Result.FAILED
    assert {host for host, _ in world.asked} <= {FIRST, "front doors"}
    assert world.containers == before


def test_what_is_lost_is_put_back_batch_by_batch_too() -> None:
    world = Watched("1")
    releasing = Releasing(world)
    releasing.release("1")
    world.asked.clear()
    for items in world.containers.values():
        del items["api-blue"]
    assert releasing.release("1").result is Result.LIVE
    assert [asked for asked in world.asked if asked[0] == "front doors"] == [
        ("front doors", [FIRST]),
        ("front doors", [SECOND]),
    ]


def test_a_host_s_old_worker_ends_when_every_host_has_a_new_one_and_one_job_alone_stands() -> None:
    world = Watched("1")
    releasing = Releasing(world)
    releasing.release("1")
    seen: list[list[set[str]]] = []

    def look() -> None:
        items = [(host, item) for host, there in world.containers.items() for item in there.values()]
        assert [host for host, item in items if item["kind"] == "job"] == [FIRST]
        workers = [(host, item["version"]) for host, item in items if item["kind"] == "worker" and item["running"]]
        seen.append([{version for at, version in workers if at == host} for host in HOSTS])

    world.before_change = look
    assert releasing.release("2").result is Result.LIVE
    steps = [found for found, _ in itertools.groupby(seen)]
    assert steps[:3] == [[{"1"}, {"1"}], [{"1", "2"}, {"1"}], [{"1", "2"}, {"1", "2"}]]
    assert steps[-1] == [{"2"}, {"2"}]
