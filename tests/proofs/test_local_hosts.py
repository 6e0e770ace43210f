"""Local hosts, for real: three of an environment of their own beside the development platform, and its memory.

Each test leaves the three running or makes them anew, so that they can be run in any order and alone.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.gym.platform.plugins.module_utils.local_engine import Engine

from tests.end_to_end.platform_access import ROOT, wait_for
from tests.proofs.playbook_runs import interrupt

NAMES = ("probe-1", "probe-2", "probe-3")
CONTAINERS = [f"gym-{name}" for name in NAMES]
GIBIBYTE = 1024**3


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def states() -> dict[str, str]:
    listing = docker("ps", "--all", "--filter", "label=gym.platform=probe", "--format", "{{.Names}} {{.State}}")
    return dict(line.split() for line in listing.splitlines())


class Probe:
    """The role, applied to an environment with three hosts."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "state"
        self.variables: dict[str, Any] = {
            "local_hosts_environment": "probe",
            "local_hosts_addresses": {name: f"10.203.0.{201 + number}" for number, name in enumerate(NAMES)},
            "local_hosts_engines": ["probe-1"],
            "local_hosts_state_directory": str(self.state),
            "local_hosts_engine_directory": str(ROOT / ".state" / "engine"),
            "local_hosts_cache_directory": str(ROOT / ".cache" / "local_hosts"),
        }
        self._playbook = directory / "play.yml"

    def command(self, **variables: Any) -> list[str]:
        """Write the play with these variables and return what runs it."""
        play = {
            "name": "Probe",
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {**self.variables, **variables},
            "roles": [{"role": "gym.platform.local_hosts"}],
        }
        self._playbook.write_text(yaml.safe_dump([play]))
        return ["ansible-playbook", "-i", "localhost,", str(self._playbook)]

    def run(self, **variables: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(**variables), cwd=ROOT, capture_output=True, text=True, check=False)

    def apply(self, **variables: Any) -> int:
        """Apply the role and return how many tasks changed something."""
        result = self.run(**variables)
        assert result.returncode == 0, result.stdout + result.stderr
        return int(re.findall(r"changed=(\d+)", result.stdout)[-1])

    def refused(self, **variables: Any) -> str:
        """Apply the role, which has to fail, and return the one message of it."""
        result = self.run(**variables)
        assert result.returncode != 0, result.stdout
        assert "Traceback" not in result.stdout + result.stderr
        (message,) = re.findall(r'fatal: \[localhost\]: FAILED! => \{.*?"msg": "((?:[^"\\]|\\.)*)"', result.stdout)
        return str(message)

    def interrupt(self, moment: Callable[[], bool], **variables: Any) -> int:
        """Start applying the role, press Ctrl-C at this moment, and return the exit code."""
        log = self._playbook.with_suffix(".log")
        return interrupt(self.command(**variables), log, lambda _said: moment()).code

    def logs_in(self, name: str) -> str:
        """Log in as Ansible does, with the generated key and the host key that is known beforehand."""
        ssh = ["ssh", "-i", str(self.state / "ssh" / "id_ed25519"), "-o", "BatchMode=yes"]
        ssh += ["-o", f"UserKnownHostsFile={self.state / 'ssh' / 'known_hosts'}", "-o", "StrictHostKeyChecking=yes"]
        address = self.variables["local_hosts_addresses"][name]
        return subprocess.run(
            [*ssh, f"ansible@{address}", "sudo", "hostname"], capture_output=True, text=True, check=True
        ).stdout.strip()

    def complete(self) -> bool:
        return states() == dict.fromkeys(CONTAINERS, "running") and [self.logs_in(name) for name in NAMES] == [*NAMES]


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    made = Probe(tmp_path_factory.mktemp("probe"))
    made.apply()
    yield made
    made.apply(local_hosts_state="absent")
    assert states() == {}
    assert not made.state.exists()
    assert "gym-probe-1-docker" not in docker("volume", "ls", "--format", "{{.Name}}").split()


def test_a_second_run_changes_nothing(probe: Probe) -> None:
    probe.apply()
    assert probe.apply() == 0
    assert probe.complete()


def test_a_killed_and_a_disconnected_host_come_back_with_their_files(probe: Probe) -> None:
    probe.apply()
    for container in CONTAINERS[:2]:
        docker("exec", container, "touch", "/etc/precious")
    docker("kill", CONTAINERS[0])
    docker("network", "disconnect", "--force", "gym-local", CONTAINERS[1])
    assert probe.apply() == 1
    assert probe.complete()
    for container in CONTAINERS[:2]:
        docker("exec", container, "rm", "/etc/precious")


def test_a_half_built_set_is_completed(probe: Probe) -> None:
    probe.apply()
    docker("rm", "--force", CONTAINERS[0], CONTAINERS[1])
    image = docker("inspect", "--format", "{{.Config.Image}}", CONTAINERS[2])
    labels = ["--label", "gym.platform=probe"]
    docker("create", "--name", CONTAINERS[1], *labels, image, "true")
    (probe.state / "ssh" / "known_hosts").unlink()
    assert probe.apply() > 0
    assert probe.complete()


