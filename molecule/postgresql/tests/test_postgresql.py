"""The database, as its clients, an intruder and an unlucky operator meet it.

The tests run in the order in which they stand here: the last ones move and kill the leader.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

SECONDS_TO_RECOVER = 40
MEMORY_MB = 256
POSTGRESQL, POOLER, PATRONI = 5432, 6432, 8008
AUTHORITY = "/etc/ssl/gym/ca.pem"
PATRONICTL = "patronictl -c /etc/patroni/config.yml"
INSERT = "INSERT INTO checkin (tenant) VALUES (current_setting('app.tenant'))"
COUNT = "SELECT count(*) FROM checkin"


class Cluster:
    """The hosts of the scenario, all of them nodes of one cluster. Clients run on the last one."""

    def __init__(self, inventory: str) -> None:
        runner = AnsibleRunner(inventory)
        self.hosts: dict[str, Host] = {}
        self.addresses: dict[str, str] = {}
        for name in sorted(runner.get_hosts("all")):
            self.hosts[name] = testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True)
            self.addresses[name] = str(runner.get_variables(name)["ansible_host"])
        self.client = self.hosts[max(self.hosts)]

    def members(self) -> dict[str, dict[str, Any]]:
        """Return the members on the word of any Patroni that answers."""
        for address in self.addresses.values():
            answer = self.client.run(f"curl -sf -m 3 --cacert {AUTHORITY} https://{address}:{PATRONI}/cluster")
            if answer.rc == 0:
                return {member["name"]: member for member in json.loads(answer.stdout)["members"]}
        return {}

    def leader(self) -> str:
        """Return the name of the member that leads; empty while there is none."""
        return next((name for name, member in self.members().items() if member["role"] == "leader"), "")

    def replicas(self) -> list[str]:
        """Return the names of the others."""
        return [name for name, member in self.members().items() if member["role"] != "leader"]

    def healthy(self) -> bool:
        """Tell whether all run, one leads, and the others are fed by it."""
        leader = self.leader()
        if not leader:
            return False
        feeds = self.root(leader, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
        running = [member["state"] for member in self.members().values()].count("running")
        return running == len(self.hosts) and feeds == str(len(self.hosts) - 1)

    def root(self, name: str, sql: str) -> str:
        """Ask as the superuser, who comes from the machine itself."""
        return str(self.hosts[name].check_output(f"psql -XAtq -U postgres -d gym -c {shlex.quote(sql)}"))

    def psql(self, user: str, *statements: str, host: str, port: int = POOLER, **options: str) -> tuple[int, str]:
        """Run statements in one session as a client does; return the exit status and all that was said."""
        password = options.pop("password", f"molecule-{user.removeprefix('gym_')}")
        words = {
            "host": host,
            "port": str(port),
            "dbname": "gym",
            "user": options.pop("as_user", user),
            "sslmode": "verify-full",
            "sslrootcert": AUTHORITY,
            "connect_timeout": "3",
            **options,
        }
        dsn = " ".join(f"{key}={value}" for key, value in words.items())
        commands = " ".join(f"-c {shlex.quote(statement)}" for statement in statements)
        result = self.client.run(
            f"PGPASSWORD={password} timeout 30 psql -XAtq -v ON_ERROR_STOP=1 '{dsn}' {commands} 2>&1"
        )
        return int(result.rc), str(result.stdout).strip()

    def write(self, user: str, *statements: str) -> tuple[int, str]:
        """Run statements on the leader. The pooler hides from libpq which node takes writes, so Patroni is asked."""
        leader = self.leader()
        return self.psql(user, *statements, host=self.addresses[leader]) if leader else (1, "nobody leads")


def as_tenant(tenant: str, statement: str) -> str:
    """Write a transaction as the service makes them: the tenant comes first."""
    return f"BEGIN; SET LOCAL app.tenant = '{tenant}'; {statement}; COMMIT"


def wait(seconds: float, condition: Callable[[], bool]) -> float:
    """Wait for a condition, and tell how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not true within {seconds} s"
        time.sleep(0.2)
    return time.monotonic() - started


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    cluster = Cluster(str(Path(request.config.getoption("--ansible-inventory")).resolve()))
    wait(60, cluster.healthy)
    return cluster


