"""SQS queues as records: what is wished for in SQS's own words, and how it differs from what is there. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

SECONDS_PER_DAY = 86400
# What the service allows; a value outside would be refused half-way through.
RANGES = {
    "visibility_timeout_seconds": (0, 43200),
    "retention_days": (1, 14),
    "max_receives": (1, 1000),
}


class QueueError(ValueError):
    """A wish that no queue can fulfil; the message is for the person who wrote it."""


@dataclass(frozen=True)
class Queue:
    """One queue. `dead_letter` names the queue that takes what could not be delivered, `sources` who sends it here."""

    name: str
    attributes: Mapping[str, str]
    dead_letter: str | None = None
    max_receives: int = 0
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Existing:
    """A queue as it is there."""

    url: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Change:
    """What one queue needs: to be created with all of its attributes, or some attributes set."""

    queue: str
    create: bool
    before: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)


def real_name(name: str, fifo: bool) -> str:
    """The name in SQS, which wants FIFO queues to end in .fifo."""
    return f"{name}.fifo" if fifo and not name.endswith(".fifo") else name


def wished(records: Sequence[Mapping[str, object]]) -> list[Queue]:
    """Turn the noun `queues` into queues, those for dead letters first: the others refer to them."""
    dead: dict[str, Queue] = {}
    live: list[Queue] = []
    for record in records:
        fifo = bool(record.get("fifo"))
        name = real_name(str(record["name"]), fifo)
        letter = record.get("dead_letter")
        attributes = {
            "VisibilityTimeout": str(_number(name, record, "visibility_timeout_seconds")),
            "MessageRetentionPeriod": str(_number(name, record, "retention_days") * SECONDS_PER_DAY),
            # Long polling: a worker that asks an empty queue waits there instead of asking again and again.
            "ReceiveMessageWaitTimeSeconds": "20",
            **_fifo(fifo),
        }
        if not isinstance(letter, Mapping):
            live.append(Queue(name, attributes))
            continue
        letter_name = real_name(str(letter["name"]), fifo)
        if letter_name == name:
            raise QueueError(f"queue '{name}': its dead_letter queue is itself; name another one.")
        sources = (*dead[letter_name].sources, name) if letter_name in dead else (name,)
        retention = str(_number(letter_name, letter, "retention_days") * SECONDS_PER_DAY)
        dead[letter_name] = Queue(letter_name, {"MessageRetentionPeriod": retention, **_fifo(fifo)}, sources=sources)
        live.append(Queue(name, attributes, letter_name, _number(name, letter, "max_receives")))
    queues = [*dead.values(), *live]
    doubled = {queue.name for queue in queues if sum(other.name == queue.name for other in queues) > 1}
    if doubled:
        raise QueueError(f"queue '{min(doubled)}' is described twice; every queue has a name of its own.")
    return queues


def _fifo(fifo: bool) -> dict[str, str]:
    return {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if fifo else {}


def _number(name: str, record: Mapping[str, object], key: str) -> int:
    low, high = RANGES[key]
    value = record[key]
    if not isinstance(value, int) or not low <= value <= high:
        raise QueueError(f"queue '{name}': {key} is '{value}'; SQS takes a whole number from {low} to {high}.")
    return value


def attributes_with_references(queue: Queue, arns: Mapping[str, str]) -> dict[str, str]:
    """All attributes of a queue, with those that refer to another queue by the name that the service gave it."""
    attributes = dict(queue.attributes)
    if queue.dead_letter is not None and queue.dead_letter in arns:
        redrive = {"deadLetterTargetArn": arns[queue.dead_letter], "maxReceiveCount": queue.max_receives}
        attributes["RedrivePolicy"] = json.dumps(redrive, sort_keys=True)
    if queue.sources and all(source in arns for source in queue.sources):
        allow = {"redrivePermission": "byQueue", "sourceQueueArns": sorted(arns[source] for source in queue.sources)}
        attributes["RedriveAllowPolicy"] = json.dumps(allow, sort_keys=True)
    return attributes


def differences(attributes: Mapping[str, str], existing: Existing) -> dict[str, str]:
    """The attributes that are not there, or otherwise. Policies are compared by meaning, not by spelling."""
    return {
        key: value for key, value in attributes.items() if _meaning(value) != _meaning(existing.attributes.get(key, ""))
    }


def _meaning(value: str) -> object:
    if not value.startswith("{"):
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    # SQS answers maxReceiveCount as a number or as text, as it was given.
    return {key: sorted(item) if isinstance(item, list) else str(item) for key, item in parsed.items()}


def strangers(queues: Iterable[Queue], existing: Iterable[str], prefix: str) -> list[str]:
    """The queues with this prefix that nobody wishes for."""
    names = {queue.name for queue in queues}
    return sorted(name for name in existing if name.startswith(prefix) and name not in names)
