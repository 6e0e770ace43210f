"""What goes wrong is told in one sentence, and the next run carries on."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError
from ansible_collections.gym.platform.plugins.module_utils.aws_errors import explain
from botocore.exceptions import BotoCoreError, ClientError

from tests.rehearsal.conftest import Account
from tests.rehearsal.faults import CUT, faulty

VPC = "  Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.0.0.0/16}}\n"
QUEUE = "  Jobs: {Type: AWS::SQS::Queue, DeletionPolicy: Retain, Properties: {QueueName: gym-jobs%s}}\n"
BODIES = {
    "network": f"Resources:\n{VPC}Outputs: {{VpcId: {{Value: !Ref Vpc}}}}\n",
    "compute": (
        "Parameters: {NetworkVpcId: {Type: String}}\nResources:\n"
        "  Group:\n    Type: AWS::EC2::SecurityGroup\n"
        "    Properties: {GroupDescription: all, VpcId: !Ref NetworkVpcId}\n"
    ),
}


def applied(account: Account, bodies: dict[str, str], **options: Any) -> Any:
    stacks = account.stacks(bodies, **options)
    return stacks.apply(stacks.plan())


def through(account: Account, address: str) -> Any:
    other = Account(address)
    other.number = account.number
    return other.client


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ((403, "InvalidClientTokenId", "The security token is invalid."), "AWS does not know these credentials: check"),
        ((403, "SignatureDoesNotMatch", "The signature differs."), "AWS does not know these credentials: check"),
        ((403, "ExpiredToken", "The token is expired."), "The session's credentials have expired: sign in again"),
        ((400, "LimitExceededException", "Stack limit exceeded."), "A quota of the account is used up: raise it"),
        ((403, "AccessDenied", "Not authorized."), "These credentials may not do that: extend their policy"),
        ((403, "OptInRequired", "Not subscribed."), "The region is not enabled for this account: enable it"),
        ((400, "Throttling", "Rate exceeded"), "AWS still refuses so many calls after ten attempts: wait"),
        (CUT, "AWS in eu-west-1 cannot be reached"),
    ],
)
def test_a_refusal_is_one_sentence_and_the_next_run_carries_on(account: Account, fault: Any, sentence: str) -> None:
    refusals = pytest.raises((BotoCoreError, ClientError))
    with faulty(account.endpoint, lambda action: fault) as address, refusals as caught:
        account.stacks(BODIES, client=through(account, address)).plan()
    told = explain(caught.value, "eu-west-1")
    assert told.startswith(sentence)
    assert "\n" not in told
    assert set(applied(account, BODIES).done) == {"network", "compute"}


def test_throttling_is_waited_out(account: Account) -> None:
    refused: list[str] = []

    def rule(action: str) -> Any:
        if action == "CreateChangeSet" and refused.count(action) < 2:
            refused.append(action)
            return 400, "Throttling", "Rate exceeded"
        return None

    with faulty(account.endpoint, rule) as address:
        outcome = applied(account, BODIES, client=through(account, address))
    assert len(refused) == 2
    assert set(outcome.done) == {"network", "compute"}


def test_a_network_that_is_cut_in_the_middle_leaves_what_the_next_run_finishes(account: Account) -> None:
    executed: list[str] = []

    def rule(action: str) -> str | None:
        # The first stack's change is under way when nothing comes through any more.
        if executed:
            return CUT
        if action == "ExecuteChangeSet":
            executed.append(action)
        return None

    with faulty(account.endpoint, rule) as address:
        outcome = applied(account, BODIES, client=through(account, address))
    assert "cannot be reached" in outcome.failed["network"]
    assert "what had begun goes on without us and is waited for then" in outcome.failed["network"]
    assert outcome.untouched == ["compute"]
    again = applied(account, BODIES)
    assert not again.failed
    assert "compute" in again.done
    assert account.stacks(BODIES).plan().empty


def test_a_stack_name_that_somebody_else_has_is_told(account: Account) -> None:
    account.client("cloudformation").create_stack(StackName="gym-production-network", TemplateBody=BODIES["network"])
    outcome = applied(account, BODIES)
    assert outcome.failed["network"].startswith("The name is taken by something that is not ours")
    assert outcome.untouched == ["compute"]


def test_a_resource_name_that_somebody_else_has_is_told_and_rolled_back(account: Account) -> None:
    bodies = {**BODIES, "queue": "Resources:\n" + QUEUE % ""}
    assert not applied(account, bodies).failed
    account.client("sqs").create_queue(QueueName="gym-taken")
    taken = "  Taken: {Type: AWS::SQS::Queue, Properties: {QueueName: gym-taken}}\n"
    more = "  Other: {Type: AWS::SQS::Queue, Properties: {QueueName: gym-other}}\n"
    outcome = applied(account, {**bodies, "queue": bodies["queue"] + more + taken})
    assert "Taken (AWS::SQS::Queue) failed: " in outcome.failed["queue"]
    assert "(the name is taken: choose another, or remove it)" in outcome.failed["queue"]
    assert outcome.failed["queue"].endswith("The stack is rolled back to what it was before.")
    assert account.stacks(bodies).plan().empty
    names = [url.rsplit("/", 1)[1] for url in account.client("sqs").list_queues()["QueueUrls"]]
    assert sorted(names) == ["gym-jobs", "gym-taken"]


def test_a_creation_that_fails_is_made_from_the_start_when_the_cause_is_gone(account: Account) -> None:
    url = account.client("sqs").create_queue(QueueName="gym-jobs")["QueueUrl"]
    bodies = {"queue": "Resources:\n" + QUEUE % ""}
    outcome = applied(account, bodies)
    assert outcome.failed["queue"].endswith("the next run makes it from the start.")
    account.client("sqs").delete_queue(QueueUrl=url)
    assert not applied(account, bodies).failed


def test_data_is_kept_unless_it_is_named(account: Account) -> None:
    bodies = {"queue": "Resources:\n" + QUEUE % ""}
    applied(account, bodies)
    renamed = {"queue": "Resources:\n" + QUEUE % "-new"}
    with pytest.raises(RequestError, match=r"queue\.Jobs \(AWS::SQS::Queue\) would be replaced, with what it holds"):
        applied(account, renamed)
    # CloudFormation's own client is stopped by the stack's policy as well.
    client = account.client("cloudformation")
    client.update_stack(StackName="gym-production-queue", TemplateBody=renamed["queue"])
    assert account.stacks(bodies).plan().empty
    assert "gym-jobs-new" not in str(account.client("sqs").list_queues()["QueueUrls"])
    (change,) = applied(account, renamed, confirmed=["queue.Jobs"]).done["queue"]
    assert change.action == "replace"


def test_an_interrupted_run_is_repeated(account: Account) -> None:
    """What a killed run leaves: a change set that nobody executed, and a stack with nothing in it."""
    client = account.client("cloudformation")
    tags = [{"Key": key, "Value": value} for key, value in
            {"platform": "gym", "environment": "production", "managed-by": "gym.platform.aws_stacks",
             "capability": "network"}.items()]  # fmt: skip
    client.create_change_set(
        StackName="gym-production-network",
        ChangeSetName="plan-left",
        ChangeSetType="CREATE",
        TemplateBody=BODIES["network"],
        Tags=tags,
    )
    assert client.describe_stacks()["Stacks"][0]["StackStatus"] == "REVIEW_IN_PROGRESS"
    assert set(applied(account, BODIES).done) == {"network", "compute"}
    assert account.stacks(BODIES).plan().empty


KEPT = """
Resources:
  Jobs:
    Type: AWS::SQS::Queue
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties: {QueueName: gym-jobs.fifo, FifoQueue: true, KmsMasterKeyId: !GetAtt Key.Arn}
  Key:
    Type: AWS::KMS::Key
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties: {Description: the key of jobs}
  Password:
    Type: AWS::SecretsManager::Secret
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties: {Name: gym/jobs, KmsKeyId: !GetAtt Key.Arn, GenerateSecretString: {PasswordLength: 48}}
  Files:
    Type: AWS::S3::Bucket
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties: {BucketName: gym-files}
Outputs:
  Queue: {Value: !Ref Jobs}
  Key: {Value: !GetAtt Key.KeyId}
