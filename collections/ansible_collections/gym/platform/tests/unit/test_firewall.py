"""The openings of a machine from the noun `firewall`."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.filter.firewall import firewall_rules, machine_addresses

GROUPS = {"all": ["app-1", "app-2", "edge-1", "six"], "app": ["app-2", "app-1"], "edge": ["edge-1"], "new": ["six"]}
HOSTVARS = {
    "app-1": {"ansible_host": "10.0.0.9"},
    "app-2": {"ansible_host": "10.0.0.10"},
    "edge-1": {"ansible_host": "10.0.0.2"},
    "six": {"ansible_host": "fd00::6"},
}


def rules(*entries: dict[str, Any], group_names: list[str] | None = None) -> list[dict[str, str]]:
    return firewall_rules(entries, group_names or ["app"], GROUPS, HOSTVARS)


def entry(**changes: Any) -> dict[str, Any]:
    return {"group": "app", "port": 8000, "from": ["edge"], "why": "services", **changes}


def test_a_group_becomes_its_addresses() -> None:
    assert rules(entry()) == [
        {"source": "ip saddr { 10.0.0.2 } ", "protocol": "tcp", "ports": "8000", "why": "services"}
    ]


def test_addresses_are_in_numeric_order_and_named_once() -> None:
    found = rules(entry(**{"from": ["app", "edge", "app"]}))
    assert found[0]["source"] == "ip saddr { 10.0.0.2, 10.0.0.9, 10.0.0.10 } "


def test_both_families_get_their_own_rule() -> None:
    found = rules(entry(**{"from": ["edge", "new"]}))
    assert [rule["source"] for rule in found] == ["ip saddr { 10.0.0.2 } ", "ip6 saddr { fd00::6 } "]


def test_a_range_and_another_protocol() -> None:
    found = rules(entry(to_port=8099, protocol="udp"))
    assert (found[0]["ports"], found[0]["protocol"]) == ("8000-8099", "udp")


def test_anywhere_makes_other_sources_needless() -> None:
    assert [rule["source"] for rule in rules(entry(**{"from": ["edge", "anywhere"]}))] == [""]


def test_containers_come_in_by_the_bridges_of_docker() -> None:
    found = rules(entry(**{"from": ["containers"]}))
    assert [rule["source"] for rule in found] == ['iifname "docker0" ', 'iifname "br-*" ']


def test_controllers_are_the_addresses_that_the_environment_names() -> None:
    only, mixed = entry(**{"from": ["controllers"]}), entry(**{"from": ["edge", "controllers"]})
    own = ["10.0.0.1"]
    assert [rule["source"] for rule in firewall_rules([only], ["app"], GROUPS, HOSTVARS, own)] == [
        "ip saddr { 10.0.0.1 } "
    ]
    assert [rule["source"] for rule in firewall_rules([mixed], ["app"], GROUPS, HOSTVARS, own)] == [
        "ip saddr { 10.0.0.1, 10.0.0.2 } "
    ]
    assert firewall_rules([only], ["app"], GROUPS, HOSTVARS) == []


def test_other_machines_openings_stay_closed() -> None:
    assert rules(entry(), group_names=["database"]) == []


def test_a_group_without_hosts_opens_nothing() -> None:
    assert firewall_rules([entry(**{"from": ["none"]})], ["app"], {**GROUPS, "none": []}, HOSTVARS) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"from": ["egde"]}, "'egde' is not a group of the inventory. Did you mean 'edge'?"),
        ({"portt": 1}, "'portt' is not a key of an entry. Did you mean 'port'?"),
        ({"protocol": "tpc"}, "'tpc' is not a protocol. Did you mean 'tcp'?"),
        ({"to_port": 7999}, "ports 8000 to 7999"),
        ({"port": 0}, "not a range between 1 and 65535"),
        ({"to_port": 70000}, "not a range between 1 and 65535"),
        ({"why": 'a "b"'}, "may not contain a quotation mark"),
    ],
)
def test_a_bad_entry_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(message)):
        rules(entry(**changes))


def test_a_missing_key_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match="lacks from, why"):
        rules({"group": "app", "port": 1})


def test_a_name_where_an_address_belongs_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r"ansible_host of 'edge-1' is 'edge\.example'"):
        firewall_rules([entry()], ["app"], GROUPS, {"edge-1": {"ansible_host": "edge.example"}})


def test_addresses_of_machines() -> None:
    assert machine_addresses(["edge-1", "app-1"], HOSTVARS) == [
        {"name": "app-1", "address": "10.0.0.9"},
        {"name": "edge-1", "address": "10.0.0.2"},
    ]
    with pytest.raises(AnsibleFilterError, match="not an IP address"):
        machine_addresses(["named"], {"named": {}})
