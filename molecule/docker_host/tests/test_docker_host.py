"""The engine of a machine, as containers and those who want to reach them meet it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.waiting import wait

IMAGE = "molecule-python:1"
DECLARED, UNDECLARED, FOR_CONTAINERS = 40010, 40011, 40012
# There is no registry: the image is the machine's own Python.
BUILD = """
set -e
{ ldd /usr/bin/python3.11 | grep -oE '/[^ ]+'; echo /usr/bin/python3.11; echo /usr/lib/python3.11; } | sort -u |
  tar --create --dereference --hard-dereference --exclude=__pycache__ --files-from=- 2>/dev/null |
  docker import --change 'ENTRYPOINT ["/usr/bin/python3.11"]' - %s
"""


class Machines:
    """The first host runs the engine; the second one is a neighbour."""

    def __init__(self, inventory: str) -> None:
        runner = AnsibleRunner(inventory)
        names = sorted(runner.get_hosts("machines"))
        self.name = names[0]
        self.address = str(runner.get_variables(names[0])["ansible_host"])
        self.host, self.neighbour = (
            testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True) for name in names[:2]
        )

    def answers(self, port: int, host: Host | None = None) -> bool:
        """Whether somebody behind a port of the first host answers a neighbour, or another host."""
        url = f"http://{self.address}:{port}/"
        return bool((host or self.neighbour).run(f"curl --silent --max-time 2 --output /dev/null {url}").succeeded)


@pytest.fixture(scope="module")
def machines(request: pytest.FixtureRequest) -> Machines:
    return Machines(str(Path(request.config.getoption("--ansible-inventory")).resolve()))


@pytest.fixture(scope="module")
def host(machines: Machines) -> Iterator[Host]:
    host = machines.host
    host.check_output(BUILD, IMAGE)
    yield host
    host.run("docker ps --all --quiet --filter label=molecule | xargs --no-run-if-empty docker rm --force --volumes")
    host.run(f"docker image rm {IMAGE}")


@pytest.fixture(scope="module")
def server(machines: Machines, host: Host) -> str:
    """A web server in a container that publishes a declared and an undeclared port."""
    host.run("docker rm --force molecule-web")
    host.check_output(
        f"docker run --detach --name molecule-web --label molecule --restart unless-stopped"
        f" --publish {DECLARED}:80 --publish {UNDECLARED}:80 {IMAGE} -m http.server 80"
    )
    wait(20, lambda: machines.answers(UNDECLARED, host))
    return "molecule-web"


def process(host: Host, container: str) -> int:
    """The process of a container, seen from the machine."""
    return int(host.check_output("docker inspect --format '{{.State.Pid}}' %s", container))


def test_a_published_port_is_reachable_only_when_it_is_declared(machines: Machines, server: str) -> None:
    assert machines.answers(DECLARED)
    assert not machines.answers(UNDECLARED)


def test_the_firewall_and_the_engine_leave_each_other_alone(machines: Machines, host: Host, server: str) -> None:
    host.check_output("systemctl restart nftables")
    assert machines.answers(DECLARED)
    assert not machines.answers(UNDECLARED)
    host.check_output("systemctl restart docker")
    assert machines.answers(DECLARED)
    assert not machines.answers(UNDECLARED)


def test_containers_go_on_while_the_engine_restarts(host: Host, server: str) -> None:
    before = process(host, server)
    host.check_output("systemctl restart docker")
    assert process(host, server) == before


def test_a_container_reaches_the_machine_only_where_it_is_declared(machines: Machines, host: Host) -> None:
    client = f"""
import socket
for port in ({FOR_CONTAINERS}, {UNDECLARED + 2}):
    try:
        socket.create_connection(("{machines.address}", port), timeout=2).close()
        print("open")
    except TimeoutError:
        print("silence")
"""
    units = [f"molecule-{port}" for port in (FOR_CONTAINERS, UNDECLARED + 2)]
    for unit in units:
        port = unit.removeprefix("molecule-")
        host.check_output("systemd-run --quiet --collect --unit=%s python3 -m http.server %s", unit, port)
    try:
        wait(10, lambda: all(machines.answers(int(unit.removeprefix("molecule-")), host) for unit in units))
        seen = host.check_output(f"docker run --rm --label molecule {IMAGE} -c %s", client)
        assert seen.split() == ["open", "silence"]
        assert not machines.answers(FOR_CONTAINERS)
    finally:
        host.run("systemctl stop %s %s", *units)


def test_root_in_a_container_is_nobody_on_the_machine(host: Host, server: str) -> None:
    status = host.file(f"/proc/{process(host, server)}/status").content_string
    uid = int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1])
    assert uid >= 100000
    assert "NoNewPrivs:\t1" in status
    assert host.check_output(f"docker exec {server} /usr/bin/python3.11 -c 'import os; print(os.getuid())'") == "0"
    shared = 'import pathlib; pathlib.Path("/machine/etc/molecule").touch()'
    assert host.run(f"docker run --rm --label molecule --volume /:/machine {IMAGE} -c %s", shared).failed
    assert not host.file("/etc/molecule").exists


def test_a_containers_memory_is_bounded(host: Host) -> None:
    eat = f"docker run --rm --label molecule --memory 64m --memory-swap 64m {IMAGE} -c %s"
    assert host.run(eat, "bytearray(16 << 20)").rc == 0
    assert host.run(eat, "bytearray(256 << 20)").rc == 137


def test_a_container_dumps_no_core_and_has_bounded_files(host: Host) -> None:
    script = "import resource as r; print(r.getrlimit(r.RLIMIT_CORE)[1], r.getrlimit(r.RLIMIT_NOFILE)[1])"
    assert host.check_output(f"docker run --rm --label molecule {IMAGE} -c %s", script) == "0 8192"


def test_logs_are_rotated(host: Host) -> None:
    chatter = "for _ in range(30000): print('x' * 1000)"
    host.check_output(
        f"docker run --name molecule-chatter --label molecule --log-opt max-size=1m --log-opt max-file=2 {IMAGE} -c %s"
        " >/dev/null",
        chatter,
    )
    container = host.check_output("docker inspect --format '{{.Id}}' molecule-chatter")
    root = host.check_output("docker info --format '{{.DockerRootDir}}'")
    kept = int(host.check_output(f"du --summarize --bytes {root}/containers/{container} | cut -f 1"))
    assert kept < 4_000_000
    settings = json.loads(host.file("/etc/docker/daemon.json").content_string)
    driver = host.check_output("docker inspect --format '{{.HostConfig.LogConfig.Type}}' molecule-chatter")
    assert driver == settings["log-driver"]


def test_what_nobody_uses_is_removed_and_what_runs_is_kept(host: Host, server: str) -> None:
    def gone(image: str) -> bool:
        host.check_output("systemctl start docker-prune.service")
        return bool(host.run("docker image inspect %s", image).failed)

    host.check_output("tar --create --files-from=/dev/null | docker import --change 'CMD x' - molecule-unused:1")
    # The scenario calls a second old.
    wait(10, lambda: gone("molecule-unused:1"))
    assert not gone(IMAGE)
    assert host.check_output("systemctl is-active docker-prune.timer") == "active"


def test_the_environments_registry_is_trusted(machines: Machines, host: Host) -> None:
    authority = host.file(f"/etc/docker/certs.d/{machines.name}.gym.internal:5000/ca.crt")
    assert authority.is_symlink
    assert authority.linked_to == "/etc/ssl/gym/ca.pem"
