"""The machines of a cloud join the inventory where there are any, and nobody is asked where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible_collections.gym.platform.plugins.inventory import machines

PLATFORM = {
    "name": "gym",
    "environment": "production",
    "provider": "aws",
    "compute": "docker_hosts",
    "region": "eu-west-1",
}


class Cloud:
    """AWS's plugin, which remembers what it was asked and adds one machine."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool) -> None:
        del loader, cache
        assert Path(path).name.endswith("aws_ec2.yml")
        self.asked.append(yaml.safe_load(Path(path).read_text()))
        inventory.add_group("app")
        inventory.add_host("i-1", "app")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    found = Cloud()
    monkeypatch.setattr(machines.inventory_loader, "get", {"amazon.aws.aws_ec2": found}.get)
    return found


def parse(root: Path, **changes: str) -> InventoryData:
    directory = root / "group_vars/all"
    directory.mkdir(parents=True)
    (directory / "platform.yml").write_text(yaml.safe_dump({"platform": {**PLATFORM, **changes}}))
    file = root / "machines.yml"
    file.write_text("plugin: gym.platform.machines\n")
    plugin, inventory = machines.InventoryModule(), InventoryData()
    plugin._load_name = plugin.NAME
    assert plugin.verify_file(str(file))
    plugin.parse(inventory, DataLoader(), str(file))
    return inventory


def test_machines_join_by_their_tags(tmp_path: Path, cloud: Cloud) -> None:
    inventory = parse(tmp_path)
    assert [host.name for host in inventory.groups["app"].get_hosts()] == ["i-1"]
    (asked,) = cloud.asked
    assert asked["regions"] == ["eu-west-1"]
    assert asked["filters"]["tag:Environment"] == "production"
    assert asked["keyed_groups"][0]["key"] == "tags.Group"


@pytest.mark.parametrize("changes", [{"compute": "ecs"}, {"compute": "eks"}, {"provider": "docker"}])
def test_nobody_is_asked_where_there_are_none(tmp_path: Path, cloud: Cloud, changes: dict[str, str]) -> None:
    assert not parse(tmp_path, **changes).hosts
    assert not cloud.asked


def test_a_plugin_that_is_not_there_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines.inventory_loader, "get", lambda name: None)
    with pytest.raises(AnsibleParserError, match=r"amazon\.aws\.aws_ec2 is not installed"):
        parse(tmp_path)


def test_another_file_is_somebody_else_s(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all:\n")
    assert not machines.InventoryModule().verify_file(str(tmp_path / "hosts.yml"))
