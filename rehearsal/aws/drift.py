"""Drift of every type: MiniStack's own reader, what is remembered, or a service's record against an earlier copy."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any

from ministack.services import cloudcontrol
from ministack.services.cloudformation import _stacks, drift

from rehearsal.aws import guards, records, resource_types

# What the services kept of each resource when its stack last worked on it, by stack id and logical id.
COPIES: dict[tuple[str, str], dict[str, Any]] = {}
NATIVE_READER = drift.detect_resource_drift


def held(rtype: str, physical_id: str) -> dict[str, Any] | None:
    """Return the record of a resource that is only remembered."""
    return cloudcontrol._resources.get(cloudcontrol._resource_key(rtype, physical_id))  # type: ignore[no-any-return]


def borrowed(stack: dict[str, Any], logical_id: str, item: dict[str, Any]) -> bool:
    """Whether all that the services know of a resource is the record of another one, such as a VPC's attachment."""
    physical_id = item["PhysicalResourceId"]
    others = {
        other.get("PhysicalResourceId") for key, other in stack.get("_resources", {}).items() if key != logical_id
    } - {physical_id}
    return any(key in others for _, key in records.found_in(item["ResourceType"], physical_id).values())


def detector(emulated: frozenset[str]) -> Callable[..., dict[str, Any]]:
    """Return what compares one resource; `emulated` types have a service behind them."""

    def detect(stack: dict[str, Any], logical_id: str, item: dict[str, Any], timestamp: str) -> dict[str, Any]:
        rtype, physical_id = item["ResourceType"], item["PhysicalResourceId"]
        properties = item.get("Properties") or {}
        answer = {
            "StackId": stack["StackId"],
            "LogicalResourceId": logical_id,
            "PhysicalResourceId": physical_id,
            "ResourceType": rtype,
            "Timestamp": timestamp,
        }
        emulates = rtype in emulated and not resource_types.is_remembered(rtype, physical_id)
        if emulates and rtype in drift._DRIFT_READERS:
            answer = dict(NATIVE_READER(stack, logical_id, item, timestamp))
            if answer["StackResourceDriftStatus"] != "IN_SYNC":
                return answer
        before: Any
        now: Any
        if emulates:
            before, now = COPIES.get((stack["StackId"], logical_id)), records.record(rtype, physical_id)
            if not before or borrowed(stack, logical_id, item):
                return {**answer, "StackResourceDriftStatus": "NOT_CHECKED"}
            if now.get("nat_gateways", {}).get("State") == "deleted":
                now = None
        else:
            found = held(rtype, physical_id)
            before = properties
            now = {k: v for k, v in json.loads(found["Properties"]).items() if k in properties} if found else None
        answer["ExpectedProperties"] = json.dumps(before, default=str)
        answer["ActualProperties"] = json.dumps(now, default=str)
        if not now:
            return {**answer, "StackResourceDriftStatus": "DELETED"}
        if differences := drift._differences(before, now, ""):
            return {**answer, "StackResourceDriftStatus": "MODIFIED", "PropertyDifferences": differences}
        return {**answer, "StackResourceDriftStatus": "IN_SYNC"}

    return detect


def watched(operation: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return a stack operation followed by new copies, but not of what was found changed behind the stack's back."""

    def owned(stack_name: str) -> tuple[dict[str, Any], dict[tuple[str, str], dict[str, Any]]]:
        stack = _stacks.get(stack_name) or {}
        return stack, {(stack["StackId"], key): item for key, item in stack.get("_resources", {}).items()}

    def now(item: dict[str, Any]) -> dict[str, Any]:
        return records.record(item["ResourceType"], item.get("PhysicalResourceId") or "")

    def text(item: dict[str, Any]) -> str:
        return json.dumps(item.get("Properties"), default=str)

    @functools.wraps(operation)
    async def watching(stack_name: str, *args: Any, **kwargs: Any) -> None:
        stack, earlier = owned(stack_name)
        known = {key: text(item) for key, item in earlier.items()}
        drifted = {key for key, item in earlier.items() if COPIES.get(key) and COPIES[key] != now(item)}
        token = guards.STACK.set(stack)
        try:
            await operation(stack_name, *args, **kwargs)
        finally:
            guards.STACK.reset(token)
        for key, item in owned(stack_name)[1].items():
            if key not in drifted or known.get(key) != text(item):
                COPIES[key] = now(item)

    return watching
