"""Stacks against CloudFormation's answers, as botocore's Stubber gives them: each test says the calls it expects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from ansible_collections.gym.platform.plugins.module_utils import aws_client, aws_template_protection
from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError
from ansible_collections.gym.platform.plugins.module_utils.aws_cloudformation import Settings, Stacks
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_environment import PLACEHOLDER
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import Template, TemplateError
from ansible_collections.gym.platform.plugins.module_utils.stack_plan import Property, Ripple
from botocore.stub import ANY, Stubber

TAGS = {"platform": "gym", "environment": "test", "managed-by": "gym.platform.aws_stacks"}
# What a run causes happens after it began, however long the tests before it took.
NOW = datetime.now(UTC) + timedelta(hours=1)
Document = dict[str, Any]
REQUEST = (
    "StackName",
    "ChangeSetName",
    "ChangeSetType",
    "TemplateBody",
    "Parameters",
    "Capabilities",
    "Tags",
    "ImportExistingResources",
)

NETWORK: Document = {
    "Resources": {"Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}}},
    "Outputs": {"VpcId": {"Value": {"Ref": "Vpc"}}},
}
DATABASE: Document = {
    "Parameters": {"NetworkVpcId": {"Type": "String"}},
    "Resources": {
        "Primary": {
            "Type": "AWS::RDS::DBInstance",
            "DeletionPolicy": "Snapshot",
            "Properties": {"Engine": "postgres", "Tags": [{"Key": "vpc", "Value": {"Ref": "NetworkVpcId"}}]},
        }
    },
}


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_client, "FIRST_DELAY_SECONDS", 0.001)


class Cloud:
    """One region's CloudFormation, in which answers are laid out in the order in which they are asked for."""

    def __init__(self) -> None:
        self.client = boto3.client(
            "cloudformation", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y"
        )
        self.stub = Stubber(self.client)

    def stacks(self, *stacks: Document) -> Cloud:
        self.stub.add_response("describe_stacks", {"Stacks": list(stacks)}, {})
        return self

    def stack(self, stack: Document) -> Cloud:
        self.stub.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": ANY})
        return self

    def template(self, document: Document, stack: str = "gym-test-network") -> Cloud:
        asked = {"StackName": stack, "TemplateStage": "Original"}
        self.stub.add_response("get_template", {"TemplateBody": json.dumps(document)}, asked)
        return self

    def change_set(self, *changes: Document, status: str = "CREATE_COMPLETE", reason: str = "", **asked: Any) -> Cloud:
        expected = dict.fromkeys(REQUEST, ANY)
        answer = {
            "Status": status,
            "StatusReason": reason,
            "Changes": [{"Type": "Resource", "ResourceChange": change} for change in changes],
        }
        self.stub.add_response("create_change_set", {"Id": "arn:aws:change-set"}, {**expected, **asked})
        self.stub.add_response("describe_change_set", answer, {"ChangeSetName": "arn:aws:change-set"})
        if status == "CREATE_COMPLETE":
            every = {"ChangeSetName": "arn:aws:change-set", "IncludePropertyValues": True}
            self.stub.add_response("describe_change_set", answer, every)
        return self

    def dropped(self) -> Cloud:
        return self.expect("delete_change_set", ChangeSetName="arn:aws:change-set")

    def expect(self, operation: str, **asked: Any) -> Cloud:
        self.stub.add_response(operation, {}, asked)
        return self

    def events(self, *events: Document) -> Cloud:
        self.stub.add_response("describe_stack_events", {"StackEvents": list(events)}, {"StackName": ANY})
        return self


@contextmanager
def asked(
    cloud: Cloud, documents: dict[str, Document], selected: tuple[str, ...] = (), **settings: Any
) -> Iterator[Stacks]:
    """Stacks that ask this cloud, which must have been asked for everything in the end."""
    templates = {name: Template(name, json.dumps(document), document) for name, document in documents.items()}
    chosen = Settings("gym", "test", "eu-west-1", workers=1, **settings)
    said: list[str] = []
    with cloud.stub:
        yield Stacks(chosen, lambda service, region: cloud.client, templates, selected, said.append)
        cloud.stub.assert_no_pending_responses()


