"""Templates as data: what they need of each other, and how they differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import (
    MAXIMUM_BYTES,
    Need,
    Template,
    TemplateError,
    differences,
    load,
    mentions,
    needs,
    order,
    parse,
    policy,
    resolved,
    resource_differences,
    unkept,
    unprotected,
    with_literal_names,
    word,
)
from ansible_collections.gym.platform.plugins.module_utils.stack_plan import Property

VPC = {"Vpc": {"Type": "AWS::EC2::VPC"}}


def template(stack: str, parameters: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None) -> Template:
    document = {"Resources": VPC, "Parameters": parameters or {}, "Outputs": outputs or {}}
    return Template(stack, json.dumps(document), document)


def stacks(*templates: Template) -> dict[str, Template]:
    return {item.stack: item for item in templates}


TEXT = {"Type": "String"}
OUTPUT = {"Value": {"Ref": "Vpc"}}


# --- reading


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!Ref Vpc", {"Ref": "Vpc"}),
        ("!Condition Big", {"Condition": "Big"}),
        ("!GetAtt Db.Endpoint.Address", {"Fn::GetAtt": ["Db", "Endpoint.Address"]}),
        ("!Sub 'x-${Vpc}'", {"Fn::Sub": "x-${Vpc}"}),
        ("!Join [',', [a, !Ref B]]", {"Fn::Join": [",", ["a", {"Ref": "B"}]]}),
        ("!Transform {Name: x}", {"Fn::Transform": {"Name": "x"}}),
        ("2012-10-17", "2012-10-17"),
    ],
)
def test_short_forms_are_read_as_long_ones(text: str, value: object) -> None:
    assert parse(f"Resources: {{A: {{x: {text}}}}}")["Resources"]["A"]["x"] == value


def test_a_directory_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "network.yml").write_text("Resources: {Vpc: {Type: AWS::EC2::VPC}}\n")
    (tmp_path / "cdn.yml").write_text(
        "Metadata: {Platform: {Region: us-east-1, Stateful: [Zone]}}\n"
        "Resources: {Zone: {Type: AWS::Route53::HostedZone}, Logs: {Type: AWS::S3::Bucket}}\n"
    )
    found = load(tmp_path)
    assert list(found) == ["cdn", "network"]
    assert (found["cdn"].region, found["network"].region) == ("us-east-1", None)
    assert found["cdn"].stateful == {"Zone", "Logs"}
    assert found["network"].body.startswith("Resources")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Resources: [", "is no template: while parsing"),
        ("Parameters: {}\n", "it has no Resources"),
        ("- a\n", "it has no Resources"),
    ],
)
def test_what_is_no_template_is_refused(tmp_path: Path, body: str, expected: str) -> None:
    (tmp_path / "network.yml").write_text(body)
    with pytest.raises(TemplateError, match=expected) as caught:
        load(tmp_path)
    assert "network.yml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"playbooks/declare\.yml"):
        load(tmp_path)


def test_a_template_that_is_only_wide_is_sent_without_its_white_space(tmp_path: Path) -> None:
    wide = "Resources:\n" + "".join(f"  A{n}:\n{' ' * 40}Type: AWS::EC2::VPC\n" for n in range(1000))
    assert len(wide) > MAXIMUM_BYTES
    (tmp_path / "network.yml").write_text(wide)
    found = load(tmp_path)["network"]
    assert len(found.body) <= MAXIMUM_BYTES
    assert parse(found.body) == found.document


def test_a_template_over_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "network.yml").write_text(
        json.dumps({"Resources": {f"Resource{n}": {"Type": "AWS::EC2::VPC"} for n in range(2000)}})
    )
    with pytest.raises(TemplateError, match=r"takes 51200: divide it into two capabilities"):
        load(tmp_path)


# --- what needs what


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


# --- what differs


VALUES = {"NetworkVpcId": "vpc-1", "Size": "2"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "Size"}, "2"),
        ({"Ref": "Db"}, "${Db}"),
        ({"Fn::GetAtt": ["Db", "Endpoint.Address"]}, "${Db.Endpoint.Address}"),
        ({"Fn::GetAtt": "Db.Arn"}, "${Db.Arn}"),
        ({"Fn::Sub": "${NetworkVpcId}/${Db}/${AWS::Region}"}, "vpc-1/${Db}/${AWS::Region}"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Size"}]]}, "a-2"),
        ({"Fn::Join": ["-", ["a", {"Fn::GetAZs": ""}]]}, {"Fn::Join": ["-", ["a", {"Fn::GetAZs": ""}]]}),
        ([{"A": {"Ref": "Size"}}], [{"A": "2"}]),
    ],
)
def test_what_is_known_is_put_in(value: object, expected: object) -> None:
    assert resolved(value, VALUES) == expected


def named(**values: int) -> list[dict[str, Any]]:
    return [{"Key": key, "Value": value} for key, value in values.items()]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [("a.b", 1, 2)]),
        ({"a": 1}, {"b": 1}, [("a", 1, None), ("b", None, 1)]),
        ({"a": [1, 2]}, {"a": [1, 3]}, [("a", [1, 2], [1, 3])]),
        ({"a": [{"x": 1}, {"x": 2}]}, {"a": [{"x": 1}, {"x": 3}]}, [("a[1].x", 2, 3)]),
        # One that is put before others does not make these different.
        ({"t": named(b=1, c=2)}, {"t": named(a=0, b=1, c=3)}, [("t[c].Value", 2, 3), ("t[a]", None, named(a=0)[0])]),
        ({"a": {"b": 1}}, {"a": "x"}, [("a", {"b": 1}, "x")]),
        ({"a": []}, {"a": [{"x": 1}]}, [("a", [], [{"x": 1}])]),
    ],
)
def test_differences_are_told_at_their_deepest_path(before: Any, after: Any, expected: list[Any]) -> None:
    assert list(differences(before, after)) == [Property(*item) for item in expected]


def test_a_parameter_that_changed_is_a_difference_of_the_resource() -> None:
    resource = {"Properties": {"VpcId": {"Ref": "NetworkVpcId"}}, "DeletionPolicy": "Retain", "Metadata": {"a": 1}}
    after = {"Properties": {"VpcId": {"Ref": "NetworkVpcId"}}, "DeletionPolicy": "Delete"}
    assert resource_differences(resource, after, {"NetworkVpcId": "vpc-1"}, {"NetworkVpcId": "vpc-2"}) == (
        Property("VpcId", "vpc-1", "vpc-2"),
        Property("DeletionPolicy", "Retain", "Delete"),
    )


def test_a_value_that_is_not_told_stays_a_reference() -> None:
    resource = {"Properties": {"Password": {"Ref": "Secret"}}}
    assert resource_differences(None, resource, {}, {}) == (Property("Password", None, "${Secret}"),)


def test_an_expression_mentions_what_it_refers_to() -> None:
    value = {
        "Fn::Join": [
            "",
            [{"Ref": "A"}, {"Fn::GetAtt": ["B", "Arn"]}, {"Fn::Sub": ["${C.Id}${x}", {"x": {"Ref": "D"}}]}],
        ]
    }
    assert mentions(value) >= {"A", "B", "C", "D"}
    assert mentions("A") == set()


# --- what protects


def test_the_policy_keeps_what_holds_data_and_is_not_confirmed() -> None:
    allow, deny = json.loads(policy(frozenset({"Primary", "Replica"}), frozenset({"Replica"})))["Statement"]
    assert (allow["Effect"], allow["Action"]) == ("Allow", "Update:*")
    assert (deny["Effect"], deny["Resource"]) == ("Deny", ["LogicalResourceId/Primary"])
    assert len(json.loads(policy(frozenset({"Primary"}), frozenset({"Primary"})))["Statement"]) == 1


def test_protections_are_lifted_wherever_they_stand() -> None:
    document: dict[str, Any] = {
        "Resources": {
            "Db": {"DeletionPolicy": "Snapshot", "Properties": {"DeletionProtection": True}},
            "Alb": {"Properties": {"Attributes": [{"Key": "deletion_protection.enabled", "Value": "true"}]}},
        }
    }
    assert unprotected(document) == {
        "Resources": {
            "Db": {"DeletionPolicy": "Snapshot", "Properties": {"DeletionProtection": False}},
            "Alb": {"Properties": {"Attributes": [{"Key": "deletion_protection.enabled", "Value": "false"}]}},
        }
    }
    assert unprotected({"Resources": VPC}) is None
    assert unprotected(document, ["Elsewhere"]) is None
    assert unprotected(document, ["Alb"])["Resources"]["Db"] == document["Resources"]["Db"]  # type: ignore[index]


def test_what_was_only_practised_ends_with_its_stack_but_for_containers() -> None:
    document: dict[str, Any] = {
        "Resources": {
            "Db": {
                "Type": "AWS::RDS::DBInstance",
                "DeletionPolicy": "Snapshot",
                "Properties": {"DeleteAutomatedBackups": False},
            },
            "Logs": {"Type": "AWS::Logs::LogGroup", "DeletionPolicy": "Retain"},
            "Images": {"Type": "AWS::ECR::Repository", "DeletionPolicy": "Retain"},
            "Vpc": {"Type": "AWS::EC2::VPC"},
        }
    }
    assert unkept(document)["Resources"] == {
        "Db": {
            "Type": "AWS::RDS::DBInstance",
            "DeletionPolicy": "Delete",
            "Properties": {"DeleteAutomatedBackups": True},
        },
        "Logs": {"Type": "AWS::Logs::LogGroup", "DeletionPolicy": "Delete"},
        "Images": document["Resources"]["Images"],
        "Vpc": document["Resources"]["Vpc"],
    }


def test_what_is_retained_gets_a_literal_name() -> None:
    name = {"Fn::Sub": "gym-${AWS::Region}-${AWS::AccountId}"}
    document = {
        "Resources": {
            "Kept": {"DeletionPolicy": "Retain", "Properties": {"BucketName": name, "Other": {"Fn::Sub": "${Key}"}}},
            "Gone": {"Properties": {"BucketName": name}},
        }
    }
    known = {"AWS::AccountId": "1", "AWS::Region": "eu-west-1"}
    found = with_literal_names(Template("storage", "", document), known)
    assert found.resources["Kept"]["Properties"] == {"BucketName": "gym-eu-west-1-1", "Other": {"Fn::Sub": "${Key}"}}
    assert found.resources["Gone"] == document["Resources"]["Gone"]
    assert json.loads(found.body) == found.document
    other = Template("network", "x", {"Resources": VPC})
    assert with_literal_names(other, known) is other
