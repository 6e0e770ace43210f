# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses, and the hosts that have them. Each public function is a rule of module_utils/policy.py."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from ansible_collections.gym.platform.plugins.module_utils.policy_rule import Description, Finding, repeated
from ansible_collections.gym.platform.plugins.module_utils.schema import is_template


def _network(described: Description, key: str = "cidr") -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(described["network"][key])
    except ValueError:
        return None


def regions_are_apart(described: Description) -> Iterator[Finding]:
    """Between two networks that share addresses there is no way: one of the two would never be meant."""
    first, second = _network(described), _network(described, "dr_cidr")
    if first and second and first.overlaps(second):
        yield Finding(("network", "dr_cidr"), f"{second} overlaps network.cidr {first}", "a network apart from it")


def _hosts_outside(described: Description, key: str) -> list[str]:
    """Return the hosts that have an address, and not one that a machine of this network could have."""
    network = _network(described, key)
    outside = []
    for host, text in described.addresses.items():
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError:
            continue
        reserved = (network.network_address, network.broadcast_address) if network else ()
        if network is None or address not in network or address in reserved:
            outside.append(host)
    return outside


def network_is_private(described: Description) -> Iterator[Finding]:
    """Addresses that belong to somebody else on the internet could no longer be reached."""
    network = _network(described)
    cidr = described["network"]["cidr"]
    private = [ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
    legal = "a network within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"
    if is_template(cidr):
        return
    if network is None:
        yield Finding(("network", "cidr"), f"{cidr} is not a network", legal, "the part behind the prefix must be zero")
    elif not any(network.subnet_of(block) for block in private):
        yield Finding(("network", "cidr"), f"{cidr} is not a private network", legal)


def network_is_large_enough(described: Description) -> Iterator[Finding]:
    """A network cannot be enlarged later without rebuilding everything in it."""
    network = _network(described)
    if network is None:
        return
    if described["platform"]["provider"] != "docker":
        # Sixteen subnets of 256: three in each of five zones, and one to spare; AWS allows at most /16.
        needed = 16 * 256
        if network.prefixlen < 16 or network.num_addresses < needed:
            yield Finding(
                ("network", "cidr"),
                f"{network} has {network.num_addresses} addresses",
                f"at least {needed}, which are sixteen subnets of 256, and at most 65536",
            )
        return
    # The first and the last address, and the engine's own.
    usable, wanted = network.num_addresses - 3, len(_hosts_outside(described, "dr_cidr"))
    if usable < wanted:
        yield Finding(
            ("network", "cidr"),
            f"{network} has {usable} addresses for {wanted} hosts",
            f"a network for at least {wanted} hosts",
        )


def hosts_are_in_the_network(described: Description) -> Iterator[Finding]:
    """A host outside the private network cannot reach the others, and two of one address answer for each other."""
    network = _network(described)
    if network is None:
        return
    at_home, abroad = _hosts_outside(described, "dr_cidr"), _network(described, "dr_cidr")
    outside = [host for host in _hosts_outside(described, "cidr") if host in at_home]
    # A network that is too small is one problem, not one for each host.
    usable = network.num_addresses - 3
    if usable >= len(at_home):
        for host in outside:
            message = f"{described.addresses[host]} is not in the network"
            yield Finding(("hosts", host), message, f"an address in {network}" + (f" or {abroad}" if abroad else ""))
    for path, text, first in repeated(((host,), text) for host, text in described.addresses.items()):
        yield Finding(("hosts", *path), f"{text} is the address of {first[0]}", "an address of its own")


def enough_hosts_to_agree(described: Description) -> Iterator[Finding]:
    """Nodes outvote a lost one only when three or more, an odd number, have a voice."""
    if described["platform"]["provider"] != "docker":
        return
    wanted = {
        "database": described["database"]["high_availability"],
        "sentinel": described["cache"]["high_availability"] and not described["cache"]["cluster_mode"],
    }
    for group, available in wanted.items():
        count = len(described.groups.get(group, {}))
        if available and (count < 3 or count % 2 == 0):
            noun = "database" if group == "database" else "cache"
            yield Finding(
                (noun, "high_availability"),
                f"true with {count} hosts in the group {group}",
                "three hosts, or five",
                f"add hosts to the group {group} in hosts.yml",
            )
