"""What an earlier stack has kept is found by its tags and by what it is called, whatever identifies it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_adoption import (
    adoptable,
    going,
    unnamed,
    with_imported,
)
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_calls import Calls, Settings
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import Template
from botocore.stub import Stubber

REGION = "eu-west-1"
QUEUE, KEY = "arn:aws:sqs:eu-west-1:1:gym-jobs", "arn:aws:kms:eu-west-1:1:key/k-1"
SECRET, ZONE = "arn:aws:secretsmanager:eu-west-1:1:secret:gym/jobs-AbCdEf", "arn:aws:route53:::hostedzone/Z1"
URL = "https://queue.example.com/1/gym-jobs"
NOW = datetime(2030, 1, 1, tzinfo=UTC)
TAGS = {"platform": "gym", "environment": "test", "managed-by": "gym.platform.aws_stacks", "capability": "queue"}


class Cloud:
    """Services, in each of which answers are laid out in the order in which they are asked for."""

    def __init__(self) -> None:
        self.clients: dict[tuple[str, str], Any] = {}
        self.stubs: dict[tuple[str, str], Stubber] = {}

    def client(self, service: str, region: str) -> Any:
        if (service, region) not in self.clients:
            made = boto3.client(service, region_name=region, aws_access_key_id="x", aws_secret_access_key="y")
            self.clients[service, region] = made
            self.stubs[service, region] = Stubber(made)
        return self.clients[service, region]

    def answers(self, service: str, operation: str, answer: dict[str, Any], region: str = REGION, **asked: Any) -> None:
        self.client(service, region)
        self.stubs[service, region].add_response(operation, answer, asked)

    def lacks(self, service: str, operation: str, code: str) -> None:
        self.client(service, REGION)
        self.stubs[service, REGION].add_client_error(operation, code)

    def tagged(self, *arns: str, region: str = REGION) -> None:
        filters = [{"Key": key, "Values": [value]} for key, value in TAGS.items()]
        found = [{"ResourceARN": arn, "Tags": []} for arn in arns]
        self.answers(
            "resourcegroupstaggingapi", "get_resources", {"ResourceTagMappingList": found}, region, TagFilters=filters
        )

    @contextmanager
    def asked(self) -> Iterator[Calls]:
        with ExitStack() as stack:
            for stub in self.stubs.values():
                stack.enter_context(stub)
            yield Calls(Settings("gym", "test", REGION), self.client, lambda text: None)
            for stub in self.stubs.values():
                stub.assert_no_pending_responses()


def resource(kind: str, policy: str = "Retain", **properties: Any) -> dict[str, Any]:
    return {"Type": kind, "DeletionPolicy": policy, "UpdateReplacePolicy": policy, "Properties": properties}


def template(**resources: dict[str, Any]) -> Template:
    return Template("queue", "", {"Resources": resources})


def found(cloud: Cloud, described: Template, present: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    with cloud.asked() as calls:
        adopted = adoptable(calls, described, REGION, None, present)
    return {key: item["ResourceIdentifier"] for key, item in adopted.items()}


def key_named(text: str, state: str = "Enabled", identity: str = "k-1") -> dict[str, Any]:
    return {"KeyMetadata": {"KeyId": identity, "Description": text, "KeyState": state}}


def test_a_queue_is_found_by_its_name() -> None:
    cloud = Cloud()
    cloud.tagged(QUEUE, f"{QUEUE}-other", KEY)
    cloud.answers("sqs", "get_queue_url", {"QueueUrl": URL}, QueueName="gym-jobs")
    cloud.answers("sqs", "get_queue_url", {"QueueUrl": f"{URL}-other"}, QueueName="gym-jobs-other")
    described = template(Jobs=resource("AWS::SQS::Queue", QueueName="gym-jobs"))
    assert found(cloud, described) == {"Jobs": {"QueueUrl": URL}}


@pytest.mark.parametrize(("state", "expected"), [("Enabled", {"Key": {"KeyId": "k-1"}}), ("PendingDeletion", {})])
def test_a_key_is_found_by_what_it_is_for_unless_it_goes(state: str, expected: Any) -> None:
    cloud = Cloud()
    cloud.tagged("arn:aws:kms:eu-west-1:1:alias/gym", KEY)
    cloud.answers("kms", "describe_key", key_named("jobs", state), KeyId=KEY)
    assert found(cloud, template(Key=resource("AWS::KMS::Key", Description="jobs"))) == expected


@pytest.mark.parametrize(("state", "expected"), [("Enabled", False), ("PendingDeletion", True)])
def test_a_key_that_goes_is_no_stranger(state: str, expected: bool) -> None:
    cloud = Cloud()
    cloud.answers("kms", "describe_key", key_named("jobs", state), KeyId=KEY)
    with cloud.asked() as calls:
        assert going(calls, REGION, KEY) is expected
        assert not going(calls, REGION, "arn:aws:s3:::somebody-made-this")
        assert not going(calls, REGION, "arn:aws:kms:eu-west-1:1:alias/gym")


@pytest.mark.parametrize(("more", "expected"), [({}, {"Password": {"Id": SECRET}}), ({"DeletedDate": NOW}, {})])
def test_a_secret_is_found_by_its_name_unless_it_goes(more: dict[str, Any], expected: Any) -> None:
    cloud = Cloud()
    cloud.tagged(SECRET)
    cloud.answers("secretsmanager", "describe_secret", {"ARN": SECRET, "Name": "gym/jobs", **more}, SecretId=SECRET)
    described = template(Password=resource("AWS::SecretsManager::Secret", Name="gym/jobs"))
    assert found(cloud, described) == expected


def test_a_zone_is_found_where_zones_are_kept() -> None:
    cloud = Cloud()
    cloud.tagged(ZONE, region="us-east-1")
    zone = {"HostedZone": {"Id": "/hostedzone/Z1", "Name": "gym.example.com.", "CallerReference": "1"}}
    cloud.answers("route53", "get_hosted_zone", zone, "us-east-1", Id="Z1")
    described = template(Zone=resource("AWS::Route53::HostedZone", Name="gym.example.com"))
    assert found(cloud, described) == {"Zone": {"Id": "Z1"}}


def test_what_is_gone_although_its_tags_are_still_listed_is_made_again() -> None:
    cloud = Cloud()
    cloud.tagged(QUEUE)
    cloud.lacks("sqs", "get_queue_url", "AWS.SimpleQueueService.NonExistentQueue")
    assert found(cloud, template(Jobs=resource("AWS::SQS::Queue", QueueName="gym-jobs"))) == {}


def test_nothing_is_asked_for_what_is_there_or_not_kept_or_adopted_by_its_name() -> None:
    described = template(
        There=resource("AWS::SQS::Queue", QueueName="there"),
        Deleted=resource("AWS::SQS::Queue", "Delete", QueueName="deleted"),
        Unnamed=resource("AWS::SQS::Queue", QueueName={"Ref": "Name"}),
        Bare={"Type": "AWS::KMS::Key", "DeletionPolicy": "Retain"},
        Files=resource("AWS::S3::Bucket", BucketName="files"),
    )
    assert found(Cloud(), described, ("There",)) == {}


def test_two_that_could_be_the_same_are_an_error() -> None:
    cloud = Cloud()
    cloud.tagged(KEY, f"{KEY}-again")
    cloud.answers("kms", "describe_key", key_named("jobs"), KeyId=KEY)
    cloud.answers("kms", "describe_key", key_named("jobs", identity="k-2"), KeyId=f"{KEY}-again")
    described = template(Key=resource("AWS::KMS::Key", Description="jobs"))
    with pytest.raises(RequestError, match="queue: k-1 and k-2 could both be the Key that an earlier stack kept"):
        found(cloud, described)


JOBS = resource("AWS::SQS::Queue", QueueName="jobs", FifoQueue=True, KmsMasterKeyId={"Fn::GetAtt": ["Key", "Arn"]})


def test_an_import_takes_what_refers_to_nothing() -> None:
    before = {"Resources": {"Other": {"Type": "AWS::SNS::Topic"}}, "Outputs": {"Topic": {"Value": {"Ref": "Other"}}}}
    imported = with_imported(before, template(Jobs=JOBS), ["Jobs"])
    assert imported["Outputs"] == before["Outputs"]
    assert imported["Resources"] == {
        **before["Resources"],
        "Jobs": {**JOBS, "Properties": {"QueueName": "jobs", "FifoQueue": True}},
    }


def test_a_change_set_that_is_only_looked_at_takes_no_name_that_exists() -> None:
    described = template(Jobs=JOBS, Zone=resource("AWS::Route53::HostedZone", Name="example.com"), Free=JOBS)
    looked_at = json.loads(unnamed(described, ["Jobs", "Zone"]))["Resources"]
    assert "QueueName" not in looked_at["Jobs"]["Properties"]
    assert looked_at["Zone"] == described.resources["Zone"]
    assert looked_at["Free"] == JOBS
