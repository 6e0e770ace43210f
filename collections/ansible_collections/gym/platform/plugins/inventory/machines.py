# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The machines that a cloud has made for an environment, where it has any."""

DOCUMENTATION = r"""
name: machines
short_description: The machines that a cloud has made for an environment
description:
  - Reads the noun C(platform) of the environment that the file stands in. Where its services run on machines of AWS,
    M(amazon.aws.aws_ec2) is asked for those with the environment's tags; their tag C(Group) is their group.
  - Everywhere else nobody is asked anything, so that an environment without machines needs no credentials.
author: The gym platform's authors
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [gym.platform.machines]
"""

EXAMPLES = r"""
# inventories/production/machines.yml
plugin: gym.platform.machines
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.plugins.loader import inventory_loader

DELEGATE = "amazon.aws.aws_ec2"


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]  # Ansible has no type information
    """Ask the cloud that has the machines, by its own plugin."""

    NAME = "gym.platform.machines"

    def verify_file(self, path: str) -> bool:
        """Accept the one name that the file has."""
        return bool(super().verify_file(path)) and Path(path).name == "machines.yml"

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Add the machines. Raises AnsibleParserError when there should be some and nobody can be asked."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        platform = read_platform(Path(path).parent)
        if not has_machines(platform):
            return
        delegate = inventory_loader.get(DELEGATE)
        if delegate is None:
            raise AnsibleParserError(f"{path}: {DELEGATE} is not installed: install requirements.yml.")
        with tempfile.TemporaryDirectory() as directory:
            # The plugin knows its files by their names.
            file = Path(directory, "aws_ec2.yml")
            file.write_text(yaml.safe_dump(question(platform)), encoding="utf-8")
            delegate.parse(inventory, loader, str(file), cache=cache)


def read_platform(environment: Path) -> dict[str, Any]:
    """Return the noun of an environment, which is on the disk before any variable is."""
    file = environment / "group_vars/all/platform.yml"
    return dict(yaml.safe_load(file.read_text(encoding="utf-8"))["platform"])


def has_machines(platform: Mapping[str, Any]) -> bool:
    """Say whether a cloud has machines that we configure."""
    return bool(platform["provider"] == "aws" and platform["compute"] == "docker_hosts")


def question(platform: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the cloud's plugin is asked: the running machines with the environment's tags, by their group."""
    return {
        "plugin": DELEGATE,
        "regions": [platform["region"]],
        "filters": {
            "tag:Platform": platform["name"],
            "tag:Environment": platform["environment"],
            "instance-state-name": "running",
        },
        "hostnames": ["instance-id"],
        "compose": {"ansible_host": "private_ip_address"},
        "keyed_groups": [{"key": "tags.Group", "prefix": "", "separator": ""}],
        "strict": True,
    }
