"""The subnets of a cloud's network."""

from __future__ import annotations

import ipaddress

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.filter.network import TIERS, zone_subnets

ZONES = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]


def test_each_zone_has_a_network_for_each_tier() -> None:
    first, _second, third = zone_subnets(ZONES, "10.200.0.0/16")
    assert first == {
        "name": "eu-west-1a",
        "key": "A",
        "public": "10.200.0.0/20",
        "private": "10.200.80.0/20",
        "data": "10.200.160.0/20",
    }
    assert third["key"] == "C"


def test_networks_do_not_overlap() -> None:
    found = [ipaddress.ip_network(zone[tier]) for zone in zone_subnets(ZONES, "10.200.0.0/20") for tier in TIERS]
    assert not [(one, other) for one in found for other in found if one is not other and one.overlaps(other)]


def test_a_new_zone_moves_nothing() -> None:
    assert zone_subnets(ZONES, "10.0.0.0/16")[:2] == zone_subnets(ZONES[:2], "10.0.0.0/16")


def test_too_many_zones_are_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="6 zones are listed, and the network has room for 5"):
        zone_subnets([f"eu-west-1{letter}" for letter in "abcdef"], "10.0.0.0/16")


@pytest.mark.parametrize("cidr", ["10.0.0.0/29", "10.0.0.1/16", "network"])
def test_a_network_that_cannot_be_cut_is_refused(cidr: str) -> None:
    with pytest.raises(AnsibleFilterError, match="cannot be cut into 16 parts"):
        zone_subnets(ZONES, cidr)
