"""Addresses and limits of a cloud's network, from the nouns `platform` and `network`."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

TIERS = ("public", "private", "data")
# A network is cut into this many equal parts, so that a zone can be added without moving anything.
PARTS = 16
# Parts kept for each tier: as many zones as any region has, and one.
ZONES = PARTS // len(TIERS)


def zone_subnets(zones: Sequence[str], cidr: str) -> list[dict[str, str]]:
    """Return a record for each zone: its name, its letter as the key of logical ids, and a network for each tier."""
    if len(zones) > ZONES:
        raise AnsibleFilterError(f"zones: {len(zones)} zones are listed, and the network has room for {ZONES}.")
    try:
        parts = list(ipaddress.IPv4Network(cidr).subnets(new_prefix=ipaddress.IPv4Network(cidr).prefixlen + 4))
    except ValueError as error:
        raise AnsibleFilterError(f"cidr: '{cidr}' cannot be cut into {PARTS} parts: {error}.") from error
    return [
        {
            "name": zone,
            "key": zone[-1].upper(),
            **{tier: str(parts[index + place * ZONES]) for place, tier in enumerate(TIERS)},
        }
        for index, zone in enumerate(zones)
    ]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name them for Ansible."""
        return {"zone_subnets": zone_subnets}
