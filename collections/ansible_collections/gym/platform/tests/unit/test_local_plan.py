"""What has to be done to the local hosts, for every state that they can be found in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.gym.platform.plugins.module_utils.local_plan import (
    LABEL_ENVIRONMENT,
    LABEL_KEY,
    LABEL_NETWORK,
    LABEL_SPEC,
    Container,
    Current,
    Desired,
    Host,
    Network,
    Place,
    PlanError,
    Port,
    Rule,
    Step,
    fingerprint,
    key_mark,
    payload,
    plan,
    plan_absence,
    remade_for_key,
    sentence,
    ways,
)

EDGE = Host("edge-1", "10.203.0.11", (Port(443, 8443),))
APP = Host("app-1", "10.203.0.21", engine=True)
HOME = Place("gym-local", "10.203.0.0/24")
DESIRED = Desired("development", (HOME,), "gym-", (EDGE, APP))
NETWORK = Network("n1", "gym-local", ("10.203.0.0/24",), {LABEL_NETWORK: "local"})


def running(host: Host, desired: Desired = DESIRED) -> Container:
    labels = {LABEL_ENVIRONMENT: desired.environment, LABEL_SPEC: fingerprint(desired, host)}
    return Container(desired.container(host), "running", labels, ("n1",), (host.address,))


COMPLETE = Current(containers=(running(EDGE), running(APP)), networks=(NETWORK,))


def verbs(current: Current, desired: Desired = DESIRED) -> list[tuple[str, str]]:
    return [(step.verb, step.name) for step in plan(current, desired)]


def with_edge(**changes: object) -> Current:
    edge = replace(running(EDGE), **changes)  # type: ignore[arg-type]
    return replace(COMPLETE, containers=(edge, running(APP)))


def test_nothing_is_done_when_everything_runs() -> None:
    assert plan(COMPLETE, DESIRED) == []


def test_hosts_that_know_another_key_are_made_anew() -> None:
    def remade(public_key: bytes, known: bytes | None) -> list[tuple[str, str]]:
        labels = running(EDGE).labels | ({LABEL_KEY: key_mark(known)} if known else {})
        current = with_edge(labels=labels)
        return [(step.verb, step.name) for step in remade_for_key(plan(current, DESIRED), current, DESIRED, public_key)]

    assert remade(b"ours", b"ours") == []
    assert remade(b"ours", b"that of another copy") == [("remove", "gym-edge-1"), ("create", "gym-edge-1")]
    assert remade(b"ours", None) == [], "a host from before labels told the key"
    assert [name for _, name in remade(b"", b"ours")] == ["gym-edge-1"] * 2 + ["gym-app-1"] * 2, "ours is gone"


def test_everything_is_made_on_an_empty_engine() -> None:
    assert verbs(Current()) == [("create_network", "gym-local"), ("create", "gym-edge-1"), ("create", "gym-app-1")]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": "exited"}, ["start"]),
        ({"state": "paused"}, ["unpause"]),
        ({"state": "restarting"}, []),
        ({"state": "created"}, ["remove", "create"]),
        ({"state": "dead"}, ["remove", "create"]),
        ({"networks": ()}, ["attach"]),
        ({"networks": ("an older one",)}, ["attach"]),
        ({"addresses": ()}, ["attach"]),
        ({"addresses": ("10.203.0.99",)}, ["attach"]),
        ({"networks": (), "state": "exited"}, ["attach", "start"]),
        ({"networks": (), "state": "created"}, ["remove", "create"]),
        ({"labels": {LABEL_ENVIRONMENT: "development", LABEL_SPEC: "another"}}, ["remove", "create"]),
    ],
)
def test_a_host_is_repaired(changes: dict[str, object], expected: list[str]) -> None:
    assert verbs(with_edge(**changes)) == [(verb, "gym-edge-1") for verb in expected]


def test_hosts_get_a_removed_network_back_without_losing_their_data() -> None:
    assert verbs(replace(COMPLETE, networks=())) == [
        ("create_network", "gym-local"),
        ("attach", "gym-edge-1"),
        ("attach", "gym-app-1"),
    ]


def test_a_host_that_left_the_inventory_is_removed() -> None:
    assert verbs(COMPLETE, replace(DESIRED, hosts=(EDGE,))) == [("remove", "gym-app-1")]


def test_hosts_of_another_environment_are_left_alone() -> None:
    other = Container("gym-molecule-1", "exited", {LABEL_ENVIRONMENT: "molecule"}, ("n1",), ("10.203.0.101",))
    assert plan(replace(COMPLETE, containers=(*COMPLETE.containers, other)), DESIRED) == []


def test_a_new_image_changes_no_host() -> None:
    assert payload(DESIRED, APP, "gym-host:a") != payload(DESIRED, APP, "gym-host:b")
    labels = running(APP).labels
    assert labels[LABEL_SPEC] == fingerprint(DESIRED, APP)


@pytest.mark.parametrize("changed", [replace(EDGE, ports=()), replace(EDGE, engine=True)])
def test_a_changed_description_is_noticed(changed: Host) -> None:
    assert fingerprint(DESIRED, changed) != fingerprint(DESIRED, EDGE)


def test_only_a_host_with_an_engine_has_a_volume() -> None:
    assert payload(DESIRED, EDGE)["HostConfig"]["Mounts"] == []
    (mount,) = payload(DESIRED, APP)["HostConfig"]["Mounts"]
    assert (mount["Source"], mount["Target"]) == ("gym-app-1-docker", "/var/lib/docker")
    # By this label it is found again when everything is removed.
    assert mount["VolumeOptions"]["Labels"] == {LABEL_ENVIRONMENT: "development"}


def test_ports_are_published_on_the_loopback_address_only() -> None:
    bindings = payload(DESIRED, EDGE)["HostConfig"]["PortBindings"]
    assert bindings == {"443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8443"}]}


@pytest.mark.parametrize(
    ("desired", "words"),
    [
        (
            replace(DESIRED, networks=(replace(HOME, subnet="10.203.0.0/99"),)),
            "network.cidr is '10.203.0.0/99', which is no network",
        ),
        (replace(DESIRED, networks=(HOME, Place("b", "10.203.0.128/25"))), "network.dr_cidr overlap: 10.203.0.128/25"),
        (replace(DESIRED, hosts=(replace(EDGE, address=""),)), "edge-1 has no ansible_host"),
        (replace(DESIRED, hosts=(replace(EDGE, address="edge"),)), "is 'edge', which is no address"),
        (replace(DESIRED, hosts=(replace(EDGE, address="10.9.0.1"),)), "outside network.cidr 10.203.0.0/24"),
        (replace(DESIRED, hosts=(replace(EDGE, address="10.203.0.1"),)), "keeps for itself"),
        (replace(DESIRED, hosts=(EDGE, replace(APP, address=EDGE.address))), "both have the address 10.203.0.11"),
        (replace(DESIRED, hosts=(EDGE, replace(APP, ports=EDGE.ports))), "both publish 127.0.0.1:8443"),
    ],
)
def test_an_impossible_description_is_refused(desired: Desired, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        plan(Current(), desired)


@pytest.mark.parametrize(
    ("current", "words"),
    [
        (Current(containers=(Container("gym-edge-1", "running"),)), "gym-edge-1 exists and is not ours"),
        (Current(networks=(Network("x", "gym-local", ("10.203.0.0/24",)),)), "gym-local exists and is not ours"),
        (Current(networks=(replace(NETWORK, subnets=("10.5.0.0/24",)),)), "run `make down` first"),
        (Current(networks=(Network("x", "other", ("10.203.0.128/25",)),)), "of the Docker network other"),
        (Current(routes=(("10.203.0.0/16", "tun0"),)), "route to 10.203.0.0/16 through tun0"),
    ],
)
def test_what_is_in_the_way_is_named(current: Current, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        plan(current, DESIRED)


def test_the_route_of_our_own_network_is_not_in_the_way() -> None:
    assert plan(replace(COMPLETE, routes=(("10.203.0.0/24", "gym-local"),)), DESIRED) == []


def test_a_network_of_the_other_protocol_is_not_in_the_way() -> None:
    other = Network("x", "six", ("fd00::/64",))
    assert ("create_network", "gym-local") in verbs(Current(networks=(other,)))


class TestTwoRegions:
    """Networks that reach each other, as two regions do."""

    ABROAD = Place("gym-local-2", "10.204.0.0/24")
    STORE = Host("store-1", "10.204.0.81")
    BOTH = replace(DESIRED, networks=(HOME, ABROAD), hosts=(EDGE, STORE))
    NETWORKS = (NETWORK, Network("n2", "gym-local-2", ("10.204.0.0/24",), {LABEL_NETWORK: "local"}))
    RETURN = Rule("filter", "DOCKER-USER", ("-j", "RETURN"))
    MASQUERADE = Rule("nat", "POSTROUTING", ("-s", "10.203.0.0/24", "!", "-o", "gym-local", "-j", "MASQUERADE"))
    WAYS = tuple(ways((HOME, ABROAD)))

    def world(self, *rules: Rule) -> Current:
        store = replace(running(self.STORE, self.BOTH), networks=("n2",))
        return Current((running(EDGE, self.BOTH), store), self.NETWORKS, rules=rules)

    def opened(self, *rules: Rule) -> list[tuple[str, str]]:
        return [(step.rule.table, step.rule.words[1]) for step in plan(self.world(*rules), self.BOTH) if step.rule]

    def test_a_host_is_on_the_network_that_its_address_lies_in(self) -> None:
        assert payload(self.BOTH, EDGE)["HostConfig"]["NetworkMode"] == "gym-local"
        assert payload(self.BOTH, self.STORE)["HostConfig"]["NetworkMode"] == "gym-local-2"
        # A host that does not move is the same host when its environment gets a second network.
        assert fingerprint(self.BOTH, EDGE) == fingerprint(DESIRED, EDGE)

    def test_the_second_network_and_the_ways_are_made(self) -> None:
        steps = [(step.verb, step.name) for step in plan(replace(COMPLETE, rules=(self.RETURN,)), self.BOTH)]
        assert steps[0] == ("create_network", "gym-local-2")
        assert [verb for verb, _ in steps].count("open_way") == 4

    def test_nothing_is_done_when_the_ways_are_open(self) -> None:
        assert plan(self.world(*self.WAYS, self.RETURN, self.MASQUERADE), self.BOTH) == []

    def test_a_way_behind_what_decides_before_it_is_opened_again(self) -> None:
        assert self.opened(self.RETURN, *self.WAYS) == [("filter", "gym-local"), ("filter", "gym-local-2")]
        assert self.opened(self.MASQUERADE, *self.WAYS) == [("nat", "10.203.0.0/24")]
        # Another network's masquerade is none of our business.
        foreign = replace(self.MASQUERADE, words=("-s", "172.17.0.0/16", *self.MASQUERADE.words[2:]))
        assert self.opened(foreign, *self.WAYS) == []

    def test_ways_go_with_a_network_however_often_they_are_there(self) -> None:
        molecule = Container("gym-molecule-1", "running", {LABEL_ENVIRONMENT: "molecule"}, ("n1",))
        world = self.world(*self.WAYS, self.RETURN, *self.WAYS)
        steps = plan_absence(replace(world, containers=(*world.containers, molecule)), self.BOTH)
        assert [step.verb for step in steps].count("close_way") == 8
        assert steps[-1] == Step("remove_network", "gym-local-2", "empty")

    def test_ways_stay_while_both_networks_stay(self) -> None:
        others = [Container(f"other-{net}", "running", {LABEL_ENVIRONMENT: "other"}, (net,)) for net in ("n1", "n2")]
        world = self.world(*self.WAYS)
        steps = plan_absence(replace(world, containers=(*world.containers, *others)), self.BOTH)
        assert {step.verb for step in steps} == {"remove"}


class TestAbsence:
    """All of ours, and nothing else."""

    def test_everything_of_the_environment_goes(self) -> None:
        ours = ("gym-app-1-docker", {LABEL_ENVIRONMENT: "development"})
        current = replace(COMPLETE, volumes=(ours, ("somebody's", {})))
        assert {(step.verb, step.name) for step in plan_absence(current, DESIRED)} == {
            ("remove", "gym-edge-1"),
            ("remove", "gym-app-1"),
            ("remove_volume", "gym-app-1-docker"),
            ("remove_network", "gym-local"),
        }

    def test_a_container_of_the_same_name_that_is_not_ours_stays(self) -> None:
        assert plan_absence(Current(containers=(Container("gym-edge-1", "running"),)), DESIRED) == []

    def test_the_network_stays_while_others_are_on_it(self) -> None:
        other = Container("gym-molecule-1", "running", {LABEL_ENVIRONMENT: "molecule"}, ("n1",))
        current = replace(COMPLETE, containers=(*COMPLETE.containers, other))
        assert "remove_network" not in [step.verb for step in plan_absence(current, DESIRED)]

    def test_nothing_is_done_twice(self) -> None:
        assert plan_absence(Current(), DESIRED) == []


@pytest.mark.parametrize(
    ("said", "sentence_"),
    [
        (
            "driver failed: Bind for 127.0.0.1:8443 failed: port is already allocated",
            "gym-edge-1 cannot start: 127.0.0.1:8443 is in use on this machine",
        ),
        (
            "listen tcp4 127.0.0.1:9090: bind: address already in use",
            "gym-edge-1 cannot start: 127.0.0.1:9090 is in use on this machine",
        ),
        ("mkdir /x: no space left on device", "the disk of the Docker engine is full"),
        ("something\nnew", "gym-edge-1: something new"),
    ],
)
def test_the_engine_is_put_into_words(said: str, sentence_: str) -> None:
    assert sentence_ in sentence(said, "gym-edge-1")


def test_steps_say_why() -> None:
    assert plan(with_edge(state="exited"), DESIRED) == [Step("start", "gym-edge-1", "exited")]
