"""The queues, as their clients meet them: by boto3, with keys, across a killed process."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.waiting import wait

ACCESS_KEY = "MOLECULEACCESSKEY000"
SECRET_KEY = "molecule-queue"


class Queues:
    """SQS's API, called on the host by the endpoint's own boto3."""

    def __init__(self, inventory: str) -> None:
        runner = AnsibleRunner(inventory)
        name = sorted(runner.get_hosts("machines"))[-1]
        self.host: Host = testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True)
        self.endpoint = f"http://{runner.get_variables(name)['ansible_host']}:4566"

    def call(self, *steps: tuple[str, dict[str, Any]], access_key: str = ACCESS_KEY, secret: str = SECRET_KEY) -> Any:
        """Call methods of the client one after the other. `QUEUE:name` becomes a URL, `RECEIPT` the last receipt."""
        program = f"""
import boto3, json
client = boto3.client("sqs", endpoint_url={self.endpoint!r}, region_name="local-1",
    aws_access_key_id={access_key!r}, aws_secret_access_key={secret!r})
receipt, answers = None, []
for method, arguments in {list(steps)!r}:
    if "QueueUrl" in arguments:
        arguments["QueueUrl"] = client.get_queue_url(QueueName=arguments["QueueUrl"])["QueueUrl"]
    if arguments.get("ReceiptHandle") == "RECEIPT":
        arguments["ReceiptHandle"] = receipt
    try:
        answer = getattr(client, method)(**arguments)
    except client.exceptions.ClientError as error:
        answer = {{"error": error.response["Error"]["Code"]}}
    answer.pop("ResponseMetadata", None)
    for message in answer.get("Messages", []):
        receipt = message["ReceiptHandle"]
    answers.append(answer)
print(json.dumps(answers))
"""
        return json.loads(self.host.check_output(f"/opt/queue/bin/python -c {shlex.quote(program)}"))

    def send(self, queue: str, body: str) -> tuple[str, dict[str, Any]]:
        """One message."""
        return "send_message", {"QueueUrl": queue, "MessageBody": body}

    def receive(self, queue: str, **more: Any) -> tuple[str, dict[str, Any]]:
        """At most one message, without waiting."""
        return "receive_message", {"QueueUrl": queue, "WaitTimeSeconds": 0, **more}

    def delete(self, queue: str) -> tuple[str, dict[str, Any]]:
        """Delete the message that was received last."""
        return "delete_message", {"QueueUrl": queue, "ReceiptHandle": "RECEIPT"}


@pytest.fixture(scope="module")
def queues(request: pytest.FixtureRequest) -> Queues:
    return Queues(str(request.config.getoption("--ansible-inventory")))


@pytest.fixture(autouse=True)
def empty(queues: Queues) -> None:
    queues.call(*(("purge_queue", {"QueueUrl": name}) for name in ("notifications", "notifications-dead")))


def bodies(answer: dict[str, Any]) -> list[str]:
    return [message["Body"] for message in answer.get("Messages", [])]


def test_a_message_is_sent_received_once_and_deleted(queues: Queues) -> None:
    _, first, hidden, _, gone = queues.call(
        queues.send("notifications", "hello"),
        queues.receive("notifications"),
        queues.receive("notifications"),
        queues.delete("notifications"),
        queues.receive("notifications", VisibilityTimeout=0),
    )
    assert bodies(first) == ["hello"]
    assert bodies(hidden) == []
    assert bodies(gone) == []


def test_a_message_that_nobody_can_handle_goes_to_the_dead_letter_queue(queues: Queues) -> None:
    # Twice is what the scenario allows; a visibility of zero is a worker that gives up at once.
    attempts = [queues.receive("notifications", VisibilityTimeout=0)] * 3
    *tries, dead = queues.call(queues.send("notifications", "poison"), *attempts, queues.receive("notifications-dead"))
    assert [bodies(answer) for answer in tries[1:]] == [["poison"], ["poison"], []]
    assert bodies(dead) == ["poison"]


def test_the_queues_are_as_they_are_described(queues: Queues) -> None:
    names = ("notifications", "notifications-dead", "ordered.fifo")
    asked = (("get_queue_attributes", {"QueueUrl": name, "AttributeNames": ["All"]}) for name in names)
    live, dead, fifo = (answer["Attributes"] for answer in queues.call(*asked))
    assert (live["VisibilityTimeout"], live["MessageRetentionPeriod"]) == ("30", str(4 * 86400))
    assert json.loads(live["RedrivePolicy"]) == {"deadLetterTargetArn": dead["QueueArn"], "maxReceiveCount": 2}
    assert dead["MessageRetentionPeriod"] == str(14 * 86400)
    assert fifo["FifoQueue"] == "true"


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_what_was_acknowledged_survives_the_death_of_the_process(queues: Queues, signal: str) -> None:
    sent = [f"message {number}" for number in range(20)]
    queues.call(
        *(queues.send("notifications", body) for body in sent),
        queues.receive("notifications"),
        queues.delete("notifications"),
    )
    queues.host.check_output(f"systemctl kill --signal={signal} queue.service")
    probe = f"/opt/queue/bin/python /usr/local/lib/gym-platform/queue_endpoint.py ready {queues.endpoint}"
    wait(30, lambda: queues.host.run(probe).rc == 0)
    batches = queues.call(*[queues.receive("notifications", MaxNumberOfMessages=10)] * 4)
    found = sorted(body for batch in batches for body in bodies(batch))
    # The one that was deleted does not come back, and nothing else is missing.
    assert found == sorted(sent[1:])


@pytest.mark.parametrize(
    ("access_key", "secret", "code"),
    [
        ("test", "test", "InvalidClientTokenId"),
        ("000000000000", SECRET_KEY, "InvalidClientTokenId"),
        (ACCESS_KEY, "wrong", "SignatureDoesNotMatch"),
    ],
)
def test_only_our_key_is_let_in(queues: Queues, access_key: str, secret: str, code: str) -> None:
    (answer,) = queues.call(("list_queues", {}), access_key=access_key, secret=secret)
    assert answer == {"error": code}


def test_nobody_resets_the_queues(queues: Queues) -> None:
    reset = f"curl -s -o /dev/null -w '%{{http_code}}' -X POST {queues.endpoint}/_ministack/reset"
    assert queues.host.check_output(reset) == "403"
    assert queues.host.check_output(f"curl -s -o /dev/null -w '%{{http_code}}' {queues.endpoint}/") == "403"


def test_it_listens_on_the_private_address_alone_and_without_rights(queues: Queues) -> None:
    assert not queues.host.socket("tcp://127.0.0.1:4566").is_listening
    process = queues.host.check_output("systemctl show --property=MainPID --value queue.service")
    assert queues.host.check_output(f"stat --format=%u /proc/{process}") != "0"
    assert "NoNewPrivs:\t1" in queues.host.check_output(f"cat /proc/{process}/status")
    assert "CapEff:\t0000000000000000" in queues.host.check_output(f"cat /proc/{process}/status")
