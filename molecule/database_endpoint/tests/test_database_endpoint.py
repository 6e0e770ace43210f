"""The writer and the reader of the database, as a service on the same host meets them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.waiting import wait

WRITER, READER = 5000, 5001
AUTHORITY = "/etc/ssl/gym/ca.pem"
PATRONICTL = "patronictl -c /etc/patroni/config.yml"


class Endpoint:
    """The second host, which has the endpoint, and all hosts, which are nodes of the database."""

    def __init__(self, inventory: str) -> None:
        runner = AnsibleRunner(inventory)
        names = sorted(runner.get_hosts("machines"))
        self.nodes: dict[str, Host] = {
            name: testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True) for name in names
        }
        self.addresses = {name: str(runner.get_variables(name)["ansible_host"]) for name in names}
        self.host = self.nodes[names[1]]

    def sql(self, port: int, *statements: str, user: str = "gym_app", sslmode: str = "verify-full") -> tuple[int, str]:
        """Ask the endpoint as a service does, by the name that stands in the nodes' certificates."""
        dsn = (
            f"host=database.gym.internal hostaddr=127.0.0.1 port={port} dbname=gym user={user}"
            f" sslmode={sslmode} sslrootcert={AUTHORITY} connect_timeout=5"
        )
        commands = " ".join(f"-c {shlex.quote(statement)}" for statement in statements)
        password = f"molecule-{user.removeprefix('gym_')}"
        result = self.host.run(f"PGPASSWORD={password} timeout 20 psql -XAtq '{dsn}' {commands} 2>&1")
        return int(result.rc), str(result.stdout).strip()

    def recovering(self, port: int) -> str:
        """Tell whether the node behind a port is a replica ('t'), the leader ('f'), or out of reach."""
        status, said = self.sql(port, "SELECT pg_is_in_recovery()")
        return said if status == 0 else ""

    def roles(self) -> dict[str, str]:
        """Return the part that each node plays."""
        listed = json.loads(self.host.check_output(f"{PATRONICTL} list -f json 2>/dev/null"))
        return {member["Member"]: member["Role"] for member in listed if member["State"] == "running"}


@pytest.fixture(scope="module")
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    endpoint = Endpoint(str(Path(request.config.getoption("--ansible-inventory")).resolve()))
    wait(60, lambda: endpoint.recovering(WRITER) == "f" and endpoint.recovering(READER) == "t")
    return endpoint


@pytest.fixture(scope="module")
def table(endpoint: Endpoint) -> Iterator[str]:
    status, said = endpoint.sql(WRITER, "CREATE TABLE IF NOT EXISTS endpoint_test (id int)", user="gym_migration")
    assert status == 0, said
    yield "endpoint_test"
    endpoint.sql(WRITER, "DROP TABLE endpoint_test", user="gym_migration")


def test_what_the_writer_takes_the_reader_gives(endpoint: Endpoint, table: str) -> None:
    assert endpoint.sql(WRITER, "INSERT INTO endpoint_test VALUES (42) RETURNING id") == (0, "42")
    wait(10, lambda: endpoint.sql(READER, "SELECT max(id) FROM endpoint_test") == (0, "42"))
    assert "read-only transaction" in endpoint.sql(READER, "INSERT INTO endpoint_test VALUES (43)")[1]


def test_the_endpoint_passes_tls_through_and_takes_no_plain_text(endpoint: Endpoint) -> None:
    for port in (WRITER, READER):
        status, said = endpoint.sql(port, "SELECT 1", sslmode="disable")
        assert status != 0, said
    # The certificate is the node's: the name that the client asks for stands in it, this one does not.
    wrong = f"host=somebody.else hostaddr=127.0.0.1 port={WRITER} dbname=gym user=gym_app sslmode=verify-full"
    said = endpoint.host.run(
        f"PGPASSWORD=molecule-app psql '{wrong} sslrootcert={AUTHORITY}' -c 'SELECT 1' 2>&1"
    ).stdout
    assert "does not match host name" in said


def test_a_node_that_patroni_vouches_for_without_its_pooler_gets_no_clients(endpoint: Endpoint) -> None:
    replicas = [name for name, role in endpoint.roles().items() if role != "Leader"]
    try:
        for name in replicas:
            endpoint.nodes[name].check_output("systemctl stop pgbouncer")
        # No replica can be reached: the leader answers readers, too.
        wait(20, lambda: endpoint.recovering(READER) == "f")
    finally:
        for name in replicas:
            endpoint.nodes[name].check_output("systemctl start pgbouncer")
    wait(20, lambda: endpoint.recovering(READER) == "t")


def test_the_writer_follows_the_leader(endpoint: Endpoint, table: str) -> None:
    wait(60, lambda: "Sync Standby" in endpoint.roles().values())
    roles = endpoint.roles()
    leader = next(name for name, role in roles.items() if role == "Leader")
    candidate = next(name for name, role in roles.items() if role == "Sync Standby")
    endpoint.host.check_output(f"{PATRONICTL} switchover --master {leader} --candidate {candidate} --force")
    took = wait(20, lambda: endpoint.sql(WRITER, "INSERT INTO endpoint_test VALUES (44)")[0] == 0)
    assert took < 20
    wait(30, lambda: endpoint.sql(READER, "SELECT count(*) FROM endpoint_test WHERE id = 44") == (0, "1"))
    wait(30, lambda: endpoint.roles().get(leader) in ("Replica", "Sync Standby"))


def test_a_reload_lets_connections_live(endpoint: Endpoint) -> None:
    """A transaction that is open during a reload is finished by the process that it began with."""
    dsn = f"host=database.gym.internal hostaddr=127.0.0.1 port={WRITER} dbname=gym user=gym_app sslmode=require"
    begin, end = "echo 'BEGIN; SELECT 1;'", "echo 'SELECT 2; COMMIT;'"
    script = f"({begin}; systemctl reload database-endpoint >&2; {end}) | psql -XAtq '{dsn}'"
    result = endpoint.host.run(f"PGPASSWORD=molecule-app timeout 20 bash -c {shlex.quote(script)}")
    assert result.stdout.split() == ["1", "2"], result.stderr


def test_it_has_few_rights(endpoint: Endpoint) -> None:
    show = "systemctl show database-endpoint -p MainPID --value"
    status = endpoint.host.check_output(f"cat /proc/$({show})/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert int(fields["CapEff"], 16) == 0
    assert fields["Uid"].split()[0] != "0"
