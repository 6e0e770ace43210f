"""Application Auto Scaling, which MiniStack lacks: it remembers and refuses as AWS would, and scales nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.aws.asgi import App, body_of, respond

TARGET = "AnyScaleFrontendService."
# Who asks for which region: the first and the third part of a signature's scope.
SCOPE = re.compile(r"Credential=([^/]+)/[^/]+/([^/]+)/")
# By the operation that writes it: under which key it is listed, and what tells two of a kind apart.
KINDS = {
    "RegisterScalableTarget": ("ScalableTargets", ()),
    "PutScalingPolicy": ("ScalingPolicies", ("PolicyName",)),
    "PutScheduledAction": ("ScheduledActions", ("ScheduledActionName",)),
}
LISTS = {"DescribeScalableTargets", "DescribeScalingPolicies", "DescribeScheduledActions"}
Store = dict[str, dict[tuple[str, ...], dict[str, Any]]]
stores: dict[tuple[str, str], Store] = {}


class RefusedError(Exception):
    """What AWS would not do; the arguments are its code and its message."""


def answer(store: Store, operation: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Do one operation. Raises RefusedError."""
    if operation in LISTS:
        listed = operation.removeprefix("Describe")
        return {listed: [dict(one) for one in store.get(listed, {}).values() if _is_asked_for(one, asked)]}
    place = (asked["ServiceNamespace"], asked["ResourceId"], asked["ScalableDimension"])
    known = place in store.get("ScalableTargets", {})
    if operation == "RegisterScalableTarget":
        if not known and not {"MinCapacity", "MaxCapacity"} <= asked.keys():
            raise RefusedError("ValidationException", "MinCapacity and MaxCapacity are required for a new target")
    elif not known:
        raise RefusedError("ObjectNotFoundException", f"No scalable target registered for {place}")
    if operation == "DeregisterScalableTarget":
        for records in store.values():
            for gone in [key for key in records if key[:3] == place]:
                del records[gone]
        return {}
    kind, names = KINDS[operation]
    records = store.setdefault(kind, {})
    key = (*place, *(str(asked[name]) for name in names))
    records[key] = {**records.get(key, {}), **asked, "CreationTime": 0.0}
    return {}


def _is_asked_for(one: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    if one["ServiceNamespace"] != asked["ServiceNamespace"]:
        return False
    wanted = asked.get("ResourceIds") or [asked.get("ResourceId", one["ResourceId"])]
    return one["ResourceId"] in wanted


def scaling(app: App) -> App:
    """Return the cloud with this service beside its own."""

    async def answering(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        headers = {key.decode(): value.decode() for key, value in scope.get("headers", [])}
        if not headers.get("x-amz-target", "").startswith(TARGET):
            await app(scope, receive, send)
            return
        body = await body_of(receive)
        found = SCOPE.search(headers.get("authorization", ""))
        store = stores.setdefault((found[1], found[2]) if found else ("", ""), {})
        status, content = 200, b""
        try:
            operation = headers["x-amz-target"].removeprefix(TARGET)
            content = json.dumps(answer(store, operation, json.loads(body))).encode()
        except RefusedError as error:
            code, text = error.args
            status, content = 400, json.dumps({"__type": code, "message": text}).encode()
        await respond(send, status, "application/x-amz-json-1.1", content)

    return answering
