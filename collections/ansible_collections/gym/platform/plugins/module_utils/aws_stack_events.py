"""What a stack's events say of what went wrong, and when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_errors import hint, sentence

# AWS's clock and ours are not the same.
TOLERANCE_SECONDS = 2
REMAINS = {
    "ROLLBACK_COMPLETE": "What was made of the new stack is removed again; the next run makes it from the start",
    "UPDATE_ROLLBACK_COMPLETE": "The stack is rolled back to what it was before",
    "IMPORT_ROLLBACK_COMPLETE": "The stack is rolled back to what it was before",
    "ROLLBACK_FAILED": "Its resources could not all be removed; the next run removes them and starts again",
    "DELETE_FAILED": "Its other resources are gone; put that right, and the next run deletes the rest",
}


def remains(status: str) -> str:
    """Say what is left of a stack that ended like this."""
    return REMAINS.get(status, f"The stack is now {status}") + "."


def of_resources(client: Any, stack_id: str, since: float) -> list[dict[str, Any]]:
    """Return the events of a stack's resources since then, in seconds since the epoch, the oldest first."""
    return [event for event in _every(client, stack_id, since) if event.get("PhysicalResourceId") != stack_id]


def failures(client: Any, stack_id: str, since: float) -> str:
    """Say which resources failed since then, and why; or why the stack did."""
    everything = _every(client, stack_id, since)
    failed = [
        event
        for event in everything
        if event.get("PhysicalResourceId") != stack_id and event["ResourceStatus"].endswith("_FAILED")
    ]
    # What was cancelled only stood beside the one that failed.
    causes = [event for event in failed if "cancelled" not in event.get("ResourceStatusReason", "")] or failed
    if told := words(causes or _validation_errors(client, stack_id, since)):
        return told
    reasons = (event.get("ResourceStatusReason", "") for event in everything)
    reason = next((sentence(text) for text in reasons if text not in ("", "User Initiated")), "no reason was given")
    return f"it ended by itself: {reason}"


def words(events: Iterable[Mapping[str, Any]]) -> str:
    """Say of each resource why it failed, and what to do."""
    told = []
    for event in events:
        reason = event.get("ResourceStatusReason") or event.get("ValidationStatusReason") or "no reason was given"
        told.append(f"{event['LogicalResourceId']} ({event['ResourceType']}) failed: {sentence(reason)}{hint(reason)}")
    return "; ".join(dict.fromkeys(told))


def _every(client: Any, stack_id: str, since: float) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    # The newest come first.
    for page in client.get_paginator("describe_stack_events").paginate(StackName=stack_id):
        events = [event for event in page["StackEvents"] if _is_since(event["Timestamp"], since)]
        found += events
        if len(events) < len(page["StackEvents"]):
            break
    return found[::-1]


def _validation_errors(client: Any, stack_id: str, since: float) -> list[dict[str, Any]]:
    """Return what CloudFormation found wrong before it touched any resource; these are events of another kind."""
    pages = client.get_paginator("describe_events").paginate(StackName=stack_id)
    return [
        event
        for page in pages
        for event in page["OperationEvents"]
        if event["EventType"] == "VALIDATION_ERROR" and _is_since(event["Timestamp"], since)
    ]


def _is_since(moment: datetime, since: float) -> bool:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.timestamp() >= since - TOLERANCE_SECONDS
