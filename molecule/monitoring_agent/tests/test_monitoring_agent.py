"""The exporters of a machine, asked as Prometheus asks them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.waiting import wait

TEXTFILES = "/var/lib/prometheus/node-exporter"
CERTIFICATE = "/etc/ssl/gym/host.pem"
START = (
    "systemd-run --quiet --collect --unit=%s --property=User=%s --property=SupplementaryGroups=ssl-cert"
    " --property=RuntimeDirectory=%s sh -c %s"
)
POSTGRES = """
set -e
export PATH=/usr/lib/postgresql/15/bin:$PATH
initdb --pgdata=/run/molecule-postgres/data --auth=trust >/dev/null
echo 'hostssl all gym_monitoring samehost scram-sha-256' > /run/molecule-postgres/data/pg_hba.conf
echo 'local all postgres trust' >> /run/molecule-postgres/data/pg_hba.conf
echo "CREATE ROLE gym_monitoring LOGIN PASSWORD 'molecule-monitoring' IN ROLE pg_monitor" |
    postgres --single -D /run/molecule-postgres/data postgres >/dev/null
exec postgres -D /run/molecule-postgres/data -p 39432 -k /run/molecule-postgres -h localhost \
    -c ssl=on -c ssl_cert_file=/etc/ssl/gym/host.pem -c ssl_key_file=/etc/ssl/gym/host.pem.key
"""
REDIS = """
cat > /run/molecule-redis/redis.conf <<'END'
port 0
tls-port 39379
tls-cert-file /etc/ssl/gym/host.pem
tls-key-file /etc/ssl/gym/host.pem.key
tls-ca-cert-file /etc/ssl/gym/ca.pem
tls-auth-clients no
dir /run/molecule-redis
save ""
user default off
user monitoring on >molecule-monitoring -@all +ping +info +client|setname +slowlog|get +slowlog|len +latency|latest
END
exec redis-server /run/molecule-redis/redis.conf
"""


@pytest.fixture(scope="module")
def hosts(request: pytest.FixtureRequest) -> list[Host]:
    """The first host runs all exporters, the others one."""
    inventory = str(Path(request.config.getoption("--ansible-inventory")).resolve())
    names = sorted(AnsibleRunner(inventory).get_hosts("machines"))
    return [testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True) for name in names]


@pytest.fixture(scope="module")
def first(hosts: list[Host]) -> Host:
    return hosts[0]


@pytest.fixture
def server(first: Host, request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of the test's own, over TLS with the machine's certificate; its unit is named."""
    name, user, script = request.param
    first.check_output(START, name, user, name, script)
    yield name
    first.run("systemctl stop %s", name)


def metrics(host: Host, port: int) -> dict[str, float]:
    """What an exporter answers."""
    lines = host.check_output("curl --silent --fail --max-time 10 http://127.0.0.1:%s/metrics", str(port)).splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_a_machine_tells_its_load_and_its_units(first: Host) -> None:
    told = metrics(first, 9100)
    assert told["node_load1"] >= 0
    assert told['node_systemd_unit_state{name="ssh.service",state="active",type="notify"}'] == 1


def test_a_machine_tells_when_its_certificate_expires(first: Host) -> None:
    end = first.check_output('date --date "$(openssl x509 -noout -enddate -in %s | cut -d = -f 2)" +%%s', CERTIFICATE)
    name = f'gym_certificate_expiry_timestamp_seconds{{path="{CERTIFICATE}"}}'
    wait(20, lambda: metrics(first, 9100).get(name) == float(end))


def test_other_parts_leave_numbers_in_files(first: Host) -> None:
    file = f"{TEXTFILES}/molecule.prom"
    first.check_output("echo 'molecule_number 42' > %s.new && mv %s.new %s", file, file, file)
    try:
        assert metrics(first, 9100)["molecule_number"] == 42
    finally:
        first.check_output("rm %s", file)


@pytest.mark.parametrize("server", [("molecule-postgres", "postgres", POSTGRES)], indirect=True)
def test_postgresql_is_measured_over_tls_and_missed_when_it_is_gone(first: Host, server: str) -> None:
    wait(60, lambda: metrics(first, 9187).get("pg_up") == 1)
    assert any(name.startswith("pg_stat_database_xact_commit") for name in metrics(first, 9187))
    first.check_output("systemctl stop %s", server)
    wait(10, lambda: metrics(first, 9187)["pg_up"] == 0)


@pytest.mark.parametrize("server", [("molecule-redis", "redis", REDIS)], indirect=True)
def test_redis_is_measured_over_tls_and_missed_when_it_is_gone(first: Host, server: str) -> None:
    wait(30, lambda: metrics(first, 9121).get("redis_up") == 1)
    assert metrics(first, 9121)["redis_connected_slaves"] == 0
    first.check_output("systemctl stop %s", server)
    wait(10, lambda: metrics(first, 9121)["redis_up"] == 0)


def test_passwords_are_for_root_alone(first: Host) -> None:
    for name in ("postgres", "redis"):
        file = f"/etc/default/prometheus-{name}-exporter"
        assert "molecule-monitoring" in first.file(file).content_string
        assert first.run("setpriv --reuid=nobody --regid=nogroup --clear-groups cat %s", file).failed
    assert "molecule-monitoring" not in first.check_output("ps -eo args --no-headers | grep '[e]xporter'")


def test_a_machine_runs_no_exporter_that_it_was_not_told_to(hosts: list[Host]) -> None:
    for port in (9187, 9121):
        assert not hosts[1].socket(f"tcp://{port}").is_listening
    assert hosts[1].socket("tcp://9100").is_listening