def test_check_mode_tells_and_does_nothing(probe: Probe) -> None:
    probe.apply()
    docker("kill", CONTAINERS[0])
    command = [*probe.command(), "--check", "--diff"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"-{CONTAINERS[0]}: exited" in result.stdout
    assert f"+{CONTAINERS[0]}: running" in result.stdout
    assert states()[CONTAINERS[0]] == "exited"
    probe.apply()


def test_a_lost_key_makes_hosts_anew_and_not_unreachable(probe: Probe) -> None:
    probe.apply()
    # What a nested engine keeps is of the host that is no more: its containers would start with the secrets of then.
    docker("exec", CONTAINERS[0], "touch", "/var/lib/docker/of-the-host-before")
    (probe.state / "ssh" / "id_ed25519").unlink()
    probe.apply()
    assert probe.complete()
    assert "of-the-host-before" not in docker("exec", CONTAINERS[0], "ls", "/var/lib/docker")


@pytest.mark.parametrize("made", [0, 1, 2])
def test_an_interrupted_start_is_completed(probe: Probe, made: int) -> None:
    probe.apply(local_hosts_state="absent")
    started = time.monotonic()

    def moment() -> bool:
        # At the key, at the first container, at the last.
        return len(states()) > made if made else (probe.state / "ssh").exists() or time.monotonic() - started > 60

    assert probe.interrupt(moment) != 0
    # What Ansible left running ends by itself; a run beside it must get along with it all the same.
    probe.apply()
    assert probe.complete()
    assert probe.apply() == 0


def mounts_below(directory: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[1].startswith(str(directory))]


def processes_below(directory: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(directory).encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
    return found


def test_an_interrupted_build_leaves_neither_mounts_nor_processes(probe: Probe, tmp_path: Path) -> None:
    """The mirror answers nothing: whatever is made of this, no image comes of it."""
    probe.apply(local_hosts_state="absent")
    with socket.create_server(("127.0.0.1", 0)) as mirror:
        sources = [f"deb http://127.0.0.1:{mirror.getsockname()[1]}/debian bookworm main"]
        variables = {"local_hosts_sources": sources, "local_hosts_cache_directory": str(tmp_path / "cache")}
        building = lambda: any(tmp_path.glob("cache/building-*/tmp/*/etc"))  # noqa: E731
        assert probe.interrupt(building, **variables) != 0
        wait_for(lambda: not processes_below(tmp_path / "cache"), 15, "the build's processes end")
        assert mounts_below(tmp_path / "cache") == []
    probe.apply()


def test_a_full_disk_is_one_sentence(probe: Probe, tmp_path: Path) -> None:
    probe.apply(local_hosts_state="absent")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)], check=True)
    try:
        message = probe.refused(
            local_hosts_sources=["deb http://127.0.0.1:9/debian bookworm main"],
            local_hosts_cache_directory=str(tmp_path / "cache"),
        )
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
    assert message.startswith("Not enough disk space: building the image of the local hosts needs 1 GiB")
    probe.apply()


def test_a_mirror_that_is_down_is_one_sentence(probe: Probe, tmp_path: Path) -> None:
    probe.apply(local_hosts_state="absent")
    message = probe.refused(
        local_hosts_sources=["deb http://127.0.0.1:9/debian bookworm main"],
        local_hosts_cache_directory=str(tmp_path / "cache"),
    )
    assert message.startswith("Making the plain image with mmdebstrap failed: ")
    assert "127.0.0.1:9" in message
    probe.apply()


def test_a_port_in_use_is_one_sentence(probe: Probe) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        published = [{"host": "probe-2", "port": 80, "at": port}]
        message = probe.refused(local_hosts_published=published)
        assert message.startswith(f"gym-probe-2 cannot start: 127.0.0.1:{port} is in use on this machine")
    probe.apply(local_hosts_published=published)
    probe.apply()
    assert probe.complete()


def test_a_subnet_in_use_is_one_sentence(probe: Probe) -> None:
    """Another network's range, seen before anything is made."""
    message = probe.refused(local_hosts_networks=[{"name": "gym-probe", "subnet": "10.203.0.0/24"}])
    assert "10.203.0.0/24 overlaps 10.203.0.0/24 of the Docker network gym-local" in message


def test_the_platform_fits_into_four_gibibytes() -> None:
    engine = Engine()
    hosts = engine.call("GET", "/containers/json", {"filters": {"label": ["gym.platform=development"]}})
    assert len(hosts) == 12
    resident = 0
    for host in hosts:
        stats = engine.call("GET", f"/containers/{host['Id']}/stats", {"stream": 0, "one-shot": 1})
        memory = stats["memory_stats"]["stats"]
        # Control groups of version 1 and 2 have different names for it.
        resident += memory["total_rss"] if "total_rss" in memory else memory["anon"]
    assert resident < 4 * GIBIBYTE, f"{resident / GIBIBYTE:.2f} GiB"
