"""What keeps data from being replaced or deleted with its stack, and how that is lifted. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

PROTECTIONS = ("DeletionProtection", "DeletionProtectionEnabled")
# Each may have been there before its stack, and is deleted only when it is empty.
CONTAINERS = ("AWS::Backup::BackupVault", "AWS::ECR::Repository", "AWS::S3::Bucket")


def policy(stateful: frozenset[str], confirmed: frozenset[str]) -> str:
    """Return the stack policy that keeps what holds data from being replaced or deleted, unless it is confirmed."""
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Principal": "*", "Action": "Update:*", "Resource": "*"},
    ]
    if kept := sorted(stateful - confirmed):
        statements.append(
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": ["Update:Replace", "Update:Delete"],
                "Resource": [f"LogicalResourceId/{name}" for name in kept],
            }
        )
    return json.dumps({"Statement": statements}, sort_keys=True)


def unprotected(document: Mapping[str, Any], names: Collection[str] | None = None) -> dict[str, Any] | None:
    """Return the template with the protection of these resources lifted, or of all; None when they have none."""

    def lift(value: Any) -> Any:
        if isinstance(value, list):
            return [lift(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        if value.get("Key") == "deletion_protection.enabled":
            return {**value, "Value": "false"}
        return {key: False if key in PROTECTIONS else lift(item) for key, item in value.items()}

    resources = {
        name: lift(resource) if names is None or name in names else resource
        for name, resource in document["Resources"].items()
    }
    return None if resources == document["Resources"] else {**document, "Resources": resources}


def unkept(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the template with all of it ending with its stack, but for containers; no last snapshot is made."""

    def ending(resource: Mapping[str, Any]) -> Mapping[str, Any]:
        if "DeletionPolicy" not in resource or resource["Type"] in CONTAINERS:
            return resource
        found = {**resource, "DeletionPolicy": "Delete"}
        if "DeleteAutomatedBackups" in (properties := resource.get("Properties", {})):
            found["Properties"] = {**properties, "DeleteAutomatedBackups": True}
        return found

    return {**document, "Resources": {name: ending(resource) for name, resource in document["Resources"].items()}}
