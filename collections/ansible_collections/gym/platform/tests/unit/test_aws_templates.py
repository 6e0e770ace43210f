"""Templates as data: how they are read, and the names of what they retain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import (
    MAXIMUM_BYTES,
    Template,
    TemplateError,
    load,
    parse,
    with_literal_names,
)


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
    other = Template("network", "x", {"Resources": {"Vpc": {"Type": "AWS::EC2::VPC"}}})
    assert with_literal_names(other, known) is other
