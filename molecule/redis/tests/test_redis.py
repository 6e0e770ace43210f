"""Redis and its Sentinels, as a client and an unlucky operator meet them.

The tests run in the order in which they stand here: the last ones kill the primary.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.waiting import wait

PRIMARY_NAME = "gym-cache"
SECONDS_TO_RECOVER = 20


class Cluster:
    """The hosts of the scenario: Redis on the first two, Sentinel on all."""

    def __init__(self, inventory: str) -> None:
        runner = AnsibleRunner(inventory)
        names = sorted(runner.get_hosts("machines"))
        self.hosts: dict[str, Host] = {}
        for name in names:
            host = testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True)
            self.hosts[runner.get_variables(name)["ansible_host"]] = host
        self.addresses = list(self.hosts)

    def talk(self, user: str, *commands: str, address: str = "", port: int = 6379) -> list[str]:
        """Send commands over one TLS connection from the last host, and return the lines of the answers."""
        password = f"molecule-{user.replace('_', '-')}"
        client = f"redis-cli -h {address or self.primary()} -p {port} --tls --cacert /etc/ssl/gym/ca.pem --user {user}"
        lines = " ".join(shlex.quote(command) for command in commands)
        command = f"printf '%s\\n' {lines} | REDISCLI_AUTH={password} timeout 8 {client} 2>&1"
        return str(self.hosts[self.addresses[-1]].run(command).stdout).splitlines()

    def cli(self, user: str, command: str, address: str = "", port: int = 6379) -> str:
        """Send one command, and return its whole answer."""
        return "\n".join(self.talk(user, command, address=address, port=port))

    def primary(self) -> str:
        """Who the primary is, on the word of the last Sentinel."""
        question = f"SENTINEL get-master-addr-by-name {PRIMARY_NAME}"
        return self.talk("sessions", question, address=self.addresses[-1], port=26379)[0]

    def replica(self) -> str:
        """The Redis that is not the primary."""
        primary = self.primary()
        return next(address for address in self.addresses[:2] if address != primary)

    def role(self, address: str) -> str:
        """What a Redis says of itself."""
        info = self.cli("monitoring", "INFO replication", address=address)
        return "link-up" if "master_link_status:up" in info else "master" if "role:master" in info else "other"


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    cluster = Cluster(str(Path(request.config.getoption("--ansible-inventory")).resolve()))
    wait(30, lambda: cluster.role(cluster.primary()) == "master" and cluster.role(cluster.replica()) == "link-up")
    return cluster


@pytest.mark.parametrize(("user", "prefix"), [("sessions", "session:"), ("rate_limit", "rate:")])
def test_a_use_reads_and_writes_its_own_keys(cluster: Cluster, user: str, prefix: str) -> None:
    key = f"{prefix}mine"
    script = f"EVAL \"return redis.call('GET', KEYS[1])\" 1 {key}"
    assert cluster.talk(user, f"SET {key} 1 EX 60", f"INCR {key}", script) == ["OK", "2", "2"]


def test_a_use_is_refused_on_the_keys_of_another(cluster: Cluster) -> None:
    commands = [
        "SET session:x 1 EX 60",
        "GET session:x",
        "DEL session:x",
        "RENAME rate:mine session:x",
        "EXISTS session:x",
    ]
    answers = cluster.talk("rate_limit", *commands)
    assert len([answer for answer in answers if answer.startswith("NOPERM")]) == len(commands), answers
    sneaky = "EVAL \"return redis.call('GET', 'session:mine')\" 0"
    assert "can't access at least one of the keys" in cluster.cli("rate_limit", sneaky)


def test_a_use_is_refused_what_is_dangerous(cluster: Cluster) -> None:
    commands = [
        "FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "RANDOMKEY", "DBSIZE", "CONFIG GET maxmemory",
        "CONFIG SET maxmemory 1", "ACL LIST", "SHUTDOWN", "REPLICAOF NO ONE", "MONITOR", "CLIENT LIST",
        "CLIENT TRACKING ON", "FUNCTION FLUSH", "SCRIPT FLUSH", "SWAPDB 0 1", "SORT session:mine",
        "MIGRATE h 1 k 0 1", "INFO",
        "PUBLISH __sentinel__:hello x", "SUBSCRIBE __sentinel__:hello", "RESTORE session:x 0 x", "SELECT 0 1",
    ]  # fmt: skip
    answers = [line for line in cluster.talk("sessions", *commands) if line]
    refused = dict(zip(commands, answers, strict=True))
    # The last one is allowed, but is said wrongly: so the list of answers is known to be whole.
    assert "wrong number of arguments" in refused.pop("SELECT 0 1")
    assert {command: answer for command, answer in refused.items() if not answer.startswith("NOPERM")} == {}


def test_nobody_gets_in_without_a_name_or_without_tls(cluster: Cluster) -> None:
    host = cluster.hosts[cluster.addresses[-1]]
    primary = cluster.primary()
    for port in (6379, 26379):
        client = f"timeout 5 redis-cli -h {primary} -p {port}"
        assert "NOAUTH" in host.run(f"{client} --tls --cacert /etc/ssl/gym/ca.pem PING 2>&1").stdout
        plain = host.run(f"{client} PING 2>&1").stdout
        assert "PONG" not in plain
        assert "NOAUTH" not in plain
        assert "certificate verify failed" in host.run(f"{client} --tls PING 2>&1").stdout


def test_a_use_finds_the_primary_through_a_sentinel_and_changes_nothing_there(cluster: Cluster) -> None:
    commands = [f"SENTINEL {verb} {PRIMARY_NAME}" for verb in ("failover", "remove", "reset", "ckquorum")]
    answers = cluster.talk("sessions", *commands, address=cluster.addresses[-1], port=26379)
    assert [answer[:6] for answer in answers if answer] == ["NOPERM"] * len(commands)
    described = cluster.cli("sessions", f"SENTINEL master {PRIMARY_NAME}", address=cluster.addresses[-1], port=26379)
    assert "num-other-sentinels\n2" in described


def test_the_monitoring_user_reads_numbers_and_no_secrets(cluster: Cluster) -> None:
    answers = cluster.talk("monitoring", "CONFIG GET masterauth", "GET session:mine", "SCAN 0", "INFO memory")
    assert [answer[:6] for answer in answers if answer][:3] == ["NOPERM"] * 3
    assert any(answer.startswith("used_memory:") for answer in answers)


def test_memory_is_bounded_and_keys_that_are_nearest_to_their_end_go_first(cluster: Cluster) -> None:
    limits = cluster.talk("administrator", "CONFIG GET maxmemory", "CONFIG GET maxmemory-policy")
    assert limits == ["maxmemory", str(64 * 1024 * 1024), "maxmemory-policy", "volatile-ttl"]


def test_the_audit_counts_keys_that_break_the_ttl_policy(cluster: Cluster) -> None:
    host = cluster.hosts[cluster.primary()]
    keys = ["session:for-ever 1", "rate:too-long 1 EX 7200", "stray 1 EX 60"]
    try:
        cluster.talk("administrator", *(f"SET {key}" for key in keys))
        host.check_output("systemctl start redis-ttl-audit.service")
        metrics = host.check_output("cat /var/lib/prometheus/node-exporter/redis_ttl.prom")
    finally:
        cluster.talk("administrator", "DEL " + " ".join(key.split()[0] for key in keys))
    assert 'redis_ttl_policy_violations{use="sessions",kind="no_ttl"} 1' in metrics
    assert 'redis_ttl_policy_violations{use="sessions",kind="too_long"} 0' in metrics
    assert 'redis_ttl_policy_violations{use="rate_limit",kind="too_long"} 1' in metrics
    assert 'redis_ttl_policy_keys{use="unknown"} 1' in metrics
    assert host.service("redis-ttl-audit.timer").is_running


def test_a_killed_primary_hands_over_and_comes_back_as_a_replica(cluster: Cluster) -> None:
    old, new = cluster.primary(), cluster.replica()
    # The answer to WAIT is the number of replicas that have the key.
    assert cluster.talk("sessions", "SET session:kept 1 EX 600", "WAIT 1 5000", address=old) == ["OK", "1"]
    cluster.hosts[old].check_output("systemctl kill --signal=KILL redis-server.service")
    seconds = wait(
        SECONDS_TO_RECOVER, lambda: cluster.cli("sessions", "SET session:after 1 EX 600", address=new) == "OK"
    )
    print(f"writes were accepted again after {seconds:.1f} s")
    assert cluster.cli("sessions", "GET session:kept", address=new) == "1"
    # Never a second primary: whenever the old one answers, it is a replica.
    roles: set[str] = set()

    def back_as_a_replica() -> bool:
        roles.add(cluster.role(old))
        return "link-up" in roles

    wait(30, back_as_a_replica)
    assert "master" not in roles
    assert "READONLY" in cluster.cli("sessions", "SET session:stale 1 EX 60", address=old)
