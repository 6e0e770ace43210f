"""A switchover goes to a member that has every acknowledged write, or to nobody, with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.patroni import Cluster, PatroniError
from ansible_collections.gym.platform.plugins.module_utils.patroni_switchover import successor
from ansible_collections.gym.platform.plugins.modules.patroni_switchover import switch_over

SYNCHRONOUS = {"synchronous_mode": True, "maximum_lag_on_failover": 1000}
ASYNCHRONOUS = {"synchronous_mode": False, "maximum_lag_on_failover": 1000}


def member(name: str, role: str = "replica", **other: Any) -> dict[str, Any]:
    address = {"api_url": f"https://{name}:8008/patroni"}
    lag = {} if role == "leader" else {"lag": 0}
    return {"name": name, "role": role, "state": "running", "timeline": 1, **address, **lag, **other}


LEADER, SYNCHRONOUS_STANDBY, REPLICA = member("db-1", "leader"), member("db-2", "sync_standby"), member("db-3")
MEMBERS = [LEADER, SYNCHRONOUS_STANDBY, REPLICA]


def test_the_synchronous_standby_takes_over() -> None:
    assert successor(MEMBERS, SYNCHRONOUS) == "db-2"
    assert successor(MEMBERS, SYNCHRONOUS, "db-2") == "db-2"


def test_without_synchronous_mode_it_is_the_one_that_lags_least() -> None:
    assert successor([LEADER, member("db-2", lag=7), member("db-3", lag=2)], ASYNCHRONOUS) == "db-3"
    assert successor([LEADER, member("db-2", lag=2), member("db-3", lag=2)], ASYNCHRONOUS) == "db-2"


def test_a_leader_that_is_wanted_stays() -> None:
    assert successor([LEADER], SYNCHRONOUS, "db-1") == "db-1"


@pytest.mark.parametrize(
    ("members", "settings", "wanted", "message"),
    [
        (MEMBERS, SYNCHRONOUS, "db-9", "'db-9' is no member of the cluster, which db-1 leads. Possible: db-2."),
        (MEMBERS, SYNCHRONOUS, "db-3", "db-3 cannot take over from db-1: it is no synchronous standby. Possible: db-2"),
        ([LEADER, member("db-2", lag=1001)], ASYNCHRONOUS, "", "db-1 cannot hand over. Nobody can take over now: "
         "db-2 lags by 1001 bytes, and at most 1000 are allowed."),
        ([LEADER, member("db-2", lag="unknown")], ASYNCHRONOUS, "", "db-2 lags by unknown bytes"),
        ([LEADER, member("db-2", timeline=2)], ASYNCHRONOUS, "", "db-2 is on timeline 2, and the leader on 1"),
        ([LEADER, member("db-2", state="stopped"), REPLICA], SYNCHRONOUS, "", "db-2 is stopped; db-3 is no synch"),
        ([LEADER, member("db-2", tags={"nofailover": True})], ASYNCHRONOUS, "", "by its tag nofailover"),
        ([LEADER], SYNCHRONOUS, "", "Nobody can take over now: there is no other member."),
        ([SYNCHRONOUS_STANDBY, REPLICA], SYNCHRONOUS, "db-2", "Nobody leads.*there are db-2 .running., db-3 .running.")
    ],
)  # fmt: skip
def test_a_cluster_that_is_not_fit_is_refused_with_what_is_possible(
    members: list[dict[str, Any]], settings: dict[str, Any], wanted: str, message: str
) -> None:
    with pytest.raises(PatroniError, match=message):
        successor(members, settings, wanted)


def test_who_is_away_is_told() -> None:
    fake = Switching()
    fake.states["db-3"] = "stopped"
    assert switch_over(cluster(fake), "", check=True)["away"] == ["db-3"]


class Switching:
    """A cluster whose leader changes when it is asked to, and whose former leader needs a while to come back."""

    def __init__(self, refuse: bool = False, returns_after: float = 3) -> None:
        self.leader, self.now, self.asked_at = "db-1", 0.0, 0.0
        self.refuse, self.returns_after = refuse, returns_after
        self.requests: list[Any] = []
        self.states = dict.fromkeys(("db-1", "db-2", "db-3"), "running")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        back = self.now >= self.asked_at + self.returns_after
        match method, url.rsplit("/", 1)[1]:
            case "GET", "cluster":
                roles = {"db-1": "sync_standby", "db-2": "sync_standby", "db-3": "replica", self.leader: "leader"}
                listed = [member(name, role, state=self.states[name]) for name, role in roles.items()]
                return 200, {"members": listed}
            case "GET", "config":
                return 200, SYNCHRONOUS
            case "GET", "patroni":
                fed = ["db-3", "db-1"] if back else ["db-3"]
                return 200, {"replication": [{"application_name": name, "state": "streaming"} for name in fed]}
            case "POST", "switchover":
                self.requests.append(body)
                self.asked_at = self.now
                if self.refuse:
                    return 412, "leader name does not match"
                self.leader = str((body or {})["candidate"])
                return 200, "Successfully switched over"
        raise AssertionError(f"unexpected {method} {url}")


def cluster(fake: Switching, timeout: float = 60) -> Cluster:
    return Cluster(fake, "https://db-3:8008", "the cluster", timeout, clock=lambda: fake.now, sleep=fake.sleep)


def test_a_switchover_ends_when_the_former_leader_follows() -> None:
    fake = Switching()
    result = switch_over(cluster(fake), "", check=False)
    assert fake.requests == [{"leader": "db-1", "candidate": "db-2"}]
    assert (result["changed"], result["former"], result["leader"]) == (True, "db-1", "db-2")
    assert result["away"] == []
    assert fake.now >= 3


def test_a_former_leader_that_stays_away_is_an_error() -> None:
    with pytest.raises(PatroniError, match=r"the return of db-1 as a follower did not happen within 10 s"):
        switch_over(cluster(Switching(returns_after=1e9), timeout=10), "", check=False)


def test_what_patroni_says_when_it_refuses_is_told() -> None:
    with pytest.raises(PatroniError, match="db-1 hand over to db-2, 412: leader name does not match"):
        switch_over(cluster(Switching(refuse=True)), "", check=False)


@pytest.mark.parametrize(("wanted", "changed"), [("", True), ("db-1", False)])
def test_check_mode_and_a_leader_that_is_wanted_change_nothing(wanted: str, changed: bool) -> None:
    fake = Switching()
    assert switch_over(cluster(fake), wanted, check=True)["changed"] is changed
    assert switch_over(cluster(fake), "db-1", check=False)["changed"] is False
    assert fake.requests == []