def live(stack: str, status: str = "CREATE_COMPLETE", protected: bool = False, **outputs: str) -> Document:
    tags = {**TAGS, "capability": stack}
    return {
        "StackName": f"gym-test-{stack}",
        "StackId": f"arn:aws:stack/gym-test-{stack}/1",
        "StackStatus": status,
        "CreationTime": NOW,
        "EnableTerminationProtection": protected,
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
    }


def database(status: str = "CREATE_COMPLETE", protected: bool = True) -> Document:
    given = [{"ParameterKey": "NetworkVpcId", "ParameterValue": "vpc-1"}]
    return {**live("database", status, protected), "Parameters": given}


def event(logical_id: str, status: str, reason: str = "", kind: str = "AWS::RDS::DBInstance", age: int = 0) -> Document:
    return {
        "StackId": "arn:aws:stack/1",
        "EventId": f"{logical_id}-{status}",
        "StackName": "gym-test",
        "LogicalResourceId": logical_id,
        "PhysicalResourceId": logical_id,
        "ResourceType": kind,
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
        "Timestamp": NOW - timedelta(seconds=age),
    }


def modify(logical_id: str, kind: str, replacement: str = "False", **detail: Any) -> Document:
    return {
        "Action": "Modify",
        "LogicalResourceId": logical_id,
        "ResourceType": kind,
        "Replacement": replacement,
        "Details": [detail] if detail else [],
    }


# --- plan


def test_an_environment_that_is_not_there_is_planned_without_asking_for_change_sets() -> None:
    with asked(Cloud().stacks(), {"network": NETWORK, "database": DATABASE}) as stacks:
        plan = stacks.plan()
    assert [(stack.stack, stack.operation) for stack in plan.stacks] == [("network", "create"), ("database", "create")]
    assert [(change.name, change.action) for change in plan.changes] == [
        ("network.Vpc", "add"),
        ("database.Primary", "add"),
    ]
    assert plan.changes[1].stateful


def test_what_is_as_described_needs_two_calls_a_stack() -> None:
    cloud = Cloud().stacks(live("network", VpcId="vpc-1")).template(NETWORK)
    with asked(cloud, {"network": NETWORK}) as stacks:
        assert stacks.plan().empty


def test_templates_are_read_as_they_are_without_a_plan() -> None:
    cloud = Cloud().stacks(live("network"), live("database", "ROLLBACK_COMPLETE")).template(NETWORK)
    with asked(cloud, {}) as stacks:
        assert stacks.read_templates() == stacks.before == {"network": NETWORK}


def test_a_plan_keeps_the_templates_as_they_were() -> None:
    cloud = Cloud().stacks(live("network", VpcId="vpc-1")).template(NETWORK)
    with asked(cloud, {"network": NETWORK, "database": DATABASE}) as stacks:
        stacks.plan()
        assert stacks.before == {"network": NETWORK}


@pytest.mark.parametrize(
    ("raw", "action", "certain"),
    [
        (modify("Vpc", "AWS::EC2::VPC"), "modify", True),
        (modify("Vpc", "AWS::EC2::VPC", "True"), "replace", True),
        (modify("Vpc", "AWS::EC2::VPC", "Conditional"), "replace", False),
    ],
)
def test_a_change_has_the_values_before_and_after(raw: Document, action: str, certain: bool) -> None:
    before = json.loads(json.dumps(NETWORK).replace("10.0.0.0/16", "10.1.0.0/16"))
    cloud = (
        Cloud()
        .stacks(live("network", VpcId="vpc-1"))
        .template(before)
        .change_set(raw, ChangeSetType="UPDATE")
        .dropped()
    )
    with asked(cloud, {"network": NETWORK}) as stacks:
        (change,) = stacks.plan().changes
    assert (change.action, change.certain) == (action, certain)
    assert change.properties == (Property("CidrBlock", "10.1.0.0/16", "10.0.0.0/16"),)


