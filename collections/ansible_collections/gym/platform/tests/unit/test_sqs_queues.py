"""Queues: what is wished for, what is sent to SQS, and that nothing is sent twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from ansible_collections.gym.platform.plugins.module_utils.sqs import QueueError, wished
from ansible_collections.gym.platform.plugins.modules.sqs_queues import Queues, apply, prefixed
from botocore.stub import Stubber

ARN = "arn:aws:sqs:local-1:000000000000:"
URL = "http://192.0.2.1:4566/000000000000/"
RECORD: dict[str, Any] = {
    "name": "notifications",
    "fifo": False,
    "visibility_timeout_seconds": 30,
    "retention_days": 4,
    "backoff": {"initial_seconds": 1, "maximum_seconds": 60},
    "dead_letter": {"name": "notifications-dead", "max_receives": 5, "retention_days": 14},
}
DEAD = {"MessageRetentionPeriod": "1209600"}
LIVE = {"VisibilityTimeout": "30", "MessageRetentionPeriod": "345600", "ReceiveMessageWaitTimeSeconds": "20"}
REDRIVE = json.dumps({"deadLetterTargetArn": f"{ARN}notifications-dead", "maxReceiveCount": 5})
ALLOW = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [f"{ARN}notifications"]})


class Service:
    """SQS, as a list of the calls that are expected."""

    def __init__(self) -> None:
        client = boto3.client("sqs", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
        self.stub = Stubber(client)
        self.queues = Queues(client)

    def exists(self, **queues: dict[str, str]) -> None:
        names = [name.replace("_", "-") for name in queues]
        self.stub.add_response("list_queues", {"QueueUrls": [URL + name for name in names]})
        for name, attributes in zip(names, queues.values(), strict=True):
            self.reads(name, attributes)

    def reads(self, name: str, attributes: dict[str, str]) -> None:
        expected = {"QueueUrl": URL + name, "AttributeNames": ["All"]}
        attributes = {**attributes, "QueueArn": ARN + name, "ApproximateNumberOfMessages": "7"}
        self.stub.add_response("get_queue_attributes", {"Attributes": attributes}, expected)

    def creates(self, name: str, attributes: dict[str, str]) -> None:
        self.stub.add_response("create_queue", {"QueueUrl": URL + name}, {"QueueName": name, "Attributes": attributes})
        self.reads(name, attributes)

    def sets(self, name: str, attributes: dict[str, str]) -> None:
        self.stub.add_response("set_queue_attributes", {}, {"QueueUrl": URL + name, "Attributes": attributes})


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    with service.stub:
        yield service
        # What was expected and not called is an error, too.
        service.stub.assert_no_pending_responses()


def run(service: Service, check: bool = False, prune: bool = False, prefix: str = "", **changes: Any) -> dict[str, Any]:
    return apply(service.queues, wished(prefixed([{**RECORD, **changes}], prefix)), prefix, prune, check)


def sorted_json(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)


def test_queues_are_created_before_they_refer_to_each_other(service: Service) -> None:
    service.exists()
    service.creates("notifications-dead", DEAD)
    service.creates("notifications", LIVE)
    service.sets("notifications-dead", {"RedriveAllowPolicy": sorted_json(ALLOW)})
    service.sets("notifications", {"RedrivePolicy": sorted_json(REDRIVE)})
    result = run(service)
    assert result["changes"] == ["create notifications-dead", "create notifications"]
    assert result["queues"]["notifications"] == {"url": f"{URL}notifications", "arn": f"{ARN}notifications"}


def test_a_second_run_changes_nothing_however_the_service_spells_its_policies(service: Service) -> None:
    spelt = REDRIVE.replace(": ", ":").replace(":5", ':"5"')
    service.exists(
        notifications_dead={**DEAD, "RedriveAllowPolicy": ALLOW}, notifications={**LIVE, "RedrivePolicy": spelt}
    )
    result = run(service)
    assert result["changed"] is False
    assert result["diff"]["before"] == result["diff"]["after"]
    assert "ApproximateNumberOfMessages" not in result["diff"]["before"]


def test_only_what_differs_is_set(service: Service) -> None:
    service.exists(
        notifications_dead={**DEAD, "RedriveAllowPolicy": ALLOW}, notifications={**LIVE, "RedrivePolicy": REDRIVE}
    )
    service.sets("notifications", {"VisibilityTimeout": "60"})
    result = run(service, visibility_timeout_seconds=60)
    assert result["changes"] == ["set VisibilityTimeout of notifications"]
    assert '"VisibilityTimeout": "30"' in result["diff"]["before"]
    assert '"VisibilityTimeout": "60"' in result["diff"]["after"]


def test_check_mode_reports_and_sends_nothing(service: Service) -> None:
    service.exists(notifications_dead=DEAD)
    result = run(service, check=True)
    assert result["changes"] == ["create notifications"]
    assert '"notifications"' in result["diff"]["after"]


def test_prune_deletes_strangers_with_the_prefix_and_no_other_queue(service: Service) -> None:
    service.stub.add_response(
        "list_queues", {"QueueUrls": [f"{URL}dev-{n}" for n in ("old", "notifications", "notifications-dead")]},
        {"QueueNamePrefix": "dev-", "MaxResults": 1000},
    )  # fmt: skip
    allow = ALLOW.replace("notifications", "dev-notifications")
    service.reads("dev-old", {})
    service.reads("dev-notifications", {**LIVE, "RedrivePolicy": REDRIVE.replace("notif", "dev-notif")})
    service.reads("dev-notifications-dead", {**DEAD, "RedriveAllowPolicy": allow})
    service.stub.add_response("delete_queue", {}, {"QueueUrl": f"{URL}dev-old"})
    assert run(service, prefix="dev-", prune=True)["changes"] == ["delete dev-old"]


def test_a_fifo_queue_has_a_fifo_queue_for_its_dead_letters() -> None:
    dead, live = wished([{**RECORD, "fifo": True}])
    assert (dead.name, live.name) == ("notifications-dead.fifo", "notifications.fifo")
    assert live.dead_letter == dead.name
    assert dead.attributes["FifoQueue"] == live.attributes["FifoQueue"] == "true"


def test_two_queues_may_share_one_for_dead_letters() -> None:
    dead, *_ = wished([RECORD, {**RECORD, "name": "reports"}])
    assert dead.sources == ("notifications", "reports")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"visibility_timeout_seconds": 43201}, "visibility_timeout_seconds is '43201'"),
        ({"retention_days": 15}, "from 1 to 14"),
        ({"dead_letter": {**RECORD["dead_letter"], "max_receives": 0}}, "max_receives is '0'"),
        ({"dead_letter": {**RECORD["dead_letter"], "name": "notifications"}}, "is itself"),
    ],
)
def test_what_sqs_would_refuse_is_refused_before_anything_is_changed(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(QueueError, match=complaint):
        wished([{**RECORD, **change}])


def test_a_queue_is_described_once() -> None:
    with pytest.raises(QueueError, match="described twice"):
        wished([RECORD, RECORD])
