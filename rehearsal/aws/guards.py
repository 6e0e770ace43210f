"""What AWS refuses and MiniStack would let pass: wrong properties, names taken, protected and non-empty resources."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from ministack.core.responses import get_region
from ministack.services import s3

from rehearsal.aws import records, schemas
from rehearsal.aws.resource_types import Handlers, answered, remembered_properties

# The stack that is being worked on.
STACK: ContextVar[Mapping[str, Any] | None] = ContextVar("stack", default=None)
PROTECTED = re.compile(r'"DeletionProtection(Enabled)?": true|"deletion_protection.enabled"[^}]*"true"')


def existing(native: frozenset[str]) -> schemas.Exists:
    """Return what says whether a resource is there that another one refers to."""

    def exists(rtype: str, value: str) -> bool:
        # Keys are named in a dozen ways, and AWS has policies of its own.
        if rtype not in native or rtype == "AWS::KMS::Key" or ":aws:policy/" in value:
            return True
        return bool(records.record(rtype, value))

    return exists


def name_taken(rtype: str, properties: Mapping[str, Any]) -> str | None:
    """Return the name that a new resource asks for, if another one has it."""
    identifiers = schemas.names(schemas.schema(rtype, get_region()), "primaryIdentifier")
    asked = (properties[key] for key in (*identifiers, f"{rtype.split('::')[2]}Name", "Name") if properties.get(key))
    name = next(asked, None)
    return str(name) if name and records.named(rtype, str(name)) else None


def refused_by_policy(rtype: str, action: str, logical_id: str | None) -> str | None:
    """Return AWS's words when the stack's policy does not allow an update."""
    stack = STACK.get() or {}
    policy = json.loads(stack.get("_stack_policy") or "{}").get("Statement")
    status = stack.get("StackStatus", "")
    # What is rolled back or deleted as a whole is not asked for.
    if not policy or logical_id is None or "DELETE" in status or "ROLLBACK" in status:
        return None

    def fits(patterns: Any, value: str) -> bool:
        return any(fnmatch.fnmatch(value, p) for p in (patterns if isinstance(patterns, list) else [patterns]))

    effects = {
        statement["Effect"]
        for statement in policy
        if fits(statement["Action"], f"Update:{action}")
        and fits(statement["Resource"], f"LogicalResourceId/{logical_id}")
        and all(fits(test.get("ResourceType", "*"), rtype) for test in statement.get("Condition", {}).values())
    }
    if effects == {"Allow"}:
        return None
    return f"Action denied by stack policy: Statement does not allow [Update:{action}] for resource [{logical_id}]"


def owned_as(physical_id: str) -> str | None:
    """Return what the stack that is worked on calls a resource."""
    owned = (STACK.get() or {}).get("_resources", {}).items()
    return next((key for key, item in owned if item.get("PhysicalResourceId") == physical_id), None)


def known(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a service knows of a resource as its attributes are called: `repositoryUri` is `RepositoryUri`."""
    fields = {key: value for fields in record.values() if isinstance(fields, dict) for key, value in fields.items()}
    named = {key[:1].upper() + key[1:]: value for key, value in fields.items() if isinstance(value, str)}
    arns = [value for key, value in named.items() if key.endswith("Arn")]
    return {**({"Arn": arns[0]} if len(arns) == 1 else {}), **named}


def guarded(rtype: str, own: Handlers, native: frozenset[str]) -> Handlers:
    """Return a type's handlers with these guards before them, and all published attributes in their answers."""
    exists = existing(native)

    def kept(physical_id: str) -> str:
        held = remembered_properties(rtype, physical_id)
        return json.dumps(records.record(rtype, physical_id), default=str) if held is None else held

    def refuse(message: str | None) -> None:
        if message:
            raise ValueError(message)

    def checked(properties: Mapping[str, Any]) -> None:
        found = schemas.faults(rtype, properties, get_region(), exists)
        refuse(f"Model validation failed ({'; '.join(found)})" if found else None)

    def complete(answer: tuple[str, Any]) -> tuple[str, dict[str, Any]]:
        return answer[0], answered(rtype, answer[0], dict(answer[1] or {}))

    def create(logical_id: str, properties: Mapping[str, Any], *rest: Any) -> tuple[str, dict[str, Any]]:
        checked(properties)
        # The stack has it already: this is the new one of a replacement.
        if logical_id in (STACK.get() or {}).get("_resources", {}):
            refuse(refused_by_policy(rtype, "Replace", logical_id))
        taken = name_taken(rtype, properties) if "update" in own else None
        refuse(f"{rtype} {taken} already exists" if taken else None)
        return complete(own["create"](logical_id, properties, *rest))

    def update(physical_id: str, old: Mapping[str, Any], new: Mapping[str, Any], *rest: Any) -> Any:
        checked(new)
        refuse(refused_by_policy(rtype, "Modify", owned_as(physical_id)))
        return complete(own["update"](physical_id, old, new, *rest))

    def delete(physical_id: str, *rest: Any) -> Any:
        refuse(refused_by_policy(rtype, "Delete", owned_as(physical_id)))
        if rtype == "AWS::S3::Bucket" and (s3._buckets.get(physical_id) or {}).get("objects"):
            refuse("The bucket you tried to delete is not empty")
        if PROTECTED.search(kept(physical_id)):
            refuse(f"Cannot delete protected {rtype} {physical_id}: disable deletion protection first")
        return own["delete"](physical_id, *rest)

    def adopt(identifier: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        (value,) = identifier.values()
        refuse(None if exists(rtype, value) else f"{rtype} {value} was not found")
        # MiniStack itself can know it by another key: secrets by their names.
        key = next((key for _, key in records.found_in(rtype, value).values()), value)
        return complete((key, known(records.record(rtype, value))))

    wrapped: dict[str, Callable[..., Any]] = {"create": create, "update": update, "delete": delete}
    # MiniStack imports few types.
    return {"import": adopt, **own, **{name: call for name, call in wrapped.items() if name in own}}