@pytest.fixture(scope="module")
def table(cluster: Cluster) -> Iterator[str]:
    """Let a migration make a table with row-level security, as those of the service are."""
    status, said = cluster.write(
        "gym_migration",
        "DROP TABLE IF EXISTS checkin",
        "CREATE TABLE checkin (id bigint GENERATED ALWAYS AS IDENTITY, tenant text NOT NULL, PRIMARY KEY (id))",
        "ALTER TABLE checkin ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE checkin FORCE ROW LEVEL SECURITY",
        "CREATE POLICY own ON checkin USING (tenant = (SELECT current_setting('app.tenant', true)))",
    )
    assert status == 0, said
    yield "checkin"
    cluster.write("gym_migration", "DROP TABLE checkin")


@pytest.mark.parametrize("port", [POSTGRESQL, POOLER])
def test_a_client_verifies_the_server_and_gets_in_with_its_password(cluster: Cluster, port: int) -> None:
    for address in cluster.addresses.values():
        assert cluster.psql("gym_app", "SELECT current_user", host=address, port=port) == (0, "gym_app")


@pytest.mark.parametrize("port", [POSTGRESQL, POOLER])
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sslmode": "disable"}, ("SSL required", "no encryption", "login rejected", "reject")),
        ({"password": "wrong"}, ("password authentication failed", "SASL authentication failed")),
        ({"as_user": "nobody"}, ("password authentication failed", "SASL authentication failed", "no such user")),
        ({"host": "somebody.else", "hostaddr": "?"}, ("does not match host name",)),
    ],
)
def test_others_are_refused(cluster: Cluster, port: int, options: dict[str, str], reason: tuple[str, ...]) -> None:
    address = cluster.addresses[cluster.leader()]
    words = {"host": address, **{key: address if value == "?" else value for key, value in options.items()}}
    status, said = cluster.psql("gym_app", "SELECT 1", port=port, **words)
    assert status != 0
    assert any(part in said for part in reason), said


@pytest.mark.parametrize("user", ["postgres", "replicator", "rewind"])
def test_the_powerful_do_not_come_through_the_pooler(cluster: Cluster, user: str) -> None:
    password = {"postgres": "molecule-superuser"}.get(user, f"molecule-{user.replace('replicator', 'replication')}")
    address = cluster.addresses[cluster.leader()]
    status, said = cluster.psql(user, "SELECT 1", host=address, password=password)
    assert status != 0
    assert "FATAL" in said


def test_the_superuser_comes_from_the_machine_itself_only(cluster: Cluster) -> None:
    address = cluster.addresses[cluster.leader()]
    status, said = cluster.psql("postgres", "SELECT 1", host=address, port=POSTGRESQL, password="molecule-superuser")
    assert status != 0
    assert "reject" in said


def test_etcd_and_patroni_refuse_whoever_has_no_certificate(cluster: Cluster) -> None:
    address = cluster.addresses[cluster.leader()]
    etcd = cluster.client.run(f"curl -s -m 3 --cacert {AUTHORITY} https://{address}:2379/version")
    assert etcd.rc != 0
    assert "etcdserver" not in etcd.stdout
    password = "-u patroni:molecule-patroni"
    patroni = f"curl -s -m 5 -o /dev/null -w '%{{http_code}}' --cacert {AUTHORITY}"
    change = f"-X PATCH -d '{{\"ttl\": 99}}' https://{address}:{PATRONI}/config"
    certificate = "--cert /etc/ssl/gym/host.pem --key /etc/ssl/gym/host.pem.key"
    assert cluster.client.run(f"{patroni} {password} {change}").stdout == "403"
    assert cluster.client.run(f"{patroni} {certificate} {change}").stdout == "401"
    assert cluster.client.run(f"{patroni} {certificate} {password} {change.replace('99', '20')}").stdout == "200"


