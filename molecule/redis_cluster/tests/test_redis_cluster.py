"""Redis Cluster, as its clients and an unlucky operator meet it.

The tests run in the order in which they stand here: the last ones kill a primary.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.waiting import wait

SLOTS = 16384
SECONDS_TO_RECOVER = 20
CLIENT = "redis-cli -p 6379 --tls --cacert /etc/ssl/gym/ca.pem"


@dataclass(frozen=True)
class Node:
    """What a node says about one member."""

    address: str
    primary: bool
    follows: str
    first_slot: int
    last_slot: int


class Cluster:
    """The six hosts of the scenario. Clients run on the last one."""

    def __init__(self, inventory: str) -> None:
        runner = AnsibleRunner(inventory)
        self.hosts: dict[str, Host] = {}
        for name in sorted(runner.get_hosts("all")):
            host = testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True)
            self.hosts[runner.get_variables(name)["ansible_host"]] = host
        self.addresses = list(self.hosts)
        self.client = self.hosts[self.addresses[-1]]

    def talk(self, user: str, address: str, *commands: str, follow: bool = False) -> list[str]:
        """Send commands over one connection, and return the lines of the answers, redirections followed if wanted."""
        password = f"molecule-{user.replace('_', '-')}"
        lines = " ".join(shlex.quote(command) for command in commands)
        client = f"timeout 8 {CLIENT} -h {address} --user {user} {'-c' if follow else ''}"
        answer = self.client.run(f"printf '%s\\n' {lines} | REDISCLI_AUTH={password} {client} 2>&1")
        return [line for line in answer.stdout.splitlines() if line and not line.startswith("-> Redirected")]

    def nodes(self, seen_by: str = "") -> list[Node]:
        """Return the members that are in working order, on the word of one of them: the last one."""
        listed = [line.split() for line in self.talk("sessions", seen_by or self.addresses[-1], "CLUSTER NODES")]
        address_of = {words[0]: words[1].partition(":")[0] for words in listed}
        found = []
        for words in listed:
            if "fail" in words[2] or words[7] != "connected":
                continue
            first, _, last = (words[8] if len(words) > 8 else "").partition("-")
            found.append(
                Node(
                    address=address_of[words[0]],
                    primary="master" in words[2],
                    follows=address_of.get(words[3], ""),
                    first_slot=int(first or -1),
                    last_slot=int(last or first or -1),
                )
            )
        return found

    def primaries(self) -> list[Node]:
        """Return the primaries, by the slots that they have."""
        return sorted((node for node in self.nodes() if node.primary), key=lambda node: node.first_slot)

    def whole(self) -> bool:
        """Tell whether all members are in working order: every primary with a replica that has caught up."""
        nodes = self.nodes()
        followed = {node.follows for node in nodes if not node.primary}
        if len(nodes) != len(self.hosts) or followed != {node.address for node in nodes if node.primary}:
            return False
        replicas = [node.address for node in nodes if not node.primary]
        return all("master_link_status:up" in self.talk("monitoring", one, "INFO replication") for one in replicas)

    def key_on(self, node: Node, prefix: str) -> str:
        """Return a key with this prefix that belongs to a primary."""
        keys = [f"{prefix}{number}" for number in range(30)]
        slots = map(int, self.talk("sessions", node.address, *(f"CLUSTER KEYSLOT {key}" for key in keys)))
        return next(key for key, slot in zip(keys, slots, strict=True) if node.first_slot <= slot <= node.last_slot)


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    cluster = Cluster(str(Path(request.config.getoption("--ansible-inventory")).resolve()))
    wait(60, cluster.whole)
    return cluster


def test_every_slot_has_an_owner_and_every_owner_a_replica(cluster: Cluster) -> None:
    primaries = cluster.primaries()
    assert len(primaries) == 3
    ends = [-1] + [node.last_slot for node in primaries]
    assert [node.first_slot for node in primaries] == [end + 1 for end in ends[:-1]]
    assert ends[-1] == SLOTS - 1
    for address in cluster.addresses:
        said = cluster.talk("monitoring", address, "CLUSTER INFO")
        assert {"cluster_state:ok", f"cluster_slots_ok:{SLOTS}", "cluster_size:3", "cluster_known_nodes:6"} <= set(said)


def test_a_use_reads_and_writes_its_keys_on_every_primary(cluster: Cluster) -> None:
    primaries = cluster.primaries()
    for number, node in enumerate(primaries):
        key = cluster.key_on(node, "session:everywhere-")
        assert cluster.talk("sessions", node.address, f"SET {key} {number} EX 60", f"GET {key}") == ["OK", str(number)]
        # Whoever asks another primary is sent to this one, and is known there by the same name.
        other = primaries[number - 1].address
        assert cluster.talk("sessions", other, f"GET {key}")[0].startswith("MOVED")
        assert cluster.talk("sessions", other, f"GET {key}", follow=True) == [str(number)]


def test_keys_of_one_transaction_are_kept_together_by_their_tag(cluster: Cluster) -> None:
    commands = ["MULTI", "SET session:{42}:a 1 EX 60", "SET session:{42}:b 2 EX 60", "EXEC"]
    slot = int(cluster.talk("sessions", cluster.addresses[0], "CLUSTER KEYSLOT session:{42}:a")[0])
    owner = next(node for node in cluster.primaries() if node.first_slot <= slot <= node.last_slot)
    assert cluster.talk("sessions", owner.address, *commands) == ["OK", "QUEUED", "QUEUED", "OK", "OK"]
    assert "CROSSSLOT" in cluster.talk("sessions", owner.address, "MGET session:{42}:a session:{43}:a")[0]


def test_a_use_is_refused_on_every_node_what_is_not_its_own(cluster: Cluster) -> None:
    commands = [
        "GET session:x", "SET session:x 1 EX 60", "DEL session:x", "EXISTS session:x", "FLUSHALL", "KEYS *", "SCAN 0",
        "CONFIG SET maxmemory 1", "ACL LIST", "SHUTDOWN", "CLUSTER FAILOVER", "CLUSTER RESET", "CLUSTER FORGET x",
        "CLUSTER MEET 127.0.0.1 6379", "CLUSTER DELSLOTS 0", "CLUSTER SETSLOT 0 STABLE", "CLUSTER GETKEYSINSLOT 0 9",
        "MIGRATE h 1 k 0 1",
    ]  # fmt: skip
    for address in cluster.addresses:
        answers = dict(zip(commands, cluster.talk("rate_limit", address, *commands), strict=True))
        assert {command: answer for command, answer in answers.items() if not answer.startswith("NOPERM")} == {}


def test_the_audit_counts_the_keys_of_primaries_and_of_replicas(cluster: Cluster) -> None:
    node = cluster.primaries()[0]
    key = cluster.key_on(node, "session:for-ever-")
    # The answer to WAIT is the number of replicas that have the key.
    assert cluster.talk("administrator", node.address, f"SET {key} 1", "WAIT 1 5000") == ["OK", "1"]
    counted = {}
    try:
        for address, host in cluster.hosts.items():
            host.check_output("systemctl start redis-ttl-audit.service")
            metrics = host.check_output("cat /var/lib/prometheus/node-exporter/redis_ttl.prom")
            counted[address] = 'redis_ttl_policy_violations{use="sessions",kind="no_ttl"} 1' in metrics
    finally:
        cluster.talk("administrator", node.address, f"DEL {key}")
    holders = {node.address} | {one.address for one in cluster.nodes() if one.follows == node.address}
    assert {address for address, found in counted.items() if found} == holders


def test_a_killed_primary_is_replaced_and_the_others_go_on(cluster: Cluster) -> None:
    lost, other, _ = cluster.primaries()
    heir = next(node.address for node in cluster.nodes() if node.follows == lost.address)
    kept, after = cluster.key_on(lost, "session:kept-"), cluster.key_on(lost, "session:after-")
    elsewhere = cluster.key_on(other, "session:elsewhere-")
    # The answer to WAIT is the number of replicas that have the key.
    assert cluster.talk("sessions", lost.address, f"SET {kept} 1 EX 600", "WAIT 1 5000") == ["OK", "1"]
    cluster.hosts[lost.address].check_output("systemctl kill --signal=KILL redis-server.service")
    assert cluster.talk("sessions", other.address, f"SET {elsewhere} 1 EX 600") == ["OK"]
    write = f"SET {after} 1 EX 600"
    seconds = wait(SECONDS_TO_RECOVER, lambda: cluster.talk("sessions", heir, write) == ["OK"])
    print(f"writes were accepted again after {seconds:.1f} s")
    assert cluster.talk("sessions", heir, f"GET {kept}") == ["1"]
    wait(60, cluster.whole)
    assert {node.address: node.follows for node in cluster.nodes()}[lost.address] == heir


def test_the_next_run_leaves_the_new_primary_alone(cluster: Cluster) -> None:
    before = {node.address: node.primary for node in cluster.nodes()}
    options = {"nodes": cluster.addresses, "replicas": 1, "password": "molecule-administrator"}
    answer = cluster.client.ansible("gym.platform.redis_cluster", json.dumps(options), check=False, become=True)
    assert (answer["changed"], answer["steps"]) == (False, [])
    assert {node.address: node.primary for node in cluster.nodes()} == before
