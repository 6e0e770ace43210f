"""SQS, through boto3 in threads: boto3 is the client that AWS maintains, and it blocks."""

import asyncio
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gym_api.settings import QueueSettings

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

DOWN = (BotoCoreError, ClientError)
# SQS takes and gives at most ten messages at once, and hides a message for at most twelve hours.
BATCH = 10
_LONGEST_INVISIBLE_SECONDS = 43_200
_uniform = random.SystemRandom().uniform


class SendError(Exception):
    """The queue refused a message."""


@dataclass(frozen=True)
class Message:
    """A message as it was received."""

    body: str
    receipt: str
    receives: int


@dataclass(frozen=True)
class Attributes:
    """What the queue was declared with."""

    visibility_seconds: int
    max_receives: int | None
    dead_letter_name: str | None


def backoff_seconds(
    attempt: int, initial: int, maximum: int, uniform: Callable[[float, float], float] = _uniform
) -> int:
    """Return the wait before the attempt after this one: `initial * 2^(attempt-1)`, at most `maximum`.

    Of that, between half and all: messages that failed together do not come back together.
    """
    # The exponent is capped first: 2**attempt of a message that was received for days is no float any more.
    longest = min(maximum, initial * 2 ** min(attempt - 1, 32), _LONGEST_INVISIBLE_SECONDS)
    return math.ceil(uniform(longest / 2, longest))


class Queue:
    """The queue of notifications and its dead-letter queue."""

    def __init__(self, settings: QueueSettings) -> None:
        """Prepare a client; nothing connects before the first call."""
        self.settings = settings
        self._client: SQSClient = boto3.client(
            "sqs",
            endpoint_url=settings.endpoint_url,
            region_name=settings.region,
            config=Config(
                connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 2}, max_pool_connections=20
            ),
        )
        self._urls: dict[str, str] = {}
        self._attributes: Attributes | None = None

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.settings.notifications

    async def send(self, bodies: Sequence[str]) -> None:
        """Put at most ten messages on the queue, or raise."""
        url = await self._url(self.name)
        answer = await asyncio.to_thread(
            self._client.send_message_batch,
            QueueUrl=url,
            Entries=[{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)],
        )
        if answer.get("Failed"):
            raise SendError(answer["Failed"][0].get("Message", "the queue refused a message"))

    async def receive(self, wait_seconds: int) -> list[Message]:
        """Wait for messages; return up to ten as soon as there is one."""
        url = await self._url(self.name)
        answer = await asyncio.to_thread(
            self._client.receive_message,
            QueueUrl=url,
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=wait_seconds,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return [
            Message(found["Body"], found["ReceiptHandle"], int(found.get("Attributes", {})["ApproximateReceiveCount"]))
            for found in answer.get("Messages", [])
        ]

    async def delete(self, message: Message) -> None:
        """Take a message off the queue for good."""
        url = await self._url(self.name)
        await asyncio.to_thread(self._client.delete_message, QueueUrl=url, ReceiptHandle=message.receipt)

    async def postpone(self, message: Message) -> int:
        """Hide a message until its next attempt; return the seconds."""
        url = await self._url(self.name)
        seconds = backoff_seconds(
            message.receives, self.settings.backoff_initial_seconds, self.settings.backoff_maximum_seconds
        )
        await asyncio.to_thread(
            self._client.change_message_visibility,
            QueueUrl=url,
            ReceiptHandle=message.receipt,
            VisibilityTimeout=seconds,
        )
        return seconds

    async def attributes(self) -> Attributes:
        """Return what the queue was declared with; asked once."""
        if self._attributes is None:
            url = await self._url(self.name)
            answer = await asyncio.to_thread(
                self._client.get_queue_attributes, QueueUrl=url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"]
            )
            found = answer.get("Attributes", {})
            redrive = json.loads(found.get("RedrivePolicy", "{}"))
            self._attributes = Attributes(
                visibility_seconds=int(found["VisibilityTimeout"]),
                max_receives=int(redrive["maxReceiveCount"]) if redrive else None,
                dead_letter_name=redrive["deadLetterTargetArn"].rsplit(":", 1)[-1] if redrive else None,
            )
        return self._attributes

    async def depths(self) -> dict[str, int]:
        """Count the messages of the queue and of its dead-letter queue, those being worked on included."""
        dead_letter = (await self.attributes()).dead_letter_name
        return {name: await self._depth(name) for name in (self.name, dead_letter) if name}

    async def ping(self) -> None:
        """Raise unless the queue answers."""
        await self._depth(self.name)

    async def _depth(self, name: str) -> int:
        url = await self._url(name)
        answer = await asyncio.to_thread(
            self._client.get_queue_attributes,
            QueueUrl=url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        return sum(int(count) for count in answer.get("Attributes", {}).values())

    async def _url(self, name: str) -> str:
        if name not in self._urls:
            answer = await asyncio.to_thread(self._client.get_queue_url, QueueName=name)
            self._urls[name] = answer["QueueUrl"]
        return self._urls[name]
