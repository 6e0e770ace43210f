"""A machine of the platform, as its neighbours, an intruder and an operator meet it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import testinfra
from testinfra.backend.base import CommandResult
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.waiting import wait

DECLARED = 40000  # for the second host only
UNDECLARED = 40001
LYNIS_INDEX = 80
LOGIN = "ansible"


class Machines:
    """The hosts of the scenario by number; the first is the one that is looked at."""

    def __init__(self, inventory: str) -> None:
        runner = AnsibleRunner(inventory)
        self.names = sorted(runner.get_hosts("machines"))
        self.addresses = [str(runner.get_variables(name)["ansible_host"]) for name in self.names]
        self.hosts: list[Host] = [
            testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True) for name in self.names
        ]

    def connects(self, number: int, port: int) -> str:
        """What becomes of a connection from a host to the first one: open, refused or silence."""
        target = self.addresses[0]
        script = f"""
import socket
try:
    socket.create_connection(("{target}", {port}), timeout=2).close()
    print("open")
except TimeoutError:
    print("silence")
except ConnectionRefusedError:
    print("refused")
"""
        return str(self.hosts[number].check_output("python3 -c %s", script)).strip()


def ssh(host: Host, arguments: str) -> CommandResult:
    """Log in from one host to another. Exit status 255 would mean to testinfra that its own connection had failed."""
    options = "-o BatchMode=yes -o ConnectTimeout=5 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    return host.run(f"ssh {options} {arguments} || exit 1")


@pytest.fixture(scope="module")
def machines(request: pytest.FixtureRequest) -> Machines:
    return Machines(str(Path(request.config.getoption("--ansible-inventory")).resolve()))


@pytest.fixture(scope="module")
def first(machines: Machines) -> Host:
    return machines.hosts[0]


@pytest.fixture(scope="module", autouse=True)
def audit(first: Host) -> Iterator[str]:
    """Lynis takes as long as all other tests together, so it looks at the machine meanwhile."""
    unit = "molecule-lynis.service"
    # What it exits with tells about warnings, and is not asked for here.
    audit = "lynis audit system --quick --no-colors --quiet || true"
    # Lynis judges a Redis, too, which another scenario may have left running.
    first.run("systemctl stop redis-server %s; rm -f /var/log/lynis-report.dat", unit)
    first.check_output("systemd-run --quiet --remain-after-exit --unit=%s sh -c %s", unit, audit)
    yield unit
    first.run("systemctl stop %s", unit)


@pytest.fixture(scope="module")
def servers(machines: Machines, first: Host) -> Iterator[None]:
    """Something listens on both ports, so that it is the firewall which decides."""
    for port in (DECLARED, UNDECLARED):
        first.check_output(
            "systemd-run --quiet --collect --unit=molecule-%s --property=DynamicUser=yes"
            " python3 -m http.server --directory /usr/share/common-licenses %s",
            str(port),
            str(port),
        )
    wait(10, lambda: {DECLARED, UNDECLARED} <= listening(first))
    yield
    first.run("systemctl stop molecule-%s molecule-%s", str(DECLARED), str(UNDECLARED))


@pytest.fixture(scope="module")
def intruder(machines: Machines, first: Host) -> Iterator[Host]:
    """The second host, with a key that stands among root's and among the login user's authorised keys."""
    second = machines.hosts[1]
    second.check_output("rm -f /root/molecule-key && ssh-keygen -q -t ed25519 -N '' -f /root/molecule-key")
    key = second.file("/root/molecule-key.pub").content_string.strip()
    files = ["/root/.ssh/authorized_keys", f"/home/{LOGIN}/.ssh/authorized_keys"]
    for file in files:
        first.check_output("mkdir -p -m 0700 $(dirname %s) && echo %s >> %s", file, f"{key} molecule-key", file)
    yield second
    for file in files:
        first.check_output("sed -i '/ molecule-key$/d' %s", file)


def listening(host: Host) -> set[int]:
    """The TCP ports that somebody listens on."""
    return {int(line.split()[3].rpartition(":")[2]) for line in host.check_output("ss -Htln").splitlines()}


def test_a_declared_port_is_open_to_those_it_is_declared_for(machines: Machines, servers: None) -> None:
    assert machines.connects(1, DECLARED) == "open"
    assert machines.connects(2, DECLARED) == "silence"


def test_an_undeclared_port_is_closed_to_everybody_else_and_drops_are_counted(
    machines: Machines, first: Host, servers: None
) -> None:
    def dropped() -> int:
        return int(
            first.check_output("nft --json list counter inet gym dropped_input | jq '.nftables[1].counter.packets'")
        )

    before = dropped()
    assert machines.connects(1, UNDECLARED) == "silence"
    assert machines.connects(0, UNDECLARED) == "open"
    assert dropped() > before


def test_a_reload_of_the_firewall_is_atomic_and_leaves_the_tables_of_others(first: Host) -> None:
    first.check_output("nft add table inet molecule")
    try:
        first.check_output("systemctl reload nftables && systemctl restart nftables")
        assert "table inet molecule" in first.check_output("nft list tables")
        assert first.run("nft list chain inet gym input").succeeded
    finally:
        first.check_output("nft delete table inet molecule")


def test_a_key_opens_the_login_user_and_never_root(machines: Machines, intruder: Host) -> None:
    welcome = ssh(intruder, f"-i /root/molecule-key {LOGIN}@{machines.addresses[0]} id -un")
    assert welcome.stdout.strip() == LOGIN
    refused = ssh(intruder, f"-i /root/molecule-key root@{machines.addresses[0]} id -un")
    assert refused.failed
    assert "Permission denied (publickey)" in refused.stderr


def test_passwords_are_not_even_asked_for(machines: Machines) -> None:
    methods = "-o PubkeyAuthentication=no -o PreferredAuthentications=password,keyboard-interactive"
    refused = ssh(machines.hosts[1], f"{methods} {LOGIN}@{machines.addresses[0]} true")
    assert refused.failed
    assert "Permission denied (publickey)" in refused.stderr


@pytest.mark.parametrize(
    "weak", ["KexAlgorithms=ecdh-sha2-nistp256", "Ciphers=aes128-ctr", "HostKeyAlgorithms=rsa-sha2-256"]
)
def test_old_algorithms_are_refused(machines: Machines, intruder: Host, weak: str) -> None:
    refused = ssh(intruder, f"-o {weak} -i /root/molecule-key {LOGIN}@{machines.addresses[0]} true")
    assert refused.failed
    assert "no matching" in refused.stderr


def test_a_file_that_was_changed_by_hand_is_kept_aside_before_it_is_put_right(first: Host) -> None:
    right = first.file("/etc/issue").content_string
    first.check_output("echo by-hand >> /etc/issue")
    answer = first.ansible(
        "gym.platform.config_files",
        json.dumps({"files": [{"path": "/etc/issue", "content": right}]}),
        check=False,
        become=True,
    )
    assert first.file("/etc/issue").content_string == right
    assert "by-hand" in first.file(answer["backups"][0]).content_string


def test_the_certificate_is_the_machines_own(machines: Machines, first: Host) -> None:
    for name in (machines.names[0], f"{machines.names[0]}.gym.internal", "localhost", "molecule.gym.internal"):
        first.check_output("openssl verify -CAfile /etc/ssl/gym/ca.pem -verify_hostname %s /etc/ssl/gym/host.pem", name)
    for address in (machines.addresses[0], "127.0.0.1"):
        first.check_output("openssl verify -CAfile /etc/ssl/gym/ca.pem -verify_ip %s /etc/ssl/gym/host.pem", address)
    assert first.run(
        "openssl verify -CAfile /etc/ssl/gym/ca.pem -verify_hostname %s /etc/ssl/gym/host.pem", machines.names[1]
    ).failed


def test_the_key_is_for_root_and_the_group_of_services(first: Host) -> None:
    read = "setpriv --reuid=nobody --clear-groups --regid=%s head -c1 /etc/ssl/gym/host.pem.key"
    assert first.run(read, "ssl-cert").succeeded
    assert first.run(read, "nogroup").failed


def test_machines_know_each_other_by_name(machines: Machines, first: Host) -> None:
    found = first.check_output("getent hosts %s.gym.internal", machines.names[2])
    assert found.split()[0] == machines.addresses[2]


def test_a_person_comes_and_goes(first: Host) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx0cXoHqS1mK2cQj8Gq6m1tQv6X1uHkq5yq3n1d0nNa molecule"

    def let_in(*people: dict[str, object]) -> dict[str, object]:
        arguments = json.dumps({"group": "administrators", "people": people})
        return dict(first.ansible("gym.platform.people", arguments, check=False, become=True))

    try:
        assert let_in({"name": "molecule-bob", "keys": [key]})["added"] == ["molecule-bob"]
        assert "administrators" in first.user("molecule-bob").groups
        assert first.check_output("sudo -u molecule-bob sudo -n id -u") == "0"
    finally:
        gone = let_in()
    assert gone["removed"] == ["molecule-bob"]
    assert not first.user("molecule-bob").exists
    assert not first.file("/etc/ssh/authorized_keys.d/molecule-bob").exists
    archive = first.check_output("ls /var/backups/gym-platform/home-molecule-bob-*.tar.gz | tail -1")
    assert "molecule-bob/.profile" in first.check_output("tar tzf %s", archive)


def test_only_administrators_become_somebody_else(first: Host) -> None:
    assert first.check_output("su -s /bin/sh -c 'id -un' nobody") == "nobody"
    refused = first.run("setpriv --reuid=nobody --regid=nogroup --clear-groups su -s /bin/sh -c true root </dev/null")
    assert refused.failed
    assert "Permission denied" in refused.stderr


def test_security_updates_and_nothing_else_install_themselves(first: Host) -> None:
    said = first.run("unattended-upgrade --dry-run --debug")
    origins = [line for line in (said.stdout + said.stderr).splitlines() if "Allowed origins are" in line]
    assert origins
    assert "label=Debian-Security" in origins[0]
    assert origins[0].count("origin=") == 1


def test_the_journal_outlives_a_boot(first: Host) -> None:
    first.check_output("logger --tag molecule kept && journalctl --sync")
    machine = first.check_output("cat /etc/machine-id")
    assert "kept" in first.check_output("journalctl --directory=/var/log/journal/%s -t molecule -o cat", machine)


def test_a_session_leaves_no_core_dump(first: Host) -> None:
    assert first.check_output("ulimit -H -c") == "0"


@pytest.mark.parametrize("directory", ["/dev/shm", "/tmp", "/var/log", "/var/tmp"])  # noqa: S108 - on the host
def test_nothing_is_run_from_where_services_write(first: Host, directory: str) -> None:
    program = f"{directory}/molecule-program"
    first.check_output("install --mode=0755 /usr/bin/true %s", program)
    refused = first.run(program)
    first.check_output("rm %s", program)
    assert refused.rc == 126
    assert "Permission denied" in refused.stderr


def test_a_program_that_somebody_brings_along_gives_nobody_more_rights(first: Host) -> None:
    first.check_output("install --mode=4755 /usr/bin/id /home/molecule-id")
    said = first.run("setpriv --reuid=nobody --regid=nogroup --clear-groups /home/molecule-id -un")
    first.check_output("rm /home/molecule-id")
    assert said.stdout.strip() == "nobody"


def test_no_unit_has_failed(first: Host) -> None:
    assert first.check_output("systemctl --failed --no-legend --plain") == ""


def test_lynis_finds_a_hardened_machine(first: Host, audit: str) -> None:
    wait(300, lambda: "exited" in first.check_output("systemctl show --property=SubState %s", audit))
    found = first.check_output("sed -n 's/^hardening_index=//p' /var/log/lynis-report.dat")
    assert int(found) >= LYNIS_INDEX, first.check_output("grep -E '^(suggestion|warning)' /var/log/lynis-report.dat")
