"""The next steps towards a Redis Cluster."""

from __future__ import annotations

import pytest
from ansible_collections.gym.platform.plugins.module_utils.redis_topology import (
    Meet,
    Member,
    Replicate,
    TakeSlots,
    agreed,
    parse_nodes,
    plan,
)

NODES = [f"192.0.2.{number}" for number in range(1, 7)]


def member(number: int, slots: int = 0, primary: int = 0, me: bool = False) -> Member:
    role, follows = ("replica", f"id{primary}") if primary else ("primary", "")
    return Member(f"id{number}", f"192.0.2.{number}", role, follows, slots, failed=False, myself=me)


def views(members: list[Member]) -> dict[str, list[Member]]:
    return {
        seen.address: [Member(**{**vars(other), "myself": other.address == seen.address}) for other in members]
        for seen in members
    }


def test_the_answer_of_cluster_nodes_is_read() -> None:
    text = (
        "a1 192.0.2.1:6379@16379 myself,master - 0 0 1 connected 0-5460 6000 [7000->-b2]\n"
        "b2 192.0.2.2:6379@16379,name slave a1 0 1 1 connected\n"
        "c3 192.0.2.3:6379@16379 master,fail - 1 1 3 disconnected\n"
        "d4 :0@0 master,noaddr - 1 1 3 disconnected\n"
        "e5 192.0.2.5:6379@16379 handshake - 1 1 3 disconnected\n"
    )
    first, second, third = parse_nodes(text)
    assert first == Member("a1", "192.0.2.1", "primary", "", 5462, failed=False, myself=True)
    assert (second.role, second.primary_id) == ("replica", "a1")
    assert third.failed
    assert str(third) == "192.0.2.3 primary slots=0 failed"


def test_nodes_that_do_not_know_each_other_meet_first() -> None:
    alone = {address: [member(number, me=True)] for number, address in enumerate(NODES[:3], 1)}
    assert plan(alone, NODES[:3], 3) == [Meet(NODES[1], NODES[0]), Meet(NODES[2], NODES[0])]


def test_all_slots_are_shared_out_without_a_gap() -> None:
    steps = plan(views([member(number) for number in range(1, 7)]), NODES, 3)
    ranges = [(step.first, step.last) for step in steps if isinstance(step, TakeSlots)]
    assert ranges == [(0, 5460), (5461, 10922), (10923, 16383)]
    assert [step.address for step in steps if isinstance(step, TakeSlots)] == NODES[:3]


def test_the_others_become_replicas_of_the_primaries_that_have_fewest() -> None:
    members = [member(1, 5461), member(2, 5461), member(3, 5462), member(4, primary=1), member(5), member(6)]
    steps = plan(views(members), NODES, 3)
    assert steps == [Replicate(NODES[4], "id2", NODES[1]), Replicate(NODES[5], "id3", NODES[2])]
    assert str(steps[0]) == "192.0.2.5 replicates 192.0.2.2"


def test_a_cluster_after_a_failover_is_left_alone() -> None:
    members = [
        member(1, primary=4), member(2, 5461), member(3, 5462), member(4, 5461), member(5, primary=2),
        member(6, primary=3),
    ]  # fmt: skip
    assert plan(views(members), NODES, 3) == []


def test_a_new_node_meets_the_cluster_and_not_the_other_way_round() -> None:
    cluster = views([member(1, 5461), member(2, 5461), member(3, 5462)])
    cluster["192.0.2.4"] = [member(4, me=True)]
    assert plan(cluster, ["192.0.2.4", *NODES[:3]], 3) == [Meet("192.0.2.4", NODES[0])]


@pytest.mark.parametrize("broken", ["unknown", "role"])
def test_nodes_agree_only_when_all_say_the_same(broken: str) -> None:
    same = views([member(1, 5461), member(2, 5461), member(3, 5462)])
    assert agreed(same, NODES[:3])
    if broken == "unknown":
        same[NODES[2]] = same[NODES[2]][1:]
    else:
        same[NODES[2]][0] = member(1, primary=2)
    assert not agreed(same, NODES[:3])
