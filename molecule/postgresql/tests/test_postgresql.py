"""The database, as its clients, an intruder and an unlucky operator meet it.

The tests run in the order in which they stand here: the last ones move and kill the leader.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.waiting import wait

SCENARIO = Path(__file__).parents[1]
SECONDS_TO_RECOVER = 40
MEMORY_MB = 256
POSTGRESQL, POOLER, PATRONI, ETCD, ETCD_PEERS = 5432, 6432, 8008, 2379, 2380
AUTHORITY = "/etc/ssl/gym/ca.pem"
PATRONICTL = "patronictl -c /etc/patroni/config.yml"
INSERT = "INSERT INTO checkin (tenant) VALUES (current_setting('app.tenant'))"
COUNT = "SELECT count(*) FROM checkin"
# Connections of the application that do not come through the pooler.
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'gym_app' AND client_addr <> '127.0.0.1'"


class Cluster:
    """The hosts of the scenario, all of them nodes of one cluster. Clients run on the last one."""

    def __init__(self, inventory: str) -> None:
        self.inventory = inventory
        runner = AnsibleRunner(inventory)
        self.hosts: dict[str, Host] = {}
        self.addresses: dict[str, str] = {}
        for name in sorted(runner.get_hosts("machines")):
            self.hosts[name] = testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True)
            self.addresses[name] = str(runner.get_variables(name)["ansible_host"])
        self.client = self.hosts[max(self.hosts)]
        self.last_leader = ""

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
        members = self.members()
        leader = next((name for name, member in members.items() if member["role"] == "leader"), "")
        if not leader or [member["state"] for member in members.values()] != ["running"] * len(self.hosts):
            return False
        feeds = self.root(leader, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
        return feeds == str(len(self.hosts) - 1)

    def processes(self) -> dict[str, str]:
        """Return the processes of every node: etcd, Patroni, pgbouncer and PostgreSQL."""
        command = (
            "systemctl show --value --property=MainPID etcd patroni pgbouncer | xargs;"
            " head -1 /var/lib/postgresql/15/gym/postmaster.pid"
        )
        return {name: host.check_output(command) for name, host in self.hosts.items()}

    def certificates(self, name: str) -> dict[str, str]:
        """Return the serial number of the certificate of a node: on its disk, and as each port shows it."""
        ports = {str(port): "" for port in (PATRONI, ETCD, ETCD_PEERS)}
        ports |= {str(port): "-starttls postgres" for port in (POSTGRESQL, POOLER)}
        shown = "openssl x509 -noout -serial || echo none"
        identity = "-cert /etc/ssl/gym/host.pem -key /etc/ssl/gym/host.pem.key"
        lines = [f"{shown.replace('x509', 'x509 -in /etc/ssl/gym/host.pem')}"] + [
            f"openssl s_client -connect {self.addresses[name]}:{port} {option} {identity} </dev/null 2>&1 | {shown}"
            for port, option in ports.items()
        ]
        serials = self.hosts[name].check_output("; ".join(lines)).splitlines()
        return dict(zip(["disk", *ports], serials, strict=True))

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
        """Run statements on the leader: on the last one or, where that takes no writes, on the one that Patroni names.

        The pooler hides from libpq which node takes writes.
        """
        if self.last_leader:
            status, said = self.psql(user, *statements, host=self.addresses[self.last_leader])
            if status == 0 or ("ERROR:" in said and "read-only" not in said):
                return status, said
        self.last_leader = self.leader()
        if not self.last_leader:
            return 1, "nobody leads"
        return self.psql(user, *statements, host=self.addresses[self.last_leader])


def as_tenant(tenant: str, statement: str) -> str:
    """Write a transaction as the service makes them: the tenant comes first."""
    return f"BEGIN; SET LOCAL app.tenant = '{tenant}'; {statement}; COMMIT"


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


def test_a_renewed_certificate_takes_no_restart(cluster: Cluster) -> None:
    """New connections get the new certificate; open ones, the processes and the leader stay."""
    leader, processes = cluster.leader(), cluster.processes()
    old = {name: cluster.certificates(name) for name in cluster.hosts}
    assert all(len(set(found.values())) == 1 for found in old.values()), old
    go, address = "/run/molecule-renewed", cluster.addresses[leader]
    session = (
        f"rm -f {go}; (echo 'SELECT pg_backend_pid();'; timeout 300 sh -c 'until test -e {go}; do sleep 0.1; done';"
        " echo 'SELECT pg_backend_pid();') | PGPASSWORD=molecule-app psql -XAtq"
        f" 'host={address} port={POSTGRESQL} dbname=gym user=gym_app sslmode=verify-full sslrootcert={AUTHORITY}'"
    )
    command = ["ansible-playbook", "--inventory", cluster.inventory, str(SCENARIO / "renew.yml")]
    renewed = f"renewed-{time.time():.0f}.gym.internal"
    with ThreadPoolExecutor() as pool:
        opened = pool.submit(cluster.client.check_output, session)
        try:
            wait(20, lambda: cluster.root(leader, SESSIONS) == "1")
            run = subprocess.run(
                [*command, "-e", f"renewed={renewed}"], capture_output=True, text=True, check=False, timeout=300
            )
        finally:
            cluster.client.check_output(f"touch {go}")
        first, second = opened.result().split()
    assert run.returncode == 0, run.stdout + run.stderr
    assert first == second
    for name in cluster.hosts:
        new = cluster.certificates(name)
        assert set(new.values()) == {new["disk"]} != {old[name]["disk"]}, (name, new)
    assert cluster.processes() == processes
    assert cluster.leader() == leader


def acknowledged_through(cluster: Cluster, tenant: str, accident: Callable[[], None]) -> float:
    """Write one row, let the accident happen, write again until it is acknowledged; return how long that took."""
    insert = as_tenant(tenant, INSERT)
    assert cluster.write("gym_app", insert)[0] == 0
    accident()

    def written() -> bool:
        # Nobody waits for the one that was lost.
        cluster.last_leader = ""
        return cluster.write("gym_app", insert)[0] == 0

    took = wait(SECONDS_TO_RECOVER, written)
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
