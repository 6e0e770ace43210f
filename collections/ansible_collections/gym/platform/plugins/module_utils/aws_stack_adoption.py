"""What an earlier stack has kept, and CloudFormation does not find by itself: queues, keys, secrets and zones.

By itself it adopts what is known by a name of its template: buckets, repositories, log groups, vaults. The types here
are known by an identifier that AWS gave them. They are found by the tags of their stack and by what they are called,
and imported by that identifier.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_client import GLOBAL_REGION, RequestError, unless
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_calls import Calls, Live
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import Template, retained

# What something is called, and its identifier; None for what is being deleted.
Found = tuple[str, str] | None
# By logical id, what CreateChangeSet takes as a resource to import.
Adopted = dict[str, dict[str, Any]]


def _queue(client: Any, arn: str) -> Found:
    name = arn.rsplit(":", 1)[1]
    return name, client.get_queue_url(QueueName=name)["QueueUrl"]


def _key(client: Any, arn: str) -> Found:
    key = client.describe_key(KeyId=arn)["KeyMetadata"]
    return None if "Pending" in key["KeyState"] else (key["Description"], key["KeyId"])


def _secret(client: Any, arn: str) -> Found:
    secret = client.describe_secret(SecretId=arn)
    return None if "DeletedDate" in secret else (secret["Name"], secret["ARN"])


def _zone(client: Any, arn: str) -> Found:
    identity = arn.rsplit("/", 1)[1]
    return client.get_hosted_zone(Id=identity)["HostedZone"]["Name"].rstrip("."), identity


@dataclass(frozen=True)
class Kind:
    """A type: what its name and its identifier are called, how both are read, and the answer when it is gone."""

    service: str
    name: str
    identifier: str
    read: Callable[[Any, str], Found]
    gone: str
    # Whether AWS refuses a second one of the same name.
    unique: bool
    region: str = ""


KINDS: Mapping[str, Kind] = {
    "AWS::KMS::Key": Kind("kms", "Description", "KeyId", _key, "NotFoundException", unique=False),
    "AWS::Route53::HostedZone": Kind(
        "route53", "Name", "Id", _zone, "NoSuchHostedZone", unique=False, region=GLOBAL_REGION
    ),
    "AWS::SecretsManager::Secret": Kind(
        "secretsmanager", "Name", "Id", _secret, "ResourceNotFoundException", unique=True
    ),
    "AWS::SQS::Queue": Kind(
        "sqs", "QueueName", "QueueUrl", _queue, "AWS.SimpleQueueService.NonExistentQueue", unique=True
    ),
}


def adoptable(calls: Calls, template: Template, region: str, live: Live | None, present: Collection[str]) -> Adopted:
    """Find what is kept of the resources that a stack is going to get, by logical id, as it is asked to be imported.

    `present` are the logical ids that the stack has. Raises RequestError for two that could be the same resource.
    """
    wanted = {
        (kind, name): key
        for key, resource in template.resources.items()
        if key not in present
        and (kind := resource["Type"]) in KINDS
        and retained(resource)
        and isinstance(name := resource.get("Properties", {}).get(KINDS[kind].name), str)
    }
    found: Adopted = {}
    if not wanted:
        return found
    owned = {item["physical_id"] for item in calls.resources(live.stack, live)} if live and not live.void else set()
    for kind in sorted({kind for kind, _ in wanted}):
        for name, identifier in _kept(calls, template.stack, KINDS[kind], region):
            key = wanted.get((kind, name))
            if key is None or identifier in owned:
                continue
            if key in found:
                others = f"{found[key]['ResourceIdentifier'][KINDS[kind].identifier]} and {identifier}"
                raise RequestError(
                    f"{template.stack}: {others} could both be the {key} that an earlier stack kept: take the tag "
                    "`capability` off the one that is not."
                )
            found[key] = {
                "ResourceType": kind,
                "LogicalResourceId": key,
                "ResourceIdentifier": {KINDS[kind].identifier: identifier},
            }
    return found


def going(calls: Calls, region: str, arn: str) -> bool:
    """Tell whether what is listed by its tags is gone, or is about to: AWS deletes keys and secrets weeks later."""
    kind = next((kind for kind in KINDS.values() if _is_one(kind, arn)), None)
    return kind is not None and _read(calls, kind, region, arn) is None


def _kept(calls: Calls, stack: str, kind: Kind, region: str) -> list[tuple[str, str]]:
    arns = [item["ResourceARN"] for item in calls.tagged(kind.region or region, calls.settings.tags_of(stack))]
    return [found for arn in arns if _is_one(kind, arn) and (found := _read(calls, kind, region, arn))]


def _is_one(kind: Kind, arn: str) -> bool:
    return arn.split(":")[2] == kind.service and arn.split(":")[5].split("/")[0] != "alias"


def _read(calls: Calls, kind: Kind, region: str, arn: str) -> Found:
    client = calls.client(kind.region or region, kind.service)
    return unless(kind.gone, lambda: kind.read(client, arn))


def unnamed(template: Template, keys: Collection[str]) -> str:
    """Return the template's text for a change set that is only looked at: what exists must not take its own name."""

    def without_name(resource: Mapping[str, Any]) -> Mapping[str, Any]:
        kind = KINDS[resource["Type"]]
        properties = {k: v for k, v in resource["Properties"].items() if not kind.unique or k != kind.name}
        return {**resource, "Properties": properties}

    resources = {
        key: without_name(resource) if key in keys else resource for key, resource in template.resources.items()
    }
    return json.dumps({**template.document, "Resources": resources}, separators=(",", ":"))


def with_imported(document: Mapping[str, Any], template: Template, keys: Collection[str]) -> dict[str, Any]:
    """Return a stack's template with resources added as far as they refer to nothing.

    An import may change nothing else, and an update brings the rest. What cannot be changed in place is literal.
    """
    imported = {key: _literal(template.resources[key]) for key in keys}
    return {**document, "Resources": {**document["Resources"], **imported}}


def _literal(resource: Mapping[str, Any]) -> dict[str, Any]:
    properties = {
        key: value
        for key, value in resource["Properties"].items()
        if '"Ref":' not in (text := json.dumps(value)) and '"Fn::' not in text
    }
    kept = {key: resource[key] for key in ("Type", "DeletionPolicy", "UpdateReplacePolicy") if key in resource}
    return {**kept, "Properties": properties}