def test_the_application_works_with_rows_of_tables_that_a_migration_made(cluster: Cluster, table: str) -> None:
    status, said = cluster.write(
        "gym_app",
        as_tenant("north", f"{INSERT} RETURNING tenant"),
    )
    assert (status, said) == (0, "north")
    owner = cluster.root(cluster.leader(), "SELECT tableowner FROM pg_tables WHERE tablename = 'checkin'")
    assert owner == "gym_owner"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("CREATE TABLE mine (id int)", "permission denied for schema public"),
        ("CREATE SCHEMA mine", "permission denied for database"),
        ("CREATE TEMPORARY TABLE mine (id int)", "permission denied to create temporary tables"),
        ("ALTER TABLE checkin DISABLE ROW LEVEL SECURITY", "must be owner of table"),
        ("DROP TABLE checkin", "must be owner of table"),
        ("TRUNCATE checkin", "permission denied for table"),
        ("SET row_security = off; SELECT * FROM checkin", "query would be affected by row-level security"),
        ("INSERT INTO checkin (tenant) VALUES ('south')", "violates row-level security policy"),
        ("SET ROLE gym_owner", "permission denied to set role"),
        ("ALTER ROLE gym_app BYPASSRLS", "must be superuser"),
        ("SELECT * FROM pgbouncer.find_user('gym_migration')", "permission denied for schema pgbouncer"),
        ("SELECT pg_read_file('/etc/passwd')", "permission denied for function"),
        ("COPY checkin TO PROGRAM 'id'", "must be superuser"),
    ],
)
def test_the_application_is_refused_everything_else(cluster: Cluster, table: str, statement: str, reason: str) -> None:
    status, said = cluster.write("gym_app", statement)
    assert status != 0
    assert reason in said


def test_the_application_sees_nothing_of_another_tenant(cluster: Cluster, table: str) -> None:
    assert cluster.write("gym_app", COUNT) == (0, "0")
    assert cluster.write("gym_app", as_tenant("north", COUNT)) == (0, "1")
    assert cluster.write("gym_app", as_tenant("south", COUNT)) == (0, "0")


def test_monitoring_reads_statistics_and_no_rows(cluster: Cluster, table: str) -> None:
    status, said = cluster.write("gym_monitoring", "SELECT count(*) > 0 FROM pg_stat_statements")
    assert (status, said) == (0, "t")
    assert "permission denied for table" in cluster.write("gym_monitoring", "SELECT * FROM checkin")[1]


def test_clients_share_connections_between_transactions(cluster: Cluster) -> None:
    """Six clients stay connected at once, and all are served by the two connections that the pool may have."""
    address = cluster.addresses[cluster.leader()]
    dsn = f"host={address} port={POOLER} sslmode=require dbname"
    # Each client says its one statement and keeps its connection for as long as the pipe is open.
    script = f"""
        mkfifo /tmp/hold.$$
        for i in 1 2 3 4 5 6; do
            (echo 'SELECT pg_backend_pid();'; cat /tmp/hold.$$) |
                PGPASSWORD=molecule-app psql -XAtq '{dsn}=gym user=gym_app' > /tmp/backend.$$.$i &
        done
        exec 9> /tmp/hold.$$
        for try in $(seq 100); do
            clients=$(PGPASSWORD=molecule-monitoring psql -XAtc 'SHOW CLIENTS' '{dsn}=pgbouncer user=gym_monitoring' |
                grep -c '|gym_app|gym|')
            [ $clients -eq 6 ] && [ $(cat /tmp/backend.$$.* | wc -l) -eq 6 ] && echo together && break
            sleep 0.1
        done
        exec 9>&-
        wait
        cat /tmp/backend.$$.*
        rm /tmp/hold.$$ /tmp/backend.$$.*
    """
    lines = cluster.client.run(f"bash -c {shlex.quote(script)}").stdout.split()
    assert lines[0] == "together", lines
    backends = lines[1:]
    assert len(backends) == 6, lines
    assert 1 <= len(set(backends)) <= 2


