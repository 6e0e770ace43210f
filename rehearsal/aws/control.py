"""The rehearsal's own questions to the cloud, beside AWS's: what it keeps, what is changed or ends behind its back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, MutableMapping
from functools import partial
from typing import Any

from ministack.services import cloudcontrol
from ministack.services.cloudformation import _stacks, stacks

from rehearsal.aws import drift, records, regions, resource_types, served, tasks
from rehearsal.aws.asgi import App, body_of, respond

Scalar = str | int | bool
PREFIX = "/_rehearsal/"
# A field that tells resources apart, or that a service acts on by itself, is not what somebody edits by mistake.
IDENTITY = ("id", "arn", "name", "url", "state", "key", "account", "region", "owner", "type", "protection", "arns")
undo: list[Callable[[], None]] = []


def every() -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    """Go through all resources of all stacks of all regions."""
    for stack in list(_stacks._data.values()):
        if stack["StackStatus"] != "DELETE_COMPLETE":
            yield from ((stack, key, item) for key, item in stack.get("_resources", {}).items())


def described(emulated: frozenset[str]) -> list[dict[str, Any]]:
    """Say of every resource whether a service keeps it or it is only remembered, and whether drift of it is read."""
    found = []
    for stack, key, item in every():
        tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
        with stacks._stack_region_context(stack, stack["StackId"]):
            rtype, physical_id = item["ResourceType"], item.get("PhysicalResourceId") or ""
            remembered = rtype not in emulated or resource_types.is_remembered(rtype, physical_id)
            readable = remembered or (bool(records.record(rtype, physical_id)) and not drift.borrowed(stack, key, item))
        # CloudFormation keeps what a template says about a resource besides its properties, and changes it by itself.
        said = [item.get("Properties"), stack["_template"]["Resources"].get(key, {}).get("Metadata")]
        found.append(
            {
                "stack": stack["StackName"],
                "name": f"{tags.get('capability')}.{key}",
                "logical_id": key,
                "type": rtype,
                "physical_id": physical_id,
                "properties": hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest(),
                "remembered": remembered,
                "readable": readable,
            }
        )
    return found


def fields(value: Any, path: str = "") -> Iterator[tuple[MutableMapping[str, Any], str, str]]:
    """Go through the scalars of a record that somebody could have edited: the record, the key and the path."""
    if isinstance(value, dict):
        for key, item in value.items():
            below = f"{path}.{key}".lstrip(".")
            if records.VOLATILE.fullmatch(str(key)):
                continue
            if isinstance(item, (bool, int, str)) and not str(key).lower().endswith(IDENTITY) and item != "":
                yield value, key, below
            yield from fields(item, below)


def another(value: Scalar) -> Scalar:
    """Return a value of the same kind that is not the same."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int) or str(value).isdigit():
        return type(value)(int(value) + 1)
    return f"{value}-edited"


def _edit(
    record: MutableMapping[str, Any], declared: Collection[str]
) -> tuple[str, Any, Any, Callable[[], None]] | None:
    # A field that the template gives comes first, then the least that a service would choke on.
    kinds = (bool, int, str)
    candidates = sorted(
        fields(record),
        key=lambda found: (_folded(found[1]) not in declared, kinds.index(type(found[0][found[1]]))),
    )
    for owner, key, path in candidates:
        before = owner[key]
        if isinstance(before, str) and before[:1] in ("{", "[", "<"):
            continue
        owner[key] = another(before)
        return path, before, owner[key], partial(owner.__setitem__, key, before)
    return None


def _folded(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())


def _declared(value: Any) -> set[str]:
    """List the names of all properties of a resource, at any depth, as they are compared."""
    if isinstance(value, dict):
        return set().union(*({_folded(str(key))} | _declared(item) for key, item in value.items()))
    return set().union(*map(_declared, value)) if isinstance(value, list) else set()


def tamper(stack_name: str, logical_id: str, emulated: frozenset[str]) -> dict[str, Any] | None:
    """Change one field of a resource where the cloud keeps it; None when it keeps none that can be changed."""
    stack, item = next((s, i) for s, key, i in every() if (s["StackName"], key) == (stack_name, logical_id))
    rtype, physical_id = item["ResourceType"], item["PhysicalResourceId"]
    declared = _declared(item.get("Properties") or {})
    with stacks._stack_region_context(stack, stack["StackId"]):
        if rtype not in emulated or resource_types.is_remembered(rtype, physical_id):
            return _tamper_remembered(stack, item, declared)
        for name, (store, key) in records.found_in(rtype, physical_id).items():
            record = store[key]
            if isinstance(record, (bool, int, str)) and record and str(record)[0] not in "{[<":
                store[key] = another(record)
                undo.append(partial(store.__setitem__, key, record))
                return {"path": name, "before": record, "after": store[key]}
            if isinstance(record, dict) and (edited := _edit(record, declared)) is not None:
                undo.append(edited[3])
                return {"path": f"{name}.{edited[0]}", "before": edited[1], "after": edited[2]}
    return None


def _tamper_remembered(stack: dict[str, Any], item: dict[str, Any], declared: Collection[str]) -> dict[str, Any] | None:
    place = cloudcontrol._resource_key(item["ResourceType"], item["PhysicalResourceId"])
    kept = drift.held(item["ResourceType"], item["PhysicalResourceId"])
    if kept is None:
        return None
    properties = json.loads(kept["Properties"])
    own = {key: value for key, value in properties.items() if key in (item.get("Properties") or {})}
    if (edited := _edit(own, declared)) is None:
        return None
    store = cloudcontrol._resources
    store[place] = {**kept, "Properties": json.dumps({**properties, **own})}
    undo.append(partial(_put_back, stack, store, place, kept))
    return {"path": edited[0], "before": edited[1], "after": edited[2]}


def _put_back(stack: dict[str, Any], store: Any, place: Any, kept: Any) -> None:
    with stacks._stack_region_context(stack, stack["StackId"]):
        store[place] = kept


def restore() -> dict[str, int]:
    """Put back everything that was tampered with."""
    count = len(undo)
    while undo:
        undo.pop()()
    return {"restored": count}


def controlled(app: App, emulated: frozenset[str]) -> App:
    """Return the cloud with these questions answered before it."""

    async def answering(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await app(scope, receive, send)
            return
        asked = json.loads(await body_of(receive) or b"{}")
        action = scope["path"].removeprefix(PREFIX)
        answer: Any = None
        if action == "resources":
            answer = described(emulated)
        elif action == "tamper":
            answer = tamper(asked["stack"], asked["logical_id"], emulated)
        elif action == "restore":
            answer = restore()
        elif action == "end":
            answer = tasks.end(asked["arn"], asked["exit_code"], asked["reason"])
        elif action == "stall":
            answer = tasks.stall(asked["arn"])
        elif action == "serve":
            answer = served.serve(asked["account"], asked["region"], asked["instance"])
        elif action == "lose":
            answer = regions.lose(asked["region"])
        elif action == "find":
            answer = regions.find(asked["region"])
        await respond(send, 200, "application/json", json.dumps(answer, default=str).encode())

    return answering
