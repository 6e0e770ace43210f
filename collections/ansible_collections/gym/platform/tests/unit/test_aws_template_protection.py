"""What keeps data with its stack, and how that is lifted."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_template_protection import policy, unkept, unprotected


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
    assert unprotected({"Resources": {"Vpc": {"Type": "AWS::EC2::VPC"}}}) is None
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
