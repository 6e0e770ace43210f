"""Releases as the one who runs them and the clients of the service see them."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

SCENARIO = Path(__file__).parents[1]
NAME = "shop.molecule.localhost"
FORMAT = '{{.Names}} {{.Label "gym.platform.version"}} {{.State}}'
# The engine starts a container again at once, and it is seen before or after that.
STOPPED = "stopped(, and was started again| with exit code 1)"


class Place:
    """The edge, the hosts with containers, and a person who releases."""

    def __init__(self, inventory: str) -> None:
        self.inventory = inventory
        runner = AnsibleRunner(inventory)
        names = sorted(runner.get_hosts("machines"))
        self.edge, *self.hosts = (
            testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True) for name in names
        )
        self.address, *self.addresses = (runner.get_variables(name)["ansible_host"] for name in names)

    def release(self, version: str, *options: str) -> tuple[int, str]:
        """Release as the playbook does; return the exit status and what was printed."""
        command = ["ansible-playbook", "--inventory", self.inventory, str(SCENARIO / "release.yml")]
        done = subprocess.run(
            [*command, "--extra-vars", f"version={version}", *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        return done.returncode, done.stdout + done.stderr

    @contextmanager
    def load(self) -> Iterator[dict[str, dict[str, int]]]:
        """Keep clients busy meanwhile; what they were answered is in the dictionary afterwards."""
        stop = "/run/molecule-load-stop"
        found: dict[str, dict[str, int]] = {}
        with ThreadPoolExecutor() as pool:
            self.edge.check_output(f"rm -f {stop} {stop}.started")
            command = f"python3 /opt/molecule/load.py {self.address} {NAME} /version 30 {stop}"
            running = pool.submit(self.edge.check_output, command)
            try:
                self.edge.check_output(f"timeout 20 sh -c 'until test -e {stop}.started; do sleep 0.1; done'")
                yield found
            finally:
                self.edge.check_output(f"touch {stop}")
                found.update(json.loads(running.result()))

    def running(self, host: Host) -> dict[str, str]:
        """Return the running containers of a host with their versions."""
        lines = host.check_output(f"docker ps --filter label=gym.platform.service --format '{FORMAT}'").splitlines()
        return {name: version for name, version, _ in (line.split() for line in lines)}

    def colours(self) -> set[str]:
        """Return the colours of the web service that have containers anywhere."""
        return {name.split("-")[-1] for host in self.hosts for name in self.running(host) if "worker" not in name}

    def version(self) -> str:
        """Return what clients are answered."""
        to = f"--resolve {NAME}:443:{self.address} --cacert /etc/ssl/gym/ca.pem"
        answer: dict[str, Any] = json.loads(self.hosts[0].check_output(f"curl -sS {to} https://{NAME}/version"))
        return str(answer["version"])


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    found = Place(request.config.getoption("--ansible-inventory"))
    yield found
    # The next run of converge finds what the first one left.
    found.release("good-1")


def test_a_release_runs_and_answers(place: Place) -> None:
    code, text = place.release("good-1")
    assert code == 0, text
    assert place.version() == "good-1"
    assert len(place.colours()) == 1


def test_the_same_release_again_changes_nothing_and_tells_no_secret(place: Place) -> None:
    before = [place.running(host) for host in place.hosts]
    code, text = place.release("good-1", "-vvv", "--diff")
    assert code == 0, text
    assert "Version good-1 runs already" in text
    assert set(re.findall(r"changed=(\d+)", text)) == {"0"}
    assert "planted" not in text
    assert [place.running(host) for host in place.hosts] == before


def test_a_container_is_closed(place: Place) -> None:
    host = place.hosts[0]
    (name,) = (name for name in place.running(host) if "worker" not in name)

    def python(program: str) -> tuple[int, str]:
        done = host.run(f"docker exec {name} /usr/bin/python3 -c '{program}'")
        return done.rc, done.stdout + done.stderr

    assert "Read-only file system" in python('open("/opt/x", "w")')[1]
    assert python('open("/tmp/x", "w")')[0] == 0
    status = python('print(open("/proc/self/status").read())')[1]
    assert re.search(r"^Uid:\s+10001\s", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    assert python("bytearray(200 * 1024 * 1024)")[0] != 0, "64 MB are the limit"
    # The port is on the private address and nowhere else.
    assert host.run("curl -sS --max-time 2 http://127.0.0.1:8200/ http://127.0.0.1:8250/").rc == 7


def test_a_new_version_replaces_the_old_one_and_no_request_fails(place: Place) -> None:
    (old,) = place.colours()
    with place.load() as found:
        code, text = place.release("good-2")
        assert place.version() == "good-2"
    assert code == 0, text
    assert "good-2 is live" in text
    assert "before it good-1" in text
    assert set(found["statuses"]) == {"200"}, found
    assert set(found["answers"]) == {"good-1", "good-2"}, found
    assert place.colours() == ({"blue", "green"} - {old})
    assert {version for host in place.hosts for version in place.running(host).values()} == {"good-2"}


def test_a_worker_finishes_what_it_holds_when_its_time_has_come(place: Place) -> None:
    live = place.version()
    (port,) = [8201 + 50 * (colour == "green") for colour in place.colours()]
    with ThreadPoolExecutor() as pool:
        held = [
            pool.submit(host.check_output, f"curl -sS --max-time 170 http://{address}:{port}/hold")
            for host, address in zip(place.hosts, place.addresses, strict=True)
        ]
        code, text = place.release("good-1" if live == "good-2" else "good-2")
        assert code == 0, text
        assert {json.loads(answer.result())["version"] for answer in held} == {live}


def test_a_version_that_fails_on_the_first_host_never_reaches_the_second(place: Place) -> None:
    first, second = place.hosts
    for host in place.hosts:
        host.check_output("docker image prune --all --force")
    images = "docker image ls --digests --quiet"
    before = [host.check_output(images) for host in place.hosts]
    code, text = place.release("ends")
    assert code != 0
    assert re.search(STOPPED, text), text
    assert len(first.check_output(images).splitlines()) == len(before[0].splitlines()) + 1
    assert second.check_output(images) == before[1]


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("ends", STOPPED),
        ("lies", "answered by version another, not lies"),
        ("root", "runs as root"),
        ("nowhere", "the registry does not give image"),
    ],
)
def test_a_bad_version_never_gets_traffic_and_goes_away(place: Place, version: str, reason: str) -> None:
    live, before = place.version(), [place.running(host) for host in place.hosts]
    code, text = place.release(version)
    assert code != 0
    assert re.search(reason, text), text
    assert place.version() == live
    assert [place.running(host) for host in place.hosts] == before


def test_a_version_that_never_gets_ready_is_not_let_in(place: Place) -> None:
    live = place.version()
    code, text = place.release("refuses", "--extra-vars", '{"release_docker_ready_timeout_seconds": 20}')
    assert code != 0
    assert "After 20 s:" in text
    assert "L7STS" in text, "what HAProxy's health check was answered is told"
    assert place.version() == live


def test_a_lost_container_is_put_back_without_a_switch(place: Place) -> None:
    (colour,) = place.colours()
    live = place.version()
    place.hosts[1].check_output(f"docker rm --force shop-{colour}")
    code, text = place.release(live)
    assert code == 0, text
    assert place.colours() == {colour}
    assert f"shop-{colour}" in place.running(place.hosts[1])


def test_a_job_is_run_by_its_timer_on_one_host(place: Place) -> None:
    first, second = place.hosts
    assert first.check_output("systemctl is-active shop-report.timer") == "active"
    assert second.run("systemctl is-active shop-report.timer").rc != 0
    first.check_output("systemctl start shop-report.service")
    assert first.check_output("docker logs --tail 1 shop-report") == f"report of {place.version()}"


def test_services_are_back_after_a_reboot_of_their_engine(place: Place) -> None:
    host = place.hosts[1]
    before = place.running(host)
    host.check_output("systemctl restart docker")
    deadline = time.monotonic() + 30
    while place.running(host) != before:
        assert time.monotonic() < deadline, place.running(host)
        time.sleep(0.3)
    ask = " || ".join(f"curl -sf http://{place.addresses[1]}:{port}/" for port in (8200, 8250))
    host.check_output(f"timeout 20 sh -c 'until {ask}; do sleep 0.3; done'")