@pytest.mark.parametrize(("attribute", "listed"), [("Template.LatestVersionNumber", True), ("Key.Arn", False)])
def test_a_change_that_only_another_resource_can_cause_is_not_certain(attribute: str, listed: bool) -> None:
    document = {**NETWORK, "Resources": {**NETWORK["Resources"], "Log": {"Type": "AWS::Logs::LogGroup"}}}
    before = {**document, "Description": "other"}
    raw = modify(
        "Log",
        "AWS::Logs::LogGroup",
        Target={"Attribute": "Properties", "Name": "Version"},
        Evaluation="Dynamic",
        ChangeSource="ResourceAttribute",
        CausingEntity=attribute,
    )
    cloud = Cloud().stacks(live("network", VpcId="vpc-1")).template(before).change_set(raw).dropped()
    with asked(cloud, {"network": document}) as stacks:
        changes = stacks.plan().changes
    # An ARN stays for as long as its resource does.
    assert [change.certain for change in changes] == [False] * listed
    assert [change.properties for change in changes] == [
        (Property("Version", "", "${Template.LatestVersionNumber}"),)
    ] * listed


def test_a_replaced_resource_ripples_into_the_stack_that_uses_its_id() -> None:
    after = json.loads(json.dumps(NETWORK).replace("10.0.0.0/16", "10.1.0.0/16"))
    known = [{"ParameterKey": "NetworkVpcId", "ParameterValue": PLACEHOLDER}]
    cloud = (
        Cloud()
        .stacks(live("network", VpcId="vpc-1"), database())
        .template(NETWORK)
        .template(DATABASE, "gym-test-database")
        .change_set(modify("Vpc", "AWS::EC2::VPC", "True"))
        .dropped()
        .change_set(modify("Primary", "AWS::RDS::DBInstance"), Parameters=known)
        .dropped()
    )
    with asked(cloud, {"network": after, "database": DATABASE}) as stacks:
        plan = stacks.plan()
    assert plan.ripples == (Ripple("database", "NetworkVpcId", "network.VpcId"),)
    change = plan.changes[1]
    assert (change.name, change.properties) == (
        "database.Primary",
        (Property("Tags[vpc].Value", "vpc-1", PLACEHOLDER),),
    )


def test_a_change_set_without_changes_is_none() -> None:
    before = {**NETWORK, "Description": "other"}
    reason = "The submitted information didn't contain changes. Submit different information to create a change set."
    cloud = Cloud().stacks(live("network", VpcId="vpc-1")).template(before)
    cloud.change_set(status="FAILED", reason=reason).dropped()
    with asked(cloud, {"network": NETWORK}) as stacks:
        assert stacks.plan().empty


def test_a_template_that_cloudformation_refuses_is_an_error_with_its_reason() -> None:
    before = {**NETWORK, "Description": "other"}
    cloud = Cloud().stacks(live("network", VpcId="vpc-1")).template(before)
    cloud.change_set(status="FAILED", reason="Unrecognized resource types: [AWS::X::Y].").dropped()
    with asked(cloud, {"network": NETWORK}) as stacks, pytest.raises(RequestError) as caught:
        stacks.plan()
    assert (
        str(caught.value) == "network: CloudFormation refuses the template: Unrecognized resource types: [AWS::X::Y]."
    )


def test_a_stack_that_lost_its_protection_is_updated() -> None:
    cloud = Cloud().stacks(live("network", VpcId="vpc-1"), database(protected=False))
    cloud.template(NETWORK).template(DATABASE, "gym-test-database")
    with asked(cloud, {"network": NETWORK, "database": DATABASE}) as stacks:
        plan = stacks.plan()
    assert [stack.operation for stack in plan.stacks] == ["none", "update"]


