"""Seconds a host for a run that changes nothing: this project's way against Ansible's defaults, by number of hosts.

    PYTHONPATH=collections .venv/bin/python tests/benchmarks/configure.py [2 8 16]

Makes its own hosts on its own network from the image of the local hosts, configures them once, and then runs the same
playbook in turn with this repository's ansible.cfg and with Ansible's defaults: 5 forks, no pipelining, facts gathered.
The figure to quote is the ratio: both runs are made on the same machine in the same minutes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SIZES = (2, 8, 16)
ROUNDS = 3

# Gathering is left to ansible.cfg: it is one of the settings that are compared.
CONFIGURE = """
- name: Configure
  hosts: machines
  roles:
    - role: gym.platform.base_host
    - role: gym.platform.monitoring_agent
"""

HOSTS = """
- name: Hosts of the benchmark
  hosts: localhost
  connection: local
  gather_facts: false
  roles:
    - role: gym.platform.secrets
    - role: gym.platform.local_hosts
"""


def inventory(directory: Path, count: int) -> Path:
    """Write an inventory of ``count`` machines that shares the project's variables; return its directory."""
    variables = directory / "group_vars" / "all"
    variables.mkdir(parents=True)
    (variables / "00_shared").symlink_to(ROOT / "group_vars" / "all")
    for source in (ROOT / "inventories" / "development" / "group_vars" / "all").glob("*.yml"):
        (variables / source.name).symlink_to(source)
    benchmark = {
        "state_directory": str(directory / "state"),
        "local_hosts_environment": "benchmark",
        "local_hosts_networks": [{"name": "gym-benchmark", "subnet": "10.203.2.0/24"}],
        "local_hosts_prefix": "gym-benchmark-",
        "local_hosts_published": [],
        "local_hosts_engine_directory": str(ROOT / ".state" / "engine"),
        "local_hosts_cache_directory": str(ROOT / ".cache" / "local_hosts"),
    }
    (variables / "zz_benchmark.yml").write_text(json.dumps(benchmark))
    hosts = {f"bench-{number}": {"ansible_host": f"10.203.2.{10 + number}"} for number in range(1, count + 1)}
    connection = {
        "ansible_user": "ansible",
        "ansible_become": True,
        "ansible_ssh_private_key_file": "{{ state_directory }}/ssh/id_ed25519",
        "ansible_ssh_common_args": "-o UserKnownHostsFile={{ state_directory }}/ssh/known_hosts",
    }
    groups = ("edge", "app", "database", "cache", "sentinel", "queue", "monitoring", "backup", "registry")
    everything = {
        "machines": {"hosts": hosts, "vars": connection},
        **{group: {"hosts": {}} for group in groups},
    }
    (directory / "hosts.json").write_text(json.dumps(everything))
    (directory / "defaults.cfg").touch()
    return directory


def run(where: Path, playbook: Path, *, defaults: bool = False, arguments: tuple[str, ...] = ()) -> tuple[float, str]:
    """Run a playbook; return its wall time in seconds and its output. Ends the benchmark when it fails."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "ANSIBLE_STDOUT_CALLBACK": "default"}
    environment["ANSIBLE_CONFIG"] = str(where / "defaults.cfg" if defaults else ROOT / "ansible.cfg")
    begun = time.monotonic()
    command = [str(BIN / "ansible-playbook"), "-i", str(where / "hosts.json"), str(playbook), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=where)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return time.monotonic() - begun, done.stdout


def measure(count: int) -> tuple[float, float]:
    """Return the median seconds a host of a no-change run: the project's way, and with Ansible's defaults."""
    with tempfile.TemporaryDirectory(prefix="gym-benchmark-") as name:
        where = inventory(Path(name), count)
        playbooks = where / "playbooks"
        playbooks.mkdir()
        configure, hosts = playbooks / "configure.yml", playbooks / "hosts.yml"
        configure.write_text(CONFIGURE)
        hosts.write_text(HOSTS)
        try:
            run(where, hosts)
            run(where, configure)
            ours, theirs = [], []
            for _ in range(ROUNDS):
                seconds, output = run(where, configure)
                if output.count("changed=0 ") != count:
                    sys.exit(f"The run was to change nothing on {count} hosts:\n{output[-4000:]}")
                ours.append(seconds / count)
                theirs.append(run(where, configure, defaults=True)[0] / count)
        finally:
            run(where, hosts, arguments=("-e", "local_hosts_state=absent"))
    return statistics.median(ours), statistics.median(theirs)


def main() -> None:
    """Print one row for each number of hosts."""
    sizes = [int(argument) for argument in sys.argv[1:]] or list(SIZES)
    print(f"{'hosts':>5}  {'here, s/host':>12}  {'defaults, s/host':>16}  {'ratio':>5}")
    for count in sizes:
        ours, theirs = measure(count)
        print(f"{count:>5}  {ours:>12.2f}  {theirs:>16.2f}  {ours / theirs:>5.2f}")


if __name__ == "__main__":
    main()
