"""What stacks need of each other, and what nothing fills."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_template_needs import Need, needs, order, word
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import Template, TemplateError

VPC = {"Vpc": {"Type": "AWS::EC2::VPC"}}


def template(stack: str, parameters: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None) -> Template:
    document = {"Resources": VPC, "Parameters": parameters or {}, "Outputs": outputs or {}}
    return Template(stack, json.dumps(document), document)


def stacks(*templates: Template) -> dict[str, Template]:
    return {item.stack: item for item in templates}


TEXT = {"Type": "String"}
OUTPUT = {"Value": {"Ref": "Vpc"}}


def test_a_parameter_is_filled_by_the_output_that_it_is_named_after() -> None:
    known = stacks(
        template("network", outputs={"VpcId": OUTPUT}),
        template("backup", outputs={"DrVault": OUTPUT}),
        template("backup_dr", {"NetworkVpcId": TEXT}, {"Vault": OUTPUT}),
        template(
            "database", {"NetworkVpcId": TEXT, "BackupDrVault": TEXT, "Size": {**TEXT, "Default": "1"}, "Mail": TEXT}
        ),
    )
    assert needs(known, {"Mail": "a@example.com"}) == {
        "network": {},
        "backup": {},
        "backup_dr": {"NetworkVpcId": Need("network", "VpcId")},
        # Of two names that fit, the longer one.
        "database": {"NetworkVpcId": Need("network", "VpcId"), "BackupDrVault": Need("backup_dr", "Vault")},
    }


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        (
            "NetworkVpcld",
            r"database: the parameter NetworkVpcld needs the output Vpcld of .*did you mean NetworkVpcId\?",
        ),
        ("NetworkZone", r"the output Zone of network, .*; its outputs are Subnets, VpcId"),
        ("Mail", r"database: nothing fills the parameter Mail: name it after a stack"),
        ("Network", r"nothing fills the parameter Network"),
    ],
)
def test_a_parameter_that_nothing_fills_is_refused(parameter: str, expected: str) -> None:
    known = stacks(
        template("network", outputs={"VpcId": OUTPUT, "Subnets": OUTPUT}), template("database", {parameter: TEXT})
    )
    with pytest.raises(TemplateError, match=expected):
        needs(known, {})


def test_stacks_that_need_each_other_are_refused() -> None:
    known = stacks(
        template("alpha", {"GammaX": TEXT}, {"X": OUTPUT}),
        template("beta", {"AlphaX": TEXT}, {"X": OUTPUT}),
        template("gamma", {"BetaX": TEXT}, {"X": OUTPUT}),
        template("delta", {"GammaX": TEXT}),
    )
    with pytest.raises(TemplateError, match="No stack can be the first: ") as caught:
        needs(known, {})
    message = str(caught.value)
    assert "alpha needs gamma" in message
    assert "gamma needs beta" in message
    assert "delta" not in message


def test_stacks_outside_the_selection_hold_nobody_up() -> None:
    assert list(order({"compute": {"network", "database"}, "database": {"network"}}).static_order()) == [
        "database",
        "compute",
    ]


def test_names_of_stacks_become_words() -> None:
    assert [word(name) for name in ("network", "backup_dr", "cdn")] == ["Network", "BackupDr", "Cdn"]