"""


def test_what_an_earlier_stack_kept_is_adopted_and_not_made_again(account: Account) -> None:
    stacks = account.stacks({"queue": KEPT}, confirmed=["gym-production"])
    assert not stacks.apply(stacks.plan()).failed
    before = stacks.outputs()["queue"]
    account.client("sqs").send_message(
        QueueUrl=before["Queue"], MessageBody="kept", MessageGroupId="a", MessageDeduplicationId="a"
    )
    password = account.client("secretsmanager").get_secret_value(SecretId="gym/jobs")["SecretString"]
    _, destroy = stacks.destroy()
    assert destroy().kept == {"queue": ["Files", "Jobs", "Key", "Password"]}
    again = account.stacks({"queue": KEPT})
    plan = again.plan()
    assert plan.summary == {"add": 0, "adopt": 4, "modify": 0, "replace": 0, "delete": 0}
    outcome = again.apply(plan)
    assert not outcome.failed, outcome.failed
    assert {change.name: change.action for change in outcome.done["queue"]} == dict.fromkeys(
        ("queue.Files", "queue.Jobs", "queue.Key", "queue.Password"), "adopt"
    )
    assert again.outputs()["queue"] == before
    assert account.client("secretsmanager").get_secret_value(SecretId="gym/jobs")["SecretString"] == password
    (message,) = account.client("sqs").receive_message(QueueUrl=before["Queue"])["Messages"]
    assert message["Body"] == "kept"
    assert account.stacks({"queue": KEPT}).plan().empty


def test_what_was_kept_is_adopted_when_it_is_described_again(account: Account) -> None:
    # Buckets have one name in all accounts.
    kept = KEPT.replace("gym-files", "gym-other-files")
    without = "Resources: {Other: {Type: AWS::SQS::Queue, Properties: {QueueName: gym-other}}}\n"
    first = account.stacks({"queue": kept}, confirmed=["gym-production"])
    assert not first.apply(first.plan()).failed
    assert not applied(account, {"queue": without}, confirmed=["gym-production"]).failed
    outcome = applied(account, {"queue": kept}, confirmed=["gym-production"])
    assert not outcome.failed, outcome.failed
    assert {change.logical_id: change.action for change in outcome.done["queue"]} == {
        "Files": "adopt",
        "Jobs": "adopt",
        "Key": "adopt",
        "Other": "delete",
        "Password": "adopt",
    }
    assert account.stacks({"queue": kept}).plan().empty
