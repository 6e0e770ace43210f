"""Environments that are shaped otherwise than ours: AWS would take their stacks as well, and they need each other's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_template_needs import needs
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import load

from tests.project import ROOT
from tests.project import load as load_yaml
from tests.stacks.golden import GOLDEN, render
from tests.stacks.test_stack_lint import REGIONS, run


def noun(name: str, **changes: Any) -> dict[str, Any]:
    """Return a noun of production with other values; a list stays as it is."""
    value = load_yaml(ROOT / "inventories/production/group_vars/all" / f"{name}.yml")[name]
    changed = {key: other for key, other in {**value, **changes}.items() if other is not None}
    return {name: changed}


def records(name: str, first: dict[str, Any], *more: dict[str, Any]) -> dict[str, Any]:
    """Return a list of production whose first record has other values, and with more records."""
    head, *rest = load_yaml(ROOT / "inventories/production/group_vars/all" / f"{name}.yml")[name]
    return {name: [{**head, **first}, *rest, *more]}


def ordered_queue() -> dict[str, Any]:
    return records("queues", {"fifo": True})


def sharded() -> dict[str, Any]:
    return noun("database", shards=3, proxy=False, read_replicas=0) | noun(
        "cache", cluster_mode=True, shards=3, replicas=2
    )


def two_doors() -> dict[str, Any]:
    (api,) = [one for one in records("services", {})["services"] if one["kind"] == "web"]
    return records("services", {}, {**api, "name": "gym-desk", "hostname": "desk", "port": 8010})


def one_region() -> dict[str, Any]:
    return noun("platform", dr_region=None) | noun("backup", dr_copy=False, point_in_time=False)


def smallest() -> dict[str, Any]:
    bucket = {"name": "notes", "public": False, "versioned": False}
    return (
        noun("platform", dr_region=None, zones=["eu-west-1a"])
        | noun("cost", monthly_budget_usd=0)
        | noun("database", high_availability=False, synchronous=False, read_replicas=0, proxy=False, settings={})
        | noun("cache", high_availability=False, replicas=0)
        | {"buckets": [bucket], "queues": records("queues", {})["queues"][:1]}
    )


SHAPES = (ordered_queue, sharded, two_doors, one_region, smallest)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render all shapes, a directory for each."""
    root = tmp_path_factory.mktemp("shapes")
    for shape in SHAPES:
        (root / shape.__name__).mkdir()
        for stack, text in render("production", shape()).items():
            (root / shape.__name__ / f"{stack}.yml").write_text(text, encoding="utf-8")
    return root


def test_aws_would_take_every_shape(rendered: Path) -> None:
    # What is as in production is read with production's.
    known = {path.read_text(encoding="utf-8") for path in (GOLDEN / "production").glob("*.yml")}
    files = [str(path) for path in sorted(rendered.rglob("*.yml")) if path.read_text(encoding="utf-8") not in known]
    assert len(files) > len(SHAPES)
    found = run("cfn-lint", "--format", "json", "--regions", *REGIONS, "--template", *files)
    assert not [f"{one['Filename']}: {one['Rule']['Id']} {one['Message']}" for one in found]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_stacks_of_every_shape_give_each_other_what_they_need(rendered: Path, shape: Any) -> None:
    assert needs(load(rendered / shape.__name__), {})


def test_one_region_has_no_stack_in_another(rendered: Path) -> None:
    stacks = load(rendered / "one_region")
    assert not [name for name in stacks if name.endswith("dr")]
    assert {template.region for name, template in stacks.items() if name != "cdn"} == {None}


def test_rds_manages_the_password_of_an_instance_without_replicas(rendered: Path) -> None:
    primary = load(rendered / "smallest")["database"].resources["Shard1Primary"]["Properties"]
    assert primary["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in primary


def test_no_budget_is_no_stack(rendered: Path) -> None:
    assert not (rendered / "smallest/budget.yml").exists()
