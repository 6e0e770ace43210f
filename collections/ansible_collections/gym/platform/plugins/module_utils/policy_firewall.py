# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may reach what on our own machines. Each public function is a rule of module_utils/policy.py."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from ansible_collections.gym.platform.plugins.module_utils.environment import Path_
from ansible_collections.gym.platform.plugins.module_utils.policy_rule import Description, Finding
from ansible_collections.gym.platform.plugins.module_utils.schema import nearest

DATA_GROUPS = ("database", "cache", "sentinel", "queue")
# What `from` in the firewall may name besides inventory groups.
ORIGINS = ("containers", "controllers", "anywhere")


def firewall_names_known_groups(described: Description) -> Iterator[Finding]:
    """A rule for a group that does not exist opens nothing, and nobody notices until a service is not reached."""
    groups = sorted(described.groups)
    for index, rule in described.records("firewall"):
        origins: Iterable[tuple[Path_, str]] = (
            (("firewall", index, "from", place), origin) for place, origin in enumerate(rule["from"])
        )
        named = itertools.chain([(("firewall", index, "group"), rule["group"])], origins)
        for path, name in named:
            legal = groups if path[-1] == "group" else [*groups, *ORIGINS]
            if name not in legal:
                meant = nearest(name, legal)
                yield Finding(
                    path,
                    f"{name} is not a group of the inventory",
                    ", ".join(legal),
                    f"did you mean `{meant}`?" if meant else "add the group to hosts.yml",
                )


def firewall_ranges_go_up(described: Description) -> Iterator[Finding]:
    """A range that ends below its beginning opens nothing."""
    for index, rule in described.records("firewall"):
        if rule.get("to_port", rule["port"]) < rule["port"]:
            yield Finding(
                ("firewall", index, "to_port"),
                f"{rule['to_port']} is less than {rule['port']}",
                f"at least {rule['port']}",
            )


def firewall_closes_data(described: Description) -> Iterator[Finding]:
    """What holds the data of the gyms is reached by our own machines only."""
    for index, rule in described.records("firewall"):
        if rule["group"] in DATA_GROUPS and "anywhere" in rule["from"]:
            yield Finding(
                ("firewall", index, "from"),
                f"anywhere may reach port {rule['port']} of {rule['group']}",
                "inventory groups",
                "name the groups that need it",
            )