def test_every_node_is_sized_for_its_memory(cluster: Cluster) -> None:
    for name in cluster.hosts:
        assert cluster.root(name, "SHOW shared_buffers") == f"{MEMORY_MB // 4}MB"
        assert cluster.root(name, "SHOW max_connections") == "60"
        assert cluster.root(name, "SHOW log_min_duration_statement") == "250ms"
        assert cluster.root(name, "SHOW data_checksums") == "on"


def test_an_acknowledged_write_is_on_two_nodes(cluster: Cluster) -> None:
    wait(
        20,
        lambda: (
            cluster.root(cluster.leader(), "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1"
        ),
    )


def test_what_is_written_is_read_on_every_replica_and_a_replica_takes_no_writes(cluster: Cluster, table: str) -> None:
    insert = as_tenant("read", INSERT)
    assert cluster.write("gym_app", insert)[0] == 0
    count = as_tenant("read", COUNT)
    for name in cluster.replicas():
        address = cluster.addresses[name]
        wait(10, lambda address=address: cluster.psql("gym_app", count, host=address) == (0, "1"))  # type: ignore[misc]
        assert "read-only transaction" in cluster.psql("gym_app", insert, host=address)[1]


def acknowledged_through(cluster: Cluster, tenant: str, accident: Callable[[], None]) -> float:
    """Write one row, let the accident happen, write again until it is acknowledged; return how long that took."""
    insert = as_tenant(tenant, INSERT)
    assert cluster.write("gym_app", insert)[0] == 0
    accident()
    took = wait(SECONDS_TO_RECOVER, lambda: cluster.write("gym_app", insert)[0] == 0)
    # One more when an answer was lost on its way.
    assert int(cluster.write("gym_app", as_tenant(tenant, COUNT))[1]) >= 2
    return took


def test_the_leader_hands_over_and_nothing_is_lost(cluster: Cluster, table: str) -> None:
    leader = cluster.leader()
    candidate = next(name for name, member in cluster.members().items() if member["role"] == "sync_standby")

    def switch() -> None:
        cluster.client.check_output(f"{PATRONICTL} switchover --master {leader} --candidate {candidate} --force")

    took = acknowledged_through(cluster, "switched", switch)
    assert took < 15
    wait(20, lambda: cluster.leader() == candidate)
    wait(60, cluster.healthy)


def test_a_killed_leader_is_back_or_replaced_and_nothing_is_lost(cluster: Cluster, table: str) -> None:
    leader = cluster.leader()

    def kill() -> None:
        cluster.hosts[leader].check_output("kill -9 $(head -1 /var/lib/postgresql/15/gym/postmaster.pid)")

    acknowledged_through(cluster, "killed", kill)
    wait(90, cluster.healthy)


def test_a_node_that_lost_all_its_data_comes_back_by_itself(cluster: Cluster, table: str) -> None:
    name = cluster.replicas()[0]
    cluster.hosts[name].check_output(
        "systemctl stop patroni etcd && rm -rf /var/lib/etcd/gym /var/lib/postgresql/15/gym"
        " && systemctl start etcd patroni"
    )
    wait(90, cluster.healthy)
    members = cluster.client.check_output(
        f"ETCDCTL_API=3 etcdctl --endpoints https://127.0.0.1:2379 --cacert {AUTHORITY}"
        " --cert /etc/ssl/gym/host.pem --key /etc/ssl/gym/host.pem.key member list"
    ).splitlines()
    assert len(members) == len(cluster.hosts)
    assert all("started" in member for member in members)
