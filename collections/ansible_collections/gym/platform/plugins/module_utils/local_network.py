"""The IPv4 network of this machine, as far as the networks of local hosts have to fit into it."""

from __future__ import annotations

import socket
import struct
import subprocess
from pathlib import Path

from ansible_collections.gym.platform.plugins.module_utils.local_plan import PlanError, Rule


def read_routes() -> tuple[tuple[str, str], ...]:
    """Read this machine's IPv4 routes from the kernel; the default route overlaps nothing."""
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return ()
    routes = []
    for line in lines:
        interface, destination, _, _, _, _, _, mask = line.split()[:8]
        if int(mask, 16):
            network = socket.inet_ntoa(struct.pack("<L", int(destination, 16)))
            routes.append((f"{network}/{int(mask, 16).bit_count()}", interface))
    return tuple(routes)


class PacketFilter:
    """The packet filter of this machine, where networks of the engine reach each other or do not."""

    # Chains that `local_plan.ways` has rules for.
    CHAINS = (("filter", "DOCKER-USER"), ("nat", "POSTROUTING"))

    def rules(self) -> tuple[Rule, ...]:
        """Read the rules of the chains, in their order; a chain that the engine has not made yet has none."""
        found = []
        for table, chain in self.CHAINS:
            for line in self._run(table, "-S", chain).splitlines():
                verb, _, *words = line.split()
                if verb == "-A":
                    found.append(Rule(table, chain, tuple(words)))
        return tuple(found)

    def add(self, rule: Rule) -> None:
        """Put a rule before all others of its chain."""
        self._run(rule.table, "-I", rule.chain, *rule.words)

    def remove(self, rule: Rule) -> None:
        """Take a rule away."""
        self._run(rule.table, "-D", rule.chain, *rule.words)

    def _run(self, table: str, *words: str) -> str:
        command = ["iptables", "-w", "10", "-t", table, *words]
        try:
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or str(error)
            raise PlanError(
                f"`{' '.join(command)}` failed, so networks of hosts cannot reach each other; it needs root and "
                f"Debian's package iptables. It said: {' '.join(said.split())}"
            ) from error
