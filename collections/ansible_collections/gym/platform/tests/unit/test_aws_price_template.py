"""What is known of a template before its stack exists."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_price_template import Unknown
from ansible_collections.gym.platform.tests.unit.aws_pricing import IRELAND, template

HEAD = """
Parameters:
  Project: {Type: String}
  Size: {Type: String, Default: large}
  OtherStackId: {Type: String}
Mappings: {Sizes: {large: {gb: 16}}}
Conditions:
  Large: !Equals [!Ref Size, large]
  Small: !Not [!Condition Large]
"""


def value(expression: str, **given: Any) -> Any:
    found = template(f"Thing: {{Type: AWS::X, Properties: {{value: {expression}}}}}", HEAD, Project="gym", **given)
    return found.value(found.resources["Thing"].properties["value"])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("!Ref Size", "large"),
        ('!Sub "${Project}-${Size}-${AWS::Region}"', f"gym-large-{IRELAND}"),
        ('!Sub ["${a}-${Size}", {a: !Ref Project}]', "gym-large"),
        ("!If [Large, 2, 1]", 2),
        ("!If [Small, 2, 1]", 1),
        ('!Join ["-", [!Ref Project, a]]', "gym-a"),
        ('!Select [1, !Split ["-", "a-b"]]', "b"),
        ("!FindInMap [Sizes, !Ref Size, gb]", 16),
        ('!Ref "AWS::NoValue"', None),
        ("[{a: !Ref Size}]", [{"a": "large"}]),
    ],
)
def test_functions_are_worked_out(expression: str, expected: object) -> None:
    assert value(expression) == expected


@pytest.mark.parametrize("expression", ["!Ref OtherStackId", "!GetAtt Thing.Arn", '!Sub "${Other}"', "!If [No, 1, 2]"])
def test_what_only_the_stack_knows_is_unknown(expression: str) -> None:
    with pytest.raises(Unknown):
        value(expression)


def test_what_is_known_of_a_record_is_worked_out() -> None:
    found = template("Thing: {Type: AWS::X, Properties: {a: !Ref Size, b: [!GetAtt Thing.Arn]}}", HEAD)
    assert found.known(found.resources["Thing"].properties) == {"a": "large", "b": [{"Fn::GetAtt": ["Thing", "Arn"]}]}


def test_a_resource_whose_condition_is_false_is_not_there() -> None:
    text = "A: {Type: AWS::X, Condition: Small}\nB: {Type: AWS::X, Condition: Large}\nC: {Type: AWS::X, Condition: No}"
    assert list(template(text, HEAD).resources) == ["B", "C"]
    assert list(template(text, HEAD, Size="small").resources) == ["A", "C"]


def test_a_stack_may_ask_for_another_region() -> None:
    head = "Metadata: {Platform: {Region: us-east-1}}"
    assert template("A: {Type: AWS::X}", head).region == "us-east-1"
    assert template("A: {Type: AWS::X}").region == IRELAND
