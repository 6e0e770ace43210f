"""Turn the noun `firewall` and the inventory into what one machine lets in."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

ANYWHERE = "anywhere"
CONTAINERS = "containers"
CONTROLLERS = "controllers"
# Docker's default bridge, and the bridges of the networks that people make.
CONTAINER_INTERFACES = ("docker0", "br-*")
PROTOCOLS = ("tcp", "udp")
KEYS = {"group", "port", "to_port", "from", "protocol", "why"}


def _one_of(word: str, legal: Sequence[str], what: str) -> AnsibleFilterError:
    nearest = difflib.get_close_matches(word, legal, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return AnsibleFilterError(f"firewall: '{word}' is not {what}.{hint} Legal: {', '.join(legal)}.")


def _address(host: str, hostvars: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the address of a host of the inventory; a firewall cannot use a name that may change."""
    address = str(hostvars[host].get("ansible_host", host))
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise AnsibleFilterError(
            f"firewall: the ansible_host of '{host}' is '{address}', which is not an IP address."
            " Give the address in the inventory."
        ) from None


def machine_addresses(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return name and address of each host, by name."""
    return [{"name": host, "address": _address(host, hostvars)} for host in sorted(hosts)]


def _sources(
    names: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    controllers: Sequence[str],
) -> list[str]:
    """Return nftables matches, each for a way in; the empty match means everybody."""
    legal = [ANYWHERE, CONTAINERS, CONTROLLERS, *sorted(groups)]
    for name in names:
        if name not in legal:
            raise _one_of(name, legal, "a group of the inventory")
    if ANYWHERE in names:
        return [""]
    hosts = {host for name in names for host in groups.get(name, ())}
    known = {_address(host, hostvars) for host in hosts} | set(controllers if CONTROLLERS in names else ())
    addresses = sorted(map(ipaddress.ip_address, known), key=lambda address: address.packed)
    matches = []
    for family, version in (("ip", 4), ("ip6", 6)):
        own = [str(address) for address in addresses if address.version == version]
        if own:
            matches.append(f"{family} saddr {{ {', '.join(own)} }} ")
    if CONTAINERS in names:
        matches += [f'iifname "{interface}" ' for interface in CONTAINER_INTERFACES]
    return matches


def _ports(entry: Mapping[str, Any]) -> str:
    first = int(entry["port"])
    last = int(entry.get("to_port", first))
    if not 1 <= first <= last <= 65535:
        raise AnsibleFilterError(
            f"firewall: ports {first} to {last} of '{entry['why']}' are not a range between 1 and 65535."
        )
    return str(first) if first == last else f"{first}-{last}"


def firewall_rules(
    firewall: Sequence[Mapping[str, Any]],
    group_names: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    controllers: Sequence[str] = (),
) -> list[dict[str, str]]:
    """Return the openings of one machine, a member of `group_names`.

    `controllers` are the addresses of the machines that run the playbooks. Each opening has `source` (an nftables
    match, empty for everybody), `protocol`, `ports` and `why`.
    """
    rules = []
    for entry in firewall:
        for key in entry:
            if key not in KEYS:
                raise _one_of(key, sorted(KEYS), "a key of an entry")
        missing = {"group", "port", "from", "why"} - set(entry)
        if missing:
            raise AnsibleFilterError(f"firewall: {dict(entry)} lacks {', '.join(sorted(missing))}.")
        protocol = entry.get("protocol", "tcp")
        if protocol not in PROTOCOLS:
            raise _one_of(str(protocol), PROTOCOLS, "a protocol")
        if '"' in entry["why"]:
            raise AnsibleFilterError(f"firewall: the reason {entry['why']!r} may not contain a quotation mark.")
        if entry["group"] not in group_names:
            continue
        rules += [
            {"source": source, "protocol": protocol, "ports": _ports(entry), "why": entry["why"]}
            for source in _sources(entry["from"], groups, hostvars, controllers)
        ]
    return rules


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name them for Ansible."""
        return {"firewall_rules": firewall_rules, "machine_addresses": machine_addresses}
