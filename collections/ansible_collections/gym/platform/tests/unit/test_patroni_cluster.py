"""A changed setting reaches the running cluster, and never more than one member is down for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.patroni import Cluster, PatroniError, merge
from ansible_collections.gym.platform.plugins.modules.patroni_cluster import bring_up_to_date

WAL_OF_THE_CHANGE = 500


class FakeCluster:
    """Three members that behave as Patroni's do, on a clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.configuration: dict[str, Any] = {"postgresql": {"parameters": {"max_connections": 100}}}
        self.running = {"db-1": 100, "db-2": 100, "db-3": 100}
        self.up_at = dict.fromkeys(self.running, 0.0)
        self.lowered_at = 0.0
        self.restarts: list[str] = []
        self.down_at_once = 0
        self.leader = "db-2"
        self.refuse: int | None = None

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wanted(self) -> int:
        return int(self.configuration["postgresql"]["parameters"]["max_connections"])

    def up(self, name: str) -> bool:
        return self.now >= self.up_at[name]

    def state(self, name: str) -> dict[str, Any]:
        feeds = [{"application_name": other, "state": "streaming"} for other in self.running if self.up(other)]
        replayed = WAL_OF_THE_CHANGE if self.now >= self.lowered_at + 3 else 0
        is_leader = name == self.leader
        return {
            "dcs_last_seen": int(self.now / 3),
            "pending_restart": self.running[name] != self.wanted(),
            "replication": feeds if is_leader else None,
            "xlog": {"location": WAL_OF_THE_CHANGE} if is_leader else {"replayed_location": replayed},
        }

    def __call__(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        host, path = url.removeprefix("https://").split("/", 1)
        name = host.split(":")[0]
        match (method, path):
            case ("GET", "cluster"):
                return 200, {
                    "members": [
                        {
                            "name": one,
                            "role": "leader" if one == self.leader else "replica",
                            "state": "running" if self.up(one) else "restarting",
                            "api_url": f"https://{one}:8008/patroni",
                        }
                        for one in self.running
                    ]
                }
            case ("GET", "patroni"):
                return 200, {key: value for key, value in self.state(name).items() if value is not None}
            case ("GET", "config"):
                return 200, self.configuration
            case ("PUT", "config"):
                if self.refuse:
                    return self.refuse, "no"
                assert body is not None
                self.configuration = dict(body)
                return 200, body
            case ("POST", "restart"):
                self.down_at_once = max(self.down_at_once, 1 + sum(not self.up(other) for other in self.running))
                self.restart(name)
                return 200, "restarted"
        raise AssertionError(f"unexpected {method} {url}")

    def restart(self, name: str) -> None:
        self.restarts.append(name)
        self.up_at[name] = self.now + 5
        lowered = self.wanted() < self.running[name]
        caught_up = self.running[self.leader] == self.wanted() and self.now >= self.lowered_at + 3
        if name == self.leader:
            self.lowered_at = self.now
        elif lowered and not caught_up:
            return
        self.running[name] = self.wanted()


def cluster(fake: FakeCluster, timeout: float = 60) -> Cluster:
    return Cluster(fake, "https://db-2:8008", "db-2", timeout, clock=lambda: fake.now, sleep=fake.sleep)


def settings(connections: int) -> dict[str, Any]:
    return {"postgresql": {"parameters": {"max_connections": connections}}}


def test_what_is_as_it_has_to_be_is_left_alone() -> None:
    fake = FakeCluster()
    result = bring_up_to_date(cluster(fake), "db-2", settings(100), check=False)
    assert (result["changed"], result["restarted"], fake.restarts) == (False, [], [])


def test_a_raised_limit_restarts_replicas_first_one_at_a_time() -> None:
    fake = FakeCluster()
    result = bring_up_to_date(cluster(fake), "db-2", settings(200), check=False)
    assert result["restarted"] == ["db-1", "db-3", "db-2"]
    assert fake.down_at_once == 1
    assert set(fake.running.values()) == {200}


def test_a_lowered_limit_reaches_the_replicas_after_the_leader() -> None:
    fake = FakeCluster()
    result = bring_up_to_date(cluster(fake), "db-2", settings(50), check=False)
    assert result["restarted"] == ["db-1", "db-3", "db-2", "db-1", "db-3"]
    assert fake.down_at_once == 1
    assert set(fake.running.values()) == {50}


def test_a_restart_that_an_interrupted_run_left_over_is_made() -> None:
    fake = FakeCluster()
    fake.configuration = settings(200)
    assert bring_up_to_date(cluster(fake), "db-2", settings(200), check=False)["restarted"] == ["db-1", "db-3", "db-2"]


def test_only_the_leader_changes_anything() -> None:
    fake = FakeCluster()
    fake.leader = "db-1"
    result = bring_up_to_date(cluster(fake), "db-2", settings(200), check=False)
    assert (result["changed"], result["leader"], fake.wanted()) == (False, "db-1", 100)


def test_check_mode_says_what_it_would_do_and_does_nothing() -> None:
    fake = FakeCluster()
    result = bring_up_to_date(cluster(fake), "db-2", settings(200), check=True)
    assert result["changed"]
    assert '"max_connections": 200' in result["diff"]["after"]
    assert (fake.wanted(), fake.restarts) == (100, [])


def test_what_people_set_stays_and_what_is_no_longer_described_goes() -> None:
    assert merge({"pause": True, "ttl": 30, "old": 1}, {"ttl": 20}) == {"pause": True, "ttl": 20}


def test_a_member_that_does_not_come_back_ends_the_wait_with_its_name() -> None:
    fake = FakeCluster()
    fake.up_at["db-2"] = 1e9
    with pytest.raises(PatroniError, match=r"db-2: joining the cluster did not happen within 10 s.*journalctl"):
        bring_up_to_date(cluster(fake, timeout=10), "db-2", settings(100), check=False)


def test_settings_that_patroni_refuses_are_an_error() -> None:
    fake = FakeCluster()
    fake.refuse = 403
    with pytest.raises(PatroniError, match="refused the settings with 403: no"):
        bring_up_to_date(cluster(fake), "db-2", settings(200), check=False)
