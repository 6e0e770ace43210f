"""How two templates differ, and what an expression mentions."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_template_differences import (
    differences,
    mentions,
    resolved,
    resource_differences,
)
from ansible_collections.gym.platform.plugins.module_utils.stack_plan import Property

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