def test_what_a_retaining_template_adds_may_be_adopted() -> None:
    bucket = {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain", "Properties": {"BucketName": "gym-test"}}
    raw = {"Action": "Import", "LogicalResourceId": "Bucket", "ResourceType": "AWS::S3::Bucket"}
    cloud = Cloud().stacks().change_set(raw, ChangeSetType="CREATE", ImportExistingResources=True)
    cloud.dropped().expect("delete_stack", StackName="gym-test-storage")
    with asked(cloud, {"storage": {"Resources": {"Bucket": bucket}}}) as stacks:
        (change,) = stacks.plan().changes
    assert change.action == "adopt"


def test_a_stack_without_a_template_is_pruned_only_when_all_are_worked_on() -> None:
    cloud = Cloud().stacks(live("network", VpcId="vpc-1"), live("budget")).template(NETWORK)
    cloud.template(NETWORK, "gym-test-budget")
    with asked(cloud, {"network": NETWORK}, prune=True) as stacks:
        assert [(s.stack, s.operation) for s in stacks.plan().stacks] == [("network", "none"), ("budget", "delete")]
    cloud = Cloud().stacks(live("network", VpcId="vpc-1"), live("budget")).template(NETWORK)
    cloud.template(NETWORK, "gym-test-budget")
    with asked(cloud, {"network": NETWORK}, ("network",), prune=True) as stacks:
        assert stacks.plan().empty


def test_an_output_that_another_stack_was_given_cannot_go() -> None:
    without = {key: value for key, value in NETWORK.items() if key != "Outputs"}
    cloud = Cloud().stacks(live("network", VpcId="vpc-1"), database())
    cloud.template(NETWORK).template(DATABASE, "gym-test-database")
    with asked(cloud, {"network": without}) as stacks, pytest.raises(RequestError) as caught:
        stacks.plan()
    assert "network: the output VpcId would go, and the stack database was given it as NetworkVpcId" in str(
        caught.value
    )


def test_stacks_of_others_are_not_ours() -> None:
    foreign = {**live("network"), "Tags": [{"Key": "environment", "Value": "test"}]}
    with asked(Cloud().stacks(foreign), {"network": NETWORK}, prune=True) as stacks:
        assert [stack.operation for stack in stacks.plan().stacks] == ["create"]


def test_a_name_that_is_not_there_is_refused_before_any_call() -> None:
    with pytest.raises(TemplateError, match="There is no stack netwrok; there are network"):
        Stacks(
            Settings("gym", "test", "eu-west-1"),
            lambda service, region: pytest.fail("no call"),
            {"network": Template("network", "{}", NETWORK)},
            ("netwrok",),
        )


# --- stacks that are found in some state


def test_a_stack_in_progress_is_waited_for() -> None:
    cloud = Cloud().stacks(live("network", "UPDATE_IN_PROGRESS", VpcId="vpc-1"))
    cloud.stack(live("network", "UPDATE_IN_PROGRESS", VpcId="vpc-1")).events()
    cloud.stack(live("network", "UPDATE_COMPLETE", VpcId="vpc-1")).template(NETWORK)
    with asked(cloud, {"network": NETWORK}) as stacks:
        assert stacks.plan().empty


def test_waiting_ends_at_some_time() -> None:
    cloud = Cloud().stacks(live("network", "UPDATE_IN_PROGRESS"))
    cloud.stack(live("network", "UPDATE_IN_PROGRESS")).events()
    with asked(cloud, {"network": NETWORK}, timeout=0) as stacks, pytest.raises(RequestError, match="AWS carries on"):
        stacks.plan()


def test_a_rollback_that_failed_is_explained() -> None:
    cloud = Cloud().stacks(live("network", "UPDATE_ROLLBACK_FAILED"))
    cloud.events(event("Vpc", "UPDATE_FAILED", "The vpc has dependencies.", "AWS::EC2::VPC"))
    with asked(cloud, {"network": NETWORK}) as stacks, pytest.raises(RequestError) as caught:
        stacks.plan()
    message = str(caught.value)
    assert "could neither be changed nor brought back: Vpc (AWS::EC2::VPC) failed: The vpc has dependencies" in message
    assert "aws cloudformation continue-update-rollback --region eu-west-1 --stack-name gym-test-network" in message


def test_a_creation_that_failed_is_made_again() -> None:
    dead = live("network", "ROLLBACK_COMPLETE")
    cloud = Cloud().stacks(dead)
    cloud.expect("delete_stack", StackName="gym-test-network").stack(live("network", "DELETE_COMPLETE")).events()
    cloud.change_set(
        {"Action": "Add", "LogicalResourceId": "Vpc", "ResourceType": "AWS::EC2::VPC"}, ChangeSetType="CREATE"
    )
    cloud.expect("execute_change_set", ChangeSetName="arn:aws:change-set", RetainExceptOnCreate=True)
    cloud.stack(live("network", "CREATE_IN_PROGRESS")).stack(live("network", VpcId="vpc-2"))
    with asked(cloud, {"network": NETWORK}) as stacks:
        outcome = stacks.apply(stacks.plan())
        assert stacks.outputs() == {"network": {"VpcId": "vpc-2"}}
    assert [change.name for change in outcome.done["network"]] == ["network.Vpc"]


# --- apply


def test_stacks_that_hold_data_are_protected_when_they_are_made() -> None:
    primary = {"Type": "AWS::RDS::DBInstance", "DeletionPolicy": "Snapshot"}
    cloud = Cloud().stacks()
    cloud.change_set({"Action": "Add", "LogicalResourceId": "Primary", "ResourceType": "AWS::RDS::DBInstance"})
    cloud.expect("execute_change_set", ChangeSetName="arn:aws:change-set", RetainExceptOnCreate=True)
    cloud.stack(live("database")).stack(live("database"))
    cloud.expect("update_termination_protection", StackName="gym-test-database", EnableTerminationProtection=True)
    cloud.expect("set_stack_policy", StackName="gym-test-database", StackPolicyBody=ANY)
    with asked(cloud, {"database": {"Resources": {"Primary": primary}}}) as stacks:
        assert not stacks.apply(stacks.plan()).failed


REPLACED = json.loads(json.dumps(DATABASE).replace('"postgres"', '"mysql"'))


def replacing() -> Cloud:
    cloud = Cloud().stacks(live("network", VpcId="vpc-1"), database())
    cloud.template(NETWORK).template(DATABASE, "gym-test-database")
    return cloud.change_set(modify("Primary", "AWS::RDS::DBInstance", "True")).dropped()


def test_a_plan_that_loses_data_is_refused_before_anything_is_touched() -> None:
    with asked(replacing(), {"network": NETWORK, "database": REPLACED}) as stacks:
        plan = stacks.plan()
        with pytest.raises(RequestError, match=r"confirm_destroy: \[database\.Primary\]"):
            stacks.apply(plan)


@pytest.mark.parametrize(
    ("confirmed", "left"),
    [
        ("database.Primary", []),
        ("gym-test", []),
        # CloudFormation calls an update complete although it could not delete the old one.
        ("gym-test", [event("Primary", "DELETE_FAILED", "Cannot delete protected DB Instance")]),
    ],
)
def test_a_confirmed_loss_is_carried_out(confirmed: str, left: list[Document]) -> None:
    cloud = replacing().change_set(modify("Primary", "AWS::RDS::DBInstance", "True"))
    stack = {"StackName": "gym-test-database"}
    cloud.expect("update_termination_protection", EnableTerminationProtection=True, **stack)
    cloud.expect("set_stack_policy", StackPolicyBody=aws_template_protection.policy(frozenset(), frozenset()), **stack)
    cloud.expect("execute_change_set", ChangeSetName="arn:aws:change-set", RetainExceptOnCreate=True)
    cloud.stack(database("UPDATE_COMPLETE")).stack(database("UPDATE_COMPLETE"))
    cloud.expect("update_termination_protection", EnableTerminationProtection=True, **stack)
    cloud.expect("set_stack_policy", StackPolicyBody=ANY, **stack).events(*left)
    with asked(cloud, {"network": NETWORK, "database": REPLACED}, confirmed=frozenset({confirmed})) as stacks:
        outcome = stacks.apply(stacks.plan())
    if left:
        assert "is left outside of it" in outcome.failed["database"]
    else:
        assert outcome.done["database"][0].action == "replace"


def test_a_failure_names_the_resource_the_reason_and_what_is_left() -> None:
    added = {"Action": "Add", "LogicalResourceId": "Vpc", "ResourceType": "AWS::EC2::VPC"}
    cloud = Cloud().stacks().change_set(added)
    cloud.expect("execute_change_set", ChangeSetName="arn:aws:change-set", RetainExceptOnCreate=True)
    cloud.stack(live("network")).stack(live("network", "ROLLBACK_COMPLETE"))
    cloud.events(
        event("Route", "CREATE_FAILED", "Resource creation cancelled", "AWS::EC2::Route"),
        event("Vpc", "CREATE_FAILED", "The maximum number of VPCs has been reached.", "AWS::EC2::VPC"),
        event("Vpc", "CREATE_FAILED", "an older run", "AWS::EC2::VPC", age=7200),
    )
    with asked(cloud, {"network": NETWORK, "database": DATABASE}) as stacks:
        outcome = stacks.apply(stacks.plan())
    assert outcome.failed == {
        "network": "Vpc (AWS::EC2::VPC) failed: The maximum number of VPCs has been reached (raise the quota in "
        "Service Quotas, or ask for less). What was made of the new stack is removed again; the next run makes it "
        "from the start."
    }
    assert (outcome.untouched, outcome.done) == (["database"], {})


def test_what_is_wrong_before_any_resource_is_touched_is_told_as_well() -> None:
    cloud = Cloud().stacks().change_set({"Action": "Add", "LogicalResourceId": "Vpc", "ResourceType": "AWS::EC2::VPC"})
    cloud.expect("execute_change_set", ChangeSetName="arn:aws:change-set", RetainExceptOnCreate=True)
    cloud.stack(live("network")).stack(live("network", "ROLLBACK_COMPLETE")).events()
    error = {
        "EventType": "VALIDATION_ERROR",
        "LogicalResourceId": "Vpc",
        "ResourceType": "AWS::EC2::VPC",
        "ValidationStatusReason": "CidrBlock is no network.",
        "Timestamp": NOW,
    }
    cloud.stub.add_response("describe_events", {"OperationEvents": [error]}, {"StackName": ANY})
    with asked(cloud, {"network": NETWORK}) as stacks:
        outcome = stacks.apply(stacks.plan())
    assert outcome.failed["network"].startswith("Vpc (AWS::EC2::VPC) failed: CidrBlock is no network.")


# --- drift


def test_drift_is_told_field_by_field() -> None:
    found = {
        "StackId": "arn:aws:stack/1",
        "LogicalResourceId": "Vpc",
        "PhysicalResourceId": "vpc-1",
        "ResourceType": "AWS::EC2::VPC",
        "StackResourceDriftStatus": "MODIFIED",
        "Timestamp": NOW,
        "PropertyDifferences": [
            {"PropertyPath": "/Tags/0/Value", "ExpectedValue": "a", "ActualValue": "b", "DifferenceType": "NOT_EQUAL"}
        ],
    }
    cloud = Cloud().stacks(live("network", VpcId="vpc-1"))
    cloud.stub.add_response("detect_stack_drift", {"StackDriftDetectionId": "1"}, {"StackName": "gym-test-network"})
    for status in ("DETECTION_IN_PROGRESS", "DETECTION_COMPLETE"):
        answer = {"StackId": "1", "StackDriftDetectionId": "1", "DetectionStatus": status, "Timestamp": NOW}
        cloud.stub.add_response("describe_stack_drift_detection_status", answer, {"StackDriftDetectionId": "1"})
    cloud.stub.add_response(
        "describe_stack_resource_drifts",
        {"StackResourceDrifts": [], "NextToken": "more"},
        {"StackName": "gym-test-network"},
    )
    cloud.stub.add_response(
        "describe_stack_resource_drifts",
        {"StackResourceDrifts": [found]},
        {"StackName": "gym-test-network", "NextToken": "more"},
    )
    summaries = [
        {
            "LogicalResourceId": key,
            "PhysicalResourceId": identity,
            "ResourceType": kind,
            "ResourceStatus": "CREATE_COMPLETE",
            "LastUpdatedTimestamp": NOW,
        }
        for key, identity, kind in (("Vpc", "vpc-1", "AWS::EC2::VPC"), ("Zone", "Z1", "AWS::Route53::HostedZone"))
    ]
    cloud.stub.add_response(
        "list_stack_resources", {"StackResourceSummaries": summaries}, {"StackName": "gym-test-network"}
    )
    tagging = boto3.client(
        "resourcegroupstaggingapi", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y"
    )
    tags = Stubber(tagging)
    # Of what is about to be deleted, its tags are still told.
    going = "arn:aws:kms:eu-west-1:1:key/k-1"
    kms = boto3.client("kms", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y")
    keys = Stubber(kms)
    key = {"KeyMetadata": {"KeyId": "k-1", "Description": "jobs", "KeyState": "PendingDeletion"}}
    keys.add_response("describe_key", key, {"KeyId": going})
    clients = {"cloudformation": cloud.client, "kms": kms, "resourcegroupstaggingapi": tagging}
    arns = [
        going,
        "arn:aws:ec2:eu-west-1:1:vpc/vpc-1",
        "arn:aws:route53:::hostedzone/Z1",
        "arn:aws:rds:eu-west-1:1:snapshot:rds:gym-2026",
        "arn:aws:s3:::somebody-made-this",
    ]
    filters = [{"Key": key, "Values": [value]} for key, value in TAGS.items()]
    tags.add_response(
        "get_resources",
        {"ResourceTagMappingList": [{"ResourceARN": arn, "Tags": []} for arn in arns]},
        {"TagFilters": filters},
    )
    with cloud.stub, tags, keys:
        settings = Settings("gym", "test", "eu-west-1", workers=1)
        found_drift = Stacks(settings, lambda service, _: clients[service]).drift()
    (drifted,) = found_drift["drifted"]
    assert (drifted["name"], drifted["status"]) == ("network.Vpc", "modified")
    assert drifted["properties"] == [{"path": "Tags.0.Value", "before": "a", "after": "b"}]
    assert found_drift["unchecked"] == ["AWS::Route53::HostedZone"]
    assert found_drift["strangers"] == ["arn:aws:s3:::somebody-made-this"]


# --- delete


def test_deleting_needs_a_confirmation_of_what_holds_data() -> None:
    cloud = Cloud().stacks(database()).template(DATABASE, "gym-test-database")
    with asked(cloud, {}) as stacks:
        _, act = stacks.destroy()
        with pytest.raises(RequestError, match=r"confirm_destroy: \[database\.Primary\]"):
            act()


def test_who_needs_a_stack_is_deleted_before_it() -> None:
    cloud = Cloud().stacks(live("network", VpcId="vpc-1"), database())
    cloud.template(DATABASE, "gym-test-database").template(NETWORK)
    cloud.template(DATABASE, "gym-test-database")
    cloud.expect("update_termination_protection", StackName="gym-test-database", EnableTerminationProtection=False)
    cloud.template(DATABASE, "gym-test-database").expect("delete_stack", StackName="gym-test-database")
    cloud.stack(database("DELETE_COMPLETE")).events(event("Primary", "DELETE_SKIPPED"))
    cloud.template(NETWORK).template(NETWORK).expect("delete_stack", StackName="gym-test-network")
    cloud.stack(live("network", "DELETE_COMPLETE")).events()
    with asked(cloud, {}, confirmed=frozenset({"gym-test"})) as stacks:
        _, act = stacks.destroy()
        outcome = act()
    assert list(outcome.done) == ["database", "network"]
    assert outcome.kept == {"database": ["Primary"]}


def test_a_stack_that_another_one_needs_is_not_deleted_alone() -> None:
    cloud = Cloud().stacks(live("network", VpcId="vpc-1"), database())
    with asked(cloud, {}) as stacks, pytest.raises(RequestError, match="network: the stack database needs it"):
        stacks.destroy(("network",))
